"""The image, compose.yaml, the proxy and the workflow fit the program. No container engine is needed."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from sqlalchemy import make_url
from tests.support import cage
from tests.support.api import serving

from hanaper import api
from hanaper.cli.main import app
from hanaper.cli.serve import FINISH_S, KEEP_ALIVE_S
from hanaper.settings import Settings
from hanaper.web import health
from hanaper.web.drain import LAST_CALL_S

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SECRET_WORDS = re.compile(r"password|secret|token|credential|private", re.IGNORECASE)
TAG = re.compile(r"(?P<name>[\w./-]+):(?P<tag>[\w.-]+)(@sha256:[0-9a-f]{64})?")


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def _stages() -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for word, rest in _instructions():
        if word == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((word, rest))
    return stages


def _command(rest: str) -> list[str]:
    """The exec form of an instruction; options before it are dropped."""
    command: list[str] = json.loads(rest[rest.index("[") :])
    assert all(isinstance(part, str) for part in command)
    return command


def _of(word: str, stage: list[tuple[str, str]]) -> list[str]:
    return [rest for name, rest in stage if name == word]


def _environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in _of("ENV", stage) for pair in rest.split())


BUILDER, IMAGE = _stages()
RUNS = [_command(rest) for rest in _of("RUN", BUILDER + IMAGE)]
ENVIRONMENT = _environment(IMAGE)
COMMANDS = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}


def test_the_image_ends_as_a_user_without_rights() -> None:
    assert _of("USER", IMAGE) == ["10001:10001"]
    user = IMAGE.index(("USER", "10001:10001"))
    assert not {"RUN", "COPY"} & {word for word, _ in IMAGE[user:]}
    makes_data = next(run for run in RUNS if "/data" in run)
    assert {"--owner=10001", "--group=10001", "--mode=0700"} <= set(makes_data)
    assert _of("VOLUME", IMAGE) == ['["/data"]']


def test_the_base_image_has_a_version_and_can_be_pinned() -> None:
    assert [rest for word, rest in _instructions() if word == "FROM"] == [
        "${PYTHON_IMAGE} AS builder",
        "${PYTHON_IMAGE}",
    ]
    [argument] = [rest for word, rest in _instructions() if word == "ARG"]
    name, _, image = argument.partition("=")
    tag = TAG.fullmatch(image)
    assert name == "PYTHON_IMAGE"
    assert tag is not None
    assert tag["tag"].startswith("3.13-slim")


def test_every_command_of_the_image_is_in_exec_form() -> None:
    for word, rest in _instructions():
        if word in ("RUN", "CMD", "ENTRYPOINT", "VOLUME"):
            assert _command(rest), rest
    [check] = _of("HEALTHCHECK", IMAGE)
    assert re.search(r" CMD \[", check)


def test_nothing_but_the_sources_of_the_wheel_reaches_the_builder() -> None:
    assert "ADD" not in {word for word, _ in _instructions()}
    assert _of("COPY", IMAGE) == ["--from=builder /opt/hanaper /opt/hanaper"]
    copied = {part.rstrip("/") for rest in _of("COPY", BUILDER) for part in rest.split()[:-1]}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], *wheel["force-include"]}
    assert copied == needed | {"src", "pyproject.toml", "requirements.lock"}
    assert wheel["packages"] == ["src/hanaper"]
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def test_the_image_holds_no_secret() -> None:
    assert not [name for name in _environment(BUILDER) | ENVIRONMENT if SECRET_WORDS.search(name)]
    assert len([word for word, _ in _instructions() if word == "ARG"]) == 1


def test_the_image_installs_what_the_lock_file_pins(tmp_path: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    (tmp_path / "requirements.lock").write_text(lock)
    cuts = [run for run in RUNS if run[0] == "sed"]
    for cut in cuts:
        subprocess.run(cut, cwd=tmp_path, check=True)
    runtime, build = (tmp_path / name for name in ("runtime.lock", "build.lock"))
    before_build, _, after = lock.partition("# --- build ---\n")
    before_development, _, development = after.partition("# --- development ---\n")
    assert before_development
    assert development
    assert runtime.read_text() == before_build
    assert build.read_text() == f"{before_build}# --- build ---\n{before_development}"


def test_the_image_fetches_only_what_has_a_hash() -> None:
    installs = [run for run in RUNS if {"pip", "install"} <= set(run)]
    assert len(installs) == 3
    hashed = [run for run in installs if "--require-hashes" in run]
    local = [run for run in installs if {"--no-index", "--no-deps"} <= set(run)]
    assert [run[run.index("--requirement") + 1] for run in hashed] == ["runtime.lock", "build.lock"]
    assert len(hashed) + len(local) == len(installs)
    assert _environment(BUILDER)["PIP_ONLY_BINARY"] == ":all:"


def test_a_change_of_the_sources_fetches_nothing_anew() -> None:
    """An engine has what stands before the first changed COPY in its cache."""
    sources = BUILDER.index(("COPY", "src ./src"))
    fetches = [index for index, (word, rest) in enumerate(BUILDER) if word == "RUN" and "--require-hashes" in rest]
    assert fetches
    assert max(fetches) < min(sources, BUILDER.index(("COPY", "pyproject.toml README.md LICENSE ./")))


def test_the_image_keeps_nothing_to_install_with_and_no_rights_to_be_had() -> None:
    """What tests/image sees in the image, where there is an engine."""
    own = [_command(rest) for rest in _of("RUN", IMAGE)]
    assert any({"pip", "uninstall"} <= set(run) for run in own)
    assert any("ensurepip" in part for run in own for part in run)
    assert any({"-perm", "/6000", "a-s"} <= set(run) for run in own)


def test_the_image_has_all_modules_compiled() -> None:
    """Its user cannot do it, and without that each command and each health check compiles what it imports."""
    assert ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] == "1"
    for stage, folder in ((BUILDER, "/opt/hanaper/lib"), (IMAGE, "/usr/local/lib")):
        compiles = ["python", "-B", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
        last = [_command(rest) for word, rest in stage if word == "RUN" and ("compileall" in rest or "pip" in rest)][-1]
        assert last == compiles


def test_the_image_starts_a_command_that_exists() -> None:
    [entry], [default] = _of("ENTRYPOINT", IMAGE), _of("CMD", IMAGE)
    assert _command(entry) == ["hanaper"]
    assert "hanaper" in PROJECT["project"]["scripts"]
    assert _command(default) == ["serve"]
    assert "serve" in COMMANDS
    assert _of("STOPSIGNAL", IMAGE) == ["SIGTERM"]


def test_the_environment_of_the_image_is_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _setting_names(ENVIRONMENT):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    settings = Settings()
    assert (settings.data_dir, settings.host, settings.port) == (Path("/data"), "0.0.0.0", 8000)  # noqa: S104 -- in a container
    assert _of("EXPOSE", IMAGE) == [str(settings.port)]
    assert ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] == "1"
    assert ENVIRONMENT["PYTHONUNBUFFERED"] == "1"


def test_the_health_check_tells_a_server_from_none() -> None:
    [check] = _of("HEALTHCHECK", IMAGE)
    python, *arguments = _command(check)
    assert python == "python"

    def run(port: str) -> int:
        # Engines hand their proxy settings to containers; the check has to pass them by.
        environment = {**os.environ, "HANAPER_PORT": port, "http_proxy": "http://127.0.0.1:9"}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, check=False
        ).returncode

    server = FastAPI()
    server.include_router(health.router)
    with serving(server) as base_url:
        assert run(base_url.rpartition(":")[2]) == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
    assert run(port) == 1


# compose.yaml

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = [name for name in SERVICES if name.startswith("hanaper-")]
OURS = [*REPLICAS, "init"]
LOOSENS = {
    *("privileged", "cap_add", "devices", "device_cgroup_rules", "group_add", "sysctls", "volumes_from"),
    *("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup", "cgroup_parent"),
}


def _setting_names(environment: dict[str, str]) -> list[str]:
    names = [name for name in environment if name.startswith("HANAPER_")]
    assert {name.removeprefix("HANAPER_").lower() for name in names} <= set(Settings.model_fields)
    return names


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def _address(service: str) -> str:
    address: str = SERVICES[service]["networks"]["edge"]["ipv4_address"]
    return address


def test_compose_has_the_services_that_are_documented() -> None:
    assert set(SERVICES) == {"database", "init", "hanaper-1", "hanaper-2", "proxy"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_restricted(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"] == {"core": 0}
    assert not LOOSENS & set(service)
    assert not [volume for volume in service.get("volumes", []) if ".sock" in volume or volume.startswith("/")]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert any(entry.startswith("/tmp:") for entry in service["tmpfs"])  # noqa: S108 -- in a container
    for entry in service["tmpfs"]:
        options = entry.partition(":")[2].split(",")
        assert {"noexec", "nosuid", "nodev"} <= set(options)
        assert any(option.startswith("size=") for option in options)
    assert service["restart"] == ("no" if name == "init" else "unless-stopped")
    tag = TAG.fullmatch(service["image"])
    assert tag is not None
    assert tag["tag"] != "latest"
    # Ours run as the user of the image.
    assert ("build" in service) == (name in OURS)
    assert ("user" in service) == (name not in OURS)
    assert not service.get("user", "").startswith("0")


def test_the_documented_container_is_restricted_as_well() -> None:
    commands = re.sub(r"\\\n\s*", "", (ROOT / "docs/docker.md").read_text()).splitlines()
    [served] = [line for line in commands if line.startswith("docker run --detach")]
    for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert f" {option} " in served
    assert " --publish 127.0.0.1:" in served
    assert not [line for line in commands if "--privileged" in line or "--user root" in line]


def test_the_cage_of_the_tests_is_what_compose_makes() -> None:
    """tests/e2e/test_hardened.py runs in it."""
    assert _of("USER", IMAGE) == [f"{cage.USER}:{cage.USER}"]
    assert ENVIRONMENT["HANAPER_DATA_DIR"] == cage.DATA
    for name in OURS:
        assert SERVICES[name]["tmpfs"] == [f"/tmp:{cage.TMP}"]  # noqa: S108 -- in a container


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_secrets_reach_a_service_as_files(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        if SECRET_WORDS.search(variable):
            assert variable.endswith("_FILE")
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())


@pytest.mark.parametrize("name", OURS)
def test_the_environment_in_compose_is_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES[name]["environment"]
    for variable in _setting_names(environment):
        monkeypatch.setenv(variable, environment[variable])
    settings = Settings()
    url = make_url(settings.database_url)
    database = SERVICES["database"]["environment"]
    assert url.password is None
    assert (url.host, url.username, url.database) == ("database", database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert str(settings.database_password_file) == database["POSTGRES_PASSWORD_FILE"]
    assert settings.trusted_proxies == (ip_network(_address("proxy")),)


def test_replicas_share_the_key_encryption_key_and_cannot_change_it() -> None:
    data = ENVIRONMENT["HANAPER_DATA_DIR"]
    assert SERVICES["init"]["volumes"] == [f"data:{data}"]
    assert SERVICES["init"]["command"] == ["init"]
    assert "init" in COMMANDS
    for name in REPLICAS:
        assert SERVICES[name]["volumes"] == [f"data:{data}:ro"]
        assert SERVICES[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
        assert "command" not in SERVICES[name], "the default of the image, which does not migrate"


def test_a_replica_is_given_the_time_to_finish() -> None:
    longest = Settings.model_fields["drain_delay"].default + LAST_CALL_S + FINISH_S
    assert all(_seconds(SERVICES[name]["stop_grace_period"]) > longest + 5 for name in REPLICAS)
    documented = re.findall(r"--stop-timeout (\d+)", (ROOT / "docs/docker.md").read_text())
    assert documented
    assert all(int(seconds) > longest + 5 for seconds in documented)


def test_only_the_proxy_is_reached_from_outside_and_from_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["127.0.0.1:8080:8080"]}
    for name, service in SERVICES.items():
        inside = [network for network in service["networks"] if (COMPOSE["networks"][network]).get("internal")]
        assert (list(service["networks"]) == inside) == (name != "proxy")
    assert set(SERVICES["database"]["networks"]) == {"storage"}
    assert "storage" not in SERVICES["proxy"]["networks"]


def test_the_proxy_knows_its_replicas_by_their_fixed_addresses() -> None:
    [pool] = COMPOSE["networks"]["edge"]["ipam"]["config"]
    addresses = {name: _address(name) for name in [*REPLICAS, "proxy"]}
    assert all(ip_address(address) in ip_network(pool["subnet"]) for address in addresses.values())
    assert len(set(addresses.values())) == len(addresses)
    assert SERVICES["proxy"]["extra_hosts"] == [f"{name}:{addresses[name]}" for name in REPLICAS]


# docs/deploy/nginx.conf


def _directives() -> list[str]:
    text = re.sub(r"(?m)^\s*#.*$", "", (ROOT / "docs/deploy/nginx.conf").read_text())
    return [" ".join(part.split()) for part in re.split(r"[;{}]", text) if part.strip()]


NGINX = _directives()


def _values(directive: str) -> list[str]:
    return [line.partition(" ")[2] for line in NGINX if line.split(" ")[0] == directive]


def test_the_proxy_uses_the_file_in_the_documents() -> None:
    assert SERVICES["proxy"]["volumes"] == ["./docs/deploy/nginx.conf:/etc/nginx/nginx.conf:ro"]
    servers = [value.split(" ")[0] for value in _values("server")]
    assert [server for server in servers if server] == [f"{name}:8000" for name in REPLICAS]
    assert _values("listen")[0] == SERVICES["proxy"]["ports"][0].rpartition(":")[2]


def test_the_proxy_has_the_limits_of_the_server() -> None:
    [limit] = _values("client_max_body_size")
    assert int(limit.removesuffix("k")) * 1024 == Settings.model_fields["max_body_bytes"].default
    assert _values("client_header_timeout") == ["10s"]
    assert _values("client_body_timeout") == ["15s"]
    to_clients, to_replicas = sorted(_values("keepalive_timeout"), key=_seconds, reverse=True)
    assert _seconds(to_replicas) < KEEP_ALIVE_S <= _seconds(to_clients)


def test_the_proxy_has_noticed_that_a_replica_stops_before_it_does() -> None:
    delay = Settings.model_fields["drain_delay"].default
    assert delay >= KEEP_ALIVE_S, "at the end of it no connection is idle"
    assert min(map(_seconds, _values("keepalive_timeout"))) < delay
    forgotten = re.findall(r"fail_timeout=(\w+)", " ".join(_values("server")))
    assert len(forgotten) == len(REPLICAS)
    assert all(_seconds(seconds) < delay for seconds in forgotten)


def test_the_proxy_overwrites_what_tells_the_address_of_the_sender() -> None:
    headers = {value.split(" ")[0]: value.split(" ")[1] for value in _values("proxy_set_header")}
    assert len(headers) == len(_values("proxy_set_header"))
    assert headers["X-Forwarded-For"] == "$remote_addr"
    assert headers["Forwarded"] == '""'
    assert headers["Host"] == "$host"
    assert not any("$proxy_add_x_forwarded_for" in line for line in NGINX)
    # One in a location would end all those of the server around it.
    locations = re.findall(r"location [^{]*\{([^}]*)\}", (ROOT / "docs/deploy/nginx.conf").read_text())
    assert locations
    assert not any("proxy_set_header" in location for location in locations)


def test_the_proxy_never_repeats_a_post_that_was_sent() -> None:
    assert _values("proxy_next_upstream") == ["error timeout"]


def test_the_proxy_reaches_the_api_and_nothing_else() -> None:
    *open_to_all, rest = [value for value in _values("location") if not value.startswith("=")][:-1]
    assert rest == "/"
    [pattern] = [value.removeprefix("~ ") for value in open_to_all]
    for base_path in api.BASE_PATHS:
        assert re.search(pattern, f"{base_path}/generate")
    for path in ("/healthz", "/readyz", "/openapi.json", "/", "/v1", "/x/v1/", "/v10/"):
        assert not re.search(pattern, path)
    # The API, and the public keys.
    assert "= /.well-known/jwks.json" in _values("location")
    assert _values("proxy_pass") == ["http://hanaper"] * 2


def test_the_proxy_logs_no_query_string_and_hides_its_version() -> None:
    [log_format] = _values("log_format")
    assert set(re.findall(r"\$\w+", log_format)) <= {
        "$remote_addr",
        "$time_iso8601",
        "$request_method",
        "$uri",
        "$status",
        "$body_bytes_sent",
        "$request_time",
        "$upstream_addr",
        "$upstream_status",
    }
    name = log_format.split(" ")[0]
    assert _values("access_log") == [f"/dev/stdout {name}", "off"]
    assert _values("error_log") == ["stderr crit"]
    assert _values("server_tokens") == ["off"]


# .github/workflows/check.yml

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())


def test_the_workflow_runs_the_commands_of_the_makefile_on_every_python() -> None:
    [job] = WORKFLOW["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands.pop(0).startswith("sudo apt-get"), "programs that some tests need"
    assert commands == ["make lint", "make test-all", "make demo"]
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    assert {command.removeprefix("make ") for command in commands} <= set(targets)
    versions = job["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"
    assert versions == ["3.11", "3.12", "3.13", "3.14"]


def test_the_workflow_may_read_only_and_its_actions_are_pinned() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    [job] = WORKFLOW["jobs"].values()
    assert "permissions" not in job
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used)
