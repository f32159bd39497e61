"""What a serving process may do: as many connections as the system lets it have, and no image of its memory."""

import re
from pathlib import Path

import pytest
from tests.support.processes import PROGRAM, Hanaper


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_files_are_open_to_the_hard_limit_and_no_core_is_dumped(demo_on_either: Hanaper) -> None:
    few = ("sh", "-c", 'ulimit -c unlimited; ulimit -Sn 256; ulimit -Hn 4096; exec "$@"', "sh", *PROGRAM)
    with demo_on_either.serving("--workers", "2", program=few) as server:
        server.wait_for_workers(2)
        for pid in (server.process.pid, *server.workers):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max open files\s+4096\s+4096", limits)
            assert re.search(r"Max core file size\s+0\s+0", limits)
