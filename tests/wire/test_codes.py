"""The code table: numbers, messages, signing keys, statuses.

`tests/vectors/codes.tsv` was made from section 3 of the protocol's description, not from our table.
"""

import re
from pathlib import Path

import pytest

from hanaper.protocol import codes
from hanaper.protocol.codes import Code, SignedBy

VECTOR = Path(__file__).parents[1] / "vectors" / "codes.tsv"
PROTOCOL = Path(__file__).parents[3] / "shared" / "protocol.md"

OWN = {
    1700: ("Unknown endpoint", SignedBy.GLOBAL, 404),
    1701: ("Method not allowed", SignedBy.GLOBAL, 405),
    1702: ("Request body too large", SignedBy.GLOBAL, 413),
    1703: ("Unreadable request", SignedBy.GLOBAL, 400),
    1704: ("Unsupported content type", SignedBy.GLOBAL, 415),
    1705: ("Service temporarily unavailable", SignedBy.GLOBAL, 503),
    1706: ("Internal error", SignedBy.GLOBAL, 500),
    1707: ("Unknown host", SignedBy.GLOBAL, 421),
}

Row = tuple[str, SignedBy, int]


def frozen() -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for line in VECTOR.read_text(encoding="utf-8").splitlines():
        number, message, key, status = line.split("\t")
        assert int(number) not in rows
        rows[int(number)] = (message, SignedBy(key), int(status))
    return rows


def documented() -> dict[int, Row]:
    if not PROTOCOL.exists():
        pytest.skip("the protocol's description is not beside the project")
    section = PROTOCOL.read_text(encoding="utf-8").partition("\n## 3. ")[2].partition("\n## 4. ")[0]
    rows: dict[int, Row] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        number = re.fullmatch(r'[*`"]*(\d+)[*`"]*', cells[0])
        if number is None:
            continue
        _, _, message, endpoints, key, _ = cells
        # Upper case was seen in an example, lower case is proposed; "p/g" and the like prefer the first.
        letter = key.strip("*")[0].lower()
        status = re.search(r"\*\*(\d{3})\*\*|HTTP (\d{3})", endpoints)
        rows[int(number[1])] = (
            message,
            {"p": SignedBy.PRODUCT, "g": SignedBy.GLOBAL}[letter],
            int(status[1] or status[2]) if status else 200,
        )
    return rows


def ours() -> dict[int, Row]:
    return {number: (code.message, code.signed_by, code.http_status) for number, code in codes.BY_NUMBER.items()}


def test_the_table_is_the_frozen_one() -> None:
    assert {number: row for number, row in ours().items() if number < codes.FIRST_OWN_NUMBER} == frozen()


def test_the_frozen_table_is_the_documented_one() -> None:
    rows = documented()
    assert len(rows) > 100
    assert rows == frozen()


def test_our_own_codes_are_frozen_too() -> None:
    assert codes.FIRST_OWN_NUMBER == 1700
    assert {number: row for number, row in ours().items() if number >= 1700} == OWN


def test_no_number_comes_twice() -> None:
    rows = [value for value in vars(codes).values() if isinstance(value, Code)]
    assert len(rows) == len({row.number for row in rows}) == len(codes.BY_NUMBER)
    assert all(codes.BY_NUMBER[row.number] is row for row in rows)


def test_only_400_travels_as_text() -> None:
    assert codes.LICENSE_DEACTIVATED.on_wire == "400"
    for number, code in codes.BY_NUMBER.items():
        if number != 400:
            assert code.on_wire == number
            assert type(code.on_wire) is int


def test_a_label_is_one_of_two_words() -> None:
    assert [label.value for label in SignedBy] == ["product", "global"]


@pytest.mark.parametrize("text", [code.message for code in codes.BY_NUMBER.values()])
def test_a_message_is_plain_ascii_without_blanks_around_it(text: str) -> None:
    assert text.isascii()
    assert text.isprintable()
    assert text == text.strip() != ""
