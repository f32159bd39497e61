"""`hanaper key assign`, `suspend`, `reinstate`, `renew`, `revoke`, `delete`, `deactivate`: what becomes of one.

Each does what it says in one transaction, in which the license key is locked, and shows what came of it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hanaper.access.authenticate import OPERATOR
from hanaper.assignment import assign as assignment
from hanaper.cli import change as changing
from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.license_named import Named, existing, named
from hanaper.cli.license_rows import full_row, moment, state
from hanaper.cli.options import AsJson, DataDir, opened
from hanaper.cli.output import print_row
from hanaper.licenses import activation_store, rules
from hanaper.licenses import delete as deletion
from hanaper.licenses import move as moves
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.rules import State
from hanaper.licenses.update import Changes, update
from hanaper.products.store import Facts
from hanaper.refusal import Invalid
from hanaper.storage import quarantine
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.web.services import Services

_LONGEST_OWNER = 255
_DAY = timedelta(days=1)

Change: TypeAlias = Callable[[Session, LicenseKey, Facts, datetime], None]
OwnerName: TypeAlias = Annotated[str | None, typer.Option("--owner-name", help="Whom it is given to.")]
OwnerEmail: TypeAlias = Annotated[str | None, typer.Option("--owner-email", help="Address of the owner.")]


def assign(
    license_key: Named,
    owner_name: OwnerName = None,
    owner_email: OwnerEmail = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give an available or reserved license key to an owner: its validity begins."""
    for text in (owner_name, owner_email):
        if text is not None and not (0 < len(text) <= _LONGEST_OWNER and text.isprintable()):
            raise Invalid(f"name and address of an owner have 1 to {_LONGEST_OWNER} printable characters")
    owner = assignment.Owner(owner_name, owner_email)

    def change(session: Session, key: LicenseKey, product: Facts, now: datetime) -> None:
        quarantine.require_none(session)
        if not assignment.assign(session, key.license_key, owner, caller=OPERATOR, now=now):
            raise Invalid(_why_not_assigned(key, product))

    _change(license_key, "assign", change, data_dir=data_dir, as_json=as_json)


def suspend(license_key: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Block a license key for a while: owner and activations stay, and count again once it is reinstated."""
    _change(license_key, "suspend", _to(State.SUSPENDED), data_dir=data_dir, as_json=as_json)


def reinstate(license_key: Named, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lift a suspension: assigned again if it had an owner, else available. Any other license key stays as it is."""

    def change(session: Session, key: LicenseKey, product: Facts, now: datetime) -> None:
        _keep_revoked(key)
        if _stored(key) is State.SUSPENDED:
            had_owner = key.assigned_at is not None or key.owner_name or key.owner_email
            _to(State.ASSIGNED if had_owner else State.AVAILABLE)(session, key, product, now)

    _change(license_key, "reinstate", change, data_dir=data_dir, as_json=as_json)


def renew(
    license_key: Named,
    days: Annotated[int | None, typer.Option(help="Have it end so many days from now.")] = None,
    validity: Annotated[
        int | None, typer.Option(help="Days in all, counted from its assignment; 0 is for ever.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set the validity anew. Validity is whole days: with --days it may last up to a day longer."""
    if (days is None) == (validity is None):
        raise Invalid("name either --days or --validity")
    if days is not None and not 1 <= days <= rules.LONGEST_VALIDITY_DAYS:
        raise Invalid(f"--days is 1 to {rules.LONGEST_VALIDITY_DAYS:,}, not {days}")

    def change(session: Session, key: LicenseKey, _: Facts, now: datetime) -> None:
        _keep_revoked(key)
        total = _validity_until(key, now + days * _DAY) if days is not None else validity
        fault = rules.terms_fault(key.activation_limit, total or 0)
        if fault is not None:
            raise Invalid(fault)
        update(session, key.license_key, Changes(validity=total), caller=OPERATOR, now=now)

    _change(license_key, "renew", change, data_dir=data_dir, as_json=as_json)


def revoke(license_key: Named, yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Block a license key for ever, and end its activations."""
    ask = None if yes else "Revoke"
    _change(license_key, "revoke", _to(State.REVOKED), ask=ask, data_dir=data_dir, as_json=as_json)


def deactivate(
    license_key: Named,
    identifier: Annotated[str, typer.Option(help="What it is active on, see `hanaper key activations`.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End an activation from our side; its post_url is told."""

    def change(session: Session, key: LicenseKey, product: Facts, now: datetime) -> None:
        if not moves.end_activations(session, key, product, scope=EVERYTHING, now=now, identifier=identifier):
            raise Invalid(f"license key {key.id} is not active on {identifier!r}: see `hanaper key activations`")

    _change(license_key, "deactivate", change, data_dir=data_dir, as_json=as_json)


def delete(license_key: Named, yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Delete a license key, and end its activations. Its text stays taken."""
    which = named(license_key)
    with opened(data_dir) as services:
        if not yes:
            _ask("Delete", which, services)

        def write(session: Session) -> dict[str, object]:
            key, product = existing(session, which)
            deletion.delete(session, key.license_key, caller=OPERATOR, now=services.clock())
            return {"id": key.id, "product_id": product.id, "deleted_at": moment(key.deleted_at)}

        print_row(changing.change(services, "key delete", write), as_json=as_json)


def _change(
    license_key: str, name: str, change: Change, *, data_dir: Path | None, as_json: bool, ask: str | None = None
) -> None:
    which = named(license_key)
    with opened(data_dir) as services:
        if ask is not None:
            _ask(ask, which, services)

        def write(session: Session) -> dict[str, object]:
            key, product = existing(session, which)
            now = services.clock()
            change(session, key, product, now)
            return full_row(session, key, now=now)

        print_row(changing.change(services, f"key {name}", write), as_json=as_json)


def _ask(verb: str, which: int | str, services: Services) -> None:
    def look(session: Session) -> str:
        key, _ = existing(session, which, lock=False)
        shown = state(key, activations=activation_store.count(session, key.id, scope=EVERYTHING), now=services.clock())
        return f"{verb} license key {key.id}, which is {shown.value}, for ever?"

    confirm(services.storage.read(look))


def _to(target: State) -> Change:
    def change(session: Session, key: LicenseKey, product: Facts, now: datetime) -> None:
        try:
            moves.move(session, key, target, product, scope=EVERYTHING, now=now)
        except moves.MoveForbidden as error:
            raise Invalid(_stays(key)) from error

    return change


def _stored(key: LicenseKey) -> State:
    return rules.stored_state(key.status, key.block_reason)


def _keep_revoked(key: LicenseKey) -> None:
    if _stored(key) is State.REVOKED:
        raise Invalid(_stays(key))


def _stays(key: LicenseKey) -> str:
    return f"license key {key.id} is {_stored(key).value}, and stays so"


def _why_not_assigned(key: LicenseKey, product: Facts) -> str:
    _keep_revoked(key)
    if key.status not in rules.ASSIGNABLE:
        cure = ": reinstate it first" if _stored(key) is State.SUSPENDED else " already"
        return f"license key {key.id} is {_stored(key).value}{cure}"
    return f"product {product.id} is inactive, so its license keys cannot be assigned: see `hanaper product set`"


def _validity_until(key: LicenseKey, end: datetime) -> int:
    if key.assigned_at is None:
        raise Invalid(f"license key {key.id} is not assigned, so its validity has not begun: name --validity")
    days = -((key.assigned_at - end) // _DAY)  # Rounded up.
    if days < 1:
        raise Invalid(f"the validity of license key {key.id} begins after that, at {moment(key.assigned_at)}")
    return days
