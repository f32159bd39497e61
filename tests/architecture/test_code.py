"""Rules about the code itself. A rule without a test decays."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from hanaper import api
from hanaper.access import abilities

ROOT = Path(__file__).parents[2]
TRANSACTIONAL = {"commit", "begin", "begin_nested", "rollback"}
SQL_AS_TEXT = {"text", "literal_column", "exec_driver_sql", "op", "bool_op"}
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_imports_keep_the_contracts() -> None:
    # In a process of its own: it switches off the loggers of the one it runs in.
    command: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["util", "utils", "common", "core", "helpers", "misc"])
def test_no_file_has_a_name_that_says_nothing(name: str) -> None:
    found = [path for path in ROOT.glob("src/**/*") if path.stem == name]
    assert found == []


def test_a_server_without_metrics_does_not_load_their_library() -> None:
    looks = "import sys, hanaper.app, hanaper.cli.main; print('prometheus_client' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_only_the_storage_package_begins_or_commits_a_transaction() -> None:
    offenders = []
    for path in SOURCES:
        if "storage" in path.parts:
            continue
        offenders += [
            f"{path.relative_to(ROOT)}:{node.lineno} .{node.func.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TRANSACTIONAL
        ]
    assert offenders == []


def test_no_command_writes_without_its_row_of_the_audit_log() -> None:
    """They write by `cli/change.py`, which records it; what issues license keys records its batches itself."""
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if "cli" in path.parts and path.name != "change.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and (
            (node.attr in ("write", "submit") and ast.unparse(node.value).endswith("storage"))
            or ast.unparse(node) == "migrate.upgrade"
        )
    ]
    assert offenders == []


def _is_constant(node: ast.expr) -> bool:
    """Whether a text is made of literals and of names in capitals only."""
    match node:
        case ast.Constant():
            return True
        case ast.Name():
            return node.id.isupper()
        case ast.IfExp():
            return _is_constant(node.body) and _is_constant(node.orelse)
        case ast.JoinedStr() | ast.FormattedValue():
            return all(_is_constant(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
        case ast.Call(func=ast.Attribute(value=whole, attr="format")):
            return _is_constant(whole) and all(map(_is_constant, node.args))
    return False


@pytest.mark.parametrize(
    ("written", "constant"),
    [
        *[(text, True) for text in ("'a'", "A", "f'{A} b'", "A.format('b')", "A.format(B)", "A if x else 'b'")],
        *[(text, False) for text in ("x", "f'{x}'", "'a' + x", "'%s' % x", "A.format(x)", "x.format('')", "str(A)")],
    ],
)
def test_text_that_is_put_together_is_told_from_constants(written: str, *, constant: bool) -> None:
    assert _is_constant(ast.parse(written, mode="eval").body) is constant


def test_sql_is_never_built_from_strings() -> None:
    """Bound parameters only: SQL as text is made of constants, and nothing calls the driver outside of storage."""
    offenders = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            outside = called == "exec_driver_sql" and "storage" not in path.parts
            built = called in SQL_AS_TEXT and node.args and not _is_constant(node.args[0])
            if outside or built:
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    # An index expression and CHECK constraints are built from names in the code, in storage/base.py, not by text().
    assert offenders == []


def test_every_endpoint_is_an_ability_and_the_other_way_round() -> None:
    paths = {route.path.lstrip("/") for router in api.ROUTERS for route in router.routes if isinstance(route, APIRoute)}
    assert paths == set(abilities.ENDPOINTS)


def test_every_endpoint_is_declared_by_the_one_way_that_authenticates() -> None:
    for router in api.ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            assert route.endpoint.__module__ == "hanaper.web.endpoint"
