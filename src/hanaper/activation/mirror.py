"""The fifth key of an answer: what the PHP and JS clients read instead of the envelope (protocol.md 9.5).

It is not covered by the signature, and only these clients get it, on the endpoints whose answers they interpret.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from hanaper.clock import plain
from hanaper.protocol import codes
from hanaper.protocol import payload as payload_bytes
from hanaper.protocol.codes import Code
from hanaper.protocol.payload import JsonValue, Payload
from hanaper.settings import MirrorRule
from hanaper.signing.answer import SignedAnswer

KNOWN_CLIENTS = ("GetKeyManager-PHP-SDK/", "GetKeyManager-JS-SDK/")

_GOOD = (
    codes.VALID_LICENSE_KEY,
    codes.ENVATO_PURCHASE_CODE_ADDED,
    codes.LICENSE_ACTIVATED,
    codes.LICENSE_ALREADY_ACTIVE,
    codes.LICENSE_DEACTIVATED,
    codes.LICENSE_ALREADY_INACTIVE,
)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What the mirror shows.

    Attributes:
        license_key: as the caller named it.
        activation: id, identifier and moment.
        payload: what the envelope holds between `message` and `timestamp`.
    """

    code: Code
    license_key: str
    expires_at: datetime | None
    activation: tuple[int, str, datetime] | None
    payload: Payload


def wants_mirror(rule: MirrorRule, user_agent: str) -> bool:
    """Whether a client gets the mirror."""
    return rule == "always" or (rule == "known-clients" and user_agent.startswith(KNOWN_CLIENTS))


def mirrored(answer: SignedAnswer, shown: Mirrored) -> SignedAnswer:
    """The same answer with the mirror behind its four keys, which stay as they are, byte for byte."""
    content = payload_bytes.encode(_data(shown))
    return replace(answer, body=b'%b,"data":%b}' % (answer.body[:-1], content))


def _data(shown: Mirrored) -> dict[str, JsonValue]:
    good = shown.code in _GOOD
    # A client that is refused has to fail closed: the JS client takes a missing license for a valid one.
    license_: dict[str, JsonValue] = {
        "license_key": shown.license_key,
        "status": "active" if good else "revoked",
        "expires_at": plain(shown.expires_at) if good and shown.expires_at is not None else None,
        "features": [],
    }
    data: dict[str, JsonValue] = {
        # 400 as a number here: the PHP client's type allows no text.
        "code": shown.code.number,
        "message": shown.code.message,
        "success": good,
        "valid": good,
        "license": license_,
    }
    if shown.activation is not None:
        number, identifier, moment = shown.activation
        # The PHP client's type for the id is text.
        data["activation"] = {"id": str(number), "identifier": identifier, "activated_at": plain(moment)}
    data.update(shown.payload)
    data["data"] = {"valid": good, "license": license_}
    return data
