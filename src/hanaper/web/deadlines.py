"""How long a client may take to send a request, and to take its answers (reliability.md 4.9, T28)."""

from dataclasses import dataclass
from math import inf
from typing import Self

from hanaper.settings import Settings

LOOK_EVERY_S = 1.0
ANSWER_S = 14.0
"""From the look that first saw bytes that are not taken: within `LOOK_EVERY_S` more, which makes 15 in all."""
LEAST_TAKEN = 65_536
"""Bytes that somebody takes of his answers in `ANSWER_S` at least, or all there are."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for a request, from its first byte, or from the beginning of its connection where that is later.

    Attributes:
        head_s: until the request line and all header lines are there.
        request_s: until all of it is there.
    """

    head_s: float
    request_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of an installation."""
        return cls(head_s=settings.head_timeout, request_s=settings.request_timeout)


class Receipt:
    """A request on its way in.

    Attributes:
        has_begun: whether anything of it is there.
        has_head: whether the request line and all header lines are there.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._since: float | None = None
        self.has_begun = False
        self.has_head = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is awaited."""
        return self._since is None

    def start(self, now: float) -> None:
        """Something is awaited from now on."""
        self._since = now
        self.has_begun = self.has_head = False

    def end(self) -> None:
        """All of it is there."""
        self._since = None

    def wait(self, now: float) -> None:
        """Up to now it was not the client's fault."""
        if self._since is not None:
            self._since = now

    def is_late(self, now: float) -> bool:
        """Whether the client has had its time."""
        return self._left_s(now) <= 0.0

    def next_look_s(self, now: float) -> float:
        """Seconds until it is late, if it is not yet."""
        left_s = self._left_s(now)
        return left_s if left_s > 0.0 else inf

    def _left_s(self, now: float) -> float:
        if self._since is None:
            return inf
        return self._since + (self._deadlines.request_s if self.has_head else self._deadlines.head_s) - now


class Sending:
    """Answers on their way out, beyond what the kernel keeps."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._left = 0

    def go_on(self) -> None:
        """The client has taken nearly all there was."""
        self._since = None

    def is_late(self, left: int, now: float) -> bool:
        """Whether the client takes next to nothing.

        Args:
            left: bytes that are to go out. More than before means another answer, not that some was taken.
            now: the moment in seconds.
        """
        if left == 0:
            self._since = None
        elif self._since is None or left <= self._left - LEAST_TAKEN:
            self._since, self._left = now, left
        return self._since is not None and now - self._since >= ANSWER_S
