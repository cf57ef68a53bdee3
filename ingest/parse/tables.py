"""Rows of a table as lines of text, one plan for every format that has tables.

With a header a row reads `header: cell | header: cell`, without one `cell | cell`. Each cell under a header
is also a fact about the row's first cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from ingest.parse.canonical import Builder, clean, one_line

MAX_ROWS = 200_000
MAX_CELL_CHARS = 100_000
_LOOK_AHEAD = 10
_HEADER_CHARS = 80
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text on one line, the links in it by offset, and the column it begins in."""

    text: str
    column: int
    links: tuple[tuple[int, int, str], ...] = field(default=())


class CellText:
    """Gathers the text and links of one cell; white space is collapsed unless lines are to be kept."""

    def __init__(self, column: int = 0, keep_lines: bool = False) -> None:
        self.position = 0
        self.column = column
        self._keep_lines = keep_lines
        self._spaced = True
        self._pieces: list[str] = []
        self._links: list[tuple[int, int, str]] = []

    def add(self, text: str) -> int:
        """Append `text`; return where it begins."""
        start, text = self.position, clean(text)
        if not self._keep_lines:
            text = _SPACE.sub(" ", text)
            text = text[1:] if self._spaced and text.startswith(" ") else text
        if text:
            self._pieces.append(text)
            self._spaced = text.endswith(" ")
            self.position += len(text)
        return start

    def link(self, start: int, end: int, target: str) -> None:
        """Note a link over `[start, end)`."""
        self._links.append((start, end, target))

    def cell(self) -> Cell:
        """The cell, without white space at its ends."""
        text = "".join(self._pieces)
        shift, text = len(text) - len(text.lstrip()), text.strip()
        links = ((max(start - shift, 0), min(end - shift, len(text)), target) for start, end, target in self._links)
        return Cell(text, self.column, tuple(link for link in links if link[0] < link[1]))


def write_row(builder: Builder, header: Mapping[int, str], cells: list[Cell]) -> None:
    """Append one row and its facts; empty cells are left out, an empty row leaves no trace."""
    start, subject = builder.position, cells[0].text if cells else ""
    first = True
    for cell in cells:
        if not cell.text:
            continue
        name = header.get(cell.column, "")
        builder.add(("" if first else " | ") + (f"{name}: " if name else ""))
        at = builder.add(cell.text)
        for link_start, link_end, target in cell.links:
            builder.link(at + link_start, at + link_end, target)
        first = False
    if first:
        return
    end = builder.position
    builder.add("\n")
    if header and cells[0].column == 0:
        for cell in cells[1:]:
            builder.fact(subject, header.get(cell.column, ""), cell.text, start, end)


def write_table(builder: Builder, rows: list[list[Cell]], headers: int) -> None:
    """Append a table whose first `headers` rows name the columns; a table of nothing but headers is plain."""
    if headers >= len(rows):
        headers = 0
    names: dict[int, str] = {}
    for row in rows[:headers]:
        for cell in row:
            names[cell.column] = f"{names.get(cell.column, '')} {cell.text}".strip()
    if len(rows) > MAX_ROWS:
        builder.metadata["rows_capped_at"] = MAX_ROWS
    for row in rows[headers:MAX_ROWS]:
        write_row(builder, names, row)


def names_columns(row: list[Cell]) -> bool:
    """Whether a first row reads like a header: several cells, all short, filled and different."""
    texts = [cell.text for cell in row]
    different = len(texts) > 1 and len(set(texts)) == len(texts)
    return different and all(0 < len(text) <= _HEADER_CHARS for text in texts)


def write_sheet(builder: Builder, rows: Iterable[Iterable[str]]) -> None:
    """Append a sheet of plain values. Its header is the first row that has a value, or the first one with
    several if only single values (a caption) stand above it."""
    filled = (cells for cells in map(_cells, rows) if cells)
    head = list(islice(filled, _LOOK_AHEAD))
    wide = next((i for i, cells in enumerate(head) if len(cells) > 1), 0)
    for caption in head[:wide]:
        builder.add(caption[0].text + "\n")
    if not head:
        return
    names = {cell.column: cell.text for cell in head[wide]}
    body = chain(head[wide + 1 :], filled)
    if (written := _write_body(builder, names, body)) == 0:
        write_row(builder, {}, head[wide])
    elif written >= MAX_ROWS and next(body, None) is not None:
        builder.metadata["rows_capped_at"] = MAX_ROWS


def _write_body(builder: Builder, names: dict[int, str], body: Iterator[list[Cell]]) -> int:
    count = 0
    for cells in islice(body, MAX_ROWS):
        write_row(builder, names, cells)
        count += 1
    return count


def _cells(values: Iterable[str]) -> list[Cell]:
    """The non-empty values of a row."""
    texts = ((column, one_line(value, MAX_CELL_CHARS)) for column, value in enumerate(values) if value)
    return [Cell(text, column) for column, text in texts if text]
