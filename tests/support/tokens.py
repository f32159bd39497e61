"""Throw-away PKCS#11 tokens: SoftHSM2, in a folder of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PIN = "8675309-canary-pin"
SECURITY_OFFICER_PIN = "security-officer"
LABEL = "hanaper-test"
_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


def library() -> Path:
    """SoftHSM2's library. Without it the test is skipped."""
    found = next((Path(place) for place in _PLACES if Path(place).is_file()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    return found


@dataclass(frozen=True)
class SoftToken:
    """A token that can be taken away and put back."""

    folder: Path
    module: Path
    label: str = LABEL

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def configuration(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def settings(self) -> dict[str, Any]:
        """For `Settings`."""
        return {"pkcs11_module": self.module, "pkcs11_token": self.label, "pkcs11_pin_file": self.pin_file}

    @property
    def environment(self) -> Mapping[str, str]:
        """For a process of its own."""
        named = {f"HANAPER_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {"SOFTHSM2_CONF": str(self.configuration), **named}

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """Somebody pulls it out."""
        away = self.folder / "away"
        self.tokens.rename(away)
        try:
            yield
        finally:
            away.rename(self.tokens)

    def add(self, label: str) -> "SoftToken":
        """Another one beside it."""
        new_token(self, label)
        return SoftToken(self.folder, self.module, label)


def make_token(folder: Path) -> SoftToken:
    """A new token in an empty folder."""
    token = SoftToken(folder, library())
    token.tokens.mkdir(parents=True)
    token.configuration.write_text(
        f"directories.tokendir = {token.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    token.pin_file.write_text(f"{PIN}\n")
    token.pin_file.chmod(0o600)
    new_token(token, token.label)
    return token


def new_token(token: SoftToken, label: str) -> None:
    arguments = ["softhsm2-util", "--init-token", "--free", "--label", label]
    subprocess.run(
        [*arguments, "--pin", PIN, "--so-pin", SECURITY_OFFICER_PIN],
        env={**os.environ, "SOFTHSM2_CONF": str(token.configuration)},
        check=True,
        capture_output=True,
    )
