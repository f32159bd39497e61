"""The tables in the documents that are made from the code: endpoints, codes, moves of a license key.

What works is read from the code. Only what the code cannot know stands here: why something differs from the reference
system, and what the reference has besides. `python -m tests.support.compatibility` writes the tables anew.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fastapi.routing import APIRoute

from hanaper import api
from hanaper.licenses.rules import MOVES, State
from hanaper.protocol import codes
from hanaper.protocol.codes import Code

ROOT = Path(__file__).parents[2]
RENEW = "python -m tests.support.compatibility"

ENDPOINT_REMARKS = {
    "POST /verify": "differs: no Envato purchase codes (206), so `email` is ignored",
    "POST /deactivate": "differs: checks 210, 215 and 401 only, so that an expired or blocked license key gives "
    "its place back",
    "POST /create-license-keys": "works; status may also be `suspended` or `revoked`",
    "POST /update-license-key": "differs: changes what is sent and nothing else, so only `license_key` is required; "
    "also understands `suspended`, `revoked` and `metadata`",
    "GET /get-license-keys": "works; takes `page` and `per_page`; 901 for a bad field",
    "POST /create-license-key-meta": "differs: `identifier` may be left out",
    "POST /update-license-key-meta": "differs: `identifier` may be left out",
    "POST /delete-license-key-meta": "differs: `identifier` may be left out",
    "POST /assign-license-key": "works; 901 for a bad field",
    "POST /assign-and-activate-license-key": "differs: `owner_name` may be left out; 901 for a bad field",
    "POST /random-assign-license-keys": "differs: at most 1,000 at once; a named generator is kept to; "
    "901 for a bad field, 902 where no new ones can be drawn",
    "POST /create-product": "differs: the product gets a key pair of its own; 102 for an API key that is limited to "
    "products",
    "POST /update-product": "differs: changes what is sent and nothing else, so only `product_id` is required",
}
"""Endpoints of which more is to be said than that they work: "works; ..." where all of the reference is there."""

ENDPOINTS_MISSING = {
    "POST /random-assign-license-keys-queued": "",
    "POST /access-downloadables": "also as GET",
    "GET /download/{api_key}/{license_key}/{identifier}/{version}": "",
    "GET /get-product-meta": "",
    "GET /get-product-changelog": "",
    "GET /products/{slug}/changelog": "",
    "POST /create-contract": "",
    "POST /update-contract": "",
    "POST /delete-contract": "",
    "GET /get-all-contracts": "",
    "GET /contracts/get-info": "",
    "POST /contracts/generate": "also as `/contracts/{uuid}/generate`",
    "POST /contracts/destroy": "",
    "POST /contracts/destroy-all": "",
    "POST /send-telemetry-data": "also as `/send-telemetry`",
    "GET /get-telemetry-data": "also as `/get-telemetry`",
    "GET /licenses/{license_key}/features/{name}": "",
    "POST /get-license-file": "",
    "POST /licenses/{license_key}/offline-file": "",
}
"""What the reference has besides, and a remark."""

CODE_REMARKS = {
    codes.ACCESS_DENIED: "works; HTTP 403 for the block list, 429 for [rate limits](rate-limits.md)",
    codes.PRODUCT_INACTIVE: "differs: only for a product that is not active: license keys of a deleted one are 210",
    codes.LICENSE_EXPIRED: "works; for whom it counts, `HANAPER_EXPIRY` says",
    codes.LICENSE_ALREADY_INACTIVE: "works; also where the identifier was never activated",
    codes.PRODUCT_NOT_FOUND_META_CREATE: "differs: with `errors` where `product_id` is missing or unreadable",
    codes.PRODUCT_NOT_FOUND_META_UPDATE: "differs: with `errors` where `product_id` is missing or unreadable",
    codes.PRODUCT_NOT_FOUND_META_DELETE: "differs: with `errors` where `product_id` is missing or unreadable",
    codes.PRODUCT_NOT_FOUND: "works; also for get-product; with `errors` where `product_id` is missing or unreadable",
    codes.PRODUCT_PUBLIC_KEY_NOT_FOUND: "differs: with `errors` where `product_id` is missing or unreadable",
    codes.PRODUCT_NOT_EXISTS_COUNT: "differs: with `errors` where a field is missing or unreadable",
    codes.INSUFFICIENT_PERMISSIONS: "works; also for create-product by an API key that is limited to products",
    codes.INVALID_OR_ALREADY_ASSIGNED: "works; also for a blocked license key, and for one whose product is not active",
    codes.PRODUCT_NOT_FOUND_ASSIGN: "works; also for generate",
    codes.GENERATOR_NOT_FOUND_ASSIGN: "works; also for generate",
    codes.INCORRECT_DATA_LICENSE_CREATE: "works; also for generate, the assignment endpoints and the lists",
    codes.NO_LICENSE_KEYS_CREATED: "works; also for generate and random-assign",
    codes.INCORRECT_DATA_LICENSE_UPDATE: "works; also for a revoked license key that is to become something else",
}
"""The same for codes."""

ONLY_READS = {"hanaper/activation/mirror.py"}
"""Modules that compare codes, but answer none: being named there makes no code one that is used."""

_MARKED = re.compile(r"(<!-- made: (?!end -->)(\w+) -->\n).*?(<!-- made: end -->)", re.DOTALL)


def routes() -> list[str]:
    """All endpoints there are, in the order of the route table: method, blank, path."""
    return [
        f"{method} {route.path}"
        for router in api.ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
    ]


def codes_in(source: str) -> Iterator[Code]:
    """The codes that the text of a module refers to, as `codes.NAME` or imported by name."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "codes":
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module == codes.__name__:
            names = [alias.name for alias in node.names]
        for name in names:
            code = getattr(codes, name, None)
            if isinstance(code, Code):
                yield code


def codes_used() -> set[Code]:
    """The codes that some module answers with."""
    source = ROOT / "src"
    return {
        code
        for path in source.rglob("*.py")
        if "protocol" not in path.parts and path.relative_to(source).as_posix() not in ONLY_READS
        for code in codes_in(path.read_text(encoding="utf-8"))
    }


def _endpoints() -> list[str]:
    rows = ["| endpoint | state |", "|---|---|"]
    rows += [f"| `{route}` | {ENDPOINT_REMARKS.get(route, 'works')} |" for route in routes()]
    rows += [
        f"| `{route}` | not yet{f' ({remark})' if remark else ''} |" for route, remark in ENDPOINTS_MISSING.items()
    ]
    return rows


def _codes() -> list[str]:
    used = codes_used()
    rows = ["| code | message | state |", "|---|---|---|"]
    for code in sorted(codes.BY_NUMBER.values(), key=lambda code: code.number):
        if code.number < codes.FIRST_OWN_NUMBER:
            number = code.number if code.on_wire == code.number else f'"{code.on_wire}", a text'
            state = CODE_REMARKS.get(code, "works") if code in used else "not yet"
            rows.append(f"| {number} | {code.message} | {state} |")
    return rows


def _moves() -> list[str]:
    rows = ["| from | to |", "|---|---|"]
    for origin, targets in MOVES.items():
        words = [state.value for state in State if state in targets]
        rows.append(f"| {origin.value} | {', '.join(words) or 'nothing: it is final'} |")
    return rows


MADE: dict[str, Callable[[], list[str]]] = {"endpoints": _endpoints, "codes": _codes, "moves": _moves}
DOCUMENTS = {"compatibility.md": ["endpoints", "codes"], "licenses.md": ["moves"]}
"""Which tables stand in which document."""


def renewed(text: str) -> str:
    """A document with its made tables made anew."""

    def table(found: re.Match[str]) -> str:
        return found[1] + "\n".join(MADE[found[2]]()) + "\n" + found[3]

    return _MARKED.sub(table, text)


def made_tables(text: str) -> list[str]:
    """The names of the made tables in a document."""
    return [found[2] for found in _MARKED.finditer(text)]


if __name__ == "__main__":
    for document in DOCUMENTS:
        path = ROOT / "docs" / document
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
