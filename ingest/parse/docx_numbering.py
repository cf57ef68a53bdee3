"""The numbers that Word shows before list items and headings: it stores how to count, not the numbers
(ECMA-376 17.9)."""

from __future__ import annotations

import re

from lxml import etree

from ingest.parse.ooxml import child, get, local

_LEVELS = 9
_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)


class Numbering:
    """Counts the items of a document's lists, met in order. `root` is the numbering part, if there is one."""

    def __init__(self, root: etree._Element | None) -> None:
        self._abstract: dict[str, dict[int, etree._Element]] = {}
        self._numbers: dict[str, etree._Element] = {}
        self._counts: dict[str, list[int | None]] = {}
        self._seen: set[str] = set()
        for element in root if root is not None else ():
            if local(element) == "abstractNum":
                self._abstract[get(element, "abstractNumId") or ""] = _levels(element)
            elif local(element) == "num":
                self._numbers[get(element, "numId") or ""] = element

    def label(self, number_id: str, level: int) -> str:
        """What stands before the next item of list `number_id` at `level`: its number, or `-` for a
        bullet."""
        number = self._numbers.get(number_id)
        abstract_id = value(child(number, "abstractNumId")) or ""
        levels = self._abstract.get(abstract_id, {})
        if number is None or level not in levels:
            return "-"
        counts = self._counts.setdefault(abstract_id, [None] * _LEVELS)
        if number_id not in self._seen:
            self._seen.add(number_id)
            _restart(number, counts)
        count = counts[level]
        counts[level] = _start(levels, level) if count is None else count + 1
        counts[level + 1 :] = [None] * (_LEVELS - level - 1)
        return self._text(levels, level, counts)

    def _text(self, levels: dict[int, etree._Element], level: int, counts: list[int | None]) -> str:
        if value(child(levels[level], "numFmt")) in {"bullet", "none"}:
            return "-"

        def number(found: re.Match[str]) -> str:
            place = int(found[1]) - 1
            count = counts[place]
            style = value(child(levels.get(place), "numFmt")) or "decimal"
            return _written(_start(levels, place) if count is None else count, style)

        return _PLACE.sub(number, value(child(levels[level], "lvlText")) or "").strip() or "-"


def value(element: etree._Element | None) -> str | None:
    """The `val` attribute of an element that need not be there."""
    return None if element is None else get(element, "val")


def _levels(element: etree._Element) -> dict[int, etree._Element]:
    levels = ((get(x, "ilvl") or "", x) for x in element if local(x) == "lvl")
    return {int(level): x for level, x in levels if level in "012345678" and level}


def _restart(number: etree._Element, counts: list[int | None]) -> None:
    """A list that names its own first numbers begins anew, though it shares its counters with others."""
    for override in number:
        level, start = get(override, "ilvl") or "", value(child(override, "startOverride")) or ""
        if local(override) == "lvlOverride" and level and level in "012345678" and _small(start):
            counts[int(level)] = int(start) - 1


def _start(levels: dict[int, etree._Element], level: int) -> int:
    start = value(child(levels.get(level), "start")) or "1"
    return int(start) if _small(start) else 1


def _small(digits: str) -> bool:
    return digits.isdecimal() and len(digits) < 6


def _written(count: int, style: str) -> str:
    if style in {"lowerLetter", "upperLetter"} and count > 0:
        letters = chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)
        return letters.upper() if style == "upperLetter" else letters
    if style in {"lowerRoman", "upperRoman"} and 0 < count < 4000:
        return _roman(count).upper() if style == "upperRoman" else _roman(count)
    return f"{count:02}" if style == "decimalZero" else str(count)


def _roman(count: int) -> str:
    digits = ""
    for worth, letter in _ROMAN:
        digits += letter * (count // worth)
        count %= worth
    return digits
