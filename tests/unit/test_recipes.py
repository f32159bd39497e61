"""From a recipe to a format, and the functions of installed packages."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from hanaper.issuing import custom
from hanaper.issuing.formats import Recipe, format_of
from hanaper.licenses.key_formats import ChunkFormat, CustomFormat, UuidFormat

GROUP = "hanaper.generators"


def offer(monkeypatch: pytest.MonkeyPatch, **functions: str) -> None:
    """Have packages installed that offer these functions, by entry point value."""
    entries = [EntryPoint(name.rstrip("_"), value, GROUP) for name, value in functions.items()]

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [entry for entry in entries if entry.group == group and name in (None, entry.name)]

    monkeypatch.setattr(custom, "entry_points", entry_points)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    custom.load.cache_clear()
    yield
    custom.load.cache_clear()


def test_a_uuid_recipe_uses_its_affixes_only() -> None:
    assert format_of(Recipe("uuid", "A-", "-Z", number_of_chunks=9, charset="xy")) == UuidFormat("A-", "-Z")


def test_a_chunk_recipe_uses_its_charset_and_shape() -> None:
    assert format_of(Recipe("chunk-system")) == ChunkFormat("0123456789ABCDEF", 4, 4)
    recipe = Recipe("chunk-system", "A", "Z", number_of_chunks=2, chunk_length=3, charset="xy")
    assert format_of(recipe) == ChunkFormat("xy", 2, 3, "A", "Z")


def test_a_custom_recipe_uses_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, shapes="string:capwords")
    form = format_of(Recipe("custom", "A", "Z", function_name="shapes"))
    assert isinstance(form, CustomFormat)
    assert form.function.__name__ == "capwords"
    assert (form.prefix, form.suffix) == ("A", "Z")


def test_names_are_listed_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, b="string:capwords", a="string:capwords", a_="string:capwords")
    assert custom.names() == ["a", "b"]


def test_nothing_is_offered_by_this_package_itself() -> None:
    assert custom.names() == []


def test_a_function_that_nobody_offers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, other="string:capwords")
    with pytest.raises(custom.NoSuchFunction, match="no installed package offers 'shapes' under hanaper"):
        custom.load("shapes")


def test_a_function_that_two_packages_offer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, shapes="string:capwords", shapes_="string:Formatter")
    with pytest.raises(custom.NoSuchFunction, match="'shapes' is offered 2 times under hanaper"):
        custom.load("shapes")


@pytest.mark.parametrize(
    ("value", "error"), [("no_such_module:f", "ModuleNotFoundError"), ("string:no_such_name", "AttributeError")]
)
def test_a_function_that_cannot_be_imported_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, error: str) -> None:
    offer(monkeypatch, shapes=value)
    with pytest.raises(custom.NoSuchFunction, match=rf"^{value} cannot be imported \({error}\)$"):
        custom.load("shapes")


def test_what_is_no_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, shapes="string:digits")
    with pytest.raises(custom.NoSuchFunction, match=r"^string:digits is not a function$"):
        custom.load("shapes")
