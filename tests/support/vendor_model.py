"""What a vendor's license server is expected to do, as plain rules beside it (protocol.md 2 to 4 and 7.1).

Nothing of hanaper is called here.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

EVERYTHING = "*"
LAX, STRICT = "lax", "strict"
"""Products: only the second one asks for licenses that have not expired."""
LARGEST_QUANTITY = 1000


@dataclass
class ApiKey:
    """An API key. `product` is the only one it may use; None for all."""

    secret: str = field(repr=False)
    ability: str
    product: str | None
    ends: datetime | None
    revoked: bool = False


@dataclass
class Generator:
    """A generator, what it has made, and the most it may make."""

    id: int
    product: str
    activation_limit: int
    validity: int
    active: bool = True
    cap: int | None = None
    made: int = 0


@dataclass
class License:
    """A license key: where it is active, and since when it is assigned."""

    product: str
    activation_limit: int
    validity: int
    assigned_at: datetime | None = None
    active_on: set[str] = field(default_factory=set)


@dataclass
class Request:
    """A request under an idempotency key that was carried out, and its answer."""

    endpoint: str
    fields: dict[str, Any]
    body: bytes


class Model:
    """All of it.

    Attributes:
        remembered: what was carried out, by API key, endpoint and idempotency key.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.api_keys: list[ApiKey] = []
        self.generators: list[Generator] = []
        self.licenses: dict[str, License] = {}
        self.remembered: dict[tuple[int, str, str], Request] = {}
        self.batches = 0

    def refused(self, who: int, endpoint: str) -> int | None:
        """Why a caller is not let in; None: he is."""
        key = self.api_keys[who]
        if key.revoked or (key.ends is not None and key.ends <= self.now):
            return 101
        return None if key.ability in {EVERYTHING, endpoint} else 102

    def expected(self, who: int, endpoint: str, fields: dict[str, Any]) -> int | str:
        """The code of the answer to a request that is no repetition. Nothing changes yet."""
        refused = self.refused(who, endpoint)
        if refused is not None:
            return refused
        if endpoint == "generate":
            return self._generate(who, fields["generator_id"], fields["quantity"])
        license_ = self._visible(who, fields["license_key"])
        if endpoint == "assign-license-key":
            return 800 if license_ is not None and license_.assigned_at is None else 801
        if license_ is None:
            return 210
        if endpoint == "deactivate":
            return "400" if fields["identifier"] in license_.active_on else 401
        return self._check(endpoint, license_, fields["identifier"])

    def carried_out(self, fields: dict[str, Any], code: int | str, new: list[str]) -> bool:
        """Take over what a request changed; whether it was anything."""
        match code:
            case 815:
                generator = self._generator(fields["generator_id"])
                assert generator is not None
                generator.made += len(new)
                self.batches += 1
                terms = (generator.product, generator.activation_limit, generator.validity)
                self.licenses |= {key: License(*terms) for key in new}
            case 800:
                self.licenses[fields["license_key"]].assigned_at = self.now
            case 300:
                self.licenses[fields["license_key"]].active_on.add(fields["identifier"])
            case "400":
                self.licenses[fields["license_key"]].active_on.remove(fields["identifier"])
            case _:
                return False
        return True

    def _generate(self, who: int, generator_id: int, quantity: int) -> int:
        if not 1 <= quantity <= LARGEST_QUANTITY:
            return 901
        generator = self._generator(generator_id)
        if generator is None or not generator.active or not self._may_use(who, generator.product):
            return 806
        room = quantity if generator.cap is None else generator.cap - generator.made
        return 815 if quantity <= room else 902

    def _check(self, endpoint: str, license_: License, identifier: str) -> int:
        if license_.assigned_at is None:
            return 201
        end = license_.assigned_at + timedelta(days=license_.validity)
        if license_.product == STRICT and license_.validity and self.now > end:
            return 205
        if endpoint == "verify":
            return 200 if identifier in license_.active_on else 202
        if identifier in license_.active_on:
            return 301
        is_full = license_.activation_limit and len(license_.active_on) >= license_.activation_limit
        return 302 if is_full else 300

    def _generator(self, generator_id: int) -> Generator | None:
        return next((each for each in self.generators if each.id == generator_id), None)

    def _visible(self, who: int, license_key: str) -> License | None:
        license_ = self.licenses.get(license_key)
        return license_ if license_ is not None and self._may_use(who, license_.product) else None

    def _may_use(self, who: int, product: str) -> bool:
        return self.api_keys[who].product in {None, product}
