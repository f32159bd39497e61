import pytest

from hanaper.access import abilities
from hanaper.refusal import Invalid


@pytest.mark.parametrize(
    ("held", "endpoint", "allowed"),
    [
        (["generate"], "generate", True),
        (["generate"], "get-all-generators", False),
        (["get-all-generators", "generate"], "generate", True),
        (["*"], "generate", True),
        (["*"], "an endpoint of the future", True),
        (["generate", "*"], "get-all-generators", True),
        ([], "generate", False),
        (["Generate"], "generate", False),
        (["generate-all"], "generate", False),
        (["gen"], "generate", False),
        (["generate*"], "generate", False),
    ],
)
def test_a_key_may_call_what_it_names_or_everything(held: list[str], endpoint: str, *, allowed: bool) -> None:
    assert abilities.allows(held, endpoint) is allowed


def test_abilities_are_sorted_and_named_once() -> None:
    assert abilities.check(["get-all-generators", "generate", "generate"]) == ["generate", "get-all-generators"]
    assert abilities.check(["*"]) == ["*"]


@pytest.mark.parametrize("endpoint", abilities.ENDPOINTS)
def test_every_endpoint_is_an_ability(endpoint: str) -> None:
    assert abilities.check([endpoint]) == [endpoint]


@pytest.mark.parametrize("wrong", ["", " generate", "Generate", "verify ", "**", "generate,get-all-generators"])
def test_an_ability_that_does_not_exist_is_refused_with_the_choice(wrong: str) -> None:
    with pytest.raises(Invalid) as caught:
        abilities.check(["generate", wrong])
    assert str(caught.value).startswith(f"there is no ability {wrong!r}: choose from *, generate, ")


def test_no_ability_at_all_is_refused() -> None:
    with pytest.raises(Invalid, match="an API key needs an ability: choose from"):
        abilities.check([])
