"""PostgreSQL's own programs for backups, `pg_dump` and `pg_restore`, as they are found on PATH (decision 0017)."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from hanaper.refusal import Invalid, Misconfigured, Unavailable
from hanaper.storage import postgresql
from hanaper.storage.failures import translated
from hanaper.storage.transactions import Storage

LEFT_OUT = "configuration_version"
"""The table that is dumped without its row: see `storage.quarantine`."""

_ERROR = re.compile(r"^pg_\w+: error: (.*)$", re.MULTILINE)
# What comes after it may quote a row.
_OF_A_ROW = re.compile(r'^(COPY failed for table "\w+").*$')


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, for one database.

    Attributes:
        dump: path of `pg_dump`.
        restore: path of `pg_restore`.
        connection: the database, for `--dbname`. No secrets: every user of the machine can read arguments.
        environment: with the password.
    """

    dump: str
    restore: str
    connection: str
    environment: dict[str, str]

    def __repr__(self) -> str:
        return "Tools()"

    @classmethod
    def find(cls, storage: Storage) -> Self:
        """The programs on PATH, no older than the server.

        Raises:
            Misconfigured: they are missing, or too old.
            Unavailable: the database does not answer.
        """
        with translated(None), storage.engine.connect() as connection:
            server = int((connection.dialect.server_version_info or (0,))[0])
        conninfo, password = for_libpq(storage.database.url)
        environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
        if password is not None:
            environment["PGPASSWORD"] = password
        return cls(_program("pg_dump", server), _program("pg_restore", server), conninfo, environment)

    def make_dump(self, file: Path) -> None:
        """Dump the database, as it is when this begins, into an empty file, and read it once.

        Raises:
            Unavailable: `pg_dump` failed.
            Invalid: what it wrote cannot be read.
        """
        options = ("--format=custom", "--no-owner", "--no-acl", "--no-password", "--lock-wait-timeout=60000")
        # A standby has no unlogged tables to read, and nobody misses what is in them.
        left_out = ("--no-unlogged-table-data", f"--exclude-table-data=*.{LEFT_OUT}")
        self._run(self.dump, *options, *left_out, f"--file={file}", f"--dbname={self.connection}")
        self.read_through(file)

    def read_through(self, file: Path) -> None:
        """Read every byte of a dump.

        Raises:
            Invalid: it is damaged, cut off, or no dump.
        """
        self._read(file, "--file=/dev/null")

    def contents(self, file: Path) -> str:
        """The table of contents of a dump, as text.

        Raises:
            Invalid: it is damaged, or no dump.
        """
        return self._read(file, "--list")

    def rows(self, file: Path, *tables: str) -> str:
        """What tables hold, as COPY statements.

        Raises:
            Invalid: the dump is damaged.
        """
        return self._read(file, "--data-only", "--file=-", *(f"--table={table}" for table in tables))

    def restore_dump(self, file: Path) -> None:
        """Restore a dump into an empty database, as a whole or not at all.

        Raises:
            Unavailable: `pg_restore` failed. Nothing has been restored.
        """
        options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", "--no-password")
        self._run(self.restore, *options, f"--dbname={self.connection}", str(file))

    def _read(self, file: Path, *options: str) -> str:
        try:
            return self._run(self.restore, *options, str(file))
        except Unavailable as error:
            raise Invalid(f"{file} cannot be read as a backup of PostgreSQL; {error}") from error

    def _run(self, *command: str) -> str:
        ran = subprocess.run(  # noqa: S603 -- no shell; the program is PostgreSQL's, the arguments are ours
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if ran.returncode != 0:
            raise Unavailable(f"{Path(command[0]).name} says: {first_error(ran.stderr)}")
        return ran.stdout


def first_error(stderr: str) -> str:
    """What a program says of its failure, on one line, without rows."""
    found = _ERROR.search(stderr)
    line = found.group(1) if found else (stderr.strip().splitlines() or ["nothing"])[0]
    return _OF_A_ROW.sub(r"\1", line)


def _program(name: str, server: int) -> str:
    cure = f"install the client programs of PostgreSQL {server} (Debian: postgresql-client-{server})"
    path = shutil.which(name)
    if path is None:
        raise Misconfigured(f"there is no {name} on PATH: {cure}")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 -- see above
    version = re.search(r" (\d+)", said.stdout)
    if version is None or int(version.group(1)) < server:
        raise Misconfigured(
            f"{path} is {said.stdout.strip() or 'broken'}, and the server is PostgreSQL {server}: "
            f"{cure}, and put them first on PATH"
        )
    return path


def for_libpq(url: URL) -> tuple[str, str | None]:
    """The database as libpq takes it, without its password; and the password."""
    _, given = url.get_dialect()().create_connect_args(url)
    password = given.pop("password", None)
    known = {name: value for name, value in given.items() if "password" not in name}
    known.setdefault("connect_timeout", postgresql.CONNECT_ARGUMENTS["connect_timeout"])
    return make_conninfo("", **known), password
