"""What every endpoint needs, made once per process by `create_app`."""

import asyncio
from dataclasses import dataclass, field

from hanaper.clock import Clock
from hanaper.keystore.keys import Keystore
from hanaper.limiting.limiter import Limiter
from hanaper.metrics.meter import Meter
from hanaper.settings import Settings
from hanaper.signing.service import SigningService
from hanaper.storage.configuration import Configuration
from hanaper.storage.patience import Patience
from hanaper.storage.transactions import Storage
from hanaper.web.drain import Drain


@dataclass(frozen=True, slots=True)
class Services:
    """The floors of the application, wired.

    Attributes:
        settings: as read at the start.
        clock: the time of day.
        storage: the database.
        configuration: what is remembered of it.
        keystore: private keys at rest.
        signing: signs every answer.
        pepper: keys the digests of API keys. Secret.
        limiter: the budgets of API keys and addresses.
        meter: is told what happens.
        drain: whether this process is about to stop.
        large_orders: the turn of a large order.
        patience: ends requests that take too long.
    """

    settings: Settings
    clock: Clock
    storage: Storage
    configuration: Configuration
    keystore: Keystore
    signing: SigningService
    pepper: bytes
    limiter: Limiter
    meter: Meter = field(default_factory=Meter)
    drain: Drain = field(default_factory=lambda: Drain(0))
    large_orders: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    patience: Patience = field(default_factory=Patience)

    def __repr__(self) -> str:
        return "Services()"
