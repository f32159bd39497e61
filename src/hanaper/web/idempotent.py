"""Requests under an idempotency key: where it stands, and what a repeated request is answered (protocol.md 7.1)."""

from dataclasses import replace

from anyio import to_thread
from starlette.requests import Request

from hanaper.access.authenticate import Caller
from hanaper.idempotency import rules, store
from hanaper.idempotency.store import Keyed, Replay
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.configuration import ConfigurationChanged, Snapshot
from hanaper.storage.transactions import Storage
from hanaper.web.body import Parameters, header_lines

FIELD = "idempotency_key"
REPLAYED = {"Idempotent-Replayed": "true"}

_BAD_KEY = "The idempotency key field must be 1 to 255 visible ASCII characters."
_TWO_KEYS = "There is more than one Idempotency-Key header."
_OTHER_REQUEST = "The idempotency key has been used for another request."
_IN_FLIGHT = "A request with this idempotency key is being carried out: try again."
_BAD = codes.INCORRECT_DATA_LICENSE_CREATE
_CONFLICT = replace(_BAD, http_status=409)


def keyed(request: Request, parameters: Parameters, caller: Caller, endpoint: str) -> Keyed | None:
    """The request with its idempotency key: from the header, else from the field; None where it has none.

    Raises:
        Refusal: 901, the key is none.
    """
    lines = header_lines(request, b"idempotency-key")
    if len(lines) > 1:
        raise _refusal(_TWO_KEYS)
    # Blanks as HTTP has them: to Python some bytes beyond ASCII are blanks, too.
    given = lines[0].decode("latin-1").strip(" \t") if lines else rules.as_text(parameters.get(FIELD))
    if given is None or caller.api_key_id is None:
        return None
    key = rules.key_of(given) if isinstance(given, str) else None
    if key is None:
        raise _refusal(_BAD_KEY)
    return Keyed(
        scope=rules.scope_of(caller.api_key_id, endpoint, key),
        api_key_id=caller.api_key_id,
        endpoint=endpoint,
        fingerprint=rules.fingerprint_of(parameters),
        request_id=request.scope["state"]["request_id"],
    )


async def replay_of(asked: Keyed | None, storage: Storage, snapshot: Snapshot | None) -> Replay | None:
    """What the request was answered when it was carried out; None where it has not been, or has no key.

    Args:
        snapshot: in which the caller was found, if that may be out of date by now.

    Raises:
        Refusal: 901 with HTTP 409, the key was used for another request.
        ConfigurationChanged: since the caller was let in. Begin again.
        Unavailable: the database does not answer, or its standby may not have what it was answered.
    """
    if asked is None:
        return None
    found = await storage.ask(store.look_up, asked.scope)
    if snapshot is not None and found.version != snapshot.version:
        raise ConfigurationChanged
    if found.replay is not None and found.replay.fingerprint != asked.fingerprint:
        raise _refusal(_OTHER_REQUEST, conflict=True)
    if found.replay is not None:
        await to_thread.run_sync(storage.confirm, abandon_on_cancel=True)
    return found.replay


def in_flight() -> Refusal:
    """The refusal of a request whose twin is being carried out."""
    return _refusal(_IN_FLIGHT, conflict=True, headers={"Retry-After": "1"})


def _refusal(text: str, *, conflict: bool = False, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(_CONFLICT if conflict else _BAD, {"errors": {FIELD: [text]}}, headers=headers)
