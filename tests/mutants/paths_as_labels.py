"""hanaper with a planted fault: the path a client wrote becomes a label."""

from typing import Any
from unittest.mock import patch

from hanaper.web import middleware


class _AnyPath(dict[str, str]):
    def get(self, path: Any, _: Any = None) -> Any:
        return path


_init = middleware.Edge.__init__


def _with_any_path(self: middleware.Edge, *arguments: Any, **options: Any) -> None:
    _init(self, *arguments, **options)
    self._endpoints = _AnyPath()


patch.object(middleware.Edge, "__init__", _with_any_path).start()
