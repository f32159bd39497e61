"""Assignment over HTTP (protocol.md 4.5), and how many license keys there are to assign (4.4)."""

from fastapi import APIRouter

from hanaper.activation.activate import Place
from hanaper.activation.outcome import concluded
from hanaper.assignment.assign import Owner, assign, assign_and_activate
from hanaper.assignment.random_assign import Contended, Wish, random_assign
from hanaper.assignment.schemas import (
    AssignAndActivateRequest,
    AssignRequest,
    CountRequest,
    RandomAssignRequest,
)
from hanaper.clock import iso_z, iso_z_exact
from hanaper.issuing import store as generators
from hanaper.licenses import store
from hanaper.licenses.models import LicenseKey
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.protocol.payload import JsonValue
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint

router = APIRouter(tags=["assignment"])


@endpoint(router, "POST", "assign-license-key", shape=AssignRequest, bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE)
def assign_license_key(call: Call[AssignRequest]) -> SignedAnswer:
    """Assign a license key: 800; 801, 901."""
    fields = call.fields
    owner = Owner(fields.owner_name, fields.email)

    def work(session: Session) -> SignedAnswer:
        if not assign(session, fields.license_key, owner, caller=call.caller, now=call.services.clock()):
            raise Refusal(codes.INVALID_OR_ALREADY_ASSIGNED)
        return call.services.signing.answer(codes.LICENSE_KEY_ASSIGNED, {})

    return call.write(work)


@endpoint(
    router,
    "POST",
    "assign-and-activate-license-key",
    shape=AssignAndActivateRequest,
    bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE,
)
def assign_and_activate_license_key(call: Call[AssignAndActivateRequest]) -> SignedAnswer:
    """Assign a license key and activate it on an identifier: 300; 203, 204, 215, 801, 901."""
    fields, services = call.fields, call.services
    owner = Owner(fields.owner_name, fields.owner_email)
    place = Place(fields.identifier, fields.post_url, call.address, call.user_agent)

    def work(session: Session) -> SignedAnswer:
        outcome = assign_and_activate(
            session, fields.license_key, owner, place, caller=call.caller, now=services.clock()
        )
        signed = services.signing.answer(outcome.code, outcome.content, product_key_id=outcome.product_key_id)
        return concluded(outcome, signed)

    return call.write(work)


@endpoint(
    router,
    "POST",
    "random-assign-license-keys",
    shape=RandomAssignRequest,
    bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE,
    license_keys=lambda fields: fields.quantity,
)
def random_assign_license_keys(call: Call[RandomAssignRequest]) -> SignedAnswer:
    """Assign license keys out of those available: 803 with `license_keys`; 802, 805, 806, 901, 902."""
    fields, services = call.fields, call.services
    owner = Owner(fields.owner_name, fields.owner_email)
    wish = Wish(fields.product_id, fields.quantity, fields.generate == 1, fields.generator_id)
    generated = 0

    def work(session: Session) -> SignedAnswer:
        nonlocal generated
        assigned = random_assign(session, wish, owner, caller=call.caller, now=services.clock())
        generated = assigned.generated
        rows: list[JsonValue] = [_row(row) for row in assigned.rows]
        return services.signing.answer(codes.LICENSE_KEYS_ASSIGNED, {"license_keys": rows})

    answer = call.write(work, again=(store.KeysCollide, Contended))
    services.meter.generated(generated)
    return answer


@endpoint(
    router,
    "GET",
    "get-available-license-keys-count",
    shape=CountRequest,
    bad_fields=codes.PRODUCT_NOT_EXISTS_COUNT,
)
def get_available_license_keys_count(call: Call[CountRequest]) -> SignedAnswer:
    """How many license keys of a product are available: 741 with `count`; 740."""
    fields, scope = call.fields, call.caller.scope

    def count(session: Session) -> int:
        product = products.find(session, fields.product_id, scope=scope)
        if product is None:
            raise Refusal(codes.PRODUCT_NOT_EXISTS_COUNT)
        if fields.generator_id is None:
            return store.count_available(session, product.id, scope=scope)
        found = generators.find(session, fields.generator_id, scope=scope)
        if found is None:
            return 0
        return store.count_available(session, product.id, scope=scope, generator_id=found[0].id)

    available = call.services.storage.read(count)
    return call.services.signing.answer(codes.AVAILABLE_LICENSE_KEYS_COUNT, {"count": available})


def _row(row: LicenseKey) -> dict[str, JsonValue]:
    """A row of 803. Never a field more: a published plugin makes columns of them (protocol.md 4.5)."""
    assert row.assigned_at is not None  # noqa: S101 -- it has just been assigned
    return {
        "product_id": row.product_id,
        "license_key": row.license_key,
        "activation_limit": row.activation_limit,
        "validity": row.validity,
        "status": row.status,
        "owner_name": row.owner_name,
        "owner_email": row.owner_email,
        "assigned_at": iso_z_exact(row.assigned_at),
        "contract_id": row.contract_id,
        "updated_at": iso_z(row.updated_at),
        "created_at": iso_z(row.created_at),
        "id": row.id,
        "meta_data": [],
    }
