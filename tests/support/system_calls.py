"""The system calls of a program, as strace writes them down."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SYNCS = frozenset({"fsync", "fdatasync"})
WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "ftruncate"})
_LINE = re.compile(r"(?P<thread>\d+) +(?:<\.\.\. \w+ resumed>(?P<ended>.*)|(?P<begun>\w+\(.*))")
_UNFINISHED = " <unfinished ...>"
_CALL = re.compile(r"(?P<name>\w+)\(\d+<(?P<target>.*?)>(?P<arguments>.*)\) += (?P<result>-?\d+)\b.*")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_BYTE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Call:
    """A call on a descriptor.

    Attributes:
        target: path, or what strace calls the socket.
        data: what was to be written.
        begin: number of the line at which the program asked for it.
        end: number of the line at which the kernel had done it.
    """

    name: str
    target: str
    data: bytes
    result: int
    begin: int
    end: int


def why_not() -> str:
    """Why no program can be watched on this machine; empty where that is possible."""
    if shutil.which("strace") is None:
        return "there is no strace"
    tried = subprocess.run(watched(Path(os.devnull), ["true"]), capture_output=True, text=True, check=False)
    return f"strace may not watch programs here: {tried.stderr.strip()}" if tried.returncode else ""


def watched(trace: Path, program: Sequence[str]) -> list[str]:
    """The command that runs a program with all its threads, and writes its calls into a file, whole and in hex."""
    return [
        *("strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(trace)),
        *("-e", "trace=" + ",".join(sorted(SYNCS | WRITES)), "-e", "signal=none", *program),
    ]


def calls(trace: Path) -> list[Call]:
    """The calls that came to an end, in the order in which they began.

    What one thread asks for after another was told of the end of its call has a higher line number than that end.
    """
    return sorted(_calls(trace.read_text().splitlines()), key=lambda call: call.begin)


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    unfinished: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        if found is None:
            continue  # a process or a thread has ended
        begin, text = number, found["begun"]
        if text is None:
            begin, text = unfinished.pop(found["thread"])
            text += found["ended"]
        if text.endswith(_UNFINISHED):
            unfinished[found["thread"]] = begin, text.removesuffix(_UNFINISHED)
            continue
        call = _CALL.fullmatch(text)
        if call is not None:
            target = _BYTE.sub(lambda byte: chr(int(byte[1], 16)), call["target"])
            data = b"".join(bytes.fromhex(part.replace("\\x", "")) for part in _TEXT.findall(call["arguments"]))
            yield Call(call["name"], target, data, int(call["result"]), begin, number)
