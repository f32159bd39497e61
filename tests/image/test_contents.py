"""What is in the image, and what is not."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from tests.support import cage
from tests.support.engine import Engine
from tests.support.image_sources import STRANGE, lay_out

pytestmark = pytest.mark.slow

# Where the base image lets everybody write: folders in which nobody removes what another one made.
OPEN_TO_ALL = {"tmp", "var/tmp", "run/lock", "dev/shm"}
BUILDS = re.compile(
    r"(pip|pip3|pip3\.\d+|easy_install.*|wheel|hatch.*|uv|cc|c\+\+|gcc.*|g\+\+.*|clang.*|ld|as|make|cmake|rustc|cargo|git)"
)
PROGRAM = "opt/hanaper"
HANDED = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE", "alembic", "src")


@pytest.fixture(scope="module")
def files(an_engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tarfile.TarFile]:
    with an_engine.files(image, tmp_path_factory.mktemp("files")) as files:
        yield files


@pytest.fixture(scope="module")
def members(files: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """All files of the image by their paths."""
    return {str(PurePosixPath(member.name)): member for member in files}


def test_engines_are_told_how_it_runs(an_engine: Engine, image: str) -> None:
    found = an_engine.configuration(image)
    assert found["User"] == f"{cage.USER}:{cage.USER}"
    assert found["WorkingDir"] == cage.DATA
    assert (found["Entrypoint"], found["Cmd"], found["StopSignal"]) == (["hanaper"], ["serve"], "SIGTERM")
    assert set(found["Volumes"]) == {cage.DATA}
    assert set(found["ExposedPorts"]) == {"8000/tcp"}
    assert found["Healthcheck"]["Test"][:2] == ["CMD", "python"]


def test_its_user_can_change_nothing_but_data_and_tmp(members: dict[str, tarfile.TarInfo]) -> None:
    theirs = {path for path, member in members.items() if cage.USER in (member.uid, member.gid)}
    assert theirs == {"data"}
    assert members["data"].mode == 0o700
    open_to_all = {path: member for path, member in members.items() if not member.issym() and member.mode & 0o002}
    assert {path for path, member in open_to_all.items() if not member.ischr()} <= OPEN_TO_ALL
    assert all(member.mode & 0o1000 for member in open_to_all.values() if member.isdir())


def test_everybody_can_read_the_program_and_root_owns_it(members: dict[str, tarfile.TarInfo]) -> None:
    """Also when nobody could read the sources but who built it."""
    program = {path: member for path, member in members.items() if path.startswith(PROGRAM)}
    assert len(program) > 1000
    assert {(member.uid, member.gid) for member in program.values()} == {(0, 0)}
    unreadable = [path for path, member in program.items() if member.isfile() and not member.mode & 0o004]
    closed = [path for path, member in program.items() if member.isdir() and not member.mode & 0o005]
    assert unreadable + closed == []


def test_nobody_gets_rights_by_starting_a_program(members: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path, member in members.items() if member.isfile() and member.mode & 0o6000] == []


def test_every_module_is_compiled(files: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> None:
    """The user of the image cannot do it: every command and every health check would do it again."""
    modules = [path for path in members if re.search(r"^(usr/local|opt/hanaper)/lib/python3[^/]*/.*\.py$", path)]
    assert len(modules) > 1000
    assert [path for path in modules if not is_compiled(path, files, members)] == []


def is_compiled(path: str, files: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> bool:
    """For good: Python looks neither at the time nor at the bytes of the module (PEP 552)."""
    [version] = re.findall(r"/lib/python3\.(\d+)/", path)
    module = PurePosixPath(path)
    compiled = members.get(f"{module.parent}/__pycache__/{module.stem}.cpython-3{version}.pyc")
    opened = files.extractfile(compiled) if compiled is not None else None
    return opened is not None and int.from_bytes(opened.read(8)[4:], "little") == 0b01


def test_there_is_nothing_to_build_with(members: dict[str, tarfile.TarInfo]) -> None:
    programs = [path for path in members if PurePosixPath(path).parent.name in ("bin", "sbin")]
    assert [path for path in programs if BUILDS.fullmatch(PurePosixPath(path).name)] == []
    modules = {"pip", "ensurepip", "setuptools", "wheel", "hatchling", "pytest"}
    packages = [path for path in members if re.search(r"lib/python3[^/]*/(site-packages/)?[^/]+$", path)]
    assert [path for path in packages if PurePosixPath(path).name.partition("-")[0] in modules] == []


def test_nothing_of_where_it_was_built_is_in_it(members: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path in members if path.startswith("data/")] == []
    assert [path for path in members if path.startswith("build")] == []
    strange = {PurePosixPath(path).name for path in STRANGE}
    assert [path for path in members if path.startswith(PROGRAM) and PurePosixPath(path).name in strange] == []
    ours = [path for path in members if "/hanaper/" in path.removeprefix(PROGRAM)]
    assert [path for path in ours if re.search(r"/(tests?|\.git)/", path)] == []


def test_a_build_is_handed_only_what_it_needs(an_engine: Engine, tmp_path: Path) -> None:
    """Seen by an image that takes all that is handed over."""
    lay_out(tmp_path / "tree")
    (tmp_path / "tree/Dockerfile").write_text("FROM scratch\nCOPY . /handed\n")
    tag = f"localhost/hanaper-test-handed:{tmp_path.name.lower()}"
    an_engine.build(tmp_path / "tree", tag)
    try:
        with an_engine.files(tag, tmp_path) as files:
            handed = [PurePosixPath(member.name) for member in files if member.isfile()]
    finally:
        an_engine.remove(tag)
    inside = [path.relative_to("handed") for path in handed if path.is_relative_to("handed")]
    assert {path.parts[0] for path in inside} == {*HANDED}
    assert not {str(path) for path in inside} & set(STRANGE)
