"""compose.yaml at work: the commands of docs/docker.md, for a project, a port and networks that are nobody's."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.by_openssl import check_answer
from tests.support.engine import BUILD_S, Engine, has_compose
from tests.support.image_sources import documented, lay_out

pytestmark = pytest.mark.slow

PASSWORD_AND_START, USE_IT = documented("With compose")
[LOOK] = documented("Is it set up well")
BACK_UP, _, RESTORE = documented("Backup")
NEWER, ONE_BY_ONE, MIGRATE = documented("Upgrade")


@dataclass(frozen=True)
class Project:
    folder: Path
    environment: dict[str, str]

    def run(self, commands: str) -> str:
        """What they print, as they stand in the documents."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_S,
        )
        assert ran.returncode == 0, f"{commands}\n{ran.stdout}\n{ran.stderr}{self.logs()}"
        return ran.stdout

    def logs(self) -> str:
        asked = ["docker", "compose", "logs", "--no-color", "--tail", "50"]
        return subprocess.run(
            asked, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        ).stdout


@pytest.fixture(scope="module")
def project(an_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Nothing of it runs yet."""
    if not has_compose(an_engine):
        pytest.skip(f"{an_engine.program} does not know compose")
    folder = tmp_path_factory.mktemp("compose") / "hanaper"
    lay_out(folder, strange=())
    # nginx reads it as another user.
    (folder / "docs/deploy/nginx.conf").chmod(0o644)
    name = f"hanaper-test-{uuid.uuid4().hex[:8]}"
    text = (folder / "compose.yaml").read_text().replace("127.0.0.1:8080:8080", "127.0.0.1::8080")
    text = text.replace("172.30.80.", "172.30.81.").replace("hanaper:local", f"localhost/{name}:local")
    (folder / "compose.yaml").write_text(text)
    project = Project(folder, {**os.environ, "COMPOSE_PROJECT_NAME": name})
    yield project
    project.run("docker compose down --volumes --timeout 5")
    an_engine.remove(f"localhost/{name}:local")


def test_what_is_documented_for_compose_works(project: Project, tmp_path: Path) -> None:
    """From nothing to a restored installation; the proxy is asked as clients ask it."""
    project.run(PASSWORD_AND_START)
    project.run("docker compose up --detach --wait proxy")
    api_key, answer = use(project, "none yet")
    given = check_answer(answer, tmp_path, product_key(project, tmp_path))
    project.run(LOOK)

    project.run(NEWER.replace(" --pull", ""))
    project.run(ONE_BY_ONE)
    project.run(MIGRATE)
    project.run("docker compose up --detach --wait proxy")

    project.run(BACK_UP)
    # Every volume but the one with the key encryption key goes.
    project.run("docker compose down && docker volume rm ${COMPOSE_PROJECT_NAME}_database")
    project.run(RESTORE.replace("quarantine off", "quarantine off --yes"))
    project.run("docker compose up --detach --wait proxy")
    listed = project.run("docker compose exec -T hanaper-2 hanaper key list --json")
    assert all(license_key in listed for license_key in given)
    check_answer(order(project, api_key), tmp_path, product_key(project, tmp_path))


def use(project: Project, api_key: str) -> tuple[str, bytes]:
    """The documented commands, one after the other: an API key, and what the order with it was answered."""
    answer = ""
    for line in USE_IT.splitlines():
        if line.startswith("curl"):
            answer = project.run(at_the_proxy(project, line).replace("api_key=...", f"api_key={api_key}"))
        else:
            said = project.run(line)
            api_key = said.split()[-1] if " api-key add " in line else api_key
    return api_key, answer.encode()


def at_the_proxy(project: Project, line: str) -> str:
    return line.replace("127.0.0.1:8080", project.run("docker compose port proxy 8080").strip())


def order(project: Project, api_key: str) -> bytes:
    [line] = [line for line in USE_IT.splitlines() if line.startswith("curl")]
    return project.run(at_the_proxy(project, line).replace("api_key=...", f"api_key={api_key}")).encode()


def product_key(project: Project, folder: Path) -> Path:
    path = folder / "product.pem"
    path.write_text(project.run("docker compose exec -T hanaper-1 hanaper public-key --product acme-editor"))
    return path
