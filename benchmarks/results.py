"""Results: a line of JSON for each run, with all that has to be known about it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]

FOLDER = Path(__file__).with_name("results")


@dataclass
class Recorder:
    """Appends lines to a file of today.

    Attributes:
        name: what is measured: "full", "quick" or "growth".
        conditions: hardware, versions, settings; they go into each line.
        failures: what went wrong so far.
    """

    name: str
    conditions: Line
    folder: Path = FOLDER
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    failures: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """Where the lines go."""
        return self.folder / f"{self.began:%Y-%m-%d}-{self.name}.jsonl"

    def write(self, kind: str, **fields: Any) -> None:
        """Write one line."""
        head = {"kind": kind, "measurement": self.began.isoformat(timespec="seconds")}
        line = head | {"at": datetime.now(UTC).isoformat(timespec="seconds")} | fields | self.conditions
        self.folder.mkdir(exist_ok=True)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def newest(name: str, folder: Path = FOLDER) -> list[Line]:
    """The lines of the newest measurement of a name; none where there is no such measurement."""
    files = sorted(folder.glob(f"[0-9]*-{name}.jsonl"))
    if not files:
        return []
    lines = [json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["measurement"] == lines[-1]["measurement"]]


def matching(lines: Sequence[Line], kind: str, **labels: object) -> list[Line]:
    """Lines of a kind with these fields."""
    return [
        line
        for line in lines
        if line["kind"] == kind and all(line.get(name) == value for name, value in labels.items())
    ]


def commit() -> str:
    """The commit of the source tree, with a plus where it has been changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(FOLDER.parent), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed
        return ran.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../alembic", "../requirements.lock")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")
