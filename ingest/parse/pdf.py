"""PDF by pdfium: the text of each page, paragraphs marked, words cut at line ends made whole, outline titles
found again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from ingest.parse.canonical import Builder, canonical, one_line
from ingest.parse.pdf_page import HYPHEN, Line, page_lines, page_text
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "application/pdf"
_CUT = re.compile(r"(?<![^\W\d_])([^\W\d_]{1,40})(" + HYPHEN + r"|-\n)([^\W\d_]{1,40})")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_NO_TITLE = re.compile(  # what programs write there by themselves
    r"microsoft (?:word|powerpoint|excel)\b.*|untitled.*|\((?:anonymous|unspecified)\)"
    r"|powerpoint presentation|(?:document|presentation|slide) ?\d*|(?-i:[a-z0-9_.-]+)"
    r"|.{0,300}\.(?:docx?|pptx?|xlsx?|pdf|rtf|od[pst]|tex|dvi|indd|html?|txt)",
    re.I | re.S,
)
_TITLE_LINES = 40
_TITLE_CHARS = 200
_MAX_OUTLINE = 5_000
_WINDOW = 3


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure for an encrypted, damaged or merely scanned file."""
    document = _open(data)
    try:
        return _read(document)
    except pypdfium2.PdfiumError as error:
        raise ParseFailure("is damaged: a page cannot be read") from error
    finally:
        document.close()


def _open(data: bytes) -> Any:
    if not data:
        raise ParseFailure("is empty")
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
            raise ParseFailure("is encrypted: save it without a password") from error
        raise ParseFailure("is damaged: not a readable PDF") from error


def _read(document: Any) -> ParsedDocument:
    pages: list[list[Line]] = []
    for index in range(len(document)):
        page = document[index]
        pages.append(page_lines(page))
        page.close()
    texts = [canonical(text) for text in _repaired([page_text(lines) for lines in pages])]
    if not any(texts):
        raise ParseFailure("is a scan without a text layer: run OCR on it first")
    builder = Builder()
    for text in texts:
        if builder.position:
            builder.add("\n\n")
        builder.page()
        builder.add(text)
    for start, level, title in _outline(document, texts):
        builder.heading(start, level, title)
    if bare := [number for number, text in enumerate(texts, 1) if not text]:
        builder.metadata["pages_without_text"] = bare
    return builder.finish(MEDIA_TYPE, _title(document, pages))


def _repaired(texts: list[str]) -> list[str]:
    """Each text with the words cut at line ends made whole. The document's other words say how:
    `informa-tion` loses its hyphen if it holds `information`; `risk-based` keeps it if it holds that, or both
    halves as words."""
    words: set[str] = set()
    for text in texts:
        words.update(word.lower() for word in _WORD.findall(_CUT.sub(" ", text)))
    parts = {part for word in words for part in word.split("-")}

    def repair(found: re.Match[str]) -> str:
        first, cut, second = found.groups()
        whole, hyphenated = (first + second).lower(), f"{first}-{second}".lower()
        if whole in words and second.islower():
            return first + second
        if hyphenated in words or not second.islower() or {first.lower(), second.lower()} <= parts:
            return f"{first}-{second}" if cut == HYPHEN or hyphenated in words else found[0]
        return first + second if cut == HYPHEN else found[0]

    return [_CUT.sub(repair, text).replace(HYPHEN, "-") for text in texts]


def _title(document: Any, pages: list[list[Line]]) -> str | None:
    """The title in the metadata if it reads like one, else the largest line that comes first."""
    title = one_line(document.get_metadata_value("Title"))
    if len(title) <= _TITLE_CHARS and any(x.isalpha() for x in title) and not _NO_TITLE.fullmatch(title):
        return title
    first = next(lines for lines in pages if any(line.text for line in lines))
    lines = [line for line in first if line.text][:_TITLE_LINES]
    best = max((i for i, line in enumerate(lines) if _reads(line.text)), key=lambda i: lines[i].size, default=None)
    if best is None:
        return None
    size, last = round(lines[best].size), best + 1
    if sum(round(line.size) == size for line in lines) <= _WINDOW:  # rare: its next lines belong to it
        while last < min(len(lines), best + _WINDOW) and round(lines[last].size) == size:
            last += 1
    return one_line(" ".join(line.text for line in lines[best:last]).replace(HYPHEN, "-"), _TITLE_CHARS)


def _reads(line: str) -> bool:
    """Whether a line is made of words, not of numbers or of what a bad text layer left."""
    words = sum(char.isalpha() or char.isspace() for char in line)
    return words > _WINDOW and words * 10 >= len(line) * 7 and "\ufffd" not in line


def _outline(document: Any, texts: list[str]) -> Iterator[tuple[int, int, str]]:
    """Where the outline's titles stand as lines of their page: start, level, title; those not found are left
    out."""
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text) + (2 if starts[-1] + len(text) else 0))
    found: set[tuple[int, int, str]] = set()
    lines: dict[int, dict[str, int]] = {}
    for number, bookmark in enumerate(document.get_toc(max_depth=9)):
        destination = bookmark.get_dest() if number < _MAX_OUTLINE else None
        page = destination.get_index() if destination is not None else None
        if page is None or not 0 <= page < len(texts):
            continue
        title = one_line(bookmark.get_title())
        if page not in lines:
            lines[page] = dict(_line_offsets(texts[page]))
        if (offset := lines[page].get(title)) is not None:
            found.add((starts[page] + offset, bookmark.level + 1, title))
    yield from sorted(found)


def _line_offsets(text: str) -> Iterator[tuple[str, int]]:
    """Each line, and each two or three neighbours as one, with the offset where it begins; the first ones
    come last."""
    lines = text.split("\n")
    offset = len(text) + 1
    for index in range(len(lines) - 1, -1, -1):
        offset -= len(lines[index]) + 1
        for count in range(1, _WINDOW + 1) if lines[index] else ():
            yield one_line(" ".join(lines[index : index + count])), offset
