"""The text of one PDF page as pdfium reads it, with paragraphs marked and hyphens at line ends left to be
repaired."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pypdfium2.raw as pdfium

HYPHEN = "\ufffe"  # where pdfium saw a word cut by a line end
_GAP = 1.45  # lines this many times further apart than is usual on the page begin a paragraph
_MAX_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page: its text, its baseline and that of its end (points from below: pdfium joins the lines of a cut
    word), and the size of its first letter."""

    text: str
    top: float
    bottom: float
    size: float


def page_lines(page: Any) -> list[Line]:
    """The lines of an open pypdfium2 page."""
    textpage = page.get_textpage()
    try:
        text = textpage.get_text_range()
        return list(_lines(textpage, text)) if text else []
    finally:
        textpage.close()


def _lines(textpage: Any, text: str) -> Iterator[Line]:
    units = 0  # pdfium counts UTF-16 code units
    for number, line in enumerate(text.split("\n")):
        words = line.strip()
        first = units + len(line) - len(line.lstrip())
        if words and number < _MAX_LINES:
            top, size = _place(textpage, first)
            cut = HYPHEN in words
            bottom = _place(textpage, first + _units(words) - 1)[0] if cut else top
            yield Line(words, top, bottom, size)
        else:
            yield Line(words, 0.0, 0.0, 0.0)
        units += _units(line) + 1


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text) + sum(char > "\uffff" for char in text)


def _place(textpage: Any, unit: int) -> tuple[float, float]:
    """The baseline and the font size of the letter at a position of the page's text; zeros if pdfium cannot say."""
    x, y = ctypes.c_double(), ctypes.c_double()
    index = pdfium.FPDFText_GetCharIndexFromTextIndex(textpage.raw, unit)
    if index < 0 or not pdfium.FPDFText_GetCharOrigin(textpage.raw, index, x, y):
        return 0.0, 0.0
    return y.value, pdfium.FPDFText_GetFontSize(textpage.raw, index)


def page_text(lines: list[Line]) -> str:
    """The lines as text, an empty line where the gap above a line shows a new paragraph."""
    filled = [line for line in lines if line.text]
    steps = [above.bottom - below.top for above, below in pairwise(filled)]
    usual = _usual(steps)
    pieces: list[str] = []
    for line, step in zip(filled, [0.0, *steps], strict=False):
        pieces.append("\n\n" if usual and step > usual * _GAP else "\n")
        pieces.append(line.text)
    return "".join(pieces[1:])


def _usual(steps: list[float]) -> float:
    """The most common distance between lines, to the point; the smallest of several; 0 without any."""
    counts = Counter(round(step) for step in steps if step > 1.0)
    return min(counts, key=lambda step: (-counts[step], step), default=0)
