"""What policies look for in text: phrases, patterns that run in linear time (RE2), and numbers that must not be shown.

Text is brought to one form first (Unicode NFKC, no invisible characters, plain digits), so that another spelling of
the same characters does not pass by a rule.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from kernel.errors import InvalidInput

_FORGET = (
    r"(?i)\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|your|these|the)\b"
)
_REVEAL = r"(?i)\b(?:reveal|print|show|repeat|output|tell me)\b[^.\n]{0,30}\b(?:system|hidden|initial|original) "
INJECTION = (
    _FORGET + r"[^.\n]{0,30}\b(?:instructions?|prompts?|rules?|directions?|guidelines?|context)\b",
    _REVEAL + r"(?:prompt|message|instructions?)",
    r"(?i)\b(?:you are now|from now on,? you|pretend (?:to be|that you)|act as if you|new instructions?:)",
    r"(?i)<\|?/?(?:im_start|im_end|system|assistant|endoftext)\|?>|\[/?INST\]|<</?SYS>>",
    r"(?im)^\s*(?:#+\s*)?(?:system|assistant)\s*(?:prompt|message|instructions?)?\s*:",
    r"(?i)\b(?:do not|don't|never) (?:tell|inform|mention|cite|reveal)[^.\n]{0,30}\b(?:user|reader|anyone|source)\b",
)
"""Wordings that speak to a model instead of about a matter."""

_EDGE = r"[^\pL\pN_]"
_CARD = re2.compile(r"\d(?:[ \-.]?\d)+")
_EMAIL = re2.compile(r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}")
CARD_LENGTHS = range(13, 20)
PARTS_KEPT = 200
"""Phrases that one automaton looks for."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A text in the two forms that are searched: `plain` with its case and lines, `folded` without either."""

    plain: str
    folded: str


@dataclass(frozen=True, slots=True)
class Words:
    """What to look for; any of it is enough."""

    phrases: tuple[Any, ...] = ()
    patterns: tuple[Any, ...] = ()
    detect: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phrases or self.patterns or self.detect)

    def found(self, text: Readable) -> bool:
        """Whether the text holds any of it."""
        return (
            any(one.search(text.folded) is not None for one in self.phrases)
            or any(one.search(text.plain) is not None for one in self.patterns)
            or any(holds_kind(kind, text.plain) for kind in self.detect)
        )


def readable(text: str) -> Readable:
    """A text in one form for searching."""
    wide = unicodedata.normalize("NFKC", text)
    plain = wide if wide.isascii() else wide.translate(_plain_forms())
    folded = unicodedata.normalize("NFKC", plain.casefold())
    return Readable(plain, " ".join(folded.split()))


def words_of(phrases: Sequence[str], patterns: Sequence[str] = (), detect: Sequence[str] = ()) -> Words:
    """What to look for, compiled. A phrase is found as whole words, whatever its case and spacing.

    Raises InvalidInput for a pattern that RE2 does not take.
    """
    folded = [one for one in (readable(phrase).folded for phrase in phrases) if one]
    groups = [folded[start : start + PARTS_KEPT] for start in range(0, len(folded), PARTS_KEPT)]
    alternatives = tuple(
        _compile(f"(?:^|{_EDGE})(?:{'|'.join(re2.escape(one) for one in group)})(?:$|{_EDGE})") for group in groups
    )
    return Words(alternatives, tuple(_compile(pattern) for pattern in patterns), tuple(detect))


def holds_kind(kind: str, text: str) -> bool:
    """Whether a text holds a `card` number (ISO/IEC 7812 length, Luhn's check digit) or an `email` address."""
    if kind == "email":
        return _EMAIL.search(text) is not None
    return any(_is_card(digits) for digits in _digit_runs(text))


def _digit_runs(text: str) -> Iterator[str]:
    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found.group())
        if len(digits) in CARD_LENGTHS:
            yield digits
        elif len(digits) > CARD_LENGTHS[-1]:
            yield from (digits[start : start + 16] for start in range(len(digits) - 15))


def _is_card(digits: str) -> bool:
    """Luhn's check (H. P. Luhn, US patent 2,950,048, 1960), on numbers that begin as cards do."""
    if digits[0] not in "23456":
        return False
    doubled = (int(one) * (1 + (place + len(digits)) % 2) for place, one in enumerate(digits, 1))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


@cache
def _plain_forms() -> dict[int, str | None]:
    """Digits of every script as those of ASCII, and nothing for characters that are not seen."""
    forms: dict[int, str | None] = {}
    for point in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(point))
        if kind == "Nd":
            forms[point] = str(unicodedata.digit(chr(point)))
        elif kind in ("Cf", "Cs"):
            forms[point] = None
    return forms


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else error
        raise InvalidInput(f"RE2 does not take this pattern: {said}") from error
