"""`hanaper audit`: who changed what, and whether what is written of it is as it was sealed."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hanaper.app import sealer_of
from hanaper.audit import archive as archives
from hanaper.audit import keys, rules, store
from hanaper.audit import verify as verification
from hanaper.audit.models import AuditEvent
from hanaper.audit.verify import Verdict
from hanaper.cli.audit_prune import prune
from hanaper.cli.options import AsJson, DataDir, in_utc, load_settings, opened, opened_storage
from hanaper.cli.output import note, print_json, print_row, print_rows
from hanaper.cli.progress import progress
from hanaper.clock import iso_z
from hanaper.keystore.keys import Keystore
from hanaper.refusal import Invalid

app = typer.Typer(help="The audit log: who changed what.", no_args_is_help=True)

Tokens: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="What follows `checkpoint` in a line of the server's log, the newest best; repeat for several."),
]
_COLUMNS = ("id", "at", "actor", "address", "action", "about", "code")


@app.command("list")
def list_rows(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Not those before it, in UTC."),
    ] = None,
    action: Annotated[
        str | None, typer.Option(help='Only of this endpoint or command, as in "generate", "product" or "product set".')
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what was changed, newest first."""
    with opened_storage(data_dir) as storage:
        rows = storage.read(
            lambda session: [
                _row(event) for event in store.listed(session, since=in_utc(since), action=action, limit=limit)
            ]
        )
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "about": _about(row)} for row in rows]
    print_rows(shown, _COLUMNS, as_json=False, empty="Nothing was changed.")


@app.command("verify")
def verify(
    checkpoint: Tokens = None,
    archive: Annotated[
        Path | None, typer.Option(help="A file of `hanaper audit prune`, instead of the log itself.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare every row with its seal; exit status 1 when something was changed. A server may be running."""
    known = [_known(text) for text in checkpoint or ()]
    if archive is not None and known:
        raise Invalid("an archive has its own checkpoint: name either --archive or --checkpoint")
    settings = load_settings(data_dir)
    with opened_storage(data_dir) as storage:
        keystore = Keystore.from_settings(settings)
        if archive is not None:
            cuts = storage.read(lambda session: keys.own_cuts(session, keystore))
            verdict = archives.verify(archive, [cut.checkpoint for cut in cuts])
        else:
            with progress("Verifying", storage.read(store.count)) as advance:
                verdict = verification.verify(storage, keystore, known=known, advance=advance)
    _tell(verdict, as_json=as_json)


def _tell(verdict: Verdict, *, as_json: bool) -> None:
    findings = [asdict(finding) for finding in verdict.findings]
    first = verdict.first
    counts = {
        "rows": verdict.rows,
        "sealed": verdict.sealed,
        "checkpoints": verdict.checkpoints,
        "pruned_up_to": verdict.pruned_up_to,
        "unsealed_since": None if verdict.unsealed_since is None else iso_z(verdict.unsealed_since),
    }
    if as_json:
        broken = None if first is None else first.row
        print_json({"clean": first is None, **counts, "first": broken, "found": verdict.found, "findings": findings})
    else:
        print_row(counts, as_json=False)
        print_rows(findings, ("kind", "row", "text"), as_json=False, empty="Nothing was changed since it was sealed.")
        if verdict.pruned_up_to is not None:
            note(f"Rows up to {verdict.pruned_up_to} were pruned by this installation: verified from there on.")
        if first is not None:
            note(f"{verdict.found:,} findings; the first row that is not as it was sealed: {first.row}")
    if first is not None:
        raise typer.Exit(1)


@app.command("seal")
def seal(data_dir: DataDir = None) -> None:
    """Seal what has not been sealed yet, and print the checkpoint. A server does it every half minute."""
    with opened(data_dir) as services:
        sealed = sealer_of(services).seal()
        last = services.storage.read(store.last_checkpoint)
    note(f"{sealed:,} rows sealed")
    if last is not None:
        print(last.token)


app.command("prune")(prune)


def _known(text: str) -> rules.Checkpoint:
    found = rules.from_token(text)
    if found is None:
        raise Invalid("this is no checkpoint: it stands in the server's log behind `checkpoint`, and begins with 1:")
    return found


def _row(event: AuditEvent) -> dict[str, object]:
    return {
        "id": event.id,
        "at": iso_z(event.at),
        "actor": "command line" if event.api_key_id is None else f"API key {event.api_key_id}",
        "api_key_id": event.api_key_id,
        "address": event.address,
        "action": event.action,
        "objects": _objects(event.objects),
        "batch": event.batch_id,
        "license_digest": None if event.license_digest is None else event.license_digest.hex(),
        "code": event.code,
        "request_id": event.request_id,
    }


def _about(row: dict[str, object]) -> str:
    objects = row["objects"]
    named = objects if isinstance(objects, dict) else {}
    batch = {} if row["batch"] is None else {"batch": row["batch"]}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in {**named, **batch}.items()) or "-"


def _objects(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
