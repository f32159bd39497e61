"""Answers of all kinds verify with tools that are not ours: OpenSSL's command, Node.js and PHP (T18)."""

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from tests.support import generated
from tests.support.raw import send
from tests.support.slow import first
from tests.support.world import World

OPENSSL_MOST = 40
"""A process for each answer."""

NODE = """
const fs = require("fs"), crypto = require("crypto");
for (const line of fs.readFileSync(0, "utf8").trim().split("\\n")) {
  const {message, signature, pem} = JSON.parse(line);
  console.log(crypto.verify("sha256", Buffer.from(message), pem, Buffer.from(signature, "base64")) ? 1 : 0);
}
"""
PHP = """
foreach (explode("\\n", trim(stream_get_contents(STDIN))) as $line) {
  $each = json_decode($line, true);
  $signature = base64_decode($each["signature"], true);
  echo openssl_verify($each["message"], $signature, $each["pem"], OPENSSL_ALGO_SHA256), "\\n";
}
"""


@dataclass(frozen=True)
class Signed:
    """What stands in an answer, and the public key that it should verify with."""

    message: str
    signature: str
    pem: str

    def but_for_one_bit(self) -> "Signed":
        raw = bytearray(base64.b64decode(self.signature))
        raw[len(raw) // 2] ^= 1
        return Signed(self.message, base64.b64encode(raw).decode(), self.pem)


def collected(world: World, number: int) -> tuple[list[Signed], set[int | str]]:
    """Answers to so many requests by chance, and the codes that are among them."""
    found, codes = [], set[int | str]()
    for asked in islice(generated.by_chance(18), number):
        outer = send(world.api.base_url, asked.method, asked.path, asked.headers, asked.body).json()
        message = outer["response_base64"]
        assert base64.b64encode(base64.b64decode(message, validate=True)).decode() == message
        assert json.loads(base64.b64decode(message)) == outer["response"]
        pem = world.api.product_pem if outer["private_key_used"] == "product" else world.api.global_pem
        found.append(Signed(message, outer["signature"], pem))
        codes.add(outer["response"]["code"])
    return found, codes


def by(program: str, script: str, flag: str, answers: list[Signed]) -> list[bool]:
    """What a program says of each, in one process."""
    lines = "\n".join(json.dumps(vars(each)) for each in answers)
    ended = subprocess.run(
        [program, flag, script], input=lines, capture_output=True, text=True, check=True, timeout=120
    )
    return [verdict == "1" for verdict in ended.stdout.split()]


def by_openssl(program: str, folder: Path, answer: Signed) -> bool:
    (folder / "message").write_text(answer.message)
    (folder / "signature").write_bytes(base64.b64decode(answer.signature))
    (folder / "key").write_text(answer.pem)
    command = [program, "dgst", "-sha256", "-verify", "key", "-signature", "signature", "message"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return ended.stdout == "Verified OK\n" and ended.returncode == 0


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", first(1, [200, 2000]))
def test_answers_verify_with_others(world: World, tmp_path: Path, number: int) -> None:
    programs = {name: shutil.which(name) for name in ("openssl", "node", "php")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    openssl, node, php = (path for path in programs.values() if path is not None)
    answers, codes = collected(world, number)
    assert len(codes) > 12
    changed = [each.but_for_one_bit() for each in answers]
    assert by(node, NODE, "-e", answers) == by(php, PHP, "-r", answers) == [True] * number
    assert by(node, NODE, "-e", changed) == by(php, PHP, "-r", changed) == [False] * number
    assert all(by_openssl(openssl, tmp_path, each) for each in answers[:: max(number // OPENSSL_MOST, 1)])
    assert not any(by_openssl(openssl, tmp_path, each) for each in changed[:: number // 4])
