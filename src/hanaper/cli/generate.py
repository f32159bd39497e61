"""`hanaper generate`: issue license keys from the command line, by the same use case as the API."""

import sys
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer

from hanaper.access.authenticate import OPERATOR
from hanaper.cli.options import DataDir, opened, reference
from hanaper.cli.output import note
from hanaper.cli.progress import progress
from hanaper.cli.records import RecordWriter, open_output
from hanaper.issuing.generate import Order, generate
from hanaper.licenses.rules import LONGEST_VALIDITY_DAYS, MOST_ACTIVATIONS
from hanaper.refusal import Invalid, Refusal

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
    done = 0
    with opened(data_dir) as services, open_output(output) as stream:
        writer = None if form == "envelope" else RecordWriter(stream, form, ("license_key", "batch"))
        try:
            with progress("Generating", quantity, shown=quantity > KEYS_PER_BATCH) as advance:
                while done < quantity:
                    part = min(KEYS_PER_BATCH, quantity - done)
                    order = Order(reference(generator), part, activation_limit, validity)
                    batch = generate(
                        order,
                        OPERATOR,
                        uuid4().hex,
                        storage=services.storage,
                        signing=services.signing,
                        clock=services.clock,
                    )
                    if writer is None:
                        stream.write(batch.answer.body.decode("ascii") + "\n")
                    else:
                        for license_key in batch.license_keys:
                            writer.write({"license_key": license_key, "batch": batch.batch_id})
                        writer.flush()
                    done += part
                    advance(part)
        except Refusal:
            if not done and output is not None and str(output) != "-":
                output.unlink()  # Else the same command, its cause mended, would find the file there.
            raise
        finally:
            if done < quantity and done:
                note(f"hanaper: stopped after {done:,} of {quantity:,} license keys; those are stored and written")
    if output is not None or sys.stderr.isatty():
        note(f"{done:,} license keys stored")
