"""The rows of an HTML data table."""

from __future__ import annotations

from ingest.parse.html_events import Event
from ingest.parse.html_flow import Flow, open_link
from ingest.parse.tables import Cell, CellText

SPACED = frozenset(
    (
        "p",
        "blockquote",
        "pre",
        "table",
        "ul",
        "ol",
        "dl",
        "figure",
        "article",
        "section",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
    )
)
BLOCKS = frozenset(
    (
        "div",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "caption",
        "address",
        "aside",
        "center",
        "details",
        "dialog",
        "fieldset",
        "figcaption",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "legend",
        "main",
        "menu",
        "option",
        "summary",
        "thead",
        "tbody",
        "tfoot",
        "body",
        "html",
        "head",
        "br",
    )
)
_MAX_REPEATS = 100_000
_MAX_REPEATED_CHARS = 200


class TableReader:
    """Gathers the rows of a data table from its events; a cell that spans rows is repeated in each."""

    def __init__(self) -> None:
        self.rows: list[list[Cell]] = []
        self.captions: list[str] = []
        self.headers = 0
        self._row: list[Cell] = []
        self._column = 0
        self._above: dict[int, tuple[int, Cell]] = {}
        self._below: dict[int, tuple[int, Cell]] = {}
        self._repeats = 0
        self._only_names = True
        self._cell: CellText | None = None
        self._flow: Flow | None = None
        self._span = (1, 1)

    def take(self, event: Event) -> None:
        """Take the next event inside the table."""
        tag = event.value
        if event.kind == "text":
            if self._flow is not None:
                self._flow.text(tag)
        elif tag == "tr":
            self._end_row()
        elif tag in {"td", "th", "caption"}:
            self._end_cell()
            if event.kind == "open":
                self._start_cell(event)
        elif self._flow is not None:
            _take_inline(event, self._flow)

    def _start_cell(self, event: Event) -> None:
        caption = event.value == "caption"
        if not caption:
            self._repeat_above()
            self._only_names = self._only_names and event.value == "th"
        self._span = (_number(event, "colspan", 100), _number(event, "rowspan", 10_000))
        self._cell = CellText(-1 if caption else self._column)
        self._flow = Flow(self._cell, inline=True)

    def _end_cell(self) -> None:
        if self._cell is None or self._flow is None:
            return
        self._flow.close_link()
        cell, (columns, rows) = self._cell.cell(), self._span
        self._cell = self._flow = None
        if cell.column < 0:
            self.captions.append(cell.text)
            return
        self._row.append(cell)
        self._column += columns
        if self._only_names:
            self._row.extend(Cell(cell.text, cell.column + i) for i in range(1, columns))
        if rows > 1 and len(cell.text) <= _MAX_REPEATED_CHARS:
            self._below[cell.column] = (rows - 1, Cell(cell.text, cell.column))

    def _repeat_above(self) -> None:
        """Repeat the cells from above that reach into this row at this column."""
        while (spanning := self._above.pop(self._column, None)) is not None:
            rows, cell = spanning
            if rows > 1:
                self._below[self._column] = (rows - 1, cell)
            if self._repeats < _MAX_REPEATS:
                self._repeats += 1
                self._row.append(cell)
            self._column += 1

    def _end_row(self) -> None:
        self._end_cell()
        if not self._row:
            return
        self._repeat_above()
        if self._only_names and self.headers == len(self.rows):
            self.headers += 1
        self.rows.append(self._row)
        self._row, self._column, self._only_names = [], 0, True
        self._above, self._below = self._below, {}


def _take_inline(event: Event, flow: Flow) -> None:
    if event.value == "a" and event.kind == "open":
        open_link(flow, event)
    elif event.value == "a":
        flow.close_link()
    elif event.value in SPACED or event.value in BLOCKS:
        flow.line_break(1)


def _number(event: Event, name: str, limit: int) -> int:
    """A span attribute, at least 1."""
    value = event.attributes.get(name, "").strip()
    return min(max(int(value), 1), limit) if value.isdecimal() and len(value) < 9 else 1
