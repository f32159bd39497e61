"""Reading what a dump of PostgreSQL holds, without a database."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hanaper.backup.contents import Contents
from hanaper.keystore.models import SigningKey, WrappedSecret
from hanaper.keystore.store import ACTIVE
from hanaper.refusal import Invalid
from hanaper.storage.postgresql_tools import LEFT_OUT, Tools

_TABLE = re.compile(r"^\d+; .* TABLE DATA \S+ (\S+) ", re.MULTILINE)
_CREATED = re.compile(r"^; Archive created at (\S+ \S+)", re.MULTILINE)
_COPY = re.compile(r"^COPY \S*?(\w+) \((.+)\) FROM stdin;$")
_NEEDED = ("alembic_version", "signing_keys", "wrapped_secrets")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

Row = dict[str, str]


def read(tools: Tools, file: Path) -> Contents:
    """Read every byte of a dump, and see what it holds.

    Raises:
        Invalid: it is damaged, cut off, or was not made by `hanaper backup`.
    """
    tools.read_through(file)
    listing = tools.contents(file)
    tables = set(_TABLE.findall(listing))
    if not tables.issuperset(_NEEDED):
        raise Invalid(f"{file} is a backup of PostgreSQL, but not of hanaper")
    if LEFT_OUT in tables:
        # Between its restoration and its quarantine it could serve.
        raise Invalid(
            f"{file} was not made by `hanaper backup`: keep all servers off, restore it by pg_restore, and run "
            "`hanaper quarantine on --reason ...` before one is started"
        )
    try:
        return _contents(listing, _rows(tools.rows(file, *_NEEDED)))
    except (LookupError, ValueError) as error:
        raise Invalid(f"{file} is a backup of PostgreSQL, but not of a whole hanaper") from error


def _contents(listing: str, rows: dict[str, list[Row]]) -> Contents:
    created = _CREATED.findall(listing)[0]
    secrets = [_wrapped_secret(row) for row in rows["wrapped_secrets"]]
    return Contents(
        revision=rows["alembic_version"][0]["version_num"],
        signing_keys=[_signing_key(row) for row in rows["signing_keys"] if row["state"] == ACTIVE],
        pepper=secrets[0] if secrets else None,
        # Both programs run with the clock set to UTC.
        as_of=datetime.strptime(created, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC),
    )


def _rows(script: str) -> dict[str, list[Row]]:
    """The rows of COPY statements, by table."""
    found: dict[str, list[Row]] = {name: [] for name in _NEEDED}
    lines = iter(script.split("\n"))
    for line in lines:
        copied = _COPY.match(line)
        if copied is not None:
            names = copied.group(2).split(", ")
            found[copied.group(1)] += [dict(zip(names, values, strict=True)) for values in _values(lines)]
    return found


def _values(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if line == "\\.":
            return
        yield [re.sub(r"\\(.)", _unescaped, value) for value in line.split("\t")]


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found.group(1), found.group(1))


def _signing_key(row: Row) -> SigningKey:
    # NULL is \N. Backups of older schemas know no tokens.
    in_token = row["private_ciphertext"] == "N"
    return SigningKey(
        id=int(row["id"]),
        product_id=None if row["product_id"] == "N" else int(row["product_id"]),
        version=int(row["version"]),
        kid=row["kid"],
        algorithm=row["algorithm"],
        public_pem=row["public_pem"],
        private_ciphertext=None if in_token else _bytes(row["private_ciphertext"]),
        kek_id=None if in_token else row["kek_id"],
        token=row["token"] if in_token else None,
        state=row["state"],
    )


def _wrapped_secret(row: Row) -> WrappedSecret:
    return WrappedSecret(name=row["name"], ciphertext=_bytes(row["ciphertext"]), kek_id=row["kek_id"])


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("\\x"))
