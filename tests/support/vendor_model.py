"""What a vendor's license server is expected to do, as plain rules beside it (protocol.md 2 to 4, 6 and 7.1).

Nothing of hanaper is called here.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

EVERYTHING = "*"
LAX, STRICT = "lax", "strict"
"""Products: only the second one asks for licenses that have not expired."""
LARGEST_QUANTITY = 1000
STATES = {
    "available": "available",
    "reserved": "reserved",
    "assigned": "assigned",
    "blocked": "suspended",
    "suspended": "suspended",
    "revoked": "revoked",
}
"""The state that a word of the wire means."""

NO_LICENSE = {
    "update-license-key": 952,
    "delete-license-key": 851,
    "assign-license-key": 801,
    "assign-and-activate-license-key": 801,
}
"""What is said of a license key that is not there, where that is not 210."""

Fields = dict[str, Any]


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
    """A generator, what it has made, and the most it may make. `form` is what its keys look like."""

    id: int
    product: str
    activation_limit: int
    validity: int
    form: str = ""
    active: bool = True
    cap: int | None = None
    made: int = 0


@dataclass
class License:
    """A license key: its state, where it is active, since when it is assigned, and what is attached to it."""

    product: str
    activation_limit: int
    validity: int
    state: str = "available"
    assigned_at: datetime | None = None
    active_on: set[str] = field(default_factory=set)
    meta: dict[str, str] = field(default_factory=dict)
    deleted: bool = False

    @property
    def is_available(self) -> bool:
        return self.state == "available" and not self.deleted

    @property
    def end(self) -> datetime | None:
        """The last moment at which it is valid; None for no such."""
        if self.assigned_at is None or self.validity == 0:
            return None
        return self.assigned_at + timedelta(days=self.validity)

    def move(self, state: str, now: datetime) -> None:
        """Protocol.md 6.2: what is given back forgets its owner; only a suspension keeps activations for later."""
        if state == self.state:
            return
        self.state = state
        if state == "assigned":
            self.assigned_at = self.assigned_at or now
        elif state in {"available", "reserved"}:
            self.assigned_at = None
        if state not in {"assigned", "suspended"}:
            self.active_on.clear()


@dataclass
class Request:
    """A request under an idempotency key that was carried out, and its answer."""

    fields: Fields
    body: bytes


class Model:
    """All of it.

    Attributes:
        is_open: which products are active.
        product_ids: as the server numbers them.
        remembered: what was carried out, by API key, endpoint and idempotency key.
        batches: how many requests to generate were carried out.
    """

    def __init__(self, now: datetime, product_ids: dict[str, int]) -> None:
        self.now = now
        self.product_ids = product_ids
        self.is_open = {LAX: True, STRICT: True}
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

    def available(self, product: str) -> set[str]:
        """What may be given out at random."""
        return {key for key, each in self.licenses.items() if each.product == product and each.is_available}

    def product_of(self, fields: Fields) -> str:
        """The product that a request is about; any where there is none."""
        if "license_key" in fields:
            license_ = self.licenses.get(fields["license_key"])
            return LAX if license_ is None else license_.product
        if "generator_id" in fields:
            generator = self._generator(fields["generator_id"])
            return LAX if generator is None else generator.product
        return next(name for name, id_ in self.product_ids.items() if id_ == fields["product_id"])

    def expected(self, who: int, endpoint: str, fields: Fields) -> int | str:
        """The code of the answer to a request that is no repetition. Nothing changes yet."""
        refused = self.refused(who, endpoint)
        if refused is not None:
            return refused
        match endpoint:
            case "generate":
                return self._generate(who, fields["generator_id"], fields["quantity"])
            case "create-license-keys":
                return 900 if self._may_use(who, self.product_of(fields)) else 901
            case "random-assign-license-keys":
                return self._random_assign(who, fields)
        license_ = self.licenses.get(fields["license_key"])
        if license_ is None or license_.deleted or not self._may_use(who, license_.product):
            return NO_LICENSE.get(endpoint, 210)
        return self._of_a_license(endpoint, license_, fields)

    def carried_out(self, fields: Fields, code: int | str, keys: list[str]) -> bool:
        """Take over what a request changed; whether it was anything.

        Args:
            fields: of the request.
            code: of its answer.
            keys: the license keys in its answer.
        """
        license_ = self.licenses.get(fields.get("license_key", ""))
        match code:
            case 815:
                self.batches += 1
                self._make(fields["generator_id"], keys, fields)
            case 803:
                new = [key for key in keys if key not in self.licenses]
                if new:
                    generator = self._first_active(self.product_of(fields))
                    assert generator is not None
                    self._make(generator.id, new, {})
                for key in keys:
                    self.licenses[key].move("assigned", self.now)
            case 900:
                for key in sorted(self.not_stored(fields)):  # not in the order of a set, which is another one each time
                    terms = (fields["activation_limit"], fields["validity"], STATES[fields["status"]])
                    self.licenses[key] = License(self.product_of(fields), *terms)
            case _ if license_ is not None:
                return self._changed(license_, fields, code)
            case _:
                return False
        return True

    def not_stored(self, fields: Fields) -> set[str]:
        """What a request to store license keys has that is new. What was deleted stays taken."""
        return set(json.loads(fields["license_keys"])) - self.licenses.keys()

    def _changed(self, license_: License, fields: Fields, code: int | str) -> bool:
        match code:
            case 800:
                license_.move("assigned", self.now)
            case 300:
                license_.move("assigned", self.now)
                license_.active_on.add(fields["identifier"])
            case "400":
                license_.active_on.remove(fields["identifier"])
            case 850:
                license_.deleted = True
                license_.active_on.clear()
            case 453 | 353:
                license_.meta[fields["key"]] = fields["value"]
            case 252:
                del license_.meta[fields["key"]]
            case 950:
                license_.activation_limit = fields.get("activation_limit", license_.activation_limit)
                license_.validity = fields.get("validity", license_.validity)
                # A block that is asked for again does not lift a revocation.
                if "status" in fields and license_.state != "revoked":
                    license_.move(STATES[fields["status"]], self.now)
            case _:
                return False
        return True

    def _make(self, generator_id: int, keys: list[str], terms: Fields) -> None:
        generator = self._generator(generator_id)
        assert generator is not None
        generator.made += len(keys)
        limit = terms.get("activation_limit", generator.activation_limit)
        validity = terms.get("validity_days", generator.validity)
        self.licenses |= {key: License(generator.product, limit, validity) for key in keys}

    def _generate(self, who: int, generator_id: int, quantity: int) -> int:
        if not 1 <= quantity <= LARGEST_QUANTITY:
            return 901
        generator = self._generator(generator_id)
        if generator is None or not generator.active or not self._may_use(who, generator.product):
            return 806
        if not self.is_open[generator.product]:
            return 805
        return 815 if self._has_room(generator, quantity) else 902

    def _random_assign(self, who: int, fields: Fields) -> int:
        product = self.product_of(fields)
        if not self.is_open[product] or not self._may_use(who, product):
            return 805
        missing = fields["quantity"] - len(self.available(product))
        if missing <= 0:
            return 803
        if not fields["generate"]:
            return 802
        generator = self._first_active(product)
        if generator is None:
            return 806
        return 803 if self._has_room(generator, missing) else 902

    def _of_a_license(self, endpoint: str, license_: License, fields: Fields) -> int | str:
        if endpoint == "delete-license-key":
            return 850
        if endpoint == "update-license-key":
            return self._update(license_, fields)
        if endpoint.startswith("assign"):
            return self._assign(endpoint, license_, fields["identifier"])
        if endpoint == "deactivate":
            return self._deactivate(license_, fields["identifier"])
        if endpoint.endswith("-meta"):
            return self._meta(endpoint, license_, fields)
        return self._use(endpoint, license_, fields["identifier"])

    def _update(self, license_: License, fields: Fields) -> int:
        if "status" not in fields:
            return 950
        if license_.state == "revoked":
            return 950 if fields["status"] in {"blocked", "revoked"} else 951
        needs_product = fields["status"] == "assigned" and license_.state in {"available", "reserved"}
        return 951 if needs_product and not self.is_open[license_.product] else 950

    def _assignable(self, license_: License) -> bool:
        return self.is_open[license_.product] and license_.state in {"available", "reserved"}

    def _deactivate(self, license_: License, identifier: str) -> int | str:
        if not identifier:
            return 215
        return "400" if identifier in license_.active_on else 401

    def _assign(self, endpoint: str, license_: License, identifier: str) -> int:
        if endpoint == "assign-license-key":
            return 800 if self._assignable(license_) else 801
        if not self.is_open[license_.product]:
            return 203
        if license_.state in {"suspended", "revoked"}:
            return 204
        if not self._assignable(license_):
            return 801
        return 300 if identifier else 215

    def _check(self, license_: License, *, wants_identifier: bool) -> int | None:
        """What all checks of a license key have in common (protocol.md 4.3); None: passed."""
        if not self.is_open[license_.product]:
            return 203
        if license_.state in {"suspended", "revoked"}:
            return 204
        if license_.assigned_at is None or license_.state != "assigned":
            return 201
        if wants_identifier:
            return 215
        return 205 if license_.product == STRICT and license_.end is not None and self.now > license_.end else None

    def _meta(self, endpoint: str, license_: License, fields: Fields) -> int:
        refused = self._check(license_, wants_identifier=False)
        if refused is not None:
            return refused
        if fields["identifier"] and fields["identifier"] not in license_.active_on:
            return 202
        is_there = fields["key"] in license_.meta
        match endpoint:
            case "create-license-key-meta":
                return 452 if is_there else 453
            case "update-license-key-meta":
                return 353 if is_there else 352
        return 252 if is_there else 251

    def _use(self, endpoint: str, license_: License, identifier: str) -> int:
        refused = self._check(license_, wants_identifier=not identifier)
        if refused is not None:
            return refused
        is_active = identifier in license_.active_on
        if endpoint == "verify":
            return 200 if is_active else 202
        if is_active:
            return 301
        is_full = license_.activation_limit and len(license_.active_on) >= license_.activation_limit
        return 302 if is_full else 300

    def _has_room(self, generator: Generator, quantity: int) -> bool:
        return generator.cap is None or generator.made + quantity <= generator.cap

    def _first_active(self, product: str) -> Generator | None:
        return next((each for each in self.generators if each.product == product and each.active), None)

    def _generator(self, generator_id: int) -> Generator | None:
        return next((each for each in self.generators if each.id == generator_id), None)

    def _may_use(self, who: int, product: str) -> bool:
        return self.api_keys[who].product in {None, product}
