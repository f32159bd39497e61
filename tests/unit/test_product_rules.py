import pytest

from hanaper.products import rules


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme Editor", "acme-editor"),
        ("  Acme   Editor  2.0 ", "acme-editor-2-0"),
        ("Café Ünïcode", "cafe-unicode"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}cme", "acme"),
        ("ﬁle", "file"),
        ("--a--b--", "a-b"),
        ("a_b.c/d", "a-b-c-d"),
        ("日本語", "product"),
        ("!!!", "product"),
        ("", "product"),
        ("日本 3", "product-3"),
        ("123", "product-123"),
        ("1-2", "1-2"),
        ("9" * 120, "product-" + "9" * 92),
        ("a" * 120, "a" * 100),
        ("a" * 99 + " b", "a" * 99),
        ("Straße", "strae"),
        ("95F0B74A-4E73-4232-8197-44ac0986eb44", "product-95f0b74a-4e73-4232-8197-44ac0986eb44"),
    ],
)
def test_a_slug_is_made_from_a_name(name: str, slug: str) -> None:
    assert rules.slug_of(name) == slug


@pytest.mark.parametrize(
    "name", ["Acme", "", "日本語", "123", "-", "a" * 300, "9" * 300, "é" * 300, "a-" * 200, "1 2", "\0", "\U0001f600"]
)
def test_a_slug_that_was_made_is_a_slug(name: str) -> None:
    assert rules.slug_fault(rules.slug_of(name)) is None


@pytest.mark.parametrize("slug", ["a", "acme-editor", "3d", "a" * 100, "1-2", "product-7"])
def test_a_slug_is_lower_case_letters_digits_and_single_hyphens(slug: str) -> None:
    assert rules.slug_fault(slug) is None


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "-",
        "-a",
        "a-",
        "a--b",
        "A",
        "a b",
        "a_b",
        "a.b",
        "é",
        "7",
        "123",
        "a" * 101,
        "a\n",
        "\N{FULLWIDTH DIGIT ONE}a",
        "95f0b74a-4e73-4232-8197-44ac0986eb44",
    ],
)
def test_anything_else_is_no_slug(slug: str) -> None:
    assert rules.slug_fault(slug) == (
        "a slug has 1 to 100 lower-case letters, digits and single hyphens, and is neither a number nor a UUID"
    )


@pytest.mark.parametrize("name", ["x", " Deski Support", "é" * 255, "日本語", "A & B <c> \"d\" 'e'"])
def test_a_name_is_printable_text(name: str) -> None:
    assert rules.name_fault(name) is None


@pytest.mark.parametrize("name", ["", " ", "   ", "x" * 256, "a\nb", "\0", "\u200b", chr(0xD800)], ids=ascii)
def test_any_other_name_is_refused(name: str) -> None:
    assert rules.name_fault(name) == "the name of a product has 1 to 255 printable characters"


@pytest.mark.parametrize(
    ("slug", "taken", "free"),
    [
        ("acme", set(), "acme"),
        ("acme", {"acme-2", "acme-3", "acm"}, "acme"),
        ("acme", {"acme"}, "acme-2"),
        ("acme", {"acme", "acme-3"}, "acme-2"),
        ("acme", {"acme", "acme-2", "acme-3"}, "acme-4"),
        ("acme", {"acme", *(f"acme-{number}" for number in range(2, 1000))}, "acme-1000"),
        ("acme-2", {"acme-2"}, "acme-2-2"),
        ("a" * 100, {"a" * 100}, "a" * 98 + "-2"),
        ("a" * 98 + "-b", {"a" * 98 + "-b"}, "a" * 98 + "-2"),
        ("a" * 97 + "-bc", {"a" * 97 + "-bc"}, "a" * 97 + "-2"),
        ("a" * 100, {"a" * 100, *("a" * 98 + f"-{number}" for number in range(2, 10))}, "a" * 97 + "-10"),
    ],
)
def test_a_slug_that_is_taken_gets_a_number_behind_it(slug: str, taken: set[str], free: str) -> None:
    assert rules.free_slug(slug, taken) == free


@pytest.mark.parametrize("name", ["Acme", "", "日本語", "123", "a" * 300, "9" * 300, "a-" * 200, "1 2"])
def test_every_slug_that_is_found_is_a_slug_and_not_taken(name: str) -> None:
    taken: set[str] = set()
    for _ in range(120):
        found = rules.free_slug(rules.slug_of(name), taken)
        assert found not in taken
        assert rules.slug_fault(found) is None
        taken.add(found)
