"""What of an HTML page can be seen, as a flat list of events: no tree is built, so no depth of nesting can
hurt.

lxml's HTML parser repairs the markup and calls the collector; each element it opens it also closes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from lxml import etree

from ingest.parse.canonical import one_line
from kernel.errors import ParseFailure

HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED = frozenset(
    (
        "applet",
        "audio",
        "canvas",
        "embed",
        "iframe",
        "map",
        "nav",
        "noscript",
        "object",
        "script",
        "style",
        "svg",
    )
) | {"template", "video"}
_CELLS = frozenset({"td", "th"})
_HIDDEN = re.compile(r"(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden)", re.I)
_FEED = 65_536
_LAYOUT_CHARS = 4_000  # a cell with more text than this is a part of the page, not of a table
_MAX_META = 50


@dataclass(slots=True)
class Table:
    """A table; `layout` says that it arranges the page and holds no rows of data."""

    layout: bool = False
    cell_chars: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is text, open or close; `value` the text or the tag."""

    kind: str
    value: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None


@dataclass(slots=True)
class Page:
    """All that is visible, and what the head says."""

    events: list[Event]
    title: str
    metadata: dict[str, str]


def read_page(text: str) -> Page:
    """The visible events of an HTML text. Raises ParseFailure if lxml gives up on it."""
    collector = _Collector()
    parser = etree.HTMLParser(target=collector, huge_tree=True, no_network=True)
    try:
        for start in range(0, len(text), _FEED):
            parser.feed(text[start : start + _FEED])
        parser.close()
    except (etree.LxmlError, AssertionError) as error:
        raise ParseFailure("is damaged: it cannot be read as HTML") from error
    return Page(collector.events, one_line("".join(collector.title)), collector.metadata)


class _Collector:
    """lxml's parser target."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.title: list[str] = []
        self.metadata: dict[str, str] = {}
        self._skipped = 0
        self._in_title = False
        self._tables: list[Table] = []

    def start(self, tag: str | bytes, attrib: dict[str | bytes, str | bytes]) -> None:
        """Take a start tag."""
        tag, attributes = str(tag), cast("dict[str, str]", attrib)
        if self._skipped or _is_hidden(tag, attributes):
            self._skipped += 1
            return
        if tag == "title":
            self._in_title = not self.title
            self._skipped += 1
        elif tag == "meta":
            self._note_meta(attributes)
        else:
            self._open(tag, attributes)

    def _open(self, tag: str, attributes: Mapping[str, str]) -> None:
        table = None
        if tag == "table":
            self._arrange_page()
            table = Table(attributes.get("role") in {"presentation", "none"})
            self._tables.append(table)
        elif tag in HEADINGS:
            self._arrange_page()
        elif tag in _CELLS and self._tables:
            self._tables[-1].cell_chars = 0
        self.events.append(Event("open", tag, dict(attributes) if attributes else {}, table))

    def end(self, tag: str | bytes) -> None:
        """Take an end tag."""
        if self._skipped:
            self._skipped -= 1
            self._in_title = False
            return
        table = self._tables.pop() if tag == "table" and self._tables else None
        self.events.append(Event("close", str(tag), {}, table))

    def data(self, data: str | bytes) -> None:
        """Take a run of text."""
        text = str(data)
        if self._in_title:
            self.title.append(text)
        elif not self._skipped:
            self.events.append(Event("text", text))
            if self._tables:
                table = self._tables[-1]
                table.cell_chars += len(text)
                if table.cell_chars > _LAYOUT_CHARS:
                    self._arrange_page()

    def comment(self, text: str | bytes) -> None:
        """Comments are not visible."""

    def close(self) -> None:
        """Nothing is left to do: the events are read from the collector."""

    def _arrange_page(self) -> None:
        """The open tables hold parts of the page. Those around a layout table are layout tables already."""
        for table in reversed(self._tables):
            if table.layout:
                return
            table.layout = True

    def _note_meta(self, attributes: Mapping[str, str]) -> None:
        name = one_line(attributes.get("name", ""), 100).lower()
        content = one_line(attributes.get("content", ""))
        if name and content and name not in self.metadata and len(self.metadata) < _MAX_META:
            self.metadata[name] = content


def _is_hidden(tag: str, attributes: Mapping[str, str]) -> bool:
    if tag in _DROPPED:
        return True
    if not attributes or tag in {"html", "body"}:  # pages hide their body until a script has run
        return False
    if "hidden" in attributes or (tag == "dialog" and "open" not in attributes):
        return True
    style = attributes.get("style")
    return style is not None and _HIDDEN.search(style) is not None
