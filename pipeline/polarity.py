"""Which way words point: more or less, helped or hindered, before or after, allowed or forbidden, denied or not.

`polarity.json` is a compact lexicon of general English and of science, by axis and sign, over stems. An axis is what
two words must share to be opposites of each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from retrieval.analysis import stem

_LEXICON: dict[str, Any] = json.loads(Path(__file__).with_name("polarity.json").read_text(encoding="utf-8"))
_DENIALS = frozenset(_LEXICON["denials"])
_HEDGES = frozenset(_LEXICON["hedges"])
_EMPTY = re.compile(
    r"\b(?:no(?:t| statistically)?|neither|without|did not|does not|non-?)\s+(?:\w+\s+){0,3}?"
    r"(?:significant\w*|effects?|affect\w*|differ\w*|associat\w*|alter\w*|chang\w*|influenc\w*|correlat\w*|relat\w*"
    r"|evidence|impact\w*|benefits?|improve\w*|increase\w*|reduc\w*|role|link\w*)\b"
    r"|\b(?:un(?:affected|altered|changed|related)|similar (?:between|in|across|among|for)|ineffective"
    r"|independent(?:ly)? of"
    r"|irrespective of|regardless of|comparable|no more than"
    r"|little effect|did not|no longer)\b",
    re.IGNORECASE,
)
_PREFIXES = ("in", "un", "non", "im", "dis", "ir", "il", "de", "anti", "a", "mis")
REACH = 4
"""Words after a denial that it denies, at most, within its clause."""


@lru_cache(maxsize=1)
def _signs() -> dict[str, tuple[tuple[str, int], ...]]:
    found: dict[str, dict[str, int]] = {}
    for axis, sides in _LEXICON["axes"].items():
        for sign, words in zip((1, -1), sides, strict=True):
            for word in words:
                found.setdefault(stem(word), {})[axis] = sign
    return {word: tuple(signs.items()) for word, signs in found.items()}


def signs_of(stemmed: str) -> tuple[tuple[str, int], ...]:
    """The axes that a stem lies on, each with its sign."""
    return _signs().get(stemmed, ())


def opposite(one: str, other: str) -> bool:
    """Whether two stems point opposite ways on an axis, or one is the other with a denying prefix."""
    mine = dict(signs_of(one))
    if any(mine.get(axis, 0) * sign < 0 for axis, sign in signs_of(other)):
        return not any(mine.get(axis, 0) * sign > 0 for axis, sign in signs_of(other))
    short, long = sorted((one, other), key=len)
    return len(short) > 4 and any(long == prefix + short for prefix in _PREFIXES)


def denied(words: Sequence[str]) -> list[bool]:
    """Which words a denial before them in their clause reaches. `words` are folded; "," and such end a clause."""
    found, left = [], 0
    for word in words:
        found.append(left > 0)
        left = REACH if denies(word) else 0 if word in (",", ";", ":", ".", "but", "however", "although") else left - 1
    return found


def denies(word: str) -> bool:
    """Whether a folded word denies what follows it."""
    return word in _DENIALS or word.endswith(("n't", "n’t"))


def says_nothing_happens(text: str) -> bool:
    """Whether a sentence says that there is no effect, no difference, no tie."""
    return bool(_EMPTY.search(text))


def hedged(words: Sequence[str]) -> bool:
    """Whether a sentence says that something may be."""
    return any(word in _HEDGES for word in words)
