"""The documents say of endpoints, codes and moves what the code does."""

import re
from pathlib import Path

import pytest
from tests.support import compatibility

from hanaper.protocol import codes
from hanaper.protocol.codes import Code

DOCS = compatibility.ROOT / "docs"
PROTOCOL = Path(__file__).parents[3] / "shared" / "protocol.md"
VECTOR = Path(__file__).parents[1] / "vectors" / "codes.tsv"

# Named by the portal's documents only; no client asks for them (protocol.md 4.11).
NOBODY_ASKS = {
    "/licenses/activate",
    "/licenses/deactivate",
    "/licenses/verify",
    "/licenses/{uuid}/deactivate-all",
    "/telemetry",
}
# Where the reference's pages abbreviate or speak of something else.
NO_ENDPOINTS = {"/api/v1/", "/v1/", "/download", "/contracts/", "/licenses/{k}/features/{n}"}


@pytest.mark.parametrize("document", compatibility.DOCUMENTS)
def test_the_made_tables_are_what_would_be_made(document: str) -> None:
    text = (DOCS / document).read_text(encoding="utf-8")
    assert compatibility.made_tables(text) == compatibility.DOCUMENTS[document], "a marker is missing"
    assert text == compatibility.renewed(text), f"docs/{document} is out of date: run `{compatibility.RENEW}`"


def test_what_is_said_of_endpoints_is_said_of_what_there_is() -> None:
    routes = compatibility.routes()
    assert set(compatibility.ENDPOINT_REMARKS) <= set(routes), "tests/support/compatibility.py explains no endpoint"
    assert not set(compatibility.ENDPOINTS_MISSING) & set(routes), "it works now: take it off ENDPOINTS_MISSING"


def test_a_remark_says_whether_it_is_a_difference() -> None:
    remarks = [*compatibility.ENDPOINT_REMARKS.values(), *compatibility.CODE_REMARKS.values()]
    assert [remark for remark in remarks if not remark.startswith(("works; ", "differs: "))] == []


def test_what_is_said_of_codes_is_said_of_those_that_are_used() -> None:
    assert set(compatibility.CODE_REMARKS) <= compatibility.codes_used()


def test_every_code_of_the_reference_has_a_row() -> None:
    rows = re.findall(
        r'^\| "?(\d+)"?[^|]* \| ([^|]+) \| (?:works(?:; .+)?|differs: .+|not yet) \|$',
        _text("compatibility.md"),
        re.MULTILINE,
    )
    frozen = [line.split("\t")[:2] for line in VECTOR.read_text(encoding="utf-8").splitlines()]
    assert sorted(map(list, rows)) == sorted(frozen)


@pytest.mark.parametrize("number", [206, 501, 502, 503, 600, 700, 701, 807, 841, 970, 1200, 1300, 1400, 1500, 1600])
def test_what_is_not_built_counts_as_not_built(number: int) -> None:
    # When one of these is built, take it out here.
    assert codes.BY_NUMBER[number] not in compatibility.codes_used()
    assert re.search(rf"^\| {number} \| .* \| not yet \|$", _text("compatibility.md"), re.MULTILINE)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from hanaper.protocol import codes\ndef answer(): raise Refusal(codes.DOWNLOADS)", [codes.DOWNLOADS]),
        ("from hanaper.protocol.codes import DOWNLOADS, Code", [codes.DOWNLOADS]),
        ("# codes.DOWNLOADS\n'codes.DOWNLOADS'\ncodes.BY_NUMBER\nother.DOWNLOADS", []),
    ],
)
def test_use_of_a_code_is_seen(source: str, found: list[Code]) -> None:
    assert list(compatibility.codes_in(source)) == found


def test_every_endpoint_of_the_reference_has_a_row() -> None:
    if not PROTOCOL.exists():
        pytest.skip("the protocol's description is not beside the project")
    section = PROTOCOL.read_text(encoding="utf-8").partition("\n## 4. ")[2].partition("\n## 5. ")[0]
    documented = set(re.findall(r"[`*](?:(?:GET|POST) )?(/[a-z][\w/{}-]*)", section))
    assert len(documented) > 40
    listed = set(re.findall(r"(/[a-z][\w/{}-]*)`", _made("endpoints")))
    assert documented - listed - NOBODY_ASKS - NO_ENDPOINTS == set()


def test_every_code_that_is_used_is_explained_to_callers() -> None:
    explained = set(re.findall(r"^\| (\d+) \|", _text("errors.md"), re.MULTILINE))
    missing = {code.number for code in compatibility.codes_used() if str(code.number) not in explained}
    assert missing == set()


def test_what_is_explained_to_callers_is_used() -> None:
    used = {str(code.number) for code in compatibility.codes_used()}
    assert set(re.findall(r"^\| (\d+) \|", _text("errors.md"), re.MULTILINE)) <= used


def _made(table: str) -> str:
    return "\n".join(compatibility.MADE[table]())


def _text(document: str) -> str:
    return (DOCS / document).read_text(encoding="utf-8")
