"""The wheel: built offline, installed apart from the source tree, and run from there."""

import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.processes import Hanaper, clean_environment

from hanaper import __version__

pytestmark = pytest.mark.long

PARTS = ("pyproject.toml", "README.md", "LICENSE", "src", "alembic", "alembic.ini")
NEXT_MIGRATION = '''"""What the next release brings."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("what_comes", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("what_comes")
'''


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for part in PARTS:
        source = request.config.rootpath / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / part)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=tree, check=True, capture_output=True, env=clean_environment())
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    install += ["--disable-pip-version-check", "--target", str(folder), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, env=clean_environment())
    return folder


@pytest.fixture
def installed(bare: Hanaper, site: Path) -> Hanaper:
    """The installed command, in an empty folder."""
    return replace(bare, environment={**bare.environment, "PYTHONPATH": str(site)})


def test_the_wheel_holds_the_package_its_migrations_and_its_license(
    wheel: Path, request: pytest.FixtureRequest
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    root = request.config.rootpath
    sources = {str(file.relative_to(root / "src")) for file in (root / "src").rglob("*.py")}
    migrations = {f"hanaper/migrations/versions/{file.name}" for file in (root / "alembic" / "versions").glob("*.py")}
    assert sources
    assert migrations
    assert names >= sources | migrations | {"hanaper/migrations/env.py"}
    assert f"hanaper-{__version__}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if not name.startswith(("hanaper/", "hanaper-"))]


def test_the_installed_package_is_used_and_not_the_source_tree(installed: Hanaper, site: Path) -> None:
    code = "import hanaper.storage.schema as s; print(s.__file__); print(s.scripts())"
    shown = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=installed.folder,
        env=installed.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.splitlines() == [
        str(site / "hanaper" / "storage" / "schema.py"),
        str(site / "hanaper" / "migrations"),
    ]


def test_the_installed_command_makes_an_installation(installed: Hanaper, site: Path) -> None:
    command = [str(site / "bin" / "hanaper"), "init", "--demo"]
    made = subprocess.run(
        command, cwd=installed.folder, env=installed.environment, check=True, capture_output=True, text=True
    )
    assert f"data dir            {installed.folder / 'data'}" in made.stdout
    assert installed.anew("db", "check", "--json").json["current"] is True
    envelope = installed.anew("generate", "--generator", "1", "--quantity", "10", "--format", "envelope").stdout
    key = "data/public-keys/product-1.pem"
    assert installed.anew("verify", "-", "--public-key", key, stdin=envelope.encode()).json["code"] == 815


def test_the_next_release_asks_for_its_migration_and_this_one_refuses_what_it_left(
    demo: Hanaper, site: Path, tmp_path: Path
) -> None:
    shutil.copytree(site, tmp_path / "next")
    now = demo("db", "check", "--json").json["found"]
    migration = tmp_path / "next" / "hanaper" / "migrations" / "versions" / "99991231_what_comes.py"
    migration.write_text(NEXT_MIGRATION.format(before=now))
    following = replace(demo, environment={**demo.environment, "PYTHONPATH": str(tmp_path / "next")})

    ended = following.anew("serve", "--port", "0", status=78)
    assert ended.stdout == ""
    assert ended.stderr == (
        f"hanaper: sqlite:///{demo.data_dir / 'hanaper.db'} has schema {now}, but 9999 is needed: "
        "make a backup, then run `hanaper db upgrade` (or start with `hanaper serve --migrate`)\n"
    )
    with following.serving("--migrate") as server:
        assert server.wait_for("serving")
        assert server.stop() == 0
    assert following.anew("db", "check", "--json").json == {"found": "9999", "needed": "9999", "current": True}

    ended = demo("serve", "--port", "0", status=78)
    assert "has schema 9999, which is newer than this hanaper: install the newer release" in ended.last_line
