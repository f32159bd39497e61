"""Throw-away installations, made by the command itself."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from hanaper.refusal import Fault
from hanaper.settings import LARGEST_BUDGET, Settings

HANAPER = (sys.executable, "-m", "hanaper")


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation with demo data.

    Attributes:
        environment: the settings of its processes.
        fields: what a request for license keys names, but for the quantity.
        public_key: PEM file of the demo product.
    """

    data_dir: Path
    environment: dict[str, str]
    fields: dict[str, object]
    public_key: Path

    @property
    def settings(self) -> Settings:
        """As its own processes read them."""
        own = {name.removeprefix("HANAPER_").lower(): value for name, value in self.environment.items() if value}
        return Settings(**own)  # type: ignore[arg-type]  # texts, as the environment has them

    def copied(self, data_dir: Path, database_url: str = "") -> "Installation":
        """The same installation in another place. Nothing may have it open.

        Args:
            data_dir: a folder that is not there yet.
            database_url: of a copy of its database; empty: the SQLite database in the folder.
        """
        shutil.copytree(self.data_dir, data_dir)
        moved = {"HANAPER_DATA_DIR": str(data_dir), "HANAPER_DATABASE_URL": database_url}
        public_key = data_dir / self.public_key.relative_to(self.data_dir)
        return replace(self, data_dir=data_dir, environment=self.environment | moved, public_key=public_key)


def forget_settings() -> None:
    """Take the settings of whoever measures out of this process's environment: his data are not for playing."""
    for name in list(os.environ):
        if name.startswith("HANAPER_"):
            del os.environ[name]


def install(data_dir: Path, *, database_url: str = "", password_file: Path | None = None, bits: int) -> Installation:
    """Run `hanaper init --demo`.

    Args:
        data_dir: a folder that is not there yet.
        database_url: of an empty PostgreSQL database; empty: SQLite in the folder.
        password_file: where the URL holds no password.
        bits: of the RSA keys.

    Raises:
        Fault: it failed.
    """
    environment = {
        "HANAPER_DATA_DIR": str(data_dir),
        "HANAPER_DATABASE_URL": database_url,
        "HANAPER_DATABASE_PASSWORD_FILE": "" if password_file is None else str(password_file.absolute()),
        "HANAPER_RSA_BITS": str(bits),
        # There are limits, so that what they cost is measured; but nobody comes near them.
        "HANAPER_REQUESTS_PER_MINUTE": str(LARGEST_BUDGET),
        "HANAPER_KEYS_PER_MINUTE": str(LARGEST_BUDGET),
    }
    command = [*HANAPER, "init", "--demo", "--json"]
    ran = subprocess.run(  # noqa: S603 -- our own program
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise Fault(f"hanaper init failed: {(ran.stderr.strip() or 'without a word').splitlines()[-1]}")
    made = json.loads(ran.stdout)
    fields = {"api_key": made["api_key"], "generator_id": made["generator_id"]}
    return Installation(data_dir, environment, fields, Path(made["product_public_key"]))
