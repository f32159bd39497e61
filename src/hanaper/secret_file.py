"""Files that hold a secret: readable by their owner only."""

import stat
from pathlib import Path

from hanaper.refusal import Misconfigured

_LONGEST_FILE = 4096


def read(file: Path, *, what: str, missing: str, named_by_setting: bool) -> bytes:
    """Read a secret.

    Args:
        file: its path.
        what: it is, for people.
        missing: what to do where there is none.
        named_by_setting: the file is a mounted secret that a setting names. Orchestrators give those to a group, so the
            group may read it.

    Raises:
        Misconfigured: missing, not a file, or readable by others. One line, with the cure.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Misconfigured(f"{what} {file} is not a file: put the secret's file there")
        content = file.read_bytes()[:_LONGEST_FILE]
    except FileNotFoundError as error:
        raise Misconfigured(f"{what} {file} is missing: {missing}") from error
    except OSError as error:
        raise Misconfigured(
            f"{what} {file} cannot be read ({error.strerror}): give it to the user hanaper runs as"
        ) from error
    forbidden = 0o037 if named_by_setting else 0o077
    if found.st_mode & forbidden:
        raise Misconfigured(
            f"{what} {file} has mode {stat.S_IMODE(found.st_mode):04o}, others may read it: run `chmod 600 {file}`"
        )
    return content
