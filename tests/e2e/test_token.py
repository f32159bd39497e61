"""The command, and real server processes, with signing keys in a PKCS#11 token (SoftHSM2; reliability.md T23)."""

import base64
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper, Outcome, Server
from tests.support.tokens import PIN, SoftToken, make_token

from hanaper.refusal import Invalid, Misconfigured, Unavailable
from hanaper.signing.verifier import Verifier

pytestmark = pytest.mark.long

ORDER = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "3"}
LONGEST_S = 30


@pytest.fixture
def token(tmp_path: Path) -> SoftToken:
    """Each process of these tests reads its own settings, so each test may have its own token."""
    return make_token(tmp_path / "token")


@pytest.fixture
def in_token(bare: Hanaper, token: SoftToken) -> Hanaper:
    """An installation whose keys are in the token from the beginning."""
    data = {"HANAPER_DATA_DIR": str(bare.folder / "data")}
    hanaper = replace(bare, environment={**bare.environment, **token.environment, **data})
    hanaper("init", "--demo")
    return hanaper


def within(hanaper: Hanaper, environment: dict[str, str]) -> Hanaper:
    return replace(hanaper, environment={**hanaper.environment, **environment})


def listed(hanaper: Hanaper) -> dict[str, dict[str, Any]]:
    return {row["kid"]: row for row in hanaper("signing-key", "list", "--json").json}


def active(hanaper: Hanaper, owner: str | int) -> dict[str, Any]:
    (row,) = [row for row in listed(hanaper).values() if (row["owner"], row["state"]) == (owner, "active")]
    return row


def labels(token: SoftToken) -> list[str]:
    """Of the public keys that lie in the token: SoftHSM2 encrypts the labels of the private ones."""
    found = []
    for file in token.tokens.rglob("*.object"):
        content = file.read_bytes()
        at = content.find(b"hanaper ")
        if at >= 0:
            found.append(content[at : at + len("hanaper ") + 16].decode())
    return sorted(found)


def without_token(hanaper: Hanaper) -> Hanaper:
    kept = {name: value for name, value in hanaper.environment.items() if not name.startswith("HANAPER_PKCS11")}
    return replace(hanaper, environment=kept)


def findings(ended: Outcome) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in ended.json["findings"]:
        if each["verdict"] != "ok":
            found.setdefault(each["check"], []).append(each["text"])
    return found


def test_an_installation_may_have_its_keys_in_a_token_from_the_beginning(in_token: Hanaper, token: SoftToken) -> None:
    rows = listed(in_token)
    assert {(row["owner"], row["place"], row["key_encryption_key"]) for row in rows.values()} == {
        ("global", f"token {token.label}", None),
        (1, f"token {token.label}", None),
    }
    assert labels(token) == sorted(f"hanaper {kid}" for kid in rows)
    in_token("generate", "--generator", "1", "--quantity", "2")
    in_token("init", "--demo")
    in_token("check-store")
    in_token("audit", "verify")
    assert listed(in_token).keys() == rows.keys()
    product = in_token("product", "add", "Another", "--json").json
    assert listed(in_token)[product["signing_key"]]["place"] == f"token {token.label}"


@pytest.mark.slow
def test_keys_move_into_the_token_and_out_of_it_by_rotation(demo: Hanaper, token: SoftToken) -> None:
    with_token = replace(demo, environment={**demo.environment, **token.environment})
    in_database = active(with_token, 1)["kid"]
    assert active(with_token, 1)["place"] == "database"
    moved = with_token("signing-key", "rotate", "--product", "demo", "--yes", "--json").json
    assert moved["place"] == f"token {token.label}"
    with_token("generate", "--generator", "1", "--quantity", "2")
    with_token("check-store")
    # The key encryption key has nothing to do with it.
    back = with_token("signing-key", "rotate", "--product", "demo", "--in", "database", "--yes", "--json").json
    assert back["place"] == "database"
    assert with_token("signing-key", "retire", moved["kid"], "--early", "--yes", "--json").json["state"] == "destroyed"
    assert labels(token) == []
    with_token("signing-key", "retire", in_database, "--early", "--yes")
    with_token("check-store")
    refused = demo("signing-key", "announce", "--in", "token", status=Invalid.exit_status)
    assert "HANAPER_PKCS11_MODULE" in refused.stderr


@pytest.mark.slow
def test_another_key_encryption_key_leaves_them_alone(in_token: Hanaper, tmp_path: Path) -> None:
    in_token("signing-key", "rotate", "--product", "demo", "--in", "database", "--yes")
    in_token("signing-key", "new-kek", str(tmp_path / "new"))
    both = {
        "HANAPER_KEY_ENCRYPTION_KEY_FILE": str(tmp_path / "new"),
        "HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE": str(in_token.data_dir / "key-encryption-key"),
    }
    # The product's key, and the secret for API keys.
    assert within(in_token, both)("signing-key", "rewrap").stdout.startswith("2 secrets are encrypted")
    del both["HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE"]
    within(in_token, both)("check-store")
    within(in_token, both)("generate", "--generator", "1", "--quantity", "2")


def test_a_lost_token_is_told_and_left_behind(in_token: Hanaper, token: SoftToken) -> None:
    kids = {owner: active(in_token, owner)["kid"] for owner in ("global", 1)}
    shutil.rmtree(token.tokens)
    token.tokens.mkdir()
    refused = in_token("serve", status=Unavailable.exit_status)
    assert f"token {token.label!r} cannot be used (there is no token with this label)" in refused.stderr
    for command in (("doctor", "--json"), ("check-store", "--json")):
        told = in_token(*command, status=1).stdout
        assert "there is no token with this label" in told
    unnamed = without_token(in_token)
    assert "name its library by HANAPER_PKCS11_MODULE" in unnamed("serve", status=Misconfigured.exit_status).stderr
    in_token("signing-key", "rotate", "--in", "database", "--yes")
    unnamed("signing-key", "rotate", "--product", "demo", "--yes")
    unnamed("generate", "--generator", "1", "--quantity", "2")
    ended = unnamed("signing-key", "retire", kids[1], "--early", "--yes", status=Misconfigured.exit_status)
    assert f"signing key {kids[1]} is destroyed for hanaper" in ended.stderr
    assert listed(unnamed)[kids[1]]["state"] == "destroyed"
    unnamed("check-store", status=1)  # The global one is still kept to verify by.
    in_token("signing-key", "retire", kids["global"], "--early", "--yes", status=Unavailable.exit_status)
    assert listed(unnamed)[kids["global"]]["state"] == "destroyed"
    unnamed("check-store")


@pytest.mark.slow
def test_the_doctor_finds_what_is_wrong_with_a_token(in_token: Hanaper, token: SoftToken, bare: Hanaper) -> None:
    in_token("signing-key", "rotate", "--yes")
    assert "token" not in findings(in_token("doctor", "--json"))
    token.pin_file.chmod(0o644)
    (text,) = findings(in_token("doctor", "--json", status=1))["token"]
    assert text == f"the PIN file {token.pin_file} has mode 0644, others may read it"
    token.pin_file.chmod(0o600)
    old = next(kid for kid, row in listed(in_token).items() if row["state"] == "verify-only")
    in_token.sql("UPDATE signing_keys SET state = 'destroyed' WHERE kid = :kid", kid=old)
    other = {"HANAPER_DATA_DIR": str(bare.folder / "other")}
    within(in_token, other)("init")
    (strange,) = [row["kid"] for row in within(in_token, other)("signing-key", "list", "--json").json]
    assert sorted(findings(in_token("doctor", "--json"))["token"]) == sorted(
        [
            f"signing key {old} is destroyed, and token {token.label!r} still has it",
            f"token {token.label!r} has a key 'hanaper {strange}' that this database does not know",
        ]
    )
    in_token("signing-key", "retire", old, "--yes")
    assert f"hanaper {old}" not in labels(token)
    wrong = in_token("doctor", "--json", status=1, HANAPER_PKCS11_MODULE="/nowhere.so")
    assert "no such file is there" in findings(wrong)["token"][0]
    assert "needs HANAPER_PKCS11_TOKEN" in in_token("doctor", status=1, HANAPER_PKCS11_TOKEN="").stdout


@pytest.mark.slow
def test_a_backup_needs_the_token_and_can_be_had_without_it(
    in_token: Hanaper, token: SoftToken, tmp_path: Path
) -> None:
    in_token("backup", str(tmp_path / "backup"))
    restored = {
        "HANAPER_DATA_DIR": str(tmp_path / "restored"),
        "HANAPER_KEY_ENCRYPTION_KEY_FILE": str(in_token.data_dir / "key-encryption-key"),
    }
    within(in_token, restored)("restore", str(tmp_path / "backup"))
    within(in_token, restored)("check-store")
    shutil.rmtree(tmp_path / "restored")
    with token.taken_away():
        within(in_token, restored)("restore", str(tmp_path / "backup"), status=Unavailable.exit_status)
        assert not (tmp_path / "restored" / "hanaper.db").exists()
    # Both are lost: another key takes its place.
    unnamed = without_token(in_token)
    within(unnamed, restored)("restore", str(tmp_path / "backup"))
    within(unnamed, restored)("signing-key", "rotate", "--yes")
    within(unnamed, restored)("signing-key", "rotate", "--product", "demo", "--yes")
    within(unnamed, restored)("quarantine", "off", "--yes")
    within(unnamed, restored)("generate", "--generator", "1", "--quantity", "2")


# --- servers ---


def post(server: Server, order: dict[str, str] = ORDER) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1/generate", data=order, trust_env=False, timeout=LONGEST_S)


def is_signed(response: httpx.Response, pem: str) -> bool:
    outer = response.json()
    signature = base64.b64decode(outer["signature"])
    return Verifier.from_pem(pem.encode()).accepts(outer["response_base64"].encode(), signature)


def soon(server: Server, status: int) -> httpx.Response:
    deadline = time.monotonic() + LONGEST_S
    while (answer := post(server)).status_code != status:
        assert time.monotonic() < deadline, answer.status_code
        time.sleep(0.1)
    return answer


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_what_two_processes_sign_in_one_token(in_token: Hanaper, tmp_path: Path) -> None:
    pem = in_token("public-key", "--product", "demo").stdout
    with in_token.serving("--workers", "2") as server:
        server.wait_for_workers(2)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: post(server), range(40)))
    assert all(answer.status_code == 200 and is_signed(answer, pem) for answer in answers)
    keys = [key for answer in answers for key in answer.json()["response"]["licenseKeys"]]
    assert len(set(keys)) == 3 * len(answers)
    (tmp_path / "message").write_text(answers[0].json()["response_base64"])
    (tmp_path / "signature").write_bytes(base64.b64decode(answers[0].json()["signature"]))
    (tmp_path / "pem").write_text(pem)
    command = ["openssl", "dgst", "-sha256", "-verify", "pem", "-signature", "signature", "message"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).stdout == b"Verified OK\n"
    in_token("check-store")


def test_a_server_whose_token_is_taken_away_and_put_back_with_a_wrong_pin_and_the_right_one(
    in_token: Hanaper, token: SoftToken
) -> None:
    with in_token.serving() as server:
        assert post(server).status_code == 200
        with token.taken_away():
            gone = post(server)
            assert (gone.status_code, gone.content, gone.headers["retry-after"]) == (503, b"", "5")
            token.pin_file.write_text("wrong\n")
        time.sleep(1.1)  # Until the token is asked again.
        assert post(server).status_code == 503
        token.pin_file.write_text(f"{PIN}\n")
        assert soon(server, 200).json()["response"]["code"] == 815
        assert httpx.get(f"{server.url}/readyz", trust_env=False).text == "ready\n"
        # As often as it changes, not as often as somebody asks.
        assert len(server.events("the token cannot be used")) == 1
        assert len(server.events("the token is back")) == 1
        assert server.stop() == 0
        told = [line["reason"] for line in server.events("unavailable")]
        assert any("refuses the PIN" in line for line in told), told
        assert PIN not in server.log
    batches = in_token("check-store", "--json").json["checked"]["batches"]
    assert batches == 2


@pytest.mark.slow
def test_a_demonstration_leaves_nothing_in_the_token(bare: Hanaper, token: SoftToken) -> None:
    within(bare, dict(token.environment))("demo")
    assert labels(token) == []


@pytest.mark.slow
def test_the_pin_is_nowhere_but_in_its_file(in_token: Hanaper, token: SoftToken) -> None:
    """Not in the environment or the arguments of a process, nor in what it says."""
    with in_token.serving() as server:
        assert post(server).status_code == 200
        for name in ("environ", "cmdline"):
            assert PIN.encode() not in Path(f"/proc/{server.process.pid}/{name}").read_bytes()
        said = [in_token(*command, status=status) for command, status in SAID]
        assert server.stop() == 0
        assert all(PIN not in each.stdout + each.stderr for each in said)
        assert PIN not in server.log
    assert token.pin_file.read_text() == f"{PIN}\n"
    assert all(PIN.encode() not in file.read_bytes() for file in in_token.data_dir.rglob("*") if file.is_file())


SAID = [
    (("doctor", "--json"), 0),
    (("signing-key", "list"), 0),
    (("check-store",), 0),
]
