"""POST /verify, /activate, /deactivate and /get-license-key-details (protocol.md 4.3)."""

from fastapi import APIRouter

from hanaper.activation.activate import Place, activate
from hanaper.activation.deactivate import deactivate
from hanaper.activation.details import details
from hanaper.activation.outcome import answer, answer_meanwhile, concluded
from hanaper.activation.verify import verify
from hanaper.licenses.schemas import ActivateRequest, LicenseRequest
from hanaper.protocol import codes
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint

router = APIRouter(tags=["license checks"])


@endpoint(router, "POST", "verify", shape=LicenseRequest, bad_fields=codes.INVALID_LICENSE_KEY, only_reads=True)
async def verify_license_key(call: Call[LicenseRequest]) -> SignedAnswer:
    """Whether a license key is active on an identifier: 200; 201, 202, 203, 204, 205, 210, 215."""
    services = call.services
    outcome = await verify(
        call.fields.license_key,
        call.fields.identifier,
        caller=call.caller,
        snapshot=call.snapshot,
        storage=services.storage,
        expiry=services.settings.expiry,
        now=services.clock(),
    )
    await services.signing.ready(outcome.product_key_id)
    return await answer_meanwhile(call, outcome)


@endpoint(router, "POST", "activate", shape=ActivateRequest, bad_fields=codes.INVALID_LICENSE_KEY)
def activate_license_key(call: Call[ActivateRequest]) -> SignedAnswer:
    """Activate a license key on an identifier: 300, 301; 201, 203, 204, 205, 210, 215, 302."""
    fields = call.fields
    place = Place(fields.identifier, fields.post_url, call.address, call.user_agent)

    def work(session: Session) -> SignedAnswer:
        outcome = activate(
            session,
            fields.license_key,
            place,
            caller=call.caller,
            expiry=call.services.settings.expiry,
            now=call.services.clock(),
        )
        return concluded(outcome, answer(call, outcome))

    return call.write(work)


@endpoint(router, "POST", "deactivate", shape=LicenseRequest, bad_fields=codes.INVALID_LICENSE_KEY)
def deactivate_license_key(call: Call[LicenseRequest]) -> SignedAnswer:
    """Deactivate a license key on an identifier: "400", a text; 401, 210, 215."""
    fields = call.fields

    def work(session: Session) -> SignedAnswer:
        now = call.services.clock()
        outcome = deactivate(session, fields.license_key, fields.identifier, caller=call.caller, now=now)
        return concluded(outcome, answer(call, outcome))

    return call.write(work)


@endpoint(
    router,
    "POST",
    "get-license-key-details",
    shape=LicenseRequest,
    bad_fields=codes.INVALID_LICENSE_KEY,
    only_reads=True,
)
def get_license_key_details(call: Call[LicenseRequest]) -> SignedAnswer:
    """A license key and its product: 500 with `licenseKey` and `product`; 201, 202, 203, 204, 205, 210, 215."""
    services = call.services
    outcome = services.storage.read(
        lambda session: details(
            session,
            call.fields.license_key,
            call.fields.identifier,
            caller=call.caller,
            expiry=services.settings.expiry,
            now=services.clock(),
        )
    )
    return services.signing.answer(outcome.code, outcome.content, product_key_id=outcome.product_key_id)
