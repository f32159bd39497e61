"""How a command names one license key: by its id. Its text is a secret, and no argument."""

import sys
from typing import Annotated, TypeAlias

import typer

from hanaper.access.authenticate import OPERATOR
from hanaper.cli.options import reference
from hanaper.licenses import check, rules
from hanaper.licenses.models import LicenseKey
from hanaper.products.store import Facts
from hanaper.refusal import Invalid
from hanaper.storage.session import Session

Named: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Id of the license key, see `hanaper key list`; - reads its text from standard input."
    ),
]


def named(argument: str) -> int | str:
    """An id, or the text of a license key from standard input.

    Raises:
        Invalid: neither. The text does not repeat what was typed: it may be a license key.
    """
    if argument != "-":
        number = reference(argument) if argument.isprintable() else None
        if not isinstance(number, int):
            raise Invalid(
                "a license key is named by its id, see `hanaper key list`, or by -, and then read from standard input"
            )
        return number
    license_key = read_license_key()
    fault = rules.license_key_fault(license_key)
    if fault is not None:
        raise Invalid(fault)
    return license_key


def read_license_key() -> str:
    """One line of standard input.

    Raises:
        Invalid: it is not text.
    """
    try:
        return sys.stdin.readline().strip()
    except UnicodeDecodeError as error:
        raise Invalid("the license key on standard input is not text") from error


def existing(session: Session, which: int | str, *, lock: bool = True) -> tuple[LicenseKey, Facts]:
    """A license key with its product.

    Args:
        which: what `named` returned.
        lock: keep others from changing it until the transaction ends.

    Raises:
        Invalid: there is none.
    """
    found = check.existing(session, which, OPERATOR, lock=lock)
    if found is None:
        what = f"license key {which}" if isinstance(which, int) else "such license key"
        raise Invalid(f"there is no {what}: see `hanaper key list`")
    return found
