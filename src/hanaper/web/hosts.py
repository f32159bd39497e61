"""Under which names the API may be asked for (RFC 9110, 7.2)."""

import re
from collections.abc import Iterable

_HOST = re.compile(rb"([a-z0-9_-][a-z0-9_.-]*?\.?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)


class AllowedHosts:
    """The names in a setting; none of them stand for all."""

    def __init__(self, names: Iterable[str]) -> None:
        """Args: names: lower case, without port; `*.example.com` stands for every name below `example.com`."""
        wanted = [name.encode("ascii") for name in names]
        self._any = not wanted
        self._names = frozenset(name for name in wanted if not name.startswith(b"*."))
        self._below = tuple(name[1:] for name in wanted if name.startswith(b"*."))

    def allow(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request is for one of them: exactly one `Host` line, and a name that is allowed in it.

        Args:
            headers: of the request, names in lower case.
        """
        if self._any:
            return True
        lines = [value for name, value in headers if name == b"host"]
        found = _HOST.fullmatch(lines[0]) if len(lines) == 1 else None
        if found is None:
            return False
        name = found[1].lower().rstrip(b".")
        return name in self._names or name.endswith(self._below)
