"""Splitting canonical text into passages: on heading, page and sentence borders, within the model's window."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from nupunkt import sent_spans

from kernel.ports import Tokenizer
from kernel.records import ChunkDraft, Heading, ParsedDocument, Span

_BLOCK = re.compile(
    r"\n[ \t]*\n|(?<=\n---)\n|\n(?=[ \t]*(?:[-*+•|>#]|\d{1,3}[.)]|<(?:li|tr|td|th|p|h[1-6])\b|[A-Za-z][\w -]{0,40}: ))"
)
SMALL = 48
"""A heading does not begin a new passage while the one before it has fewer tokens than this."""


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    tokens: int


def split(document: ParsedDocument, tokenizer: Tokenizer, target: int) -> list[ChunkDraft]:
    """Passages of at most about `target` tokens that together hold every character that is not white space.

    Each `text` equals `document.text[start:end]`; sentence spans count characters of the passage's own text.
    """
    text = document.text
    starts = tokenizer.token_starts(text)
    pieces = [part for piece in _sentences(text, _borders(document)) for part in _fit(text, piece, starts, target)]
    sections = [heading.start for heading in document.headings]
    return [
        _chunk(document, group, ordinal, sections)
        for ordinal, group in enumerate(_pack(pieces, set(sections), set(document.pages), target))
    ]


def heading_path(headings: Sequence[Heading], sections: Sequence[int], offset: int) -> tuple[str, ...]:
    """Titles of the headings that `offset` stands under, outermost first; `sections` are the headings' starts."""
    path: list[Heading] = []
    for heading in headings[: bisect_right(sections, offset)]:
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
    return tuple(heading.title for heading in path if heading.title)


def _borders(document: ParsedDocument) -> list[int]:
    inside = (*(heading.start for heading in document.headings), *document.pages)
    blocks = (match.end() for match in _BLOCK.finditer(document.text))
    return sorted({0, len(document.text), *inside, *blocks})


def _sentences(text: str, borders: Sequence[int]) -> Iterator[Span]:
    """Trimmed sentences of each block between borders; together they hold everything but white space."""
    for low, high in pairwise(borders):
        block = text[low:high]
        if not block.strip():
            continue
        last = 0
        for _, end in sent_spans(block):
            yield from _trimmed(block, last, end, low)
            last = end
        yield from _trimmed(block, last, len(block), low)


def _trimmed(block: str, start: int, end: int, shift: int) -> Iterator[Span]:
    piece = block[start:end]
    lead = len(piece) - len(piece.lstrip())
    size = len(piece.strip())
    if size:
        yield Span(shift + start + lead, shift + start + lead + size)


def _fit(text: str, span: Span, starts: NDArray[np.int64], target: int) -> Iterator[_Piece]:
    """The sentence, or its parts of at most `target` tokens, cut at white space where there is some."""
    low, high = (int(place) for place in np.searchsorted(starts, (span.start, span.end)))
    start = span.start
    while high - low > target:
        cut = int(starts[low + target])
        space = max(text.rfind(" ", start + 1, cut), text.rfind("\n", start + 1, cut))
        cut = space if space > int(starts[low + target // 2]) else cut
        end = start + len(text[start:cut].rstrip())
        if end > start:
            yield _Piece(start, end, target)
        start = cut + len(text[cut : span.end]) - len(text[cut : span.end].lstrip())
        low = int(np.searchsorted(starts, start))
    if start < span.end:
        yield _Piece(start, span.end, max(high - low, 1))


def _pack(pieces: Sequence[_Piece], sections: set[int], pages: set[int], target: int) -> Iterator[list[_Piece]]:
    group: list[_Piece] = []
    size = 0
    page_starts = sorted(pages)
    for piece in pieces:
        turned = group and bisect_right(page_starts, piece.start) != bisect_right(page_starts, group[0].start)
        section = piece.start in sections and size >= SMALL
        if group and (turned or section or size + piece.tokens > target):
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece.tokens
    if group:
        yield group


def _chunk(document: ParsedDocument, group: Sequence[_Piece], ordinal: int, sections: Sequence[int]) -> ChunkDraft:
    start, end = group[0].start, group[-1].end
    return ChunkDraft(
        ordinal=ordinal,
        start=start,
        end=end,
        text=document.text[start:end],
        tokens=sum(piece.tokens for piece in group),
        heading=heading_path(document.headings, sections, start),
        page=bisect_right(document.pages, start) if document.pages else None,
        sentences=tuple(Span(piece.start - start, piece.end - start) for piece in group),
    )
