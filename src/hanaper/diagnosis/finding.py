"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from hanaper.refusal import Fault, Misconfigured


class Verdict(StrEnum):
    """How bad it is. A problem breaks what is promised; a warning may be what somebody wants."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name, one of `diagnose.CHECKS`.
        verdict: how bad it is.
        text: one line; no secret.
        cure: what to do; empty where nothing needs doing.
    """

    check: str
    verdict: Verdict
    text: str
    cure: str = ""

    @classmethod
    def ok(cls, check: str, text: str) -> Self:
        """All is well."""
        return cls(check, Verdict.OK, text)

    @classmethod
    def warning(cls, check: str, text: str, cure: str) -> Self:
        """It may be what somebody wants."""
        return cls(check, Verdict.WARNING, text, cure)

    @classmethod
    def problem(cls, check: str, text: str, cure: str) -> Self:
        """It breaks what is promised."""
        return cls(check, Verdict.PROBLEM, text, cure)

    @classmethod
    def fault(cls, check: str, fault: Fault, cure: str) -> Self:
        """What a server would not start for.

        Args:
            check: its name.
            fault: its text says what is wrong. Where that is a setting, a key or the schema, it says what to do after
                a colon.
            cure: what to do where it does not.
        """
        text, colon, told = str(fault).partition(": ")
        told_what_to_do = colon and isinstance(fault, Misconfigured)
        return cls.problem(check, text, told) if told_what_to_do else cls.problem(check, str(fault), cure)
