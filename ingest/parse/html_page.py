"""HTML: the visible text with its blocks, headings, lists, table rows and links."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.parse.canonical import Builder
from ingest.parse.decode import declared_charset, decode
from ingest.parse.html_events import HEADINGS, Event, read_page
from ingest.parse.html_flow import Flow, open_link
from ingest.parse.html_table import BLOCKS, SPACED, TableReader
from ingest.parse.tables import write_table
from kernel.records import ParsedDocument

MEDIA_TYPE = "text/html"
_MAX_INDENT = 10


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure if it is not text or not HTML."""
    return parse_text(decode(data, declared_charset(data)))


def parse_text(source: str) -> ParsedDocument:
    """The document in HTML `source`. Raises ParseFailure if it cannot be read."""
    page = read_page(source)
    builder = Builder()
    builder.metadata.update(page.metadata)
    renderer = _Renderer(builder)
    renderer.render(iter(page.events))
    return builder.finish(MEDIA_TYPE, page.title or renderer.first_heading)


class _Renderer:
    """Writes a page's events to a builder."""

    def __init__(self, builder: Builder) -> None:
        self.first_heading: str | None = None
        self._builder = builder
        self._flow = Flow(builder)
        self._lists: list[int | None] = []
        self._preserve = 0
        self._heading: list[str] | None = None
        self._heading_start = -1

    def render(self, events: Iterator[Event]) -> None:
        for event in events:
            if event.kind == "text":
                self._text(event.value)
            elif event.kind == "open" and event.table is not None and not event.table.layout:
                self._table(events)
            elif event.kind == "open":
                self._open(event)
            else:
                self._close(event.value)

    def _text(self, text: str) -> None:
        start = self._flow.text(text, self._preserve > 0)
        if self._heading is not None:
            self._heading.append(text)
            if start is not None and self._heading_start < 0:
                self._heading_start = start

    def _open(self, event: Event) -> None:
        tag = event.value
        self._break(tag, bool(self._lists))
        if tag == "a":
            open_link(self._flow, event)
        elif tag in HEADINGS:
            self._heading, self._heading_start = [], -1
        elif tag in {"ul", "ol", "menu"}:
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._flow.prefix(self._bullet())
        elif tag == "pre":
            self._preserve += 1

    def _close(self, tag: str) -> None:
        self._break(tag, len(self._lists) > 1)
        if tag == "a":
            self._flow.close_link()
        elif tag in HEADINGS and self._heading is not None:
            title = " ".join("".join(self._heading).split())
            if self._heading_start >= 0:
                self._builder.heading(self._heading_start, HEADINGS[tag], title)
                self.first_heading = self.first_heading or title
            self._heading = None
        elif tag in {"ul", "ol", "menu"} and self._lists:
            self._lists.pop()
        elif tag == "pre" and self._preserve:
            self._preserve -= 1

    def _break(self, tag: str, nested: bool) -> None:
        if tag in SPACED:
            self._flow.line_break(1 if tag in {"ul", "ol"} and nested else 2)
        elif tag in BLOCKS:
            self._flow.line_break(1)

    def _bullet(self) -> str:
        indent = "  " * min(len(self._lists) - 1, _MAX_INDENT)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _table(self, events: Iterator[Event]) -> None:
        """Write the data table whose events come next."""
        reader = TableReader()
        for event in events:
            if event.kind == "close" and event.table is not None:
                break
            reader.take(event)
        for caption in reader.captions:
            self._flow.line_break(2)
            self._flow.text(caption)
        rows = [row for row in reader.rows if any(cell.text for cell in row)]
        if rows:
            self._flow.end_paragraph()
            write_table(self._builder, rows, reader.headers)
            self._flow = Flow(self._builder, fresh=True)
        self._flow.line_break(2)
