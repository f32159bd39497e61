"""The installed command in processes of its own: commands that end, and servers."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.orm import Session

from hanaper.settings import Settings
from hanaper.storage.transactions import Storage

LONGEST_S = 60
PROGRAM = (sys.executable, "-m", "hanaper")
_COVERAGE = "COVERAGE_PROCESS_CONFIG"
MEASURED = {name: value for name, value in os.environ.items() if name == _COVERAGE}
"""For a server whose coverage is measured. That takes as long as all that it imports: for tests of what servers do only
in processes of their own."""
_FORK_SERVER = Path(__file__).with_name("fork_server.py")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    arguments: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def last_line(self) -> str:
        return self.stderr.splitlines()[-1]

    def check(self, status: int) -> Self:
        """The expected exit status, and no traceback whatever it is."""
        shown = f"{self.arguments}\nexit status {self.status}\n{self.stdout}\n{self.stderr}"
        assert "Traceback" not in self.stdout + self.stderr, shown
        assert "internal error" not in self.stderr, shown
        assert self.status == status, shown
        return self


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anybody's settings, and with a terminal wide enough for all tables.

    Servers stop without a delay: there is no proxy that would have to notice. And wrong API keys are looked at however
    many there are: all tests have one address.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HANAPER_")}
    return {**kept, "COLUMNS": "250", "HANAPER_DRAIN_DELAY": "0", "HANAPER_FAILURES_PER_MINUTE": "0", **more}


class ForkServer:
    """See fork_server.py."""

    def __init__(self, process: "subprocess.Popen[bytes]", scratch: Path) -> None:
        self._process = process
        self._files = [scratch / name for name in ("stdin", "stdout", "stderr")]

    def run(self, arguments: tuple[str, ...], *, folder: Path, environment: dict[str, str], stdin: bytes) -> Outcome:
        for file, content in zip(self._files, (stdin, b"", b""), strict=True):
            file.write_bytes(content)
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "files": [str(file) for file in self._files],
            "seconds": LONGEST_S,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the fork server is gone"
        stdout, stderr = (file.read_text(encoding="utf-8") for file in self._files[1:])
        return Outcome(arguments, int(answer), stdout, stderr)


@contextmanager
def fork_server(scratch: Path) -> Iterator[ForkServer]:
    """A fork server; forks put their input and output into the scratch folder."""
    with subprocess.Popen(
        [sys.executable, str(_FORK_SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        yield ForkServer(process, scratch)


@dataclass(frozen=True)
class Hanaper:
    """The `hanaper` command, in a folder and an environment."""

    forks: ForkServer
    folder: Path
    environment: dict[str, str]
    program: tuple[str, ...] = PROGRAM

    def __call__(self, *arguments: str, status: int = 0, stdin: str | bytes = b"", **environment: str) -> Outcome:
        """Run a command in a fork of a process that has imported hanaper, and expect this exit status."""
        return self.forks.run(
            arguments,
            folder=self.folder,
            environment={**self.environment, **environment},
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        ).check(status)

    def anew(self, *arguments: str, status: int = 0, stdin: bytes = b"", **environment: str) -> Outcome:
        """Run `python -m hanaper`, as `hanaper` on the command line does, and expect this exit status."""
        ended = subprocess.run(
            [*self.program, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            timeout=LONGEST_S,
            check=False,
        )
        return Outcome(arguments, ended.returncode, ended.stdout.decode(), ended.stderr.decode()).check(status)

    @property
    def data_dir(self) -> Path:
        return Path(self.environment["HANAPER_DATA_DIR"])

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data_dir, database_url=self.environment.get("HANAPER_DATABASE_URL", ""))

    def sql(self, statement: str, **values: object) -> None:
        """Change the database behind the command's back."""

        def work(session: Session) -> None:
            session.execute(text(statement), values)

        with Storage.open(self.settings) as storage:
            storage.write(work)

    @contextmanager
    def serving(self, *arguments: str, program: Sequence[str] = (), **environment: str) -> Iterator["Server"]:
        """Run `hanaper serve` on a free port for the length of a `with` block; it need not be stopped by the test."""
        command = [*(program or self.program), "serve", *arguments]
        if "--port" not in arguments:
            command += ["--port", "0"]
        with (
            tempfile.TemporaryFile() as stdout,
            subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, _COVERAGE: "", **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,
            ) as process,
        ):
            server = Server(process)
            try:
                yield server
            finally:
                # Also where the first process has ended: its workers outlive it.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                # Before the pipe is closed on our side, too.
                server.read_to_the_end()
            stdout.seek(0)
            assert stdout.read() == b""


class Server:
    """A running `hanaper serve`; its log is collected while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Where it listens, as its log says."""
        url: str = self.wait_for("serving")["url"]
        return url

    @property
    def log(self) -> str:
        """All of standard error so far."""
        with self.more:
            return "\n".join(self.lines)

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The log lines of an event so far."""
        with self.more:
            return [line for line in map(json.loads, self.lines) if line["event"] == name]

    @property
    def workers(self) -> list[int]:
        """Ids of the processes that have begun to serve so far, in that order."""
        with self.more:
            return [int(pid) for pid in re.findall(r'"Started server process \[(\d+)\]"', "\n".join(self.lines))]

    def wait_for_workers(self, number: int) -> None:
        """Wait until so many have begun to serve, those counted that have ended since."""
        with self.more:
            found = self.more.wait_for(lambda: self._ended or len(self.workers) >= number, LONGEST_S)
            assert found, f"not so many workers: {number}\n{self.log}"

    def wait_for(self, event: str, times: int = 1) -> Mapping[str, Any]:
        """Wait until the log has an event; returns its line."""
        with self.more:
            self.more.wait_for(lambda: self._ended or len(self.events(event)) >= times, LONGEST_S)
            found = self.events(event)
            assert len(found) >= times, f"no {event!r} in the log:\n{self.log}"
            return found[-1]

    def stop(self, number: int = signal.SIGTERM, *, whole_group: bool = False) -> int:
        """Send a signal, wait for the end of all its processes, check the log; returns the exit status."""
        if whole_group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        status = self.process.wait(LONGEST_S)
        self.read_to_the_end()
        assert not self._reader.is_alive(), "a process of the server is still there"
        assert "Traceback" not in self.log
        for line in self.lines:
            assert isinstance(json.loads(line), dict), line
        return status

    def read_to_the_end(self) -> None:
        """Wait for the end of the log: that is when the last process that holds the pipe has ended."""
        self._reader.join(LONGEST_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.more:
                self.lines.append(line.decode().rstrip("\n"))
                self.more.notify_all()
        with self.more:
            self._ended = True
            self.more.notify_all()
