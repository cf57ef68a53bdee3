"""How two records, or two texts, differ: in words, and line by line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

AROUND = 40
"""Characters of a text that are shown from where it differs."""
_PLACE = re.compile(r"(?<=[.!?])\s+(?=\S)")


def first_difference(name: str, recorded: Any, now: Any) -> str:
    """Where two JSON values differ first, in words; `name` is what they are values of."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for member in sorted({*recorded, *now}):
            if member not in now:
                return f"{name} has no {member} any more"
            if member not in recorded:
                return f"{name} has a {member}, which was not recorded"
            if not _same(recorded[member], now[member]):
                return first_difference(f"{name}, {member}", recorded[member], now[member])
    if isinstance(recorded, list) and isinstance(now, list):
        for place, (one, other) in enumerate(zip(recorded, now, strict=False), 1):
            if not _same(one, other):
                return first_difference(f"{name} {place}", one, other)
        return f"{name}: {len(recorded)} were recorded, {len(now)} came out"
    if isinstance(recorded, str) and isinstance(now, str):
        return _text_difference(name, recorded, now)
    return f"{name} was {_short(recorded)}, is {_short(now)}"


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written the same: 1 and 1.0 are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _text_difference(name: str, recorded: str, now: str) -> str:
    if max(len(recorded), len(now)) <= AROUND * 2:
        return f"{name} was “{recorded}”, is “{now}”"
    place = next(
        (i for i, pair in enumerate(zip(recorded, now, strict=False)) if pair[0] != pair[1]),
        min(len(recorded), len(now)),
    )
    one, other = (text[place : place + AROUND] for text in (recorded, now))
    return f"{name} differs from character {place} on: “{one}…” was recorded, “{other}…” came out"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= AROUND * 2 else f"{text[: AROUND * 2 - 1]}…"


def text_diff(old: str, new: str) -> list[str]:
    """The sentences and lines of two texts: those of both after two spaces, gone ones after `- `, new ones after `+ `.

    Empty where the texts are the same.
    """
    if old == new:
        return []
    one, other = (_lines(text) for text in (old, new))
    return [line for line in difflib.ndiff(one, other) if not line.startswith("? ")]


def line_diff(old: str, new: str) -> list[str]:
    """As `text_diff`, of lines alone: for YAML, where a sentence has no line of its own."""
    one, other = ([line for line in text.splitlines() if line.strip()] for text in (old, new))
    return [] if old == new else [line for line in difflib.ndiff(one, other) if not line.startswith("? ")]


def _lines(text: str) -> list[str]:
    return [piece for line in text.splitlines() for piece in _PLACE.split(line) if piece.strip()]
