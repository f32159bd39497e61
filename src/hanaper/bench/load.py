"""The load: wrk, told by a script of ours what to send and where to write down what it saw."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from secrets import token_hex
from urllib.parse import urlencode

from hanaper.bench import tools
from hanaper.refusal import Fault

LONGEST_ANSWER_S = 30
_CORES_PER_THREAD = 8

_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = {body}

function done(summary, latency, requests)
   local out = assert(io.open({results}, "w"))
   local errors = summary.errors
   out:write(string.format(
      '{{"answers":%d,"duration_us":%d,"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"errors":{{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}}}',
      summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
   out:close()
end
"""
_AT_RANDOM = """\

local bodies = {{}}
for line in io.lines({bodies}) do
   bodies[#bodies + 1] = line
end

function request()
   return wrk.format(nil, nil, nil, bodies[math.random(#bodies)])
end
"""
_WITH_HEADER = """\

local threads, sent = 0, 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function request()
   sent = sent + 1
   wrk.headers[{header}] = string.format("{run}-%d-%d", number, sent)
   return wrk.format()
end
"""
_THINKING = """\

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("seed", {seed} + threads)
end

function init(args)
   math.randomseed(seed)
end

function delay()
   return math.floor(-{think_ms} * math.log(1 - math.random()) + 0.5)
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, by how many, for how long.

    Attributes:
        think_ms: how long each connection waits before its next request, on average (exponential); None: not at all.
        header: the name of one that has another value in each request; empty: none. Not together with `think_ms`.
    """

    quantity: int
    connections: int
    seconds: int
    think_ms: float | None = None
    header: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What wrk saw.

    Attributes:
        p50_us: latencies are from the sending of a request to the end of its answer, in microseconds.
        errors: by kind, see `KINDS`; all zero, or else the run is worth nothing.
        cpu_s: processor time that wrk itself took.
    """

    answers: int
    duration_us: int
    p50_us: int
    p95_us: int
    p99_us: int
    max_us: int
    errors: dict[str, int]
    cpu_s: float

    @property
    def requests_per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.duration_us * 1e6


def half_load_think_ms(requests_per_s: float, connections: int, cores: int) -> float:
    """How long connections have to think so that they ask for about half of what the server can do.

    By Little's law a connection's cycle takes connections / rate. Of that, the answer takes about two services' time.
    """
    return 1000 * (2 * connections / requests_per_s - 2 * cores / requests_per_s)


def script(load: Load, fields: dict[str, object], results: Path, bodies: Path | None = None) -> str:
    """The Lua script of a load.

    Args:
        fields: the form but for the quantity.
        results: where wrk is to write what it saw.
        bodies: a file of bodies, one a line, that are sent instead, at random.
    """
    body = json.dumps(urlencode({**fields, "quantity": load.quantity}))
    text = _SCRIPT.format(body=body, results=json.dumps(str(results)))
    if bodies is not None:
        text += _AT_RANDOM.format(bodies=json.dumps(str(bodies)))
    if load.header:
        # Nobody has used these values before, and nobody will.
        text += _WITH_HEADER.format(header=json.dumps(load.header), run=token_hex(8))
    if load.think_ms is not None:
        text += _THINKING.format(seed=load.connections * 1000, think_ms=load.think_ms)
    return text


def run(
    load: Load,
    url: str,
    fields: dict[str, object],
    *,
    folder: Path,
    cores: int,
    bodies: Sequence[str] = (),
) -> Seen:
    """Put a server under load.

    Args:
        url: what is posted to.
        fields: the form but for the quantity; not part of wrk's command line, which everybody can read.
        folder: for the script and what wrk writes.
        cores: of the machine.
        bodies: are sent instead of the form, at random; without line feeds.

    Raises:
        Unavailable: wrk is not installed.
        Fault: wrk failed.
    """
    file, results = folder / "load.lua", folder / "load.json"
    results.unlink(missing_ok=True)
    file.touch(mode=0o600)
    list_of_bodies = None
    if bodies:
        list_of_bodies = folder / "bodies.txt"
        list_of_bodies.touch(mode=0o600)
        list_of_bodies.write_text("\n".join(bodies), encoding="ascii")
    file.write_text(script(load, fields, results, list_of_bodies), encoding="ascii")
    threads = min(max(1, cores // _CORES_PER_THREAD), load.connections)
    command = [tools.find("wrk"), "--threads", str(threads), "--connections", str(load.connections)]
    command += ["--duration", f"{load.seconds}s", "--timeout", f"{LONGEST_ANSWER_S}s", "--script", str(file), url]
    before = getrusage(RUSAGE_CHILDREN)
    ran = subprocess.run(  # noqa: S603 -- fixed
        command, capture_output=True, text=True, check=False, timeout=load.seconds + 2 * LONGEST_ANSWER_S
    )
    after = getrusage(RUSAGE_CHILDREN)
    if ran.returncode != 0 or not results.exists():
        raise Fault(f"wrk failed: {(ran.stderr or ran.stdout).strip() or 'without a word'}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return parse(results.read_text(encoding="ascii"), cpu_s)


def parse(text: str, cpu_s: float) -> Seen:
    """Read what the script had wrk write."""
    found = json.loads(text)
    if found["duration_us"] <= 0:
        raise Fault("wrk ran for no time at all")
    return Seen(**found, cpu_s=cpu_s)
