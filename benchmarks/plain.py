"""The plain baseline's processes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hanaper.bench.installation import Installation
from hanaper.bench.server import Server, free_port, running

KEY_VARIABLE = "PLAIN_PRIVATE_KEY_FILE"
ROOT = Path(__file__).parents[1]


@contextmanager
def plain_serving(
    installation: Installation, *, workers: int, bits: int, folder: Path
) -> Iterator[tuple[Server, Installation]]:
    """Run benchmarks/plain_server.py with uvicorn for the length of a `with` block.

    Yields:
        The server, and the installation with the public key of what it signs with: it has a key of its own, in a file.
    """
    private_key = rsa.generate_private_key(65537, bits)
    file, public_key = folder / "plain.pem", folder / "plain-public.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public_key.write_bytes(
        private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.plain_server:app", "--app-dir", str(ROOT)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--no-access-log"]
    environment = installation.environment | {KEY_VARIABLE: str(file)}
    with running(command, environment, port=port, folder=folder) as server:
        yield server, replace(installation, public_key=public_key)
