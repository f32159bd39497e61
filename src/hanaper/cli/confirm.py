"""Asking before something that cannot be undone."""

import sys
from typing import Annotated, TypeAlias

import typer

from hanaper.refusal import Fault, Invalid

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask, for scripts.")]


def confirm(question: str) -> None:
    """Ask a person on the terminal; whoever is none has to say --yes beforehand.

    Raises:
        Invalid: there is nobody to ask.
        Fault: the answer was not yes.
    """
    if not sys.stdin.isatty():
        raise Invalid("this cannot be undone, and there is no terminal to ask on: confirm with --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Fault("nothing was changed")
