"""The parameters of a request, and who sends them (protocol.md 2.1)."""

from starlette.requests import Request

from hanaper.access.authenticate import Credentials
from hanaper.settings import Settings
from hanaper.web.body import Parameters, header_lines, parse_urlencoded, read_body
from hanaper.web.client_address import client_address
from hanaper.web.fields import LONGEST_TEXT

_BLANKS = " \t\r\n\v\f"
IDENTIFIERS = ("identifier", "hardwareId", "hardware_id", "domain", "hwid", "server_domain")
"""What an identifier is called; the first that is there counts (protocol.md 4.0)."""


async def read_parameters(request: Request, settings: Settings) -> Parameters:
    """The query string of a GET, the body of anything else; text trimmed, empty text dropped.

    The query string of a POST is not looked at: what stands there ends up in the logs of every proxy on the way.

    Raises:
        Refusal: 1702, 1703, 1704.
    """
    if request.method == "GET":
        raw = parse_urlencoded(request.scope["query_string"])
    else:
        raw = await read_body(request, settings.max_body_bytes)
    return clean(raw)


def clean(raw: Parameters) -> Parameters:
    """Trim blanks around text, and drop what is empty or null: it counts as absent (protocol.md 4.1)."""
    trimmed = {name: value.strip(_BLANKS) if isinstance(value, str) else value for name, value in raw.items()}
    return {name: value for name, value in trimmed.items() if value is not None and value != ""}


def credentials(request: Request, parameters: Parameters, settings: Settings) -> Credentials:
    """What a request says of its sender.

    The API key comes from `Authorization: Bearer`, else from the parameters, else from `X-API-Key`. The first that
    is there counts, also when it is wrong.
    """
    bearer = None
    scheme, _, token = _first(request, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        bearer = token.strip(_BLANKS)
    places = (bearer, parameters.get("api_key"), _first(request, b"x-api-key").strip(_BLANKS))
    presented = next((place for place in places if place not in (None, "")), None)
    named = next((parameters[name] for name in IDENTIFIERS if name in parameters), None)
    peer = request.client.host if request.client is not None else None
    return Credentials(
        # A key that is no text (a JSON number, say) is a wrong key, not a missing one.
        api_key=presented if presented is None or isinstance(presented, str) else "not text",
        address=client_address(
            peer,
            [line.decode("latin-1") for line in header_lines(request, b"x-forwarded-for")],
            settings.trusted_proxies,
        ),
        identifier=_identifier(named),
    )


def is_json(request: Request) -> bool:
    """Whether the body is JSON."""
    return _first(request, b"content-type").lower().startswith("application/json")


def user_agent(request: Request) -> str:
    """What the client calls itself, printable and bounded; empty where it says nothing."""
    text = _first(request, b"user-agent")[:LONGEST_TEXT]
    return text if text.isprintable() else ""


def _identifier(named: object) -> str | None:
    if isinstance(named, int) and not isinstance(named, bool):
        return str(named)
    return named if isinstance(named, str) and named.isprintable() else None


def _first(request: Request, name: bytes) -> str:
    lines = header_lines(request, name)
    return lines[0].decode("latin-1") if lines else ""
