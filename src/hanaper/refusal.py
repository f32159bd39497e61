"""What can go wrong by name: refusals for callers, faults for operators."""

from dataclasses import replace
from typing import Literal

from hanaper.protocol.codes import ACCESS_DENIED, Code
from hanaper.protocol.payload import Payload

EXIT_BUG = 70
"""What a program ends with that found something nobody foresaw (EX_SOFTWARE)."""


class Refusal(Exception):
    """A request that is answered with a code instead of what it asked for. Nothing has been stored.

    Attributes:
        code: the row of the code table.
        payload: what stands between `message` and `timestamp`.
        product_key_id: id of the product's signing key, where the product is known and the code asks for it.
        headers: HTTP headers that belong to the answer, such as Allow or Retry-After.
    """

    def __init__(
        self,
        code: Code,
        payload: Payload | None = None,
        *,
        product_key_id: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code.number} {code.message}")
        self.code = code
        self.payload = payload or {}
        self.product_key_id = product_key_id
        self.headers = headers or {}


class RateLimited(Refusal):
    """A request above a budget. It has been counted, and that is all.

    Attributes:
        retry_after_s: whole seconds after which there is something left.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(_TOO_MANY, headers={"Retry-After": str(retry_after_s)})
        self.retry_after_s = retry_after_s


_TOO_MANY = replace(ACCESS_DENIED, http_status=429)


class Fault(Exception):
    """Something an operator has to mend. The text is one line: what is wrong, which value, what to do.

    Attributes:
        exit_status: what a command ends with, after sysexits.h.
    """

    exit_status = 1


class Invalid(Fault):
    """An argument of a command that the rules do not allow (EX_DATAERR)."""

    exit_status = 65


class Misconfigured(Fault):
    """A setting, a key or a schema that forbids the start (EX_CONFIG)."""

    exit_status = 78


class Unavailable(Fault):
    """A service this one needs, the database first of all, does not answer (EX_UNAVAILABLE).

    Attributes:
        shortage: what there was not enough of, for those who count.
    """

    exit_status = 69
    shortage: Literal["pool", "queue", "database"] = "database"


class TokenAway(Unavailable):
    """A signing key is in a token, and cannot be had now."""


class ReadOnly(Unavailable):
    """The database can be read and not be written: a standby, say, or a file system that was mounted so."""


class OutcomeUnknown(Unavailable):
    """The same in the midst of a commit: whether what was asked has been stored, nobody can tell by now."""


class Quarantined(Unavailable):
    """The database comes from a backup, and nobody has confirmed yet that it may issue."""
