"""Options that several commands share, and what they turn into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from pydantic import ValidationError

from hanaper import log
from hanaper.app import open_services
from hanaper.refusal import Invalid, Misconfigured
from hanaper.settings import Settings, describe
from hanaper.storage.schema import require_current
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the data.", envvar="HANAPER_DATA_DIR", show_default="./data"),
]
LARGEST_ID = 2**63 - 1
# The largest id has one digit more.
_MOST_ID_DIGITS = 18

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Expires: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--expires", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it ends, in UTC."),
]


def load_settings(data_dir: Path | None, *, serving: bool = False) -> Settings:
    """The settings, with --data-dir laid over the environment. Processes started from here inherit it.

    Args:
        serving: log as the settings say. Other commands only warn, in plain text.

    Raises:
        Misconfigured: a setting is not allowed; the text names the variable.
    """
    if data_dir is not None:
        os.environ["HANAPER_DATA_DIR"] = str(data_dir.expanduser().absolute())
    try:
        settings = Settings()
    except ValidationError as error:
        raise Misconfigured(describe(error)) from error
    if serving:
        log.configure(settings.log_level, settings.log_format)
    else:
        log.configure("warning", "text")
    return settings


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Services]:
    """The services of an installation, for the length of a command.

    Raises:
        Misconfigured: see `open_services`.
        Unavailable: the database does not answer.
    """
    services = open_services(load_settings(data_dir), serving=False)
    try:
        yield services
    finally:
        services.storage.close()


@contextmanager
def opened_storage(data_dir: Path | None) -> Iterator[Storage]:
    """The database alone, for a command that needs no key.

    Raises:
        Misconfigured: there is none, or its schema is not current.
        Unavailable: it does not answer.
    """
    with Storage.open(load_settings(data_dir), make=False) as storage:
        require_current(storage)
        yield storage


def reference(text: str) -> int | str:
    """An id (digits) or a UUID or slug (anything else) that somebody typed.

    Raises:
        Invalid: it is none of them, and no database could be asked for it.
    """
    if not text.isprintable():
        raise Invalid("an id, a UUID or a slug has printable characters only")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_ID_DIGITS else text


def in_utc(moment: datetime | None) -> datetime | None:
    """A moment somebody typed, in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)
