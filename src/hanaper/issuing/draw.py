"""Drawing the keys of a batch: different from each other, and from all that are stored."""

from collections.abc import Collection

from hanaper.licenses.key_formats import KeyFormat
from hanaper.licenses.rules import LONGEST_KEY

MOST_REDRAWS = 8


class CannotDraw(Exception):
    """The keys are not to be had. The text says why, and names no key."""


class Draw:
    """The keys of one batch. What collides is drawn again, at most eight times in all."""

    def __init__(self, form: KeyFormat, quantity: int) -> None:
        """Draw.

        Raises:
            CannotDraw: there are fewer different keys than are asked for, or the format fails.
        """
        if form.key_space is not None and form.key_space < quantity:
            raise CannotDraw(f"{quantity} keys asked of a key space of {form.key_space}")
        self._form = form
        self._quantity = quantity
        self._redraws = 0
        self._keys: dict[str, None] = {}
        self._fill()

    @property
    def keys(self) -> list[str]:
        """As many keys as were asked for, all different."""
        return list(self._keys)

    def replace(self, taken: Collection[str]) -> None:
        """Draw again for keys that turned out to be stored already.

        Raises:
            CannotDraw: that was the ninth draw.
        """
        for key in taken:
            del self._keys[key]
        self._redraw(taken)

    def _fill(self) -> None:
        self._take(self._quantity, ())
        if len(self._keys) < self._quantity:
            self._redraw(())

    def _redraw(self, taken: Collection[str]) -> None:
        while len(self._keys) < self._quantity:
            self._redraws += 1
            if self._redraws > MOST_REDRAWS:
                raise CannotDraw(f"keys still collide after {MOST_REDRAWS} redraws")
            self._take(self._quantity - len(self._keys), taken)

    def _take(self, quantity: int, taken: Collection[str]) -> None:
        try:
            drawn = self._form.draw(quantity)
        except Exception as error:
            raise CannotDraw(f"the key format failed ({type(error).__name__})") from error
        if max(map(len, drawn)) > LONGEST_KEY:
            raise CannotDraw(f"a key has more than {LONGEST_KEY} characters")
        self._keys.update(dict.fromkeys(drawn))
        for key in taken:
            self._keys.pop(key, None)
