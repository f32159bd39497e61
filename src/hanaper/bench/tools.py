"""The programs of others that a measurement needs."""

import re
import shutil
import subprocess

from hanaper.refusal import Unavailable

_PACKAGES = {"wrk": "wrk", "openssl": "openssl"}


def find(name: str) -> str:
    """The path of a program.

    Raises:
        Unavailable: it is not installed; the text says how to get it.
    """
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES[name]
        raise Unavailable(f"{name} is not installed: apt install {package} (or brew install {package}), then again")
    return path


def require_all() -> None:
    """Make sure before anything is built up that every program is there.

    Raises:
        Unavailable: one is not.
    """
    for name in _PACKAGES:
        find(name)


def version(name: str) -> str:
    """What a program says of itself, in short."""
    option = {"wrk": "-v", "openssl": "version"}[name]
    ran = subprocess.run([find(name), option], capture_output=True, text=True, check=False)  # noqa: S603 -- fixed
    first = (ran.stdout or ran.stderr).splitlines()[0]
    # wrk adds its copyright, openssl its date and its library.
    return re.split(r" \[| Copyright| \(Library", first)[0]
