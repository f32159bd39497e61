"""`hanaper demo`: the main job, once, on a throw-away installation and over real HTTP."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx

from hanaper.cli.options import load_settings
from hanaper.clock import utc_now
from hanaper.install import Installed, install
from hanaper.protocol import envelope
from hanaper.refusal import Fault, Unavailable
from hanaper.signing.verifier import Verifier

STARTUP_S = 30.0
STOP_S = 20.0
QUANTITY = 10


def demo() -> None:
    """Start a server with demo data, ask it for ten license keys, check the signature, stop it."""
    with tempfile.TemporaryDirectory(prefix="hanaper-demo-") as folder:
        print("1. A throw-away installation with demo data")
        # A database, key or token that the environment names is not for playing.
        for name in ("HANAPER_DATABASE_URL", "HANAPER_KEY_ENCRYPTION_KEY_FILE", "HANAPER_PKCS11_MODULE"):
            os.environ.pop(name, None)
        installed = install(load_settings(Path(folder) / "data"), demo=True, now=utc_now())
        print(f"   {installed.data_dir}: schema, global key, product {installed.product_id} with its own RSA key\n")
        port = _free_port()
        with _server(installed, port) as base_url:
            body = _ask(base_url, installed)
        _check(body, installed, Path(folder))
    _next_steps()


def _ask(base_url: str, installed: Installed) -> bytes:
    form = {"api_key": installed.api_key, "generator_id": installed.generator_id, "quantity": QUANTITY}
    print("3. The request")
    print(f"   curl {base_url}/api/v1/generate \\\n     -d '{urlencode(form)}'\n")
    answer = httpx.post(f"{base_url}/api/v1/generate", data=form, timeout=30, trust_env=False)
    print(f"   The answer: HTTP {answer.status_code}")
    print("   " + json.dumps(answer.json(), indent=2).replace("\n", "\n   ") + "\n")
    if answer.status_code != httpx.codes.OK:
        raise Fault(f"the server answered {answer.status_code}")
    return answer.content


def _check(body: bytes, installed: Installed, folder: Path) -> None:
    assert installed.product_public_key is not None, "demo data have a product"  # noqa: S101 -- narrows the type
    print("4. The verdict")
    received = envelope.decode(body)
    if not Verifier.from_pem(installed.product_public_key.read_bytes()).accepts_envelope(received):
        raise Fault("hanaper: the signature does not verify")
    print("   hanaper   the signature verifies with the product's public key")
    openssl = shutil.which("openssl")
    if openssl is None:
        print("   openssl   not installed, not asked\n")
        return
    (folder / "signature.bin").write_bytes(received.signature)
    (folder / "response_base64.txt").write_bytes(received.response_base64)
    command = ["openssl", "dgst", "-sha256", "-verify", str(installed.product_public_key)]
    command += ["-signature", str(folder / "signature.bin"), str(folder / "response_base64.txt")]
    asked = subprocess.run([openssl, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 -- fixed
    print(f"   openssl   {asked.stdout.strip() or asked.stderr.strip()}\n")
    if asked.returncode != 0:
        raise Fault("openssl does not accept the signature")
    keys = json.loads(base64.b64decode(received.response_base64))["licenseKeys"]
    print(f"   {len(set(keys))} different license keys, stored before they were sent.\n")


@contextmanager
def _server(installed: Installed, port: int) -> Iterator[str]:
    base_url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "hanaper", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(installed.data_dir)]
    print(f"2. The server\n   hanaper serve --port {port}")
    with (installed.data_dir / "server.log").open("w+b") as log:
        process = subprocess.Popen(command, stderr=log)  # noqa: S603 -- our own program
        try:
            _wait_until_ready(process, base_url, log.name)
            print(f"   ready on {base_url}\n")
            yield base_url
        finally:
            # Without the delay that SIGTERM has for proxies.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], base_url: str, log: str) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"the server stopped at once: {Path(log).read_text(errors='replace').strip()}")
        try:
            if httpx.get(f"{base_url}/healthz", timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise Unavailable(f"the server was not ready after {STARTUP_S:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _next_steps() -> None:
    command = sys.argv[0] if Path(sys.argv[0]).name == "hanaper" else f"{sys.executable} -m hanaper"
    print("Next steps")
    for arguments, meaning in (
        ("init --demo --data-dir data", "the same installation, to keep"),
        ("serve --data-dir data", "on http://127.0.0.1:8000"),
        ("--help", "products, generators, API keys"),
    ):
        print(f"   {command} {arguments:<28} {meaning}")
    print("   README.md: curl, Python and Docker")
