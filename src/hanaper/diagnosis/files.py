"""The files of an installation: who owns them, and who may read them."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from hanaper.diagnosis.finding import Finding
from hanaper.keystore import kek_file
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def data_folder(settings: Settings, *, needed: bool) -> Iterator[Finding]:
    """The data folder.

    Args:
        settings: name it.
        needed: whether anything lies in it.
    """
    check, folder = "data-folder", settings.data_dir
    try:
        found = folder.stat()
    except OSError as error:
        if needed:
            yield Finding.problem(
                check,
                f"the data folder {folder} cannot be looked at ({error.strerror})",
                "name the right one by --data-dir or HANAPER_DATA_DIR, or make a new installation by `hanaper init`",
            )
        else:
            yield Finding.ok(check, "none, and nothing that needs one")
        return
    mode = stat.S_IMODE(found.st_mode)
    shown = f"the data folder {folder} has mode {mode:04o}"
    if not stat.S_ISDIR(found.st_mode):
        yield Finding.problem(check, f"{folder} is no folder", "name a folder by HANAPER_DATA_DIR")
    elif found.st_uid not in _expected_owners(found.st_uid):
        yield Finding.problem(
            check,
            f"the data folder {folder} belongs to {_user(found.st_uid)}, and this is {_user(os.geteuid())}",
            f"run hanaper as {_user(found.st_uid)}, or `chown -R {_user(os.geteuid())} {folder}`",
        )
    elif mode & _OTHERS_WRITE:
        yield Finding.problem(check, f"{shown}, others may exchange what is in it", f"chmod 700 {folder}")
    elif mode & _OTHERS:
        yield Finding.warning(check, f"{shown}, others may enter it", f"chmod 700 {folder}")
    else:
        yield Finding.ok(check, f"{shown}, owner {_user(found.st_uid)}")


def key_file(settings: Settings) -> Iterator[Finding]:
    """The file of the key encryption key."""
    check, file = "key-encryption-key", settings.key_encryption_key
    named = settings.key_encryption_key_file is not None
    try:
        kek_file.read(file, named_by_setting=named)
        found = file.stat()
    except Misconfigured as fault:
        yield Finding.fault(check, fault, "put the file back from its backup")
        return
    mode = stat.S_IMODE(found.st_mode)
    # A mounted secret belongs to whoever the engine gives it to.
    if not named and found.st_uid not in _expected_owners(file.parent.stat().st_uid):
        yield Finding.warning(
            check,
            f"the key encryption key {file} belongs to {_user(found.st_uid)}, who can exchange it",
            f"chown {_user(os.geteuid())} {file}",
        )
    else:
        yield Finding.ok(check, f"{file} has mode {mode:04o}, owner {_user(found.st_uid)}")


def missing_database(file: Path) -> Iterator[Finding]:
    """Why the SQLite file cannot be opened, if it cannot."""
    try:
        if file.is_file():
            return
        text, cure = f"there is no database {file}", "put it back from its backup, or run `hanaper init`"
    except OSError as error:
        text = f"the database {file} cannot be looked at ({error.strerror})"
        cure = "run this as the user hanaper runs as"
    yield Finding.problem("database", text, cure)


def database_file(file: Path) -> Iterator[Finding]:
    """The SQLite file, and what lies beside it."""
    check = "database-file"
    beside = [file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm", "-journal", ".lock", ".limits")]
    well = True
    for path in beside:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # There only while somebody has the database open.
        mode = stat.S_IMODE(found.st_mode)
        if mode & _OTHERS:
            well = False
            text = f"{path} has mode {mode:04o}, others may read license keys in it"
            yield Finding.problem(check, text, f"chmod 600 {path}")
        if found.st_uid not in _expected_owners(file.parent.stat().st_uid):
            well = False
            text = f"{path} belongs to {_user(found.st_uid)}, its folder to {_user(file.parent.stat().st_uid)}"
            yield Finding.problem(check, text, f"chown {_user(file.parent.stat().st_uid)} {path}")
    if well:
        yield Finding.ok(check, f"{file} is its owner's alone")


def _expected_owners(owner: int) -> set[int]:
    """Who may own a file here: whoever runs this. Root looks after others' servers: whoever owns the rest."""
    return {os.geteuid(), owner} if os.geteuid() == 0 else {os.geteuid()}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
