"""A server has as many connections as the operating system lets it have, not as few as a shell begins with."""

import re
from pathlib import Path

import pytest
from tests.support.processes import PROGRAM, Hanaper


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_limit_is_the_hard_one(demo_on_either: Hanaper) -> None:
    few = ("sh", "-c", 'ulimit -Sn 256; ulimit -Hn 4096; exec "$@"', "sh", *PROGRAM)
    with demo_on_either.serving("--workers", "2", program=few) as server:
        server.wait_for_workers(2)
        for pid in (server.process.pid, *server.workers):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max open files\s+4096\s+4096", limits)
