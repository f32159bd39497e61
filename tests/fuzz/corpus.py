"""What targets begin with: their seeds, and what fuzzing has found, an input a line as a Python bytes literal."""

import ast
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")


def inputs(name: str) -> list[bytes]:
    """All of them, each once."""
    seeds: Iterable[bytes] = import_module(f"tests.fuzz.targets.{name}").seeds()
    return list(dict.fromkeys([*seeds, *kept(name)]))


def kept(name: str) -> list[bytes]:
    """What has been found."""
    file = FOLDER / f"{name}.txt"
    return [ast.literal_eval(line) for line in file.read_text().splitlines()] if file.exists() else []


def keep(name: str, found: Iterable[bytes]) -> None:
    """Write down what has been found, the short ones first."""
    lines = {repr(each) for each in (*kept(name), *found)}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.txt").write_text(
        "".join(f"{line}\n" for line in sorted(lines, key=lambda line: (len(line), line)))
    )
