"""The one signed answer of the reference system that is public: what verified it once must verify it for ever."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hanaper.protocol import envelope, payload
from hanaper.protocol.envelope import Envelope
from hanaper.signing.verifier import Verifier

VECTORS = Path(__file__).parents[1] / "vectors"
PUBLIC_KEY = VECTORS / "reference-public-key.pem"
ANSWER: dict[str, Any] = json.loads((VECTORS / "generate-815.json").read_text(encoding="utf-8"))["answer"]
MESSAGE = ANSWER["response_base64"].encode("ascii")
SIGNATURE = base64.b64decode(ANSWER["signature"])


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier.from_pem(PUBLIC_KEY.read_bytes())


def altered(**changes: Any) -> bytes:
    return json.dumps(ANSWER | changes).encode()


def test_it_is_the_answer_this_server_has_to_give() -> None:
    assert list(ANSWER) == ["response", "response_base64", "private_key_used", "signature"]
    assert list(ANSWER["response"]) == ["code", "message", "licenseKeys", "timestamp"]
    assert ANSWER["response"]["code"] == 815
    assert len(ANSWER["response"]["licenseKeys"]) == 10
    assert ANSWER["private_key_used"] == "product"
    assert len(SIGNATURE) == 256


@pytest.mark.parametrize("indent", [None, 2])
def test_our_verifier_accepts_it_however_the_outer_object_is_laid_out(verifier: Verifier, indent: int | None) -> None:
    received = envelope.decode(json.dumps(ANSWER, indent=indent).encode())
    assert received == Envelope(base64.b64decode(MESSAGE), "product", SIGNATURE)
    assert verifier.accepts_envelope(received)


def test_our_encoder_rebuilds_its_signed_bytes_from_its_response() -> None:
    assert payload.encode(ANSWER["response"]) == base64.b64decode(MESSAGE)


def test_our_envelope_around_it_says_the_same_and_verifies(verifier: Verifier) -> None:
    body = Envelope(payload.encode(ANSWER["response"]), "product", SIGNATURE).encode()
    assert json.loads(body) == ANSWER
    assert verifier.accepts_envelope(envelope.decode(body))


@pytest.mark.parametrize(("changed", "verdict"), [(False, "Verified OK"), (True, "Verification failure")])
def test_openssl_agrees(tmp_path: Path, *, changed: bool, verdict: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command on this machine")
    (tmp_path / "message").write_bytes(MESSAGE[::-1] if changed else MESSAGE)
    (tmp_path / "signature").write_bytes(SIGNATURE)
    command = [openssl, "dgst", "-sha256", "-verify", str(PUBLIC_KEY), "-signature", "signature", "message"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == verdict
    assert (done.returncode == 0) is not changed


def test_no_flipped_bit_of_the_message_verifies(verifier: Verifier) -> None:
    for position in range(len(MESSAGE)):
        forged = bytearray(MESSAGE)
        forged[position] ^= 1 << position % 8
        assert not verifier.accepts(bytes(forged), SIGNATURE), position


def test_no_flipped_bit_of_the_signature_verifies(verifier: Verifier) -> None:
    for position in range(len(SIGNATURE)):
        forged = bytearray(SIGNATURE)
        forged[position] ^= 1 << position % 8
        assert not verifier.accepts(MESSAGE, bytes(forged)), position


@pytest.mark.parametrize(
    "signature",
    [b"", SIGNATURE[:-1], SIGNATURE + b"\0", b"\0" + SIGNATURE, SIGNATURE[::-1], bytes(256), b"\xff" * 256],
    ids=["empty", "short", "long", "zero in front", "reversed", "zeros", "ones"],
)
def test_no_signature_of_another_shape_verifies(verifier: Verifier, signature: bytes) -> None:
    assert not verifier.accepts(MESSAGE, signature)


def test_what_is_signed_is_the_base64_text_and_not_the_json_in_it(verifier: Verifier) -> None:
    assert verifier.accepts(MESSAGE, SIGNATURE)
    assert not verifier.accepts(base64.b64decode(MESSAGE), SIGNATURE)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWER["response"]),
        json.dumps(ANSWER["response"], indent=4),
        json.dumps(ANSWER["response"], sort_keys=True, separators=(",", ":")),
        json.dumps(ANSWER["response"], separators=(",", ":")) + "\n",
    ],
    ids=["python's own blanks", "indented", "sorted", "a line feed at the end"],
)
def test_the_same_response_serialised_in_another_way_does_not_verify(verifier: Verifier, text: str) -> None:
    received = envelope.decode(altered(response_base64=base64.b64encode(text.encode()).decode()))
    assert not verifier.accepts_envelope(received)


@pytest.mark.parametrize(
    "changes",
    [{"code": 902}, {"code": "815"}, {"code": 815.0}, {"licenseKeys": []}, {"timestamp": 0}, {"more": None}],
    ids=str,
)
def test_a_response_that_was_swapped_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="response differs from the signed response_base64"):
        envelope.decode(altered(response=ANSWER["response"] | changes))


def test_swapping_both_halves_of_the_response_does_not_verify(verifier: Verifier) -> None:
    other = ANSWER["response"] | {"licenseKeys": ["stolen"]}
    text = base64.b64encode(payload.encode(other)).decode()
    assert not verifier.accepts_envelope(envelope.decode(altered(response=other, response_base64=text)))


def test_a_spare_bit_in_the_last_base64_character_is_refused() -> None:
    text = ANSWER["response_base64"]
    assert text.endswith("0=")
    assert base64.b64decode(text[:-2] + "1=") == base64.b64decode(text)
    with pytest.raises(ValueError, match="response_base64 is not canonical base64"):
        envelope.decode(altered(response_base64=text[:-2] + "1="))


@pytest.mark.parametrize("name", ["response_base64", "signature"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text[:76] + "\r\n" + text[76:],
        lambda text: " " + text,
        lambda text: text.rstrip("="),
        lambda text: text + "=",
        lambda text: "-" + text[1:],
        lambda text: "\N{FULLWIDTH LATIN CAPITAL LETTER A}" + text[1:],
    ],
    ids=["line feed", "lines", "blank", "no padding", "more padding", "URL alphabet", "not ASCII"],
)
def test_base64_in_another_dialect_is_refused(name: str, change: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is not"):
        envelope.decode(altered(**{name: change(ANSWER[name])}))


def test_the_label_is_not_covered_by_the_signature() -> None:
    """What a client must know: it picks the key by the label, so a wrong label can only make verification fail."""
    assert envelope.decode(altered(private_key_used="global")).private_key_used == "global"
