"""What a check has found."""

from collections import Counter
from dataclasses import dataclass, field

MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. It names ids, never a license key.

    Attributes:
        kind: one word for scripts.
        table: where it is.
        id: of the row; None where it is no single row.
        text: for people.
    """

    kind: str
    table: str
    id: int | None
    text: str


@dataclass
class Report:
    """Grows while a store is checked.

    Attributes:
        checked: how many rows of each table, and how many signatures, have been checked.
        counts: how many findings of each kind there are.
        findings: the first of them.
    """

    checked: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, table: str, row_id: int | None, text: str) -> None:
        """Count a finding, and list it while there is room."""
        self.counts[kind] += 1
        if len(self.findings) < MOST_LISTED:
            self.findings.append(Finding(kind, table, row_id, text))

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts
