"""`hanaper generate`: issue license keys from the command line, by the same use case as the API."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TextIO
from uuid import uuid4

import typer

from hanaper.access.authenticate import OPERATOR
from hanaper.cli.options import DataDir, opened, reference
from hanaper.cli.output import note
from hanaper.cli.progress import progress
from hanaper.cli.records import Format, RecordWriter, open_output
from hanaper.issuing.generate import Batched, generate
from hanaper.issuing.plan import Order
from hanaper.licenses.rules import LONGEST_VALIDITY_DAYS, MOST_ACTIVATIONS
from hanaper.refusal import Invalid, Refusal
from hanaper.web.services import Services

KEYS_PER_BATCH = 1000
MOST_KEYS = 100_000_000


def generate_keys(
    generator: Annotated[str, typer.Option(help="Id or UUID of the generator.")],
    quantity: Annotated[int, typer.Option(min=1, max=MOST_KEYS, help="How many license keys.")],
    form: Annotated[
        Literal["csv", "jsonl", "envelope"],
        typer.Option("--format", help="csv; jsonl, one JSON object a line; or the signed envelope, for one batch."),
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file.", show_default="standard output")
    ] = None,
    activation_limit: Annotated[
        int | None, typer.Option(min=0, max=MOST_ACTIVATIONS, help="Instead of the generator's.")
    ] = None,
    validity: Annotated[
        int | None, typer.Option(min=0, max=LONGEST_VALIDITY_DAYS, help="Days, instead of the generator's.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Generate license keys. They are stored and signed in batches of 1,000, and written as they are stored."""
    if form == "envelope" and quantity > KEYS_PER_BATCH:
        raise Invalid(f"an envelope holds one batch, at most {KEYS_PER_BATCH:,} license keys")
    stored = 0
    with opened(data_dir) as services, open_output(output) as stream:
        write = _envelopes(stream) if form == "envelope" else _records(stream, form)
        try:
            shown = quantity > KEYS_PER_BATCH
            with progress("Generating", quantity, shown=shown) as advance, _stop_between_batches() as stop:
                while stored < quantity and not stop():
                    part = min(KEYS_PER_BATCH, quantity - stored)
                    order = Order(reference(generator), part, activation_limit, validity)
                    batch = _issue(order, services)
                    stored += part
                    write(batch)
                    advance(part)
        except Refusal:
            if not stored and output is not None and str(output) != "-":
                output.unlink()  # Else the same command, its cause mended, would find the file there.
            raise
    if output is not None or sys.stderr.isatty():
        note(f"{stored:,} license keys stored")
    if stored < quantity:
        note(f"hanaper: stopped after {stored:,} of {quantity:,} license keys; those are stored and written")
        raise KeyboardInterrupt


def _issue(order: Order, services: Services) -> Batched:
    async def issue() -> Batched:
        snapshot = await services.configuration.snapshot(anew=True)
        return await generate(
            order,
            OPERATOR,
            uuid4().hex,
            snapshot,
            storage=services.storage,
            signing=services.signing,
            clock=services.clock,
        )

    return asyncio.run(issue())


@contextmanager
def _stop_between_batches() -> Iterator[Callable[[], bool]]:
    """Let an interrupt wait until the batch that is under way is stored and written; a second one does not wait."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _envelopes(stream: TextIO) -> Callable[[Batched], None]:
    return lambda batch: print(batch.answer.body.decode("ascii"), file=stream)


def _records(stream: TextIO, form: Format) -> Callable[[Batched], None]:
    writer = RecordWriter(stream, form, ("license_key", "batch"))

    def write(batch: Batched) -> None:
        for license_key in batch.license_keys:
            writer.write({"license_key": license_key, "batch": batch.batch_id})
        writer.flush()

    return write
