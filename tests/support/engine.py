"""A container engine, where there is one: docker, podman, or buildah, which builds and shows but lets nothing run.

`HANAPER_TEST_ENGINE` names one of them, `HANAPER_TEST_BUILD_OPTIONS` has more options for its `build`.
"""

import json
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LONGEST_S = 120
BUILD_S = 1800
ENGINES = ("docker", "podman", "buildah")

_BUILD_OPTIONS = shlex.split(os.environ.get("HANAPER_TEST_BUILD_OPTIONS", ""))


@dataclass(frozen=True)
class Engine:
    """One of the programs; they understand the same words, where they know them at all."""

    program: str

    @property
    def runs_containers(self) -> bool:
        return self.program != "buildah"

    def __call__(self, *arguments: str, status: int = 0, seconds: int = LONGEST_S) -> str:
        """What a command of the engine prints, of which this exit status is expected."""
        ran = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
        assert ran.returncode == status, f"{arguments}\nexit status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def build(self, tree: Path, tag: str) -> None:
        """Build what is in a folder."""
        # Images of the OCI's format have no health check.
        kind = [] if self.program == "docker" else ["--format", "docker"]
        self("build", *kind, *_BUILD_OPTIONS, "--tag", tag, str(tree), seconds=BUILD_S)

    def configuration(self, image: str) -> dict[str, Any]:
        """What an image tells engines, in the words of docker."""
        [shown] = json.loads(self("image", "inspect", image)) if self.runs_containers else [self._shown(image)]
        found: dict[str, Any] = shown["Config"]
        return {**({"Healthcheck": shown["Healthcheck"]} if "Healthcheck" in shown else {}), **found}

    def _shown(self, image: str) -> dict[str, Any]:
        return {"Config": json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]}

    @contextmanager
    def files(self, image: str, folder: Path) -> Iterator[tarfile.TarFile]:
        """The file system of an image, by way of a file in the folder."""
        archive = folder / "files.tar"
        if self.runs_containers:
            container = self("create", image, "nothing").strip()
            self("export", "--output", str(archive), container)
            self("rm", "--volumes", container)
        else:
            container = self("from", image).strip()
            subprocess.run(["tar", "-C", self("mount", container).strip(), "-cf", str(archive), "."], check=True)
            self("rm", container)
        with tarfile.open(archive) as opened:
            yield opened
        archive.unlink()

    def remove(self, image: str) -> None:
        self("rmi", image)


@cache
def engine() -> Engine | None:
    """The first engine that answers; a client without its server is none."""
    for name in [os.environ["HANAPER_TEST_ENGINE"]] if "HANAPER_TEST_ENGINE" in os.environ else ENGINES:
        if shutil.which(name) is not None:
            answered = subprocess.run([name, "info"], capture_output=True, check=False, timeout=LONGEST_S)
            if answered.returncode == 0:
                return Engine(name)
    return None


def has_compose(found: Engine) -> bool:
    """Whether the engine understands `compose`."""
    asked = subprocess.run([found.program, "compose", "version"], capture_output=True, check=False, timeout=LONGEST_S)
    return asked.returncode == 0
