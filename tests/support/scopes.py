"""Which functions have to do with rows that belong to a product, told from the code (decision 0025)."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from hanaper import tables
from hanaper.storage.base import Base

SOURCE = Path(__file__).parents[2] / "src"

BY_NAME = "a text that is taken is taken for everybody, whoever has it; none is told whose it is"
NOBODYS = "license keys of a batch that nobody has got, and nobody will"
KEYSTORE = (
    "public halves are published, and private ones are used by the signing service alone, for what is told already"
)
WITHOUT = {
    ("hanaper.licenses.store", "already_stored"): BY_NAME,
    ("hanaper.licenses.store", "stored"): BY_NAME,
    ("hanaper.licenses.store", "taken"): BY_NAME,
    ("hanaper.products.store", "slugs_like"): BY_NAME,
    ("hanaper.products.store", "ids_not_deleted"): "a part of other statements, which have a scope of their own",
    ("hanaper.issuing.staging", "discard"): NOBODYS,
    ("hanaper.idempotency.store", "look_up"): "what an API key was answered before, under its own idempotency key",
    **{
        ("hanaper.keystore.store", name): KEYSTORE
        for name in (
            *("add", "count", "find", "usable", "active", "of_owner", "by_kid", "all_keys", "wrapped_otherwise"),
            *("kek_ids", "active_kid", "pem_of"),
        )
    },
}
"""Functions that need no scope, with the reason."""


def owned_tables() -> set[str]:
    """Tables whose rows belong to a product: by a column that names it, or by a foreign key to one that does."""
    found = {name for name, table in tables.metadata.tables.items() if "product_id" in table.c} | {"products"}
    while True:
        more = {
            name
            for name, table in tables.metadata.tables.items()
            if any(key.column.table.name in found for key in table.foreign_keys)
        }
        if more <= found:
            return found
        found |= more


OWNED = owned_tables()
MODELS = {mapper.class_.__name__ for mapper in Base.registry.mappers if mapper.local_table.name in OWNED}  # type: ignore[attr-defined]  # they are tables


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(import_module(module)))


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of ours that a module imports."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hanaper":
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in named if _is_module(name)} | {node.module}
    return frozenset(found)


def _is_module(name: str) -> bool:
    path = SOURCE / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def of_requests() -> frozenset[str]:
    """The modules of a server: all that a request can reach."""
    found: set[str] = set()
    todo = {"hanaper.app"}
    while todo:
        found |= todo
        todo = {name for module in todo for name in imported(module)} - found
    return frozenset(found)


def has_sql(module: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sqlalchemy"
        for node in ast.walk(tree(module))
    )


class Store:
    """A module with queries.

    Attributes:
        functions: by name, with those of no use outside.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        body = tree(module).body
        self.functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        self._constants = {
            target.id: node.value
            for node in body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        # What has a scope in it, as one item of many does.
        self._carriers = {
            node.name
            for node in body
            if isinstance(node, ast.ClassDef)
            and any(isinstance(part, ast.AnnAssign) and ast.unparse(part) == "scope: Scope" for part in node.body)
        }

    def reaches(self, name: str) -> bool:
        """Whether a function has to do with rows that belong to a product, by itself or by others in its module."""
        for node in self._parts(name):
            if isinstance(node, ast.Name) and node.id in MODELS and isinstance(node.ctx, ast.Load):
                return True
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and self._is_sql_of_owned(node.value):
                return True
        return False

    def takes_scope(self, name: str) -> bool:
        """Whether nobody can call a function without a scope."""
        arguments = self.functions[name].args
        by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if any(ast.unparse(one) == "scope: Scope" and default is None for one, default in by_name):
            return True
        given = {
            node.id
            for one in [*arguments.posonlyargs, *arguments.args]
            if one.annotation is not None
            for node in ast.walk(one.annotation)
            if isinstance(node, ast.Name)
        }
        return bool(given & self._carriers)

    def uses_scope(self, name: str) -> bool:
        """Whether it does something with it."""
        return any(
            (isinstance(node, ast.Name) and node.id == "scope")
            or (isinstance(node, ast.Attribute) and node.attr == "scope")
            for node in self._parts(name)
        )

    def _parts(self, name: str) -> Iterator[ast.AST]:
        """All that a function is made of: itself, what it calls in its module, and the constants it names."""
        seen: set[str] = set()
        todo = [name]
        while todo:
            known = todo.pop()
            if known in seen:
                continue
            seen.add(known)
            whole = self.functions.get(known) or self._constants.get(known)
            assert whole is not None
            for node in ast.walk(whole):
                if isinstance(node, ast.Name) and node.id in {**self.functions, **self._constants}:
                    todo.append(node.id)
                yield node

    @staticmethod
    def _is_sql_of_owned(text: str) -> bool:
        words = text.replace("(", " ").replace(",", " ").split()
        return bool({"SELECT", "INSERT", "UPDATE", "DELETE"} & set(words)) and bool(OWNED & set(words))


def stores() -> list[Store]:
    return [Store(module) for module in sorted(of_requests()) if has_sql(module)]


def scoped() -> set[tuple[str, str]]:
    """The functions that have to do with rows of products, with the module of each, and take a scope."""
    return {
        (store.module, name)
        for store in stores()
        for name in store.functions
        if not name.startswith("_") and store.reaches(name) and (store.module, name) not in WITHOUT
    }
