"""Canonical text: the one form every offset refers to, and the builder that keeps offsets true to it.

Canonical text is Unicode NFC with `\\n` line ends; it holds no NUL, byte order mark, lone surrogate or
control character other than tab and newline. `canonical` is idempotent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from kernel.errors import ParseFailure
from kernel.records import Fact, Heading, Link, ParsedDocument

MAX_FACTS = 20_000
MAX_LINKS = 50_000
MAX_FACT_CHARS = 200
MAX_TITLE_CHARS = 500

_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_TRANSLATION: dict[int, str | None] = {
    **dict.fromkeys((*range(9), *range(11, 32), *range(0x7F, 0xA0), 0xFEFF, 0xFFFE, 0xFFFF)),
    **dict.fromkeys((0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029), "\n"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
_CONTEXT = 8  # longer than any chain of starters that NFC composes (Hangul L V T, Indic two-part vowels)


def clean(text: str) -> str:
    """Everything canonical but the composition: line ends unified, control characters and surrogates gone."""
    if _UNCLEAN.search(text) is None:
        return text
    return text.replace("\r\n", "\n").translate(_TRANSLATION)


def canonical(text: str) -> str:
    """The canonical form of `text`."""
    return unicodedata.normalize("NFC", clean(text))


def one_line(text: str, limit: int = MAX_TITLE_CHARS) -> str:
    """The canonical form of `text` on a single line, cut at `limit` characters."""
    return " ".join(canonical(text).split())[:limit].rstrip()


def require_text(document: ParsedDocument) -> ParsedDocument:
    """The document itself. Raises ParseFailure when it holds no visible character."""
    if not document.text or document.text.isspace():
        raise ParseFailure("holds no text")
    return document


class Builder:
    """Appends pieces of text and notes structure by position; `finish` turns both into a ParsedDocument.

    Positions count the cleaned pieces. Composition across a seam of two pieces can shorten the text, so
    `finish` maps every position to the canonical text: a start moves back, an end moves on, to the edge of
    its character.
    """

    def __init__(self) -> None:
        self.position = 0
        self.metadata: dict[str, Any] = {}
        self._pieces: list[str] = []
        self._headings: list[Heading] = []
        self._links: list[Link] = []
        self._facts: list[Fact] = []
        self._pages: list[int] = []

    def add(self, text: str) -> int:
        """Append `text`; return the position where it begins."""
        start = self.position
        text = clean(text)
        if text:
            self._pieces.append(text)
            self.position += len(text)
        return start

    def heading(self, start: int, level: int, title: str) -> None:
        """Note a heading; one without a title is ignored."""
        if title := one_line(title):
            self._headings.append(Heading(start, level, title))

    def link(self, start: int, end: int, target: str) -> None:
        """Note a link over `[start, end)`; an empty one and those past the cap are ignored."""
        target = one_line(target, 2000)
        if not target or start >= end:
            return
        if len(self._links) >= MAX_LINKS:
            self.metadata["links_capped_at"] = MAX_LINKS
            return
        self._links.append(Link(start, end, target))

    def fact(self, subject: str, predicate: str, value: str, start: int, end: int) -> None:
        """Note a fact stated at `[start, end)`; those with an empty or overlong part or past the cap are
        ignored."""
        fact = Fact(_fact_part(subject), _fact_part(predicate), _fact_part(value), start, end)
        if not (fact.subject and fact.predicate and fact.object and start < end):
            return
        if len(self._facts) >= MAX_FACTS:
            self.metadata["facts_capped_at"] = MAX_FACTS
            return
        self._facts.append(fact)

    def page(self) -> None:
        """Note that a page begins here."""
        self._pages.append(self.position)

    def finish(self, media_type: str, title: str | None = None) -> ParsedDocument:
        """The document built so far."""
        raw = "".join(self._pieces)
        text, floor, ceil = _compose(raw, self._starts(), self._ends())
        links = (Link(floor[x.start], ceil[x.end], x.target) for x in self._links)
        facts = (Fact(x.subject, x.predicate, x.object, floor[x.start], ceil[x.end]) for x in self._facts)
        return ParsedDocument(
            text=text,
            media_type=media_type,
            title=(one_line(title) or None) if title else None,
            headings=tuple(Heading(floor[x.start], x.level, x.title) for x in self._headings),
            pages=tuple(floor[x] for x in self._pages),
            links=tuple(x for x in links if x.start < x.end),
            facts=tuple(x for x in facts if x.start < x.end),
            metadata=self.metadata,
        )

    def _starts(self) -> list[int]:
        headings, links, facts = self._headings, self._links, self._facts
        return sorted(
            {*(x.start for x in headings), *(x.start for x in links), *(x.start for x in facts), *self._pages}
        )

    def _ends(self) -> list[int]:
        return sorted({*(x.end for x in self._links), *(x.end for x in self._facts)})


def _fact_part(part: str) -> str:
    """The part on one line; empty if it is too long for a fact."""
    line = one_line(part, MAX_FACT_CHARS + 1)
    return line if len(line) <= MAX_FACT_CHARS else ""


class _Same:
    """The mapping of a text that is canonical already."""

    def __getitem__(self, position: int) -> int:
        return position


def _compose(
    raw: str, starts: list[int], ends: list[int]
) -> tuple[str, Mapping[int, int] | _Same, Mapping[int, int] | _Same]:
    """The NFC of `raw` and where each of the sorted positions lies in it."""
    if raw.isascii() or unicodedata.is_normalized("NFC", raw):
        return raw, _Same(), _Same()
    floor = _edges(raw, starts, -1)
    ceil = _edges(raw, ends, 1)
    pieces: list[str] = []
    where: dict[int, int] = {0: 0}
    previous = length = 0
    for cut in sorted({*floor.values(), *ceil.values(), len(raw)}):
        piece = unicodedata.normalize("NFC", raw[previous:cut])
        pieces.append(piece)
        length += len(piece)
        where[cut] = length
        previous = cut
    return "".join(pieces), _through(floor, where), _through(ceil, where)


def _through(edges: Mapping[int, int], where: Mapping[int, int]) -> dict[int, int]:
    return {position: where[edge] for position, edge in edges.items()}


def _edges(raw: str, positions: Iterable[int], step: int) -> dict[int, int]:
    """For each position the nearest one in the direction of `step` where NFC can be cut; linear in all of
    `raw`."""
    edges: dict[int, int] = {}
    last = -1
    for position in positions if step < 0 else reversed(list(positions)):
        edge = position
        while not _divides(raw, edge):
            if edge == last:
                edge = edges[last]
                break
            edge += step
        edges[position] = edge
        last = position
    return edges


def _divides(raw: str, position: int) -> bool:
    """Whether NFC(raw) is NFC(raw[:position]) + NFC(raw[position:]); may say no where the answer is yes."""
    if position <= 0 or position >= len(raw):
        return True
    char, before = raw[position], raw[max(0, position - _CONTEXT) : position]
    if char < "\u0300" or before[-1].isspace():
        return True
    if unicodedata.category(char)[0] == "M":
        return False
    joined = unicodedata.normalize("NFC", before + char)
    return joined == unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", char)
