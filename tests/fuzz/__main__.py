"""`python -m tests.fuzz [targets]`: each for `FUZZ_S` seconds, as many at once as there are cores.

What is found is shown, and the exit status is 1. With `FUZZ_KEEP` set, inputs that lead to new places are kept.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.targets import NAMES

SECONDS = int(os.environ.get("FUZZ_S", "60"))
LONGEST_INPUT = 2000
LONGEST_KEPT = 160
MOST_KEPT = 40
LONGEST_RUN_S = 10
MOST_MEMORY_MB = 2048


@dataclass(frozen=True)
class Outcome:
    """What came of one target."""

    name: str
    executions: int
    seeds: int
    inputs: int
    branches: int
    found: list[bytes]
    output: str

    @property
    def line(self) -> str:
        numbers = (self.executions, self.executions // max(SECONDS, 1), self.branches, self.inputs, len(self.found))
        return f"{self.name:18}" + "".join(f"{number:>10,}" for number in numbers)


def fuzz(name: str) -> Outcome:
    """Fuzz one target."""
    with tempfile.TemporaryDirectory(prefix=f"hanaper-fuzz-{name}-") as scratch:
        folder = Path(scratch)
        for part in ("inputs", "found", "tmp"):
            (folder / part).mkdir()
        seeds = {sha256(data).hexdigest(): data for data in corpus.inputs(name) if len(data) <= LONGEST_INPUT}
        for digest, data in seeds.items():
            (folder / "inputs" / digest).write_bytes(data)
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.child", name, str(folder / "words"), str(folder / "inputs")),
                *(f"-max_total_time={SECONDS}", f"-timeout={LONGEST_RUN_S}", f"-rss_limit_mb={MOST_MEMORY_MB}"),
                *(f"-artifact_prefix={folder / 'found'}/", f"-max_len={LONGEST_INPUT}", "-print_final_stats=1"),
            ],
            env={**os.environ, "TMPDIR": str(folder / "tmp")},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        found = [file.read_bytes() for file in sorted((folder / "found").iterdir())]
        if ended.returncode and not found:
            found = [b""]  # It did not even begin, or was killed.
        new = [file.read_bytes() for file in (folder / "inputs").iterdir() if file.name not in seeds]
        if os.environ.get("FUZZ_KEEP"):
            corpus.keep(name, sorted((data for data in new if len(data) <= LONGEST_KEPT), key=len)[:MOST_KEPT])
        branches = [int(number) for number in re.findall(r"\bcov: (\d+)", ended.stderr)]
        executions = re.findall(r"stat::number_of_executed_units: (\d+)", ended.stderr) or re.findall(
            r"(?m)^#(\d+)", ended.stderr
        )
        return Outcome(
            name,
            int(executions[-1]) if executions else 0,
            len(seeds),
            len(seeds) + len(new),
            max(branches, default=0),
            found,
            ended.stdout + ended.stderr,
        )


def main() -> int:
    """Fuzz the targets that are named, or all."""
    if find_spec("atheris") is None:
        print("atheris is not installed: there are wheels for Linux on x86-64 only (see CONTRIBUTING.md)")
        return 1
    names = sys.argv[1:] or NAMES
    print(f"{'target':18}" + "".join(f"{name:>10}" for name in ("runs", "a second", "places", "inputs", "findings")))
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outcome in pool.map(fuzz, names):
            print(outcome.line, flush=True)
            if outcome.found:
                failed = True
                print("\n".join(outcome.output.splitlines()[-60:]))
                print(f"Mend it, and keep what showed it in tests/fuzz/corpus/{outcome.name}.txt:")
                print("\n".join(map(repr, outcome.found)))
    return failed


if __name__ == "__main__":
    sys.exit(main())
