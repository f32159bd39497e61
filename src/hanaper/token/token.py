"""A token: logging in, asking it from a thread of its own, and coming back to it after it was away."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from pkcs11.constants import TokenFlag
from pkcs11.exceptions import (
    NoSuchToken,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserAlreadyLoggedIn,
    UserPinNotInitialized,
)

from hanaper import log, secret_file
from hanaper.refusal import Misconfigured, TokenAway
from hanaper.signing.signer import LONGEST_WAIT_S
from hanaper.token.key import TokenKey
from hanaper.token.module import Module
from hanaper.token.session import HeldSession, NotInToken, TooOpen

if TYPE_CHECKING:
    from pkcs11 import types

LONGEST_CREATION_S = 120.0
"""Of an RSA key of 4096 bits, in a slow device."""
BACK_OFF_S = 1.0
"""Before a token that was away is asked again: until then it is not asked."""

_PIN_REFUSED = (PinIncorrect, PinInvalid, PinLenRange, PinExpired, PinLocked, UserPinNotInitialized)
_logger = log.get(__name__)

Result = TypeVar("Result")


class Token:
    """One for each token in a process. It has one session, which only the thread of its library ever touches."""

    def __init__(self, module: Module, label: str, pin_file: Path) -> None:
        """Name a token. It is opened on first use.

        Args:
            module: the library that knows it.
            label: of the token.
            pin_file: the PIN of its user.
        """
        self.label = label
        self._module = module
        self._pin_file = pin_file
        self._refused_pin: bytes | None = None
        self._held: HeldSession | None = None
        self._away: tuple[float, str] | None = None

    def __repr__(self) -> str:
        return f"Token({self.label!r})"

    def require(self) -> None:
        """Make sure that the token is there and takes the PIN.

        Raises:
            Misconfigured: the library, the PIN file or the PIN is wrong.
            TokenAway: the token is not there, or does not answer.
        """
        self._ask(lambda _: None)

    def generate(self, bits: int) -> TokenKey:
        """Make a key that never leaves the token.

        Raises:
            Misconfigured: the library, the PIN file or the PIN is wrong, or the token gives keys away.
            TokenAway: the token is not there, or makes none.
        """
        try:
            # Where that is done twice, the first is left without a name; `hanaper doctor` finds it.
            pem, kid = self._ask(lambda session: session.generate(bits), LONGEST_CREATION_S)
        except TooOpen:
            raise Misconfigured(
                f"token {self.label!r} makes keys that can be read out of it: see its manual, or use another"
            ) from None
        return TokenKey(self, kid, pem, bits)

    def find(self, kid: str, public_pem: str, bits: int) -> TokenKey:
        """The key with this published half.

        Raises:
            ValueError: there is none; the text says what there is instead.
            Misconfigured: the library, the PIN file or the PIN is wrong.
            TokenAway: the token is not there, or does not answer.
        """
        try:
            self._ask(lambda session: session.require(kid, public_pem))
        except NotInToken as error:
            raise ValueError(str(error)) from error
        return TokenKey(self, kid, public_pem, bits)

    def destroy(self, kid: str) -> bool:
        """Delete a key. Gives whether there was one.

        Raises:
            Misconfigured: the library, the PIN file or the PIN is wrong.
            TokenAway: the token is not there, or does not answer.
        """
        return self._ask(lambda session: session.destroy(kid))

    def kids(self) -> list[str]:
        """The keys that hanaper has made there.

        Raises:
            Misconfigured: the library, the PIN file or the PIN is wrong.
            TokenAway: the token is not there, or does not answer.
        """
        return self._ask(HeldSession.kids)

    def begin_signing(self, kid: str, public_pem: str, digest: bytes) -> Future[bytes]:
        """Have the raw signature of a message with this SHA-256 made. All that can go wrong is `TokenAway`.

        Raises:
            TokenAway: the token is away.
        """
        self._require_presence()

        def sign() -> bytes:
            try:
                return self._carry_out(lambda session: session.sign_digest(kid, public_pem, digest))
            except NotInToken as error:
                raise TokenAway(f"signing key {kid} cannot be had from token {self.label!r}: {error}") from error
            except Misconfigured as error:
                raise TokenAway(str(error)) from error

        return self._module.thread.submit(sign, LONGEST_WAIT_S)

    def _ask(self, work: Callable[[HeldSession], Result], longest_s: float = 2 * LONGEST_WAIT_S) -> Result:
        self._require_presence()
        future = self._module.thread.submit(lambda: self._carry_out(work), longest_s)
        try:
            return future.result(longest_s)
        except TimeoutError:
            future.cancel()
            raise self._hangs() from None

    def _require_presence(self) -> None:
        """Whoever would only wait, is refused at once."""
        away = self._away
        if away is not None and monotonic() < away[0]:
            raise TokenAway(away[1])
        if self._module.thread.hangs:
            raise self._hangs()

    def _hangs(self) -> TokenAway:
        return TokenAway(f"token {self.label!r} does not answer")

    def _carry_out(self, work: Callable[[HeldSession], Result]) -> Result:
        """In the thread. After a failure the library is begun anew, and the work once more."""
        try:
            try:
                result = work(self._session())
            except PKCS11Error:
                self._module.begin_anew()
                result = work(self._session())
        except PKCS11Error as error:
            raise self._gone(_told(error)) from error
        except Misconfigured as error:
            self._gone(str(error))
            raise
        if self._away is not None:
            self._away = None
            _logger.info("the token is back", token=self.label)
        return result

    def _gone(self, reason: str) -> TokenAway:
        text = f"token {self.label!r} cannot be used ({reason}): see whether it is there, and its own log"
        if self._away is None:
            _logger.error("the token cannot be used", token=self.label, reason=reason)
        self._away = (monotonic() + BACK_OFF_S, text)
        return TokenAway(text)

    def _session(self) -> HeldSession:
        generation = self._module.generation
        if self._held is None or self._held.generation != generation:
            found = self._module.library().get_token(token_label=self.label)
            self._held = HeldSession(self._log_in(found), generation)
        return self._held

    def _log_in(self, found: "types.Token") -> "types.Session":
        """Log in, but never twice with a PIN that was refused: a few of those lock a token for good."""
        pin = self._pin()
        refused = f"token {self.label!r} refuses the PIN of {self._pin_file}"
        if TokenFlag.USER_PIN_LOCKED in found.flags:
            raise Misconfigured(f"{refused}: it is locked; its security officer can set a new PIN")
        if TokenFlag.USER_PIN_FINAL_TRY in found.flags:
            raise Misconfigured(
                f"{refused}: one more wrong PIN would lock it, so this one has not been tried; log in with the right "
                "PIN by another program first"
            )
        digest = hashlib.sha256(pin.encode()).digest()
        if digest == self._refused_pin:
            raise Misconfigured(f"{refused}; it is not tried again before the file changes")
        try:
            return found.open(user_pin=pin)
        except UserAlreadyLoggedIn:  # by another object for the same token
            return found.open()
        except _PIN_REFUSED as error:
            self._refused_pin = digest
            raise Misconfigured(f"{refused} ({_told(error)}): put the right one there") from None

    def _pin(self) -> str:
        content = secret_file.read(
            self._pin_file,
            what="the PIN file",
            missing="put it back, or name another by HANAPER_PKCS11_PIN_FILE",
            named_by_setting=True,
        )
        try:
            pin = content.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            pin = ""
        if not pin or not pin.isprintable():
            raise Misconfigured(f"the PIN file {self._pin_file} is not one line of text: put the PIN there")
        return pin


_modules: dict[Path, Module] = {}
_tokens: dict[tuple[Path, str, Path], Token] = {}
_lock = threading.Lock()


def token_of(module: Path, label: str, pin_file: Path) -> Token:
    """The token of this process: whoever asks for the same gets the same, with its sessions."""
    with _lock:
        name = (module, label, pin_file)
        if name not in _tokens:
            _tokens[name] = Token(_modules.setdefault(module, Module(module)), label, pin_file)
        return _tokens[name]


def _told(error: PKCS11Error) -> str:
    if isinstance(error, NoSuchToken):
        return "there is no token with this label"
    # The library's classes are called as PKCS#11 calls the errors.
    return type(error).__name__
