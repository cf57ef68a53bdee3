"""Writing to a terminal or a pipe: JSON for programs, plain words and tables for people."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 160
"""Columns that a table may take where no terminal says how wide it is."""

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def console(*, error: bool = False) -> Console:
    """Standard output (or standard error) for people. Never reads markup in what it is given."""
    file = sys.stderr if error else sys.stdout
    width = None if file.isatty() else PIPE_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def safe(text: str) -> str:
    """Text from documents, without the control characters that could steer a terminal."""
    return _UNSAFE.sub("\ufffd", text)


def shortened(text: str, length: int) -> str:
    """Text on one line, of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def counted(number: int, noun: str) -> str:
    """ "1 passage", "2 passages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def changes(lines: Sequence[str], around: int = 2) -> list[str]:
    """A difference (lines that begin with two spaces, `- ` or `+ `) with no more of what stayed than `around` lines
    beside a change; `  …` stands for the rest.
    """
    changed = [place for place, line in enumerate(lines) if line[:2] != "  "]
    near = sorted({i for place in changed for i in range(place - around, place + around + 1) if 0 <= i < len(lines)})
    found: list[str] = []
    last = -1
    for place in near:
        found += ["  …"] * (place > last + 1) + [lines[place]]
        last = place
    return found + ["  …"] * (bool(near) and last + 1 < len(lines))


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A figure with so many digits after the point, so that those of a column stand below each other."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def cell(value: object) -> str:
    """A value as a person reads it: a dash for nothing, yes and no, lists by commas, the rest of JSON as JSON."""
    if value is None or value in ([], {}):
        return "-" if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def write_json(document: object, *, line: bool = False) -> None:
    """One JSON document on standard output, indented, or compact where it is one of several lines."""
    file: TextIO = sys.stdout
    plain = (file.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(document, ensure_ascii=plain, indent=None if line else 2, allow_nan=False)
    file.write(f"{text}\n")
    file.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table; values are written as `cell` does. Ids stay in one piece, so that they can be copied."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        made.add_row(*(Text(safe(cell(value))) for value in row))
    return made


def show_fields(out: Console, values: Mapping[str, Any]) -> None:
    """Print a thing as lines of name and value."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        out.print(safe(f"{name.replace('_', ' '):<{width}}  {cell(value)}"), soft_wrap=True)
