"""One run: a load on a server, and the proof that what was answered is true and stored."""

from dataclasses import dataclass
from pathlib import Path

from hanaper.bench import database, load, processes
from hanaper.bench.answer import check_answer
from hanaper.bench.database import Stored
from hanaper.bench.installation import Installation
from hanaper.bench.load import Load, Seen
from hanaper.bench.processes import Memory
from hanaper.bench.server import Server
from hanaper.refusal import Fault
from hanaper.storage.transactions import Storage


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a load.

    Attributes:
        microseconds: processor time per request, by who spent it: "server" (with SQLite in it), "database" (the
            processes of PostgreSQL), "load generator", "others" (what else ran, the kernel's own work), "idle".
        memory: of the server's processes, at the end.
    """

    load: Load
    seen: Seen
    stored: Stored
    microseconds: dict[str, float]
    memory: list[Memory]

    @property
    def requests_per_s(self) -> float:
        """Answers a second."""
        return self.seen.requests_per_s

    @property
    def keys_per_s(self) -> float:
        """License keys a second."""
        return self.seen.requests_per_s * self.load.quantity


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, and all that is needed to measure it.

    Attributes:
        folder: for scratch files.
    """

    server: Server
    installation: Installation
    storage: Storage
    folder: Path
    cores: int

    def warm_up(self, wanted: Load) -> None:
        """A second of load that is not counted: connections to the database are made, code is loaded.

        What it leaves under way has come to its end when this returns.
        """
        load.run(
            Load(wanted.quantity, wanted.connections, 1),
            self.server.generate_url,
            self.installation.fields,
            folder=self.folder,
            cores=self.cores,
        )
        database.stored_since(self.storage, database.stored(self.storage))

    def run(self, wanted: Load) -> Run:
        """Put the server under load, with a checked answer before and after.

        Raises:
            Fault: there was an error, an answer was wrong, or the database has not what was answered. The run is worth
                nothing.
        """
        check_answer(self.server.generate_url, self.installation, wanted.quantity)
        before = database.stored(self.storage)
        database_pid = database.process(self.storage)
        spent = _Spent(self.server.pid, database_pid)
        seen = load.run(
            wanted, self.server.generate_url, self.installation.fields, folder=self.folder, cores=self.cores
        )
        seconds = spent.since(seen)
        memory = processes.memory(self.server.pid)
        stored = database.stored_since(self.storage, before)
        require_success(wanted, seen, stored)
        check_answer(self.server.generate_url, self.installation, wanted.quantity)
        microseconds = {name: value * 1e6 / seen.answers for name, value in seconds.items()}
        return Run(wanted, seen, stored, microseconds, memory)


def require_success(wanted: Load, seen: Seen, stored: Stored) -> None:
    """Make sure that a run had no errors, and that the database has what was answered.

    What wrk did not wait for when it stopped may be stored, too: at most one batch for each connection.

    Raises:
        Fault: says what is wrong.
    """
    failed = {kind: number for kind, number in seen.errors.items() if number}
    if failed:
        shown = ", ".join(f"{number} {kind}" for kind, number in failed.items())
        raise Fault(f"the run has failed: errors by kind: {shown}")
    if seen.answers == 0:
        raise Fault("the run has failed: there was no answer at all")
    least, most = seen.answers, seen.answers + wanted.connections
    if stored.license_keys != stored.batches * wanted.quantity or not least <= stored.batches <= most:
        raise Fault(
            f"the run has failed: {seen.answers} answers of {wanted.quantity} license keys, but "
            f"{stored.license_keys} license keys in {stored.batches} batches are stored"
        )


class _Spent:
    """Who spent the processor time since this was made."""

    def __init__(self, server: int, database_server: int | None) -> None:
        self._pids = {"server": server, "database": database_server}
        self._began = self._now()

    def since(self, seen: Seen) -> dict[str, float]:
        """Seconds by who spent them."""
        passed = {name: value - self._began[name] for name, value in self._now().items()}
        busy, idle = passed.pop("busy"), passed.pop("idle")
        passed["load generator"] = seen.cpu_s
        return passed | {"others": max(0.0, busy - sum(passed.values())), "idle": idle}

    def _now(self) -> dict[str, float]:
        busy, idle = processes.machine_s()
        found = {name: processes.cpu_s(pid) for name, pid in self._pids.items()}
        return found | {"busy": busy, "idle": idle}
