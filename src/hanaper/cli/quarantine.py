"""`hanaper quarantine`: whether a database that comes from a backup may issue license keys."""

from typing import Annotated

import typer

from hanaper.backup.store import Held, held
from hanaper.cli.change import change_at
from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.options import AsJson, DataDir, load_settings, opened_storage
from hanaper.cli.output import note, print_row
from hanaper.clock import plain, utc_now
from hanaper.refusal import Invalid
from hanaper.storage import quarantine as rule
from hanaper.storage.configuration import Quarantine
from hanaper.storage.session import Session

app = typer.Typer(help="Whether a database that comes from a backup may issue license keys; alone: show it.")


@app.callback(invoke_without_command=True)
def show(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show whether the database is in quarantine. In it whatever would change something is refused with 1705."""
    if context.invoked_subcommand is not None:
        load_settings(data_dir)  # The subcommand inherits it.
        return
    with opened_storage(data_dir) as storage:
        rule.require_complete(storage)
        print_row(_row(storage.read(rule.current)), as_json=as_json)


@app.command("on")
def enter(
    reason: Annotated[str, typer.Option(help="Why, for those who will lift it.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put the database in quarantine: after it was restored by other means than `hanaper restore`, for one."""
    if not (0 < len(reason) <= rule.LONGEST_REASON and reason.isprintable()):
        raise Invalid(f"a reason has 1 to {rule.LONGEST_REASON} printable characters")
    with opened_storage(data_dir) as storage:
        now = utc_now()
        entered = change_at(storage, "quarantine on", lambda session: rule.enter(session, reason, now=now), now=now)
        if entered.reason != reason:
            note("It was in quarantine before, and stays so with its reason.")
        print_row(_row(entered), as_json=as_json)


@app.command("off")
def leave(yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lift the quarantine, after you made sure that no other server issues license keys of the same database."""
    with opened_storage(data_dir) as storage:
        rule.require_complete(storage)

        def look(session: Session) -> tuple[Quarantine | None, Held]:
            return rule.current(session), held(session)

        found, content = storage.read(look)
        if found is not None:
            note(_warning(found, content))
            if not yes:
                confirm("Is the old server off for good, and may this one issue license keys?")
            change_at(storage, "quarantine off", rule.leave, now=utc_now())
        print_row(_row(None), as_json=as_json)


def _row(found: Quarantine | None) -> dict[str, object]:
    return {
        "quarantine": found is not None,
        "reason": None if found is None else found.reason,
        "since": None if found is None else f"{plain(found.since)} UTC",
    }


def _warning(found: Quarantine, content: Held) -> str:
    newest = "It has no batch of license keys."
    if content.batch_at is not None:
        newest = f"Its newest batch is {content.batch_id}, of {plain(content.batch_at)} UTC."
    return f"""\
In quarantine since {plain(found.since)} UTC: {found.reason}.
It has {content.license_keys:,} license keys. {newest}
What was done after the backup is not in it:
- License keys issued since are unknown here, and do not verify. Random ones (UUIDs and the like) are not drawn again;
  a generator with few possibilities may draw them again. Caps have been counted back.
- What was revoked, suspended, blocked or withdrawn since, license keys and API keys, counts again. Do it again first.
- A request that was answered since is carried out once more when it is repeated under its idempotency key.
- Calls to post_url that wait: {content.waiting_calls:,}. The old server may have made them; this one will, too.
The old server has to be off: two of them would not know of each other's license keys."""
