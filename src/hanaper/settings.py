"""Settings, from the environment. docs/settings.md is checked against this file by a test."""

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ExpiryRule: TypeAlias = Literal["product", "always", "never"]
MirrorRule: TypeAlias = Literal["known-clients", "always", "never"]

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]/@]+)):(?P<port>[0-9]{1,5})")
_HOST_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_LARGEST_PORT = 65_535
QUANTITY_CEILING = 100_000
LARGEST_BUDGET = 1_000_000_000
MINIMUM_KEY_BITS = 2048


class Settings(BaseSettings):
    """All settings of the server and the command line.

    Each is read from the environment variable `HANAPER_` plus its name in capitals.
    """

    model_config = SettingsConfigDict(env_prefix="HANAPER_", extra="ignore", frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(
        default=Path("data"), description="Folder of the SQLite database and the key encryption key."
    )
    database_url: str = Field(
        default="",
        repr=False,
        description="`postgresql://user:password@host/name`, or `sqlite:////absolute/path.db`. "
        "Empty: SQLite, `hanaper.db` in the data folder.",
    )
    database_password_file: Path | None = Field(
        default=None,
        description="Secret file with the password for PostgreSQL, so that HANAPER_DATABASE_URL need not hold it.",
    )
    database_pool_size: int = Field(
        default=16, ge=1, le=200, description="Connections a serving process keeps to the database at most."
    )
    key_encryption_key_file: Path | None = Field(
        default=None,
        description="Secret file with the key encryption key. "
        "Empty: `key-encryption-key` in the data folder, made by `hanaper init`.",
    )
    other_key_encryption_key_file: Path | None = Field(
        default=None,
        description="Secret file with a second key encryption key, while one is exchanged for another: "
        "what is encrypted with it can be opened, new secrets are not encrypted with it.",
    )
    pkcs11_module: Path | None = Field(
        default=None,
        description="Library (`.so`) of a PKCS#11 token. New signing keys are made in the token, and never leave it. "
        "Empty: in the database.",
    )
    pkcs11_token: str = Field(default="", max_length=32, description="Label of the token.")
    pkcs11_pin_file: Path | None = Field(default=None, description="Secret file with the PIN of the token's user.")
    host: str = Field(default="127.0.0.1", description="Address `serve` listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port `serve` listens on.")
    workers: int = Field(default=1, ge=1, le=64, description="Serving processes on this machine.")
    drain_delay: int = Field(
        default=5,
        ge=0,
        le=600,
        description="Seconds for which a process that gets SIGTERM goes on serving, so that proxies find another one.",
    )
    max_quantity: int = Field(
        default=1000, ge=1, le=QUANTITY_CEILING, description="Most license keys one API call may ask for."
    )
    max_body_bytes: int = Field(
        default=65_536, ge=1024, le=67_108_864, description="Largest request body that is read, in bytes."
    )
    head_timeout: int = Field(
        default=10, ge=1, le=600, description="Seconds a client has to send the request line and the header lines."
    )
    request_timeout: int = Field(
        default=15, ge=1, le=3600, description="Seconds a client has to send all of a request, from its first byte."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names under which clients may ask for the API, comma separated, without port; "
        "`*.example.com` is every name below it. Empty: any.",
    )
    requests_per_minute: int = Field(
        default=60_000,
        ge=0,
        le=LARGEST_BUDGET,
        description="Requests that may be made with one API key in a minute. 0: any number.",
    )
    keys_per_minute: int = Field(
        default=600_000,
        ge=0,
        le=LARGEST_BUDGET,
        description="License keys that may be asked for with one API key in a minute. 0: any number.",
    )
    failures_per_minute: int = Field(
        default=10,
        ge=0,
        le=LARGEST_BUDGET,
        description="Wrong API keys that are looked at from one address in a minute; of IPv6, from one /64. "
        "0: any number.",
    )
    rsa_bits: Literal[2048, 3072, 4096] = Field(
        default=2048, description="Modulus length of new RSA keys: 2048, 3072 or 4096."
    )
    expiry: ExpiryRule = Field(
        default="product",
        description="Whether expired license keys are refused with 205. "
        "`product`: as the product's `require_non_expired` says; `always`, `never`: whatever it says.",
    )
    sdk_mirror: MirrorRule = Field(
        default="known-clients",
        description="Who gets the unsigned fifth key `data` that the PHP and JS clients read. "
        "`known-clients`: those, by their User-Agent; `always`, `never`: everybody, nobody.",
    )
    outbound_private_networks: bool = Field(
        default=False,
        description="Whether `post_url` may name addresses of private networks and of this machine.",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of reverse proxies, comma separated. Only their `X-Forwarded-For` is read.",
    )
    openapi: bool = Field(default=False, description="Serve `/openapi.json`, the description of the API, unsigned.")
    metrics_address: str = Field(
        default="",
        description="`host:port` of `/metrics`, for Prometheus; never the port of the API. Empty: nothing is measured.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="`json`: one object a line; `text`: for reading along."
    )

    @field_validator("rsa_bits", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """An environment variable is text, and `Literal` takes no text for a number."""
        return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{4}", value) else value

    @field_validator("trusted_proxies", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _not_everybody(cls, value: tuple[IPv4Network | IPv6Network, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
        for network in value:
            if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
                raise ValueError(f"{network} is IPv4 written as IPv6; write the IPv4 form")
            if network.prefixlen == 0:
                raise ValueError(f"{network} trusts every sender; name the addresses of your proxies")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError("one of them is no host name: write it without scheme, port and path")
        return tuple(name.lower() for name in value)

    @field_validator("metrics_address")
    @classmethod
    def _own_address(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return value
        found = _HOST_AND_PORT.fullmatch(value)
        if found is None or int(found["port"]) > _LARGEST_PORT:
            raise ValueError("it is not host:port; an IPv6 address stands in brackets, as in [::1]:9464")
        # On any address: what is open to clients on one of them is easily opened on the others.
        if int(found["port"]) and int(found["port"]) == info.data.get("port"):
            raise ValueError("the API is served on this port, metrics are not for its clients; choose another")
        return value

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        object.__setattr__(self, "data_dir", self.data_dir.expanduser().absolute())
        return self

    @model_validator(mode="after")
    def _whole_token(self) -> Self:
        if self.pkcs11_module is not None and not (self.pkcs11_token and self.pkcs11_pin_file):
            raise ValueError("HANAPER_PKCS11_MODULE needs HANAPER_PKCS11_TOKEN and HANAPER_PKCS11_PIN_FILE beside it")
        return self

    @property
    def database(self) -> str:
        """The database URL with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'hanaper.db'}"

    @property
    def key_encryption_key(self) -> Path:
        """The path of the key encryption key with the default filled in."""
        if self.key_encryption_key_file is not None:
            return self.key_encryption_key_file.expanduser().absolute()
        return self.data_dir / "key-encryption-key"

    @property
    def shown(self) -> dict[str, object]:
        """All of them for a log, by name; but for the database's URL, which may hold a password."""
        return self.model_dump(mode="json", exclude={"database_url"})

    @property
    def metrics(self) -> tuple[str, int] | None:
        """Host and port of the metrics; None where nothing is measured."""
        found = _HOST_AND_PORT.fullmatch(self.metrics_address)
        return None if found is None else (found["six"] or found["host"], int(found["port"]))


def http_url(host: str, port: int) -> str:
    """The URL of an address and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def describe(error: ValidationError) -> str:
    """One line for a settings error: variable, reason. Values are left out, since some are secret."""
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        problems.append(f"HANAPER_{name.upper()}: {item['msg']}")
    return "; ".join(dict.fromkeys(problems))
