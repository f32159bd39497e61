"""The log of a real process: lines stay whole, and nobody stumbles where they cannot be written."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent

import pytest

THREADS = 8
EACH = 40

CROWD = f"""
    import logging, sys
    from concurrent.futures import ThreadPoolExecutor
    from hanaper import log

    log.configure("info", "json")
    sys.setswitchinterval(1e-6)

    def many(thread):
        log.request_id.set(f"request {{thread}}")
        for number in range({EACH}):
            # From a word to more than a pipe takes at once; with what must not look like the end of a line.
            text = "é\\n" * (1, 100, 3000, 30000)[number % 4]
            log.get("own").info("own", thread=thread, number=number, text=text)
            logging.getLogger("other").warning("other %d %d %s", thread, number, text)

    with ThreadPoolExecutor({THREADS}) as threads:
        list(threads.map(many, range({THREADS})))
"""

# Says on standard output that it has come to its end.
BROKEN = """
    import logging, sys
    from hanaper import log

    {before}
    log.configure("info", sys.argv[1])
    for number in range(300):
        log.get("own").info("own", text="x" * 100)
        log.get("own").warning("own")
        log.get("own").error("own", exc_info=ValueError("x"))
        logging.getLogger("other").warning("other %s", "x" * 100)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.get("own").exception("own")
            logging.getLogger("other").exception("other")
    {after}
    print("done", flush=True)
    import os; os._exit(0)
"""


def program(source: str, **parts: str) -> str:
    return dedent(source).format(**parts) if parts else dedent(source)


# Our own events and those of libraries come from two sides. Where standard error is not buffered, as in our container,
# lines of more than 4 KiB would get into each other.
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "as in the container"])
def test_lines_of_many_threads_stay_whole_whoever_writes_them(unbuffered: str) -> None:
    command = [sys.executable, "-c", program(CROWD)]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        # Read in small pieces, so that the pipe is full most of the time.
        written = b"".join(iter(lambda: process.stderr.read(1000), b""))  # type: ignore[union-attr]
        assert process.wait(60) == 0
    lines = [json.loads(line) for line in written.splitlines()]
    seen: Counter[tuple[str, int, int]] = Counter()
    for line in lines:
        if line["event"] == "own":
            name, thread, number = "own", line["thread"], line["number"]
            text = line["text"]
        else:
            name, thread, number, text = line["event"].split(" ", 3)
        assert text == "é\n" * (1, 100, 3000, 30000)[int(number) % 4]
        assert line["request_id"] == f"request {thread}"
        seen[name, int(thread), int(number)] += 1
    assert seen == Counter(
        (name, thread, number) for name in ("own", "other") for thread in range(THREADS) for number in range(EACH)
    )
    assert len(written.splitlines()) == 2 * THREADS * EACH


@contextmanager
def nobody_reads() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def a_full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def closed_later() -> Iterator[int]:
    yield subprocess.DEVNULL


@contextmanager
def closed_from_the_start() -> Iterator[None]:
    yield None


PLACES = {
    "nobody reads": (nobody_reads, ""),
    "a full disk": (a_full_disk, ""),
    "closed later": (closed_later, "sys.stderr.close()"),
    "closed from the start": (closed_from_the_start, "assert sys.stderr is None"),
}


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("place", PLACES)
def test_where_the_log_cannot_be_written_nobody_stumbles(place: str, form: str) -> None:
    opened, before = PLACES[place]
    command = [sys.executable, "-c", program(BROKEN, before=before, after=""), form]
    with opened() as stderr:
        if stderr is None:
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")


def test_what_breaks_for_a_while_is_written_again_afterwards() -> None:
    """Standard error that is replaced while the process runs, as by a test runner or a daemon."""
    source = program(
        """
        import io, sys
        from hanaper import log

        log.configure("info", "json")
        kept, sys.stderr = sys.stderr, io.StringIO()
        log.get("own").info("first")
        seen = sys.stderr.getvalue()
        sys.stderr.close()
        log.get("own").info("second")
        sys.stderr = kept
        log.get("own").info("third")
        print(seen, end="")
        """
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=True)
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == ["first"]
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["third"]
