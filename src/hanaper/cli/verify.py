"""`hanaper verify`: check the signature of an answer. Needs no database."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hanaper.cli.output import note
from hanaper.protocol import envelope
from hanaper.refusal import Fault, Invalid
from hanaper.signing.verifier import Verifier

LARGEST_FILE = 64 * 1024 * 1024


def verify(
    file: Annotated[Path, typer.Argument(help="An answer as it was received; - for standard input.")],
    public_key: Annotated[Path, typer.Option("--public-key", help="PEM file of the product, or the global one.")],
) -> None:
    """Check an answer and print its payload. Exit status 1 when it does not verify."""
    try:
        verifier = Verifier.from_pem(_read(public_key))
    except ValueError as error:
        raise Invalid(f"the public key {public_key} is not usable: {error}") from error
    shown = "standard input" if str(file) == "-" else str(file)
    try:
        received = envelope.decode(_read(file))
    except ValueError as error:
        raise Fault(f"{shown} does not verify: {error}") from error
    if not verifier.accepts_envelope(received):
        raise Fault(
            f"{shown} does not verify: the signature was not made over this answer by the private key of {public_key} "
            f"(the answer says it is signed with the {received.private_key_used} key)"
        )
    print(json.dumps(json.loads(received.payload_bytes), ensure_ascii=False, indent=2))
    note(f"Verified: signed with the private key of {public_key}.")


def _read(file: Path) -> bytes:
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(LARGEST_FILE)
        with file.open("rb") as stream:
            return stream.read(LARGEST_FILE)
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
