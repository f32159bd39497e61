"""The key pairs a process holds ready, by the id of their row."""

from collections.abc import Callable
from threading import Lock

from hanaper.signing.signer import Signer


class Keyring:
    """Signers by signing key id. Those that are not here yet are fetched when first needed.

    Ids never change their meaning, so no signer here ever goes stale: which id of a product is active is read from the
    database in each request. Which is the global one is told by `use_global` before anything is answered by a
    configuration in which that has changed.
    """

    def __init__(
        self,
        global_key_id: int,
        signers: dict[int, Signer],
        fetch: Callable[[int], Signer],
        *,
        global_version: int = 1,
    ) -> None:
        """Hold signers.

        Args:
            global_key_id: id of the global key.
            signers: what has been loaded and proven; a command loads those in a token when it needs them.
            fetch: loads and proves a key that is not held yet, by id.
            global_version: how many global keys there have been up to this one.
        """
        self._global = (global_version, global_key_id)
        self._signers = dict(signers)
        self._fetch = fetch
        self._lock = Lock()

    @property
    def global_key_id(self) -> int:
        """Id of the key that signs what no product answers for."""
        return self._global[1]

    def use_global(self, key_id: int, version: int, signer: Signer) -> None:
        """Sign what no product answers for with another key from now on. An older one than the present changes nothing.

        Threads that have read the database in one order may come here in the other.

        Args:
            key_id: of the key that is active.
            version: how many global keys there have been up to this one.
            signer: loaded and proven.
        """
        with self._lock:
            self._signers[key_id] = signer
            self._global = max(self._global, (version, key_id))

    @property
    def global_signer(self) -> Signer:
        """The signer of answers that no product answers for."""
        return self.signer(self.global_key_id)

    @property
    def distant(self) -> Signer | None:
        """One of the signers here whose key lies in a device, if there is any."""
        return next((signer for signer in list(self._signers.values()) if signer.is_distant), None)

    def holds(self, key_id: int) -> bool:
        """Whether the signer of a key has been loaded."""
        return key_id in self._signers

    def signer(self, key_id: int) -> Signer:
        """The signer of a key, loaded on first use.

        Raises:
            Misconfigured: the key cannot be loaded.
            Unavailable: it is in a device that does not answer.
        """
        held = self._signers.get(key_id)
        if held is None:
            with self._lock:
                held = self._signers.get(key_id) or self._fetch(key_id)
                self._signers[key_id] = held
        return held
