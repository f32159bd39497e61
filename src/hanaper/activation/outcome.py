"""What came of a check, and how it is answered."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from hanaper.activation.mirror import Mirrored, mirrored, wants_mirror
from hanaper.licenses import rules
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.licenses.schemas import LicenseRequest
from hanaper.protocol import codes
from hanaper.protocol.codes import Code
from hanaper.protocol.payload import Payload
from hanaper.signing.answer import SignedAnswer
from hanaper.web.call import Call, NothingDone

CARRIED_OUT = (codes.LICENSE_ACTIVATED, codes.LICENSE_DEACTIVATED)
"""After any other outcome everything is as it was."""

Named = TypeVar("Named", bound=LicenseRequest)


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation, as the clients see it."""

    id: int
    identifier: str
    activated_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request about a license key. Refusals are outcomes too: clients read the mirror beside them.

    Attributes:
        product_key_id: of the product, where it is known.
        content: the payload between `message` and `timestamp`.
        expires_at: of the license key; None for never.
        activation: of the identifier, where there is one.
    """

    code: Code
    product_key_id: int | None = None
    content: Payload = field(default_factory=dict)
    expires_at: datetime | None = None
    activation: Activated | None = None


def of_row(code: Code, key_id: int | None, row: LicenseKey, activation: Activation | None = None) -> Outcome:
    """The outcome for a license key and its activation."""
    shown = None
    if activation is not None:
        shown = Activated(activation.id, activation.identifier, activation.activated_at)
    return Outcome(code, key_id, expires_at=rules.expires_at(row.assigned_at, row.validity), activation=shown)


def answer(call: Call[Named], outcome: Outcome) -> SignedAnswer:
    """The signed answer, with the unsigned mirror beside it for those who read it (protocol.md 9.5)."""
    signing = call.services.signing
    return _mirrored(
        call, outcome, signing.answer(outcome.code, outcome.content, product_key_id=outcome.product_key_id)
    )


async def answer_meanwhile(call: Call[Named], outcome: Outcome) -> SignedAnswer:
    """The same, on the event loop."""
    signing = call.services.signing
    signed = await signing.answer_meanwhile(outcome.code, outcome.content, product_key_id=outcome.product_key_id)
    return _mirrored(call, outcome, signed)


def _mirrored(call: Call[Named], outcome: Outcome, signed: SignedAnswer) -> SignedAnswer:
    if not wants_mirror(call.services.settings.sdk_mirror, call.user_agent):
        return signed
    activation = outcome.activation
    return mirrored(
        signed,
        Mirrored(
            code=outcome.code,
            license_key=call.fields.license_key,
            expires_at=outcome.expires_at,
            activation=None if activation is None else (activation.id, activation.identifier, activation.activated_at),
            payload=outcome.content,
        ),
    )


def concluded(outcome: Outcome, signed: SignedAnswer) -> SignedAnswer:
    """The answer, at the end of the transaction it came about in.

    Raises:
        NothingDone: there is nothing to be committed.
    """
    if outcome.code not in CARRIED_OUT:
        raise NothingDone(signed)
    return signed
