"""Links in Markdown source, with the exact span of their visible text, in one linear pass.

markdown-it knows which lines hold inline text but not where in a line a link stands, hence this scanner. It
follows CommonMark 0.31 section 6.3 for `[text](target)`, `[text][label]`, `[label]` and `<target>`, and takes
bare web addresses.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from markdown_it.common.utils import normalizeReference

from kernel.records import Link

_TOKEN = re.compile(
    r"\\[\\`\[\]<!]|`+|!?\[|\]|<(?P<auto>[A-Za-z][A-Za-z0-9+.-]{1,31}:[^<>\s]{0,2000})>"
    r"|(?P<bare>https?://[^\s<>\[\]()\"'`]{1,2000})"
)
_TARGET = re.compile(
    r"\(\s{0,99}(?:<(?P<angle>[^<>\n]{0,2000})>|(?P<plain>(?:[^\s()<\\]|\\.|\([^\s()]{0,500}\)){0,2000}))"
    r"(?:\s{1,99}(?:\"[^\"]{0,1000}\"|'[^']{0,1000}'|\([^()]{0,1000}\)))?\s{0,99}\)"
)
_LABEL = re.compile(r"\[([^\[\]]{0,500})\]")
_TAIL = ".,;:!?*_~"


class LinkScanner:
    """Finds the links of one text. `references` are markdown-it's, by normalised label."""

    def __init__(self, text: str, references: Mapping[str, Mapping[str, str]]) -> None:
        self._text = text
        self._references = references
        self._open: list[tuple[int, bool]] = []

    def links(self, start: int, end: int) -> Iterator[Link]:
        """The links of the block `[start, end)`, in the order of their ends."""
        ticks = self._backticks(start, end)
        self._open = []
        position = start
        while (found := _TOKEN.search(self._text, position, end)) is not None:
            mark, position = found[0], found.end()
            if mark[0] == "`":
                position = _after_code(ticks, len(mark), position)
            elif mark[0] != "\\" and mark.endswith("["):
                self._open.append((position, mark[0] == "!"))
            elif mark == "]":
                link, position = self._close(found.start(), end)
                if link is not None:
                    yield link
            elif found["auto"]:
                yield Link(found.start("auto"), found.end("auto"), found["auto"])
            elif found["bare"] and not self._open:
                address = found["bare"].rstrip(_TAIL)
                yield Link(found.start(), found.start() + len(address), address)

    def _close(self, at: int, end: int) -> tuple[Link | None, int]:
        """What the `]` at `at` closes, and where to go on."""
        if not self._open:
            return None, at + 1
        start, image = self._open.pop()
        target, after = self._target(start, at, end)
        if target is None or image:
            return None, after
        self._open = [opener for opener in self._open if opener[1]]  # a link holds no link
        return (Link(start, at, target) if start < at and target else None), after

    def _target(self, start: int, at: int, end: int) -> tuple[str | None, int]:
        after = at + 1
        if (found := _TARGET.match(self._text, after, end)) is not None:
            return found["angle"] or found["plain"] or "", found.end()
        label = self._text[start : min(at, start + 500)]
        if (found := _LABEL.match(self._text, after, end)) is not None:
            label, after = found[1] or label, found.end()
        reference = self._references.get(normalizeReference(label)) if self._references else None
        return (reference["href"], after) if reference else (None, at + 1)

    def _backticks(self, start: int, end: int) -> dict[int, list[int]]:
        """The ends of all runs of backticks, by length."""
        runs: dict[int, list[int]] = {}
        for found in re.finditer("`+", self._text[start:end]):
            runs.setdefault(len(found[0]), []).append(start + found.end())
        return runs


def _after_code(ticks: Mapping[int, list[int]], length: int, position: int) -> int:
    """Where the code span that opens before `position` ends; `position` itself if nothing closes it."""
    ends = ticks.get(length, [])
    index = bisect_left(ends, position + 1)
    return ends[index] if index < len(ends) else position
