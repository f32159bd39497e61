"""The register of license keys over HTTP: update, delete, list (protocol.md 4.4)."""

from fastapi import APIRouter

from hanaper.clock import iso_z, plain
from hanaper.licenses import rules, store
from hanaper.licenses.delete import delete
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.schemas import DeleteRequest, ListRequest, UpdateRequest
from hanaper.licenses.update import BadChange, Changes, NotFound, update
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.protocol.payload import JsonValue
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint
from hanaper.web.fields import bad_field

router = APIRouter(tags=["license keys"])


@endpoint(router, "POST", "update-license-key", shape=UpdateRequest, bad_fields=codes.INCORRECT_DATA_LICENSE_UPDATE)
def update_license_key(call: Call[UpdateRequest]) -> SignedAnswer:
    """Change a license key, also suspend, reinstate, renew or revoke it: 950; 951, 952."""
    fields = call.fields
    changes = Changes(
        product=fields.product_id,
        activation_limit=fields.activation_limit,
        validity=fields.validity,
        status=fields.status,
        owner_name=fields.owner_name,
        owner_email=fields.owner_email,
        assigned_at=fields.assigned_at,
        metadata=fields.metadata,
    )

    def work(session: Session) -> SignedAnswer:
        try:
            _, product = update(session, fields.license_key, changes, caller=call.caller, now=call.services.clock())
        except NotFound:
            raise Refusal(codes.LICENSE_KEY_NOT_FOUND_UPDATE) from None
        except BadChange as change:
            raise bad_field(codes.INCORRECT_DATA_LICENSE_UPDATE, change.field) from None
        return call.services.signing.answer(codes.LICENSE_KEY_UPDATED, {}, product_key_id=product.key_id)

    return call.write(work)


@endpoint(router, "POST", "delete-license-key", shape=DeleteRequest, bad_fields=codes.LICENSE_KEY_NOT_FOUND)
def delete_license_key(call: Call[DeleteRequest]) -> SignedAnswer:
    """Delete a license key: 850; 851."""

    def work(session: Session) -> SignedAnswer:
        product = delete(session, call.fields.license_key, caller=call.caller, now=call.services.clock())
        if product is None:
            raise Refusal(codes.LICENSE_KEY_NOT_FOUND)
        return call.services.signing.answer(codes.LICENSE_KEY_DELETED, {}, product_key_id=product.key_id)

    return call.write(work)


@endpoint(router, "GET", "get-license-keys", shape=ListRequest, bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE)
def get_license_keys(call: Call[ListRequest]) -> SignedAnswer:
    """List license keys, a page at a time: 730 with `license_keys`; 901."""
    fields, scope = call.fields, call.caller.scope

    def find(session: Session) -> list[JsonValue]:
        product_id = None
        if fields.product_id is not None:
            product = products.find(session, fields.product_id, scope=scope)
            if product is None:
                return []
            product_id = product.id
        wanted = store.Filter(
            product_id=product_id,
            status=rules.BLOCKED if fields.status in (rules.SUSPENDED, rules.REVOKED) else fields.status,
            block_reason=fields.status if fields.status in (rules.SUSPENDED, rules.REVOKED) else None,
            owner_email=fields.owner_email,
        )
        rows = store.page(session, wanted, scope=scope, number=fields.page, size=fields.per_page)
        return [_row(row) for row in rows]

    rows = call.services.storage.read(find)
    return call.services.signing.answer(codes.LICENSE_KEYS_LIST, {"license_keys": rows})


def _row(row: LicenseKey) -> dict[str, JsonValue]:
    return {
        "id": row.id,
        "product_id": row.product_id,
        "license_key": row.license_key,
        "owner_name": row.owner_name,
        "owner_email": row.owner_email,
        "activation_limit": row.activation_limit,
        "validity": row.validity,
        "assigned_at": None if row.assigned_at is None else plain(row.assigned_at),
        "status": row.status,
        "created_at": iso_z(row.created_at),
        "updated_at": iso_z(row.updated_at),
    }
