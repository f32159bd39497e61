"""What a request takes of the budgets (decision 0022)."""

from contextlib import suppress
from dataclasses import replace

from hanaper.access.authenticate import Credentials, Presented, is_known
from hanaper.limiting.limiter import Limiter
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.configuration import ConfigurationChanged, Snapshot


class Admission:
    """One request on its way past the limits. What it takes it takes once, however often it has to begin again."""

    __slots__ = ("_entered", "_limiter", "_spent", "credentials", "given")

    def __init__(self, limiter: Limiter, credentials: Credentials, given: Presented) -> None:
        """Take nothing yet.

        Args:
            credentials: what the request says of its sender.
            given: the API key of it.
        """
        self.credentials = credentials
        self.given = given
        self._limiter = limiter
        self._entered = False
        self._spent: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """Where the request comes from, as text; empty where that cannot be told."""
        return "" if self.credentials.address is None else str(self.credentials.address)

    async def enter(self, snapshot: Snapshot) -> None:
        """Take a request of the API key's budget; or, where there is no such key, a failure of the address's.

        A right key is let in whatever others have done at its address: an address has no budget but for failures.

        Args:
            snapshot: that was current within the last second. A key that is made at this moment is not in it.

        Raises:
            RateLimited: there is nothing left. The database has not been asked anything.
            ConfigurationChanged: begin again with a newer snapshot.
            Unavailable: the database does not answer.
        """
        if self._entered:
            return
        known = await is_known(snapshot, self.given)
        self._entered = True
        if known:
            await self._limiter.requests.take(self._limiter.of_api_key(self.given.digest))
        else:
            await self._limiter.failures.take(self._limiter.of_address(self.credentials.address))

    async def enter_early(self, trusted: Snapshot | None) -> None:
        """The same, where that can be said without looking anything up.

        Raises:
            RateLimited: as above.
            Unavailable: the database does not answer.
        """
        if trusted is not None:
            with suppress(ConfigurationChanged):
                await self.enter(trusted)

    async def spend(self, license_keys: int) -> None:
        """Take license keys of the API key's budget.

        Raises:
            RateLimited: there are not so many left.
        """
        if license_keys and self._spent is None:
            second = await self._limiter.keys.take(self._limiter.of_api_key(self.given.digest), license_keys)
            self._spent = license_keys, second

    async def save(self) -> None:
        """Give the license keys back: the request does not make any."""
        if self._spent is not None:
            license_keys, second = self._spent
            self._spent = None
            await self._limiter.keys.give_back(self._limiter.of_api_key(self.given.digest), license_keys, second)


def with_retry_after(answer: SignedAnswer, seconds: int) -> SignedAnswer:
    """The same answer with `retry_after` behind its four keys, which stay as they are, byte for byte.

    It is not covered by the signature: so all that are refused in a second share one (protocol.md 7.2).
    """
    return replace(answer, body=b'%b,"retry_after":%d}' % (answer.body[:-1], seconds))
