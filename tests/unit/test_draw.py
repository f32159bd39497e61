"""Drawing a batch: different keys, at most eight redraws, all or nothing."""

from dataclasses import dataclass, field

import pytest

from hanaper.issuing.draw import MOST_REDRAWS, CannotDraw, Draw


@dataclass
class Scripted:
    """A format that draws what it was told, in turn; the last line again and again."""

    lines: list[list[str]]
    key_space: int | None = None
    asked: list[int] = field(default_factory=list)

    def draw(self, quantity: int) -> list[str]:
        self.asked.append(quantity)
        return self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]


@dataclass
class Counting:
    """A format that never repeats itself."""

    key_space: int | None = None
    drawn: int = 0

    def draw(self, quantity: int) -> list[str]:
        first, self.drawn = self.drawn, self.drawn + quantity
        return [f"k{number}" for number in range(first, self.drawn)]


class Broken:
    """A format that raises."""

    key_space = None

    def draw(self, quantity: int) -> list[str]:
        raise RuntimeError(f"SECRET-KEY {quantity}")


@pytest.mark.parametrize("quantity", [1, 2, 1000])
def test_keys_come_in_the_order_they_were_drawn(quantity: int) -> None:
    draw = Draw(Counting(), quantity)
    assert draw.keys == [f"k{number}" for number in range(quantity)]


def test_a_key_that_comes_twice_in_a_batch_is_drawn_again() -> None:
    form = Scripted([["a", "b", "a", "b"], ["b", "c"], ["d"]])
    assert Draw(form, 4).keys == ["a", "b", "c", "d"]
    assert form.asked == [4, 2, 1]


def test_after_eight_redraws_it_is_over() -> None:
    assert MOST_REDRAWS == 8
    form = Scripted([["a", "a"], ["a"]])
    with pytest.raises(CannotDraw, match=r"^keys still collide after 8 redraws$"):
        Draw(form, 2)
    assert form.asked == [2] + [1] * 8


def test_the_eighth_redraw_still_counts() -> None:
    form = Scripted([["a", "a"], *[["a"]] * 7, ["b"]])
    assert Draw(form, 2).keys == ["a", "b"]
    assert form.asked == [2] + [1] * 8


def test_keys_that_are_stored_already_are_replaced_and_the_others_stay() -> None:
    draw = Draw(Counting(), 4)
    draw.replace({"k1", "k2"})
    assert draw.keys == ["k0", "k3", "k4", "k5"]


def test_what_is_stored_is_not_taken_when_it_is_drawn_again() -> None:
    form = Scripted([["a", "b"], ["a"], ["b"], ["c"]])
    draw = Draw(form, 2)
    draw.replace(["a"])
    assert draw.keys == ["b", "c"]
    assert form.asked == [2, 1, 1, 1]


def test_all_redraws_of_a_batch_are_counted_together() -> None:
    form = Counting()
    draw = Draw(form, 1)
    for number in range(8):
        draw.replace([f"k{number}"])
    assert draw.keys == ["k8"]
    with pytest.raises(CannotDraw, match="keys still collide after 8 redraws"):
        draw.replace(["k8"])
    assert form.drawn == 9


def test_redraws_while_drawing_leave_fewer_for_later() -> None:
    form = Scripted([["a", "a"], *[["a"]] * 6, ["b"], ["c"], ["d"]])
    draw = Draw(form, 2)
    assert len(form.asked) == 8
    draw.replace(["b"])
    assert draw.keys == ["a", "c"]
    with pytest.raises(CannotDraw):
        draw.replace(["c"])


@pytest.mark.parametrize(("key_space", "quantity"), [(1, 2), (999, 1000), (0, 1)])
def test_a_key_space_that_is_too_small_is_noticed_before_drawing(key_space: int, quantity: int) -> None:
    form = Scripted([["a"]], key_space=key_space)
    with pytest.raises(CannotDraw, match=f"^{quantity} keys asked of a key space of {key_space}$"):
        Draw(form, quantity)
    assert form.asked == []


@pytest.mark.parametrize("key_space", [3, 4, 2**122, None])
def test_a_key_space_that_is_large_enough_is_drawn_from(key_space: int | None) -> None:
    assert len(Draw(Counting(key_space), 3).keys) == 3


def test_a_format_that_raises_is_named_by_its_error_and_not_quoted() -> None:
    with pytest.raises(CannotDraw, match=r"^the key format failed \(RuntimeError\)$") as caught:
        Draw(Broken(), 5)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_key_may_have_255_characters() -> None:
    assert Draw(Scripted([["é" * 255]]), 1).keys == ["é" * 255]
    with pytest.raises(CannotDraw, match=r"^a key has more than 255 characters$"):
        Draw(Scripted([["SECRET" + "x" * 250]]), 1)


def test_a_key_that_is_too_long_is_noticed_in_a_redraw_too() -> None:
    draw = Draw(Scripted([["a"], ["x" * 256]]), 1)
    with pytest.raises(CannotDraw, match="a key has more than 255 characters"):
        draw.replace(["a"])
