"""Settings from the environment."""

import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from hanaper.settings import Settings, describe


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


def complaint(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, **variables)
    text = describe(caught.value)
    assert "\n" not in text
    return text


def test_what_is_shown_is_everything_but_the_url_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(
        monkeypatch,
        HANAPER_DATABASE_URL="postgresql://hanaper:Canary@host/name",
        HANAPER_TRUSTED_PROXIES="10.0.0.5,fd00::/64",
        HANAPER_DATA_DIR="/data",
    )
    shown = found.shown
    assert set(shown) == set(Settings.model_fields) - {"database_url"}
    assert "Canary" not in str(shown)
    assert (shown["data_dir"], shown["trusted_proxies"]) == ("/data", ["10.0.0.5/32", "fd00::/64"])
    json.dumps(shown)


def test_an_empty_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings()
    assert found.data_dir == tmp_path / "data"
    assert found.database == f"sqlite:///{tmp_path}/data/hanaper.db"
    assert found.key_encryption_key == tmp_path / "data" / "key-encryption-key"
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8000, 1)
    assert (found.max_quantity, found.max_body_bytes, found.rsa_bits) == (1000, 65_536, 2048)
    assert found.trusted_proxies == ()
    assert (found.openapi, found.log_level, found.log_format) == (False, "info", "json")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data_dir", "/srv/hanaper", Path("/srv/hanaper")),
        ("database_url", "postgresql://u:p@db/hanaper", "postgresql://u:p@db/hanaper"),
        ("database_pool_size", "200", 200),
        ("key_encryption_key_file", "/run/secrets/kek", Path("/run/secrets/kek")),
        ("host", "::1", "::1"),
        ("port", "0", 0),
        ("workers", "64", 64),
        ("max_quantity", "100000", 100_000),
        ("max_body_bytes", "1024", 1024),
        ("rsa_bits", "2048", 2048),
        ("rsa_bits", "3072", 3072),
        ("rsa_bits", "4096", 4096),
        ("openapi", "true", True),
        ("openapi", "0", False),
        ("log_level", "warning", "warning"),
        ("log_format", "text", "text"),
    ],
)
def test_each_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    assert getattr(settings(monkeypatch, **{f"HANAPER_{name.upper()}": text}), name) == value


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"HANAPER_{name.upper()}" for name in Settings.model_fields]
    assert settings(monkeypatch, **dict.fromkeys(names, "")) == Settings()


def test_unknown_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    settings(monkeypatch, HANAPER_TEST_POSTGRESQL_URL="x", HANAPER_NO_SUCH_SETTING="x")


def test_paths_are_absolute_and_know_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    found = settings(monkeypatch, HANAPER_DATA_DIR="~/data", HANAPER_KEY_ENCRYPTION_KEY_FILE="kek")
    assert found.data_dir == Path("/home/somebody/data")
    assert found.key_encryption_key == tmp_path / "kek"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.0.0.1", ["10.0.0.1/32"]),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("10.0.0.0/8,192.168.0.0/16", ["10.0.0.0/8", "192.168.0.0/16"]),
        (" 10.0.0.1 , ,2001:db8::/32, ", ["10.0.0.1/32", "2001:db8::/32"]),
        ("::1", ["::1/128"]),
        (",", []),
    ],
)
def test_trusted_proxies_are_addresses_and_networks_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, networks: list[str]
) -> None:
    found = settings(monkeypatch, HANAPER_TRUSTED_PROXIES=text).trusted_proxies
    assert found == tuple(ip_network(network) for network in networks)
    assert all(isinstance(network, IPv4Network | IPv6Network) for network in found)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.0.0.1,0.0.0.0/0", "0.0.0.0/0.0.0.0"])
def test_nobody_may_trust_everybody(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert complaint(monkeypatch, HANAPER_TRUSTED_PROXIES=text).endswith(
        "/0 trusts every sender; name the addresses of your proxies"
    )


def test_a_proxy_written_as_ipv6_that_is_ipv4_is_refused_since_it_would_never_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = complaint(monkeypatch, HANAPER_TRUSTED_PROXIES="::ffff:10.0.0.1")
    assert found.endswith("is IPv4 written as IPv6; write the IPv4 form")


@pytest.mark.parametrize(
    "text", ["proxy.example", "10.0.0.1/24", "10.0.0.1:80", "10.0.0.0/33", "*", "10.0.0.1 10.0.0.2"]
)
def test_what_is_no_network_is_not_trusted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    found = complaint(monkeypatch, HANAPER_TRUSTED_PROXIES=text)
    assert found.startswith("HANAPER_TRUSTED_PROXIES: ")
    assert text not in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "201"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("WORKERS", "65"),
        ("MAX_QUANTITY", "0"),
        ("MAX_QUANTITY", "100001"),
        ("MAX_BODY_BYTES", "1023"),
        ("MAX_BODY_BYTES", "67108865"),
        ("RSA_BITS", "1024"),
        ("RSA_BITS", "2049"),
        ("RSA_BITS", "8192"),
        ("RSA_BITS", "2048.0"),
        ("RSA_BITS", "\N{FULLWIDTH DIGIT TWO}048"),
        ("LOG_LEVEL", "INFO"),
        ("LOG_LEVEL", "trace"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_what_is_out_of_range_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    found = complaint(monkeypatch, **{f"HANAPER_{name}": text})
    assert found.startswith(f"HANAPER_{name}: Input should be ")


def test_all_complaints_stand_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = complaint(monkeypatch, HANAPER_PORT="x", HANAPER_WORKERS="0", HANAPER_LOG_FORMAT="x")
    assert [part.partition(":")[0] for part in found.split("; ")] == [
        "HANAPER_PORT",
        "HANAPER_WORKERS",
        "HANAPER_LOG_FORMAT",
    ]


@pytest.mark.parametrize(
    "name",
    # Any text is a good host, path or URL.
    [name for name, field in Settings.model_fields.items() if field.annotation not in (str, Path, Path | None)],
)
def test_a_complaint_never_shows_a_value(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Somebody may paste a password into the wrong variable."""
    found = complaint(
        monkeypatch,
        **{f"HANAPER_{name.upper()}": "postgresql://user:PASSWORD@host/name", "HANAPER_DATABASE_URL": "SECRET-URL"},
    )
    assert found.startswith(f"HANAPER_{name.upper()}: ")
    for secret in ("PASSWORD", "postgresql", "SECRET"):
        assert secret not in found


def test_the_settings_do_not_show_the_password_in_a_database_url() -> None:
    found = Settings(database_url="postgresql://user:PASSWORD@host/name")
    assert "PASSWORD" not in f"{found} {found!r}"
