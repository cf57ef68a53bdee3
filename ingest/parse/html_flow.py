"""Runs of visible text with their white space collapsed, into a document or into a table cell."""

from __future__ import annotations

from typing import Protocol

from ingest.parse.html_events import Event


class Sink(Protocol):
    """Where a flow of text goes: a builder or a cell."""

    position: int

    def add(self, text: str) -> int: ...
    def link(self, start: int, end: int, target: str) -> None: ...


class Flow:
    """Runs of text into a sink, white space collapsed as a browser does; inline flows turn breaks into
    spaces."""

    def __init__(self, sink: Sink, inline: bool = False, fresh: bool = False) -> None:
        self.sink = sink
        self._fresh = fresh  # a line has just been ended
        self._inline = inline
        self._space = False
        self._breaks = 0
        self._prefix = ""
        self._link: str | None = None
        self._link_start = -1

    def text(self, text: str, preserve: bool = False) -> int | None:
        """Write `text`; return where it begins, or None for mere white space."""
        kept = text if preserve and not self._inline else " ".join(text.split())
        if not kept or kept.isspace():
            self._space = self._space or bool(text)
            return None
        self._space = self._space or (text[0].isspace() and not preserve)
        self._separate()
        start = self.sink.add(kept)
        if self._link is not None and self._link_start < 0:
            self._link_start = start
        self._space = text[-1].isspace() and not preserve
        return start

    def _separate(self) -> None:
        if self._breaks and not self._inline:
            self.sink.add("\n" * (self._breaks - self._fresh) if self.sink.position else "")
        elif (self._breaks or self._space) and self.sink.position and not self._fresh:
            self.sink.add(" ")
        if self._prefix:
            self.sink.add(self._prefix)
        self._breaks, self._space, self._prefix, self._fresh = 0, False, "", False

    def line_break(self, lines: int) -> None:
        """End the line; `lines` of 2 leaves an empty one. Nothing is written before more text comes."""
        self._breaks = max(self._breaks, lines)

    def end_paragraph(self) -> None:
        """Write an empty line now, unless nothing stands before it."""
        self.close_link()
        self._breaks, self._prefix = 2, ""
        self._separate()

    def prefix(self, prefix: str) -> None:
        """Write `prefix` before the next text."""
        self._prefix = prefix

    def open_link(self, target: str) -> None:
        self.close_link()
        self._link, self._link_start = target, -1

    def close_link(self) -> None:
        if self._link is not None and self._link_start >= 0:
            self.sink.link(self._link_start, self.sink.position, self._link)
        self._link = None


def open_link(flow: Flow, event: Event) -> None:
    """Begin the link that an `a` element opens, if it leads anywhere."""
    target = event.attributes.get("href", "").strip()
    if target and not target.lower().startswith(("javascript:", "data:")):
        flow.open_link(target)
