"""`hanaper generate`: issue license keys from the command line, by the same use case as the API."""

import asyncio
import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer

from hanaper.access.authenticate import OPERATOR
from hanaper.cli.options import DataDir, opened, reference
from hanaper.cli.output import note
from hanaper.cli.progress import progress
from hanaper.cli.records import Format, RecordWriter, open_output
from hanaper.cli.resumable import Resumable
from hanaper.issuing import store
from hanaper.issuing.generate import Batched, generate
from hanaper.issuing.plan import Order
from hanaper.licenses import store as licenses
from hanaper.licenses.rules import LONGEST_VALIDITY_DAYS, MOST_ACTIVATIONS
from hanaper.refusal import Invalid, Quarantined, Refusal
from hanaper.storage import quarantine
from hanaper.storage.configuration import ConfigurationChanged
from hanaper.storage.scope import EVERYTHING
from hanaper.web.services import Services

KEYS_PER_BATCH = 1000
MOST_KEYS = 100_000_000
_FIELDS = ("license_key", "batch")


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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the file of the same command that was interrupted or killed.")
    ] = False,
    activation_limit: Annotated[
        int | None, typer.Option(min=0, max=MOST_ACTIVATIONS, help="Instead of the generator's.")
    ] = None,
    validity: Annotated[
        int | None, typer.Option(min=0, max=LONGEST_VALIDITY_DAYS, help="Days, instead of the generator's.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Generate license keys. They are stored and signed in batches of 1,000, and written as they are stored."""
    order = Order(reference(generator), quantity, activation_limit, validity)
    to_file = output is not None and str(output) != "-"
    if resume and (not to_file or form == "envelope"):
        raise Invalid("--resume goes on with a file: name it by --output, its format is csv or jsonl")
    with opened(data_dir) as services:
        if form == "envelope":
            if quantity > KEYS_PER_BATCH:
                raise Invalid(f"an envelope holds one batch, at most {KEYS_PER_BATCH:,} license keys")
            _write_envelope(order, services, output)
        elif output is None or not to_file:
            with open_output(None) as stream:
                _Run(order, services, uuid4().hex, RecordWriter(stream, form, _FIELDS)).go_on()
        else:
            file = Resumable(output, form, _terms(order))
            (_go_on_with if resume else _begin)(file, form, order, services)
    if to_file or sys.stderr.isatty():
        note(f"{quantity:,} license keys stored")


class _Run:
    """An order on its way, in batches that have the request id in common."""

    def __init__(self, order: Order, services: Services, request_id: str, writer: RecordWriter) -> None:
        self.stored = 0
        self._order = order
        self._services = services
        self._request_id = request_id
        self._writer = writer

    def go_on(self) -> None:
        """Issue and write what is missing, a batch at a time.

        Raises:
            KeyboardInterrupt: somebody asked to stop. The batch under way has been stored and written.
        """
        quantity = self._order.quantity
        with (
            progress("Generating", quantity, shown=quantity > KEYS_PER_BATCH) as advance,
            _stop_between_batches() as stop,
            asyncio.Runner() as runner,
        ):
            advance(self.stored)
            while self.stored < quantity and not stop():
                part = min(KEYS_PER_BATCH, quantity - self.stored)
                batch = runner.run(_issue(self._order, part, self._services, self._request_id))
                self.stored += part
                self.write(batch.batch_id, batch.license_keys)
                advance(part)
        if self.stored < quantity:
            note(f"hanaper: stopped after {self.stored:,} of {quantity:,} license keys; those are stored and written")
            raise KeyboardInterrupt

    def write(self, batch_id: int, license_keys: list[str]) -> None:
        """Write a batch."""
        for license_key in license_keys:
            self._writer.write({"license_key": license_key, "batch": batch_id})
        self._writer.flush()


def _begin(file: Resumable, form: Format, order: Order, services: Services) -> None:
    with file.begun() as (request_id, stream):
        run = _Run(order, services, request_id, RecordWriter(stream, form, _FIELDS))
        try:
            run.go_on()
        except KeyboardInterrupt:
            note(f"The same command with --resume goes on with {file.file}.")
            raise
        except (Refusal, Quarantined):
            if not run.stored:
                file.drop()  # Else the same command, its cause mended, would find the file there.
            raise


def _go_on_with(file: Resumable, form: Format, order: Order, services: Services) -> None:
    with file.resumed() as (request_id, binary):
        quantities = dict(
            services.storage.read(lambda session: store.batches_of(session, request_id, scope=EVERYTHING))
        )
        written = file.whole_batches(binary, quantities)
        stream = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            writer = RecordWriter(stream, form, _FIELDS, header=binary.tell() == 0)
            run = _Run(order, services, request_id, writer)
            for batch_id, stored in quantities.items():
                # Stored, but the command did not live to write it.
                if batch_id not in written:
                    run.write(
                        batch_id, services.storage.read(partial(licenses.of_batch, batch_id=batch_id, scope=EVERYTHING))
                    )
                run.stored += stored
            run.go_on()
        finally:
            stream.detach()


def _write_envelope(order: Order, services: Services, output: Path | None) -> None:
    with open_output(output) as stream:
        try:
            batch = asyncio.run(_issue(order, order.quantity, services, uuid4().hex))
        except (Refusal, Quarantined):
            if output is not None and str(output) != "-":
                output.unlink()
            raise
        print(batch.answer.body.decode("ascii"), file=stream)


def _terms(order: Order) -> dict[str, object]:
    return {
        "generator": order.generator,
        "quantity": order.quantity,
        "activation_limit": order.activation_limit,
        "validity": order.validity,
    }


async def _issue(order: Order, quantity: int, services: Services, request_id: str) -> Batched:
    part = Order(order.generator, quantity, order.activation_limit, order.validity)
    while True:
        try:
            snapshot = await services.configuration.snapshot(anew=True)
            await quarantine.require_none_at(snapshot)
            return await generate(
                part,
                OPERATOR,
                request_id,
                snapshot,
                storage=services.storage,
                signing=services.signing,
                clock=services.clock,
            )
        except ConfigurationChanged:
            continue


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
