"""`make bench-verify`: how many license keys a second are verified, with a million of them stored."""

import json
import random
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

import httpx
from sqlalchemy import text

from benchmarks.results import Recorder
from benchmarks.seed import seed
from benchmarks.stock import KINDS, Place, Stock
from hanaper.bench import load, processes
from hanaper.bench.ceiling import openssl_ceiling
from hanaper.bench.load import Load
from hanaper.bench.server import Server, serving
from hanaper.bench.spread import neighbours
from hanaper.cli.progress import progress
from hanaper.protocol import codes, envelope
from hanaper.refusal import Fault
from hanaper.signing.verifier import Verifier

STORED = 1_000_000
CONNECTIONS = (64, 16)
_ACTIVE = 10_000
_IDENTIFIER = "device.example"
_BITS = 2048
_CHECKED = 20


def measure(rounds: int, seconds: int, stock: Stock, recorder: Recorder, cores: int) -> None:
    """Verify license keys, at random out of ten thousand that are active, spread over a million.

    Raises:
        Fault: an answer was wrong, or the load had errors.
    """
    steps = len(KINDS) * (STORED + rounds * len(CONNECTIONS))
    with progress("Measuring", steps) as advance:
        for kind in KINDS:
            with stock.copy(kind) as place:
                seed(place.storage, STORED, advance)
                license_keys = _activate_some(place)
                bodies = [_body(place, license_key) for license_key in license_keys]
                for number in range(1, rounds + 1):
                    with serving(place.installation, workers=cores, folder=place.folder) as server:
                        for connections in CONNECTIONS:
                            wanted = Load(1, connections, seconds)
                            _measure(wanted, bodies, place, server, recorder, cores, database=kind, round=number)
                            advance(1)


def _measure(
    wanted: Load,
    bodies: list[str],
    place: Place,
    server: Server,
    recorder: Recorder,
    cores: int,
    **labels: object,
) -> None:
    url = server.generate_url.replace("/generate", "/verify")
    for body in random.sample(bodies, _CHECKED):
        _check(url, body, place.installation.public_key)
    load.run(Load(1, wanted.connections, 1), url, {}, folder=place.folder, cores=cores, bodies=bodies)
    before = openssl_ceiling(_BITS, processes=cores, seconds=1)
    cpu = processes.cpu_s(server.pid)
    seen = load.run(wanted, url, {}, folder=place.folder, cores=cores, bodies=bodies)
    cpu = processes.cpu_s(server.pid) - cpu
    after = openssl_ceiling(_BITS, processes=cores, seconds=1)
    failed = {kind: number for kind, number in seen.errors.items() if number}
    if failed:
        raise Fault(f"the run has failed: {failed}")
    for body in random.sample(bodies, _CHECKED):
        _check(url, body, place.installation.public_key)
    ceiling = neighbours(before, after)
    recorder.write(
        "verify",
        **labels,
        connections=wanted.connections,
        stored=STORED,
        requests_per_s=seen.requests_per_s,
        ceiling_per_s=ceiling,
        share_of_ceiling=seen.requests_per_s / ceiling,
        server_us=cpu * 1e6 / seen.answers,
        seen=asdict(seen),
    )


def _activate_some(place: Place) -> list[str]:
    """Assign license keys all over the table, and activate each on one identifier."""
    every = STORED // _ACTIVE
    with place.storage.engine.begin() as connection:
        connection.execute(
            text(f"UPDATE license_keys SET status = 'assigned', assigned_at = created_at WHERE id % {every} = 0")
        )
        connection.execute(
            text(
                "INSERT INTO activations (license_key_id, identifier, status, post_url, ip, user_agent, activated_at, "
                "created_at, updated_at) SELECT id, :identifier, 'active', '', '', '', created_at, created_at, "
                "created_at FROM license_keys WHERE status = 'assigned'"
            ),
            {"identifier": _IDENTIFIER},
        )
        found = connection.execute(text("SELECT license_key FROM license_keys WHERE status = 'assigned'"))
        return [row[0] for row in found]


def _body(place: Place, license_key: str) -> str:
    api_key = place.installation.fields["api_key"]
    return urlencode({"api_key": api_key, "license_key": license_key, "identifier": _IDENTIFIER})


def _check(url: str, body: str, public_key: Path) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False)
    received = envelope.decode(answer.content)
    if not Verifier.from_pem(public_key.read_bytes()).accepts_envelope(received):
        raise Fault("the answer is wrong: its signature does not verify")
    code = json.loads(received.payload_bytes)["code"]
    if code != codes.VALID_LICENSE_KEY.number:
        raise Fault(f"the answer is wrong: code {code}")
