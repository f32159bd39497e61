"""`make bench-replicas`: two replicas, PostgreSQL and nginx on this machine: all is right, and who takes which time."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.meter import say
from benchmarks.results import Recorder
from benchmarks.stock import Place, Stock
from hanaper.bench import database, load, processes
from hanaper.bench.answer import check_answer
from hanaper.bench.ceiling import openssl_ceiling
from hanaper.bench.installation import HANAPER
from hanaper.bench.load import Load
from hanaper.bench.measure import require_success
from hanaper.bench.server import Server, free_port, running, serving
from hanaper.cli.progress import progress
from hanaper.protocol import codes
from hanaper.refusal import Fault, Unavailable

CONFIGURATION = Path(__file__).parents[1] / "docs" / "deploy" / "nginx.conf"
QUANTITIES = (10, 100)
CONNECTIONS = 64
_LEAST_SHARE = 0.2


def measure(rounds: int, seconds: int, stock: Stock, recorder: Recorder, cores: int) -> None:
    """Measure, and check.

    Raises:
        Fault: an answer was wrong, something is not stored, or one replica had nothing to do.
    """
    with ExitStack() as stack:
        place = stack.enter_context(stock.copy("postgresql"))
        replicas = []
        for name in ("replica-1", "replica-2"):
            folder = place.folder / name
            folder.mkdir()
            replicas.append(stack.enter_context(serving(place.installation, workers=1, folder=folder)))
        log = place.folder / "access.log"
        front = stack.enter_context(_nginx(place, replicas, log))
        advance = stack.enter_context(progress("Measuring", rounds * len(QUANTITIES)))
        for number in range(1, rounds + 1):
            for quantity in QUANTITIES:
                _round(place, front, replicas, Load(quantity, CONNECTIONS, seconds), recorder, cores, number)
                advance(1)
        _require_shares(log, replicas)
        _require_one_mind(place, [*replicas, front])


def _round(
    place: Place, front: Server, replicas: list[Server], wanted: Load, recorder: Recorder, cores: int, number: int
) -> None:
    check_answer(front.generate_url, place.installation, wanted.quantity)
    ceiling = openssl_ceiling(2048, processes=cores, seconds=1)
    before = database.stored(place.storage)
    pids = {
        "hanaper, replica 1": replicas[0].pid,
        "hanaper, replica 2": replicas[1].pid,
        "PostgreSQL": database.process(place.storage),
        "nginx": front.pid,
    }
    began = {name: processes.cpu_s(pid) for name, pid in pids.items()}
    seen = load.run(wanted, front.generate_url, place.installation.fields, folder=place.folder, cores=cores)
    spent = {name: processes.cpu_s(pid) - began[name] for name, pid in pids.items()} | {"wrk": seen.cpu_s}
    require_success(wanted, seen, database.stored_since(place.storage, before))
    ceiling = (ceiling + openssl_ceiling(2048, processes=cores, seconds=1)) / 2
    recorder.write(
        "replicas",
        round=number,
        quantity=wanted.quantity,
        connections=wanted.connections,
        requests_per_s=seen.requests_per_s,
        ceiling_per_s=ceiling,
        microseconds={name: seconds * 1e6 / seen.answers for name, seconds in spent.items()},
    )
    shown = ", ".join(f"{name} {seconds * 1e6 / seen.answers:.0f} us" for name, seconds in spent.items())
    say(f"{wanted.quantity} keys: {seen.requests_per_s:,.0f} requests/s, {shown}")


@contextmanager
def _nginx(place: Place, replicas: list[Server], log: Path) -> Iterator[Server]:
    """Nginx with the configuration of docs/deploy, but for addresses, ports and files."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise Unavailable("nginx is not installed: apt install nginx")
    port, health = free_port(), free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    for number, replica in enumerate(replicas, start=1):
        text = text.replace(f"hanaper-{number}:8000", _address(replica))
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("127.0.0.1:8081", f"127.0.0.1:{health}")
    text = (
        text.replace("return 204;", "return 200;")
        .replace("/dev/stdout", str(log))
        .replace(" /tmp/", f" {place.folder}/nginx-")
    )
    file = place.folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    command = [program, "-c", str(file), "-p", str(place.folder), "-g", "daemon off;"]
    with running(command, {}, port=health, folder=place.folder, path="/up") as server:
        yield Server(f"http://127.0.0.1:{port}", server.pid, server.startup_s)


def _address(server: Server) -> str:
    return server.base_url.removeprefix("http://")


def _require_shares(log: Path, replicas: list[Server]) -> None:
    """Both replicas have answered, and always with 200; 499 are the requests that wrk did not wait for at its end."""
    found = re.findall(r"(?m)(\d{3}) \d+ \S+ (\S+) \S+$", log.read_text(encoding="utf-8"))
    statuses = {status for status, _ in found}
    served = Counter(address for status, address in found if status == "200")
    expected = {_address(replica) for replica in replicas}
    if not statuses <= {"200", "499"} or set(served) != expected or min(served.values()) < _LEAST_SHARE * len(found):
        raise Fault(f"nginx answered {statuses}, and shared the requests out like this: {dict(served)}")


def _require_one_mind(place: Place, servers: list[Server]) -> None:
    """What is changed is changed for all replicas with the next request: an API key is taken away."""
    before = database.stored(place.storage)
    environment = os.environ | place.installation.environment
    subprocess.run([*HANAPER, "api-key", "revoke", "1"], env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own program
    form = {**place.installation.fields, "quantity": 10}
    for server in servers:
        answer = httpx.post(server.generate_url, data=form, timeout=60, trust_env=False)
        code = answer.json()["response"]["code"]
        if code != codes.INACTIVE_API_KEY.number:
            raise Fault(f"{server.base_url} answers {code} to an API key that was revoked")
    if database.stored_since(place.storage, before).batches:
        raise Fault("license keys were stored for an API key that had been revoked")
