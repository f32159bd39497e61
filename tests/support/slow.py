"""What runs every day, and what only with `make test-slow`."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(number: int, values: Iterable[Any]) -> list[Any]:
    """Values for `parametrize`, of which all but the first few are slow tests: they show the same again."""

    def param(index: int, value: Any) -> Any:
        marks = () if index < number else pytest.mark.slow
        return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=marks)

    return [param(index, value) for index, value in enumerate(values)]
