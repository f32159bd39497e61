"""What belongs to a product is reached within a scope only (decision 0025): told from the code, so none is left out."""

import ast
from collections.abc import Iterator

from tests.support.scopes import MODELS, OWNED, WITHOUT, has_sql, imported, of_requests, scoped, stores, tree

from hanaper.storage.base import Base

EVERYTHING_IS_FOR = ("hanaper.cli", "hanaper.app", "hanaper.install", "hanaper.bench")
MAKES_SCOPES = "hanaper.access.authenticate"
"""Where an API key becomes a caller."""


def test_what_belongs_to_products_is_known() -> None:
    assert {
        *("products", "product_meta", "signing_keys", "generators", "generator_caps", "batches"),
        *("license_keys", "license_key_meta", "activations"),
    } == OWNED
    assert len(MODELS) == len(OWNED)


def test_every_function_that_reaches_rows_of_products_takes_a_scope_and_uses_it() -> None:
    offenders = []
    for store in stores():
        for name in store.functions:
            if name.startswith("_") or (store.module, name) in WITHOUT or not store.reaches(name):
                continue
            if not (store.takes_scope(name) and store.uses_scope(name)):
                offenders.append(f"{store.module}.{name}")
    assert offenders == []


def test_each_exception_is_one() -> None:
    known = {(store.module, name): store for store in stores() for name in store.functions}
    for module, name in WITHOUT:
        store = known[module, name]
        assert store.reaches(name), name
        assert not store.takes_scope(name), name
    # What a request asks of the keystore for a product is no exception.
    assert {("hanaper.keystore.store", "active_id"), ("hanaper.keystore.store", "public_pem")} <= scoped()


def test_a_request_has_the_scope_of_its_caller_and_makes_no_other() -> None:
    """`EVERYTHING` is for the command line and the background; a scope is made where an API key becomes a caller."""
    offenders = [
        f"{module}:{node.lineno} {node.id}"
        for module in of_requests() - {MAKES_SCOPES, "hanaper.storage.scope"}
        if not module.startswith(EVERYTHING_IS_FOR) and imported(module) & {MAKES_SCOPES, "hanaper.storage.scope"}
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Name) and (node.id in ("EVERYTHING", "OPERATOR") or _is_called(module, node))
    ]
    assert offenders == []


def _is_called(module: str, name: ast.Name) -> bool:
    if name.id not in ("Scope", "Caller"):
        return False
    return any(isinstance(node, ast.Call) and node.func is name for node in ast.walk(tree(module)))


def test_use_cases_leave_every_statement_to_the_stores() -> None:
    """A session that is in their hands could load anything, without a scope."""
    offenders = [
        f"{module}:{node.lineno} .{node.attr}"
        for module in of_requests()
        if "hanaper.storage.session" in imported(module) and not has_sql(module)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) == "session"
        and node.attr not in ("flush", "info")
    ]
    assert offenders == []


def test_no_row_loads_another() -> None:
    """What is related to a row would be loaded without a scope."""
    assert [mapper.class_.__name__ for mapper in Base.registry.mappers if mapper.relationships] == []


def test_what_is_remembered_of_products_is_remembered_by_scope() -> None:
    def loads(module: str) -> Iterator[ast.Call]:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("snapshot.get", "self.snapshot.get"):
                yield node

    found = [(module, call) for module in of_requests() for call in loads(module)]
    assert len(found) > 3
    offenders = [f"{module}:{call.lineno}" for module, call in found if "scope" in ast.unparse(call)]
    assert offenders == []
