"""reStructuredText: the canonical text is the source; sections are found by their adornment lines, line by
line.

No directive is run: nothing is included, fetched or drawn (docutils reference, "Sections").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ingest.parse.canonical import Builder, canonical, one_line
from ingest.parse.decode import decode
from ingest.parse.markdown import line_starts
from kernel.records import Heading, ParsedDocument

MEDIA_TYPE = "text/x-rst"
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+[ \t]*")
_EMBEDDED = re.compile(r"`([^`<>]{1,1000})<([^`<>\n]{1,2000})>`_")
_NAMED = re.compile(r"`([^`<>]{1,1000})`_|(?<![\w`])(\w[\w.-]{0,200})_(?!\w)")
_TARGET = re.compile(r"^[ \t]{0,20}\.\. _(`?)([^`:\n]{1,500})\1:[ \t]{1,20}(\S{1,2000})", re.M)
_ROLE = re.compile(r":[\w:.+-]{1,50}:`([^`]{1,1000})`")
_MARKUP = re.compile(r"\*\*|``|(?<!\w)[*`]|[*`]_{0,2}(?!\w)")
_SHORT = 4  # docutils takes an adornment shorter than its title only from here on


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure if it is not text."""
    text = canonical(decode(data))
    builder = Builder()
    builder.add(text)
    headings = scan(builder, text)
    return builder.finish(MEDIA_TYPE, headings[0].title if headings else None)


def scan(builder: Builder, text: str, base: int = 0) -> list[Heading]:
    """Note the headings and links of canonical `text` in `builder`, shifted by `base`; return the
    headings."""
    headings = list(_headings(text))
    for heading in headings:
        builder.heading(base + heading.start, heading.level, heading.title)
    for start, end, target in _links(text):
        builder.link(base + start, base + end, target)
    return headings


def _headings(text: str) -> Iterator[Heading]:
    lines, starts = text.split("\n"), line_starts(text)
    styles: dict[str, int] = {}
    index = 0
    while index < len(lines):
        height, style, offset = _section(lines, index)
        if style:
            level = styles.setdefault(style, len(styles) + 1)
            at = index + offset
            indent = len(lines[at]) - len(lines[at].lstrip())
            yield Heading(starts[at] + indent, level, _plain(lines[at]))
        index += height


def _section(lines: list[str], index: int) -> tuple[int, str, int]:
    """How many lines the section title at `index` takes, its style (empty: no title here), its title's
    line."""
    line, below = lines[index], lines[index + 1] if index + 1 < len(lines) else ""
    last = lines[index + 2] if index + 2 < len(lines) else ""
    if _ADORNMENT.fullmatch(line):
        if below.strip() and last.rstrip() == line.rstrip() and _underlines(line, below.strip()):
            return 3, "=" + line[0], 1
        return 1, "", 0
    blank_before = index == 0 or not lines[index - 1].strip() or bool(_ADORNMENT.fullmatch(lines[index - 1]))
    if line and not line[0].isspace() and blank_before and _ADORNMENT.fullmatch(below) and _underlines(below, line):
        return 2, below[0], 0
    return 1, "", 0


def _underlines(adornment: str, title: str) -> bool:
    length = len(adornment.rstrip())
    return length >= _SHORT or length >= _columns(title.rstrip())


def _columns(title: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in title)


def _plain(title: str) -> str:
    return one_line(_MARKUP.sub("", _ROLE.sub(r"\1", title.strip())))


def _links(text: str) -> Iterator[tuple[int, int, str]]:
    targets = {one_line(found[2]).lower(): found[3] for found in _TARGET.finditer(text)}
    for found in _EMBEDDED.finditer(text):
        yield found.start(1), found.start(1) + len(found[1].rstrip()), found[2]
    if targets:
        for found in _NAMED.finditer(text):
            group = 1 if found[1] else 2
            if target := targets.get(one_line(found[group]).lower()):
                yield found.start(group), found.end(group), target
