"""Answers as somebody verifies them who has OpenSSL and a public key."""

import json
import subprocess
from pathlib import Path


def check_answer(body: bytes, folder: Path, public_key: Path) -> list[str]:
    """The ten license keys of an order whose signature is right; the folder is for files."""
    answer = json.loads(body)
    (folder / "message").write_text(answer["response_base64"])
    (folder / "signature.base64").write_text(answer["signature"])
    decode = ["openssl", "base64", "-d", "-A", "-in", "signature.base64", "-out", "signature"]
    subprocess.run(decode, check=True, cwd=folder)
    verify = ["openssl", "dgst", "-sha256", "-verify", str(public_key), "-signature", "signature", "message"]
    verdict = subprocess.run(verify, check=True, cwd=folder, capture_output=True, text=True)
    assert verdict.stdout == "Verified OK\n"
    license_keys: list[str] = answer["response"]["licenseKeys"]
    assert len(set(license_keys)) == 10
    return license_keys
