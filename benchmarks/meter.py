"""Measures, with the ceiling in between, and writes down what was measured."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.bare_driver import bulk_insert
from benchmarks.results import Recorder
from benchmarks.wheel import wheel_ceiling
from hanaper.bench.ceiling import openssl_ceiling
from hanaper.bench.load import Load
from hanaper.bench.measure import Bench, Run
from hanaper.bench.spread import neighbours
from hanaper.refusal import Fault
from hanaper.storage.transactions import Storage

USUAL_BITS = 2048
_LONGEST_NEIGHBOUR_S = 20.0


@dataclass
class Meter:
    """One for a whole measurement.

    Attributes:
        advance: told after each measurement.
        ceiling_s: length of a measurement of the ceiling, in whole seconds.
    """

    recorder: Recorder
    advance: Callable[[int], None]
    cores: int
    ceiling_s: int
    _last: dict[int, tuple[float, float]] = field(default_factory=dict)

    def load(
        self, bench: Bench, wanted: Load, *, bits: int, full_per_s: float | None = None, **labels: Any
    ) -> Run | None:
        """Measure a load, and the ceiling before and after it.

        Args:
            bits: of the RSA keys.
            full_per_s: what was reached without thinking, where this is half of it.
            labels: they go into the result.

        Returns:
            What came of it; None where it failed, which is said and written down.
        """
        before = self._ceiling_before(bits)
        shown = f"{self._shown(labels)} {wanted.quantity} keys, {wanted.connections} connections"
        labels |= {"bits": bits, "half_load": full_per_s is not None, "full_per_s": full_per_s}
        shown += ", half load" if full_per_s is not None else "" if bits == USUAL_BITS else f", rsa{bits}"
        try:
            run = bench.run(wanted)
        except Fault as fault:
            self._fail(f"{shown}: {fault}")
            self.recorder.write("failure", load=asdict(wanted), reason=str(fault), **labels)
            return None
        finally:
            self.advance(1)
        after = self._ceiling(bits)
        ceiling = neighbours(before, after)
        self.recorder.write(
            "load",
            **labels,
            quantity=wanted.quantity,
            connections=wanted.connections,
            requests_per_s=run.requests_per_s,
            keys_per_s=run.keys_per_s,
            ceiling_per_s=ceiling,
            share_of_ceiling=run.requests_per_s / ceiling,
            ceilings_per_s=[before, after],
            startup_s=bench.server.startup_s,
            run=asdict(run),
        )
        say(
            f"{shown}: {run.requests_per_s:,.0f} requests/s, {run.requests_per_s / ceiling:.3f} of the ceiling, "
            f"p99 {run.seen.p99_us / 1000:.1f} ms"
        )
        return run

    def bulk(self, storage: Storage, way: str, *, connections: int, seconds: float, **labels: Any) -> None:
        """Measure the bare driver."""
        keys_per_s = bulk_insert(storage, way, connections=connections, seconds=seconds)
        self.recorder.write("bulk insert", **labels, way=way, connections=connections, keys_per_s=keys_per_s)
        say(f"{self._shown(labels)} bare driver, {way}, {connections} connections: {keys_per_s:,.0f} keys/s")
        self.advance(1)

    def wheel(self, bits: int, **labels: Any) -> None:
        """Measure the ceiling of the library that hanaper signs with."""
        per_s = wheel_ceiling(bits, processes=self.cores, seconds=self.ceiling_s)
        openssl = self._ceiling_before(bits)
        self.recorder.write("wheel", **labels, bits=bits, wheel_per_s=per_s, ceiling_per_s=openssl)
        say(f"{self._shown(labels)} rsa{bits}: {per_s:,.0f} signatures/s by the wheel, {openssl:,.0f} by openssl")
        self.advance(1)

    def _ceiling(self, bits: int) -> float:
        per_s = openssl_ceiling(bits, processes=self.cores, seconds=self.ceiling_s)
        self._last[bits] = (per_s, time.monotonic())
        return per_s

    def _ceiling_before(self, bits: int) -> float:
        """The one measured after the last run, where nothing long came between."""
        per_s, at = self._last.get(bits, (0.0, float("-inf")))
        return per_s if time.monotonic() - at <= _LONGEST_NEIGHBOUR_S else self._ceiling(bits)

    def _fail(self, text: str) -> None:
        self.recorder.failures.append(text)
        say(f"FAILED: {text}")

    @staticmethod
    def _shown(labels: dict[str, Any]) -> str:
        return " ".join(
            f"{name} {value}" if name in ("round", "size") else str(value) for name, value in labels.items()
        )


def say(text: str) -> None:
    """Say how it goes, above the progress bar."""
    sys.stderr.write(text + "\n")
