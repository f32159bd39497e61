"""The ceiling: how many RSA signatures a second this machine makes when it does nothing else."""

import re
import subprocess

from hanaper.bench import tools
from hanaper.refusal import Fault


def openssl_ceiling(bits: int, *, processes: int, seconds: int) -> float:
    """Signatures a second by `openssl speed -multi`.

    It takes twice the seconds, or more: it measures verifying, too, and cannot be told not to. With `-multi` it divides
    by the time on the clock, so whatever else keeps the machine busy lowers the ceiling as it lowers the load.

    Raises:
        Unavailable: openssl is not installed.
        Fault: openssl fails, or its output is not understood.
    """
    command = [tools.find("openssl"), "speed", "-multi", str(processes), "-seconds", str(seconds), f"rsa{bits}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed
    if ran.returncode != 0:
        raise Fault(f"openssl speed failed: {(ran.stderr.strip() or 'without a word').splitlines()[-1]}")
    return parse_speed(ran.stdout, bits)


def parse_speed(output: str, bits: int) -> float:
    """Signatures a second out of what `openssl speed` prints.

    Releases differ in their columns, so the heading says which is wanted.

    Raises:
        Fault: there is no such row.
    """
    heading: list[str] = []
    for line in output.splitlines():
        words = line.split()
        if "sign/s" in words:
            heading = words
        row = re.fullmatch(rf"\s*rsa\s*{bits} bits\s+(.+)", line)
        if row is not None and heading:
            values = row.group(1).split()
            column = heading.index("sign/s")
            if column < len(values):
                return float(values[column])
    raise Fault(f"openssl speed printed no row for rsa{bits}: its release is not known here")
