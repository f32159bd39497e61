"""What commands print: tables for people, JSON for scripts."""

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_json(value: object) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows.

    Args:
        rows: all fields of each row; JSON shows them all.
        columns: those that the table shows.
        empty: what people read where there is no row.
    """
    if as_json:
        print_json(list(rows))
    elif not rows:
        print(empty)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in rows:
            # Not as str: that would be taken for markup, and some of it was written by others.
            table.add_row(*[Text(_cell(row[column])) for column in columns])
        Console().print(table)


def print_row(row: Mapping[str, object], *, as_json: bool) -> None:
    """Print one row, a line for each field."""
    if as_json:
        print_json(row)
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<{width}}  {_cell(value)}")


def note(text: str) -> None:
    """Say something that is not the result."""
    print(text, file=sys.stderr)


def _cell(value: object) -> str:
    """A value on one line, with nothing in it that a terminal would obey."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in _text(value))


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(str(item) for item in value) or "-"
    return str(value)
