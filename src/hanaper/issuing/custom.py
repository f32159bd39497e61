"""Custom generators: functions that installed packages offer under an entry point (docs/custom-generators.md)."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

ENTRY_POINT_GROUP = "hanaper.generators"


class NoSuchFunction(Exception):
    """No installed package offers the function, or it cannot be loaded. The text says which and why."""


def names() -> list[str]:
    """The functions that are offered."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})


@cache
def load(function_name: str) -> Callable[[int], object]:
    """The function of a name.

    Raises:
        NoSuchFunction: nobody offers it, importing it failed, it cannot be called, or two packages offer it.
    """
    offered = list(entry_points(group=ENTRY_POINT_GROUP, name=function_name))
    if not offered:
        raise NoSuchFunction(f"no installed package offers {function_name!r} under {ENTRY_POINT_GROUP}")
    if len(offered) > 1:
        raise NoSuchFunction(f"{function_name!r} is offered {len(offered)} times under {ENTRY_POINT_GROUP}")
    try:
        function = offered[0].load()
    except Exception as error:
        raise NoSuchFunction(f"{offered[0].value} cannot be imported ({type(error).__name__})") from error
    if not callable(function):
        raise NoSuchFunction(f"{offered[0].value} is not a function")
    loaded: Callable[[int], object] = function
    return loaded
