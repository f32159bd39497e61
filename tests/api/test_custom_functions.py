"""Generators whose keys come from an installed package (docs/custom-generators.md)."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from tests.support.api import Answer
from tests.support.world import World, add_generator, add_weak_generator, counts, nothing_stored

from hanaper.issuing import custom
from hanaper.issuing.formats import Recipe
from hanaper.refusal import Invalid

MODULE = "hanaper_sample_functions"
SOURCE = '''
    from itertools import count
    from secrets import token_hex

    _numbers = count()

    def make(quantity: int) -> list[str]:
        """What a package offers: that many keys."""
        return [f"S-{token_hex(8)}" for _ in range(quantity)]

    def asked(quantity): return [f"A-{quantity}-{next(_numbers)}" for _ in range(quantity)]
    def repeats(quantity): return ["R-same"] * quantity
    def stammers(quantity): return [f"T-{next(_numbers) // 2}" for _ in range(quantity)]
    def foreign(quantity): return [f"é/日本-{token_hex(8)}" for _ in range(quantity)]
    def longest(quantity): return [(token_hex(8) * 16)[:253] for _ in range(quantity)]

    def raises(quantity): raise RuntimeError("secret details")
    def exits(quantity): raise SystemExit(3)
    def too_few(quantity): return ["x"] * (quantity - 1)
    def too_many(quantity): return [f"x{n}" for n in range(quantity + 1)]
    def nothing(quantity): return None
    def a_tuple(quantity): return tuple(f"x{n}" for n in range(quantity))
    def a_text(quantity): return "x" * quantity
    def numbers(quantity): return list(range(quantity))
    def raw(quantity): return [b"x"] * quantity
    def empty(quantity): return [""] * quantity
    def controls(quantity): return [f"x\\n{n}" for n in range(quantity)]
    def nul(quantity): return [f"x\\0{n}" for n in range(quantity)]
    def surrogates(quantity): return [f"x\\ud800{n}" for n in range(quantity)]
    def too_long(quantity): return [token_hex(8) * 16 for _ in range(quantity)]
    not_callable = 7
'''
GOOD = ("make", "asked", "stammers", "foreign", "longest")
BAD = (
    *("raises", "too_few", "too_many", "nothing", "a_tuple", "a_text", "numbers", "raw", "empty", "controls", "nul"),
    *("surrogates", "too_long", "not_callable", "not_in_the_module"),
)


def install(folder: Path, package: str, functions: dict[str, str]) -> None:
    """What pip leaves behind of a package that offers functions."""
    information = folder / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{custom.ENTRY_POINT_GROUP}]", *(f"{name} = {value}" for name, value in functions.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(dedent(SOURCE), encoding="utf-8")
    names = (*GOOD, *BAD, "repeats", "exits", "twice")
    install(folder, "sample", {name: f"{MODULE}:{name}" for name in names} | {"no_module": "no_such_module:make"})
    install(folder, "another", {"twice": f"{MODULE}:make"})
    monkeypatch.syspath_prepend(str(folder))
    custom.load.cache_clear()
    yield
    sys.modules.pop(MODULE, None)
    custom.load.cache_clear()


def ask(world: World, recipe: Recipe, quantity: int) -> Answer:
    generator = add_weak_generator(world.services, world.products["demo"], recipe)
    fields = {"api_key": world.keys["good"], "generator_id": generator, "quantity": quantity}
    return world.api.post("/api/v1/generate", fields)


@pytest.mark.parametrize("quantity", [1, 10, 1000])
def test_the_keys_come_from_the_function_between_prefix_and_suffix(world: World, quantity: int) -> None:
    recipe = Recipe("custom", prefix="PRO/", suffix="-ß", function_name="make")
    generator = add_generator(world.services, world.products["demo"], recipe)
    fields = {"api_key": world.keys["good"], "generator_id": generator, "quantity": quantity}
    before = counts(world.storage)
    answer = world.api.post("/api/v1/generate", fields)
    assert (answer.code, answer.signed_by) == (815, "product")
    keys = answer.payload["licenseKeys"]
    assert len(set(keys)) == quantity
    assert all(key.startswith("PRO/S-") and key.endswith("-ß") and len(key) == 24 for key in keys)
    assert counts(world.storage).license_keys - before.license_keys == quantity


@pytest.mark.parametrize("function", GOOD)
def test_functions_that_do_as_they_should(world: World, function: str) -> None:
    prefix = {"sqlite": "s", "postgresql": "p"}[world.storage.engine.dialect.name]
    answer = ask(world, Recipe("custom", prefix=prefix, function_name=function), 10)
    assert answer.code == 815
    assert len(set(answer.payload["licenseKeys"])) == 10


@pytest.mark.parametrize("function", [*BAD, "no_module", "twice", "not-offered", "repeats"])
def test_a_function_that_does_not_gives_no_keys_and_no_details(world: World, function: str) -> None:
    with nothing_stored(world.storage):
        answer = ask(world, Recipe("custom", function_name=function), 3)
    assert (answer.code, answer.status, answer.signed_by) == (902, 200, "product")
    assert list(answer.payload) == ["code", "message", "timestamp"]
    assert b"secret" not in answer.http.content


def test_a_function_that_always_says_the_same_is_good_for_one_key(world: World) -> None:
    recipe = Recipe("custom", function_name="repeats")
    answer = ask(world, recipe, 1)
    assert answer.payload["licenseKeys"] == ["R-same"]
    with nothing_stored(world.storage):
        assert ask(world, recipe, 1).code == 902


@pytest.mark.parametrize("function", ["not-offered", "no_module", "twice", "not_callable"])
def test_no_generator_is_made_for_a_function_that_cannot_be_had(world: World, function: str) -> None:
    with pytest.raises(Invalid, match=r"offered are: .*make"):
        add_generator(world.services, world.products["demo"], Recipe("custom", function_name=function))


def test_the_functions_that_are_offered() -> None:
    assert {*GOOD, "twice"} <= set(custom.names())
