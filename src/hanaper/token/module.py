"""A PKCS#11 library in this process."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hanaper.refusal import Misconfigured
from hanaper.token.thread import LoneThread

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 -- a class in spite of its name


class Module:
    """The library, and the one thread that is ever in it.

    python-pkcs11 tells a library that a single thread will use it (`C_Initialize` without arguments), and SoftHSM2 for
    one then leaves its locks out: two threads at once crash the process.

    Attributes:
        file: of the library.
        thread: only there may the methods be called.
        generation: how often the library has been begun; sessions of an earlier one are void.
    """

    def __init__(self, file: Path) -> None:
        """Name the library. It is loaded on first use."""
        self.file = file
        self.thread = LoneThread("hanaper-token")
        self.generation = 1
        self._library: Library | None = None
        os.register_at_fork(after_in_child=self._forget)

    def library(self) -> "Library":
        """The library, begun.

        Raises:
            Misconfigured: it cannot be loaded.
            PKCS11Error: it does not begin.
        """
        if self._library is None:
            if not self.file.is_file():
                raise Misconfigured(f"HANAPER_PKCS11_MODULE names {self.file}, and no such file is there")
            try:
                self._library = pkcs11.lib(str(self.file))
            except PKCS11Error as error:
                if not str(error):
                    raise  # It is one, and says itself what it lacks: SoftHSM2 its folder.
                raise Misconfigured(
                    f"HANAPER_PKCS11_MODULE names {self.file}, which cannot be used as a PKCS#11 library: {error}"
                ) from error
        self._library.initialize()
        return self._library

    def begin_anew(self) -> None:
        """Forget all sessions: many libraries see a token that was away and came back only after that."""
        self.generation += 1
        if self._library is not None:
            with suppress(PKCS11Error):
                self._library.finalize()

    def _forget(self) -> None:
        """A child has the library of its parent, but none of its sessions, and not its thread."""
        self.thread = LoneThread("hanaper-token")
        self.begin_anew()
