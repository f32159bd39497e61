"""Drawing the keys of a batch: different from each other, and from all that are stored."""

from collections.abc import Collection
from random import SystemRandom

from hanaper.licenses.key_formats import ChunkFormat, KeyFormat
from hanaper.licenses.rules import LONGEST_KEY

MOST_REDRAWS = 8
ENUMERABLE = 20_000
"""Key spaces of this size are looked through: once they are nearly used up, drawing blindly would find nothing."""
MOST_LOOKS = 32
"""Others draw at the same time, and each look that fails is one of theirs that succeeded."""

_random = SystemRandom()


class CannotDraw(Exception):
    """The keys are not to be had. The text says why, and names no key."""


class Draw:
    """The keys of one batch. What collides is drawn again, at most eight times in all.

    Where there are only a few thousand different keys, all of them are looked up instead, and drawn from what is left.
    """

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
        self._looks = 0
        self._all: list[str] = []
        self._keys: dict[str, None] = {}
        self._fill()

    @property
    def keys(self) -> list[str]:
        """As many keys as were asked for, all different."""
        return list(self._keys)

    @property
    def is_searching(self) -> bool:
        """Whether all keys there are have to be looked up, because so many are taken."""
        return bool(self._all)

    @property
    def suspects(self) -> list[str]:
        """The keys of which it has to be known whether they are stored, when they turned out to collide."""
        return self._all or self.keys

    def replace(self, taken: Collection[str]) -> None:
        """Draw again for keys that turned out to be stored already.

        Args:
            taken: those of the suspects that are stored.

        Raises:
            CannotDraw: that was the ninth draw, or so many are not left.
        """
        if self._all:
            self._choose(taken)
            return
        for key in taken:
            self._keys.pop(key, None)
        if not self._search(taken):
            self._redraw(taken)

    def _search(self, taken: Collection[str]) -> bool:
        """Look through all keys there are, if they are few."""
        if isinstance(self._form, ChunkFormat) and self._form.key_space <= ENUMERABLE:
            self._all = self._form.every()
            self._choose(taken)
        return self.is_searching

    def _choose(self, taken: Collection[str]) -> None:
        left = [key for key in self._all if key not in taken]
        self._looks += 1
        if len(left) < self._quantity or self._looks > MOST_LOOKS:
            raise CannotDraw(f"{self._quantity} keys asked, {len(left)} of {len(self._all)} are left")
        self._keys = dict.fromkeys(_random.sample(left, self._quantity))

    def _fill(self) -> None:
        self._take(self._quantity, ())
        if len(self._keys) < self._quantity:
            self._redraw(())

    def _redraw(self, taken: Collection[str]) -> None:
        while len(self._keys) < self._quantity:
            self._redraws += 1
            if self._redraws > MOST_REDRAWS:
                if self._search(taken):
                    return
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
