"""What there is to be measured, as those tell it who know it. A server without metrics loads no more than this."""

from typing import ClassVar, Literal, TypeAlias

Way: TypeAlias = Literal["write", "read"]
CallOutcome: TypeAlias = Literal["done", "again", "failed"]
"""Of an outgoing call: made with success, failed and to be made again, given up."""

BudgetName: TypeAlias = Literal["requests", "keys", "failures"]
"""Per API key the first two, per address the last."""

Shortage: TypeAlias = Literal["pool", "queue", "database"]
"""Why the database was not to be had: no connection became free, too many writers waited, or it did not answer."""


class Meter:
    """A meter that forgets what it is told: metrics are off.

    All of it is told on the way of requests, from any thread, so each method takes plain values and returns at once.
    """

    on: ClassVar[bool] = False
    """Whether it is worth while to find something out for it."""

    def answered(self, endpoint: str, code: int | None, status: int, seconds: float) -> None:
        """A request has been answered.

        Args:
            endpoint: its name, one of ours: never what a client wrote.
            code: the number of the signed answer's code; None where the answer is no signed one.
            status: of HTTP; 0 where no answer has begun.
            seconds: from its head to the end of its answer.
        """

    def limited(self, budget: BudgetName) -> None:
        """A request has been refused since a budget was used up."""

    def batch(self, license_keys: int) -> None:
        """A batch of license keys has been generated and committed."""

    def generated(self, license_keys: int) -> None:
        """License keys have been generated and committed, in no batch."""

    def signed(self, seconds: float) -> None:
        """A signature has been made and verified, which took so long."""

    def remembered(self) -> None:
        """A signature was made a moment ago over the same bytes, and taken again."""

    def not_signed(self) -> None:
        """A signature did not verify, and was thrown away."""

    def queue(self, jobs: int) -> None:
        """So many jobs wait for the writer."""

    def group(self, way: Way, jobs: int, waited_s: float) -> None:
        """So many jobs go to the database together; the first of them has waited so long."""

    def committed(self, seconds: float) -> None:
        """A transaction that writes has ended, well or not, which took so long."""

    def pool(self, size: int) -> None:
        """So many connections this process keeps to the database at most."""

    def connection_taken(self) -> None:
        """A connection has been taken out of the pool."""

    def connection_given_back(self) -> None:
        """It is in the pool again."""

    def unavailable(self, shortage: Shortage) -> None:
        """Work has failed since the database was not to be had."""

    def call(self, outcome: CallOutcome) -> None:
        """An outgoing call has been made, and recorded."""

    def calls_waiting(self, calls: int) -> None:
        """So many outgoing calls are stored and neither made nor given up."""


OFF = Meter()
