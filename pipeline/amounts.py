"""Numbers, shares and dates of a text in one normal form, so that those of a claim can be held against its quotes.

"1,000" is 1000, "five" is 5, "half" is 50 %, "2 Feb 2020" is 2020-02-02, "two weeks" are fourteen days. Digits that
belong to a code ("BOD 22-01", "IL-2", "p53") are no numbers here: a code is a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import NamedTuple

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_WORDS |= {"both": 2, "twice": 2, "dozen": 12}
_SCALES = {"hundred": 100.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3, "m": 1e6, "bn": 1e9}
_UNITS: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("sec", "second"), ("minute", 1 / 60)),
    **dict.fromkeys(("min", "minute"), ("minute", 1.0)),
    **dict.fromkeys(("hr", "hour"), ("minute", 60.0)),
    **dict.fromkeys(("day",), ("minute", 1440.0)),
    **dict.fromkeys(("wk", "week"), ("minute", 10080.0)),
    **dict.fromkeys(("mo", "month"), ("month", 1.0)),
    **dict.fromkeys(("yr", "year"), ("month", 12.0)),
    **dict.fromkeys(("%", "percent", "percentage", "pct"), ("%", 1.0)),
    **dict.fromkeys(("$", "dollar", "usd"), ("$", 1.0)),
    **dict.fromkeys(("€", "euro", "eur"), ("€", 1.0)),
    **dict.fromkeys(("£", "pound", "gbp"), ("£", 1.0)),
    **dict.fromkeys(("mg", "milligram"), ("g", 1e-3)),
    **dict.fromkeys(("g", "gram"), ("g", 1.0)),
    **dict.fromkeys(("kg", "kilogram", "kilo"), ("g", 1e3)),
    **dict.fromkeys(("mm", "millimetre", "millimeter"), ("m", 1e-3)),
    **dict.fromkeys(("cm", "centimetre", "centimeter"), ("m", 1e-2)),
    **dict.fromkeys(("metre", "meter"), ("m", 1.0)),
    **dict.fromkeys(("km", "kilometre", "kilometer"), ("m", 1e3)),
    **dict.fromkeys(("mile",), ("mile", 1.0)),
}
"""A unit by its folded singular: what it is counted in, and how many of that it is."""
_SHORT_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_SHORT_MONTHS, 1)}
_LATER = ("uary", "ruary", "ch", "il", "", "e", "y", "ust", "tember", "ober", "ember", "ember")
_FULL_MONTHS = frozenset(short + later for short, later in zip(_SHORT_MONTHS, _LATER, strict=True)) | {"sept"}
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"(?<![\w-])(?:(?P<y1>\d{{4}})-(?P<m1>\d{{2}})(?:-(?P<d1>\d{{2}}))?"
    rf"|(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m2>{_MONTH})(?:,?\s+(?P<y2>\d{{4}}))?"
    rf"|(?P<m3>{_MONTH})\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s+(?P<y3>\d{{4}}))?"
    rf"|(?P<m4>{_MONTH}),?\s+(?P<y4>\d{{4}}))(?![\w-])",
    re.IGNORECASE,
)
LENIENT = 2
"""Largest number that, written as a word, may also be just a way of speaking ("one of them")."""
_BEFORE_UNITS = frozenset(["calendar", "business", "working", "full", "consecutive", "more", "to", "or"])
_NUMBER = re.compile(
    r"(?P<code>\b[A-Z]{2,}\s\d[\w.]*(?:-[\w.]+)+|[^\W\d_]+[-_/]?\d[\w./-]*|\d+[^\W\d_]{3,}\w*"
    r"|\d+(?:[.-]\d+){2,}|\d+-[A-Za-z]\w*\d\w*)"
    r"|(?P<sign>[$€£])?\s?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<rank>st|nd|rd|th)?(?!\d)"
    r"|(?P<word>[^\W\d_]+)|(?P<share>%)"
)


_CODE = re.compile(
    r"(?<![^\W_])(?:(?P<joined>[^\W\d_]{1,12})[-_/]?|(?P<apart>[A-Z]{2,12}) )(?P<number>\d{1,9}(?:[.-]\d{1,9})*)"
)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with the unit that it counts ("" where none is known); a date has the unit "date" and its ISO form.

    `strict` says that whoever repeats it must repeat it right: small number words ("one of them") are not.
    """

    value: str
    unit: str
    strict: bool = True


class Placed(NamedTuple):
    """An amount, and where it begins."""

    start: int
    amount: Amount


def amounts(text: str) -> frozenset[Amount]:
    """Every number and date of a text."""
    return frozenset(one.amount for one in amounts_at(text))


def amounts_at(text: str) -> list[Placed]:
    """Every number and date of a text and where it begins, first the dates, then the numbers, each in order."""
    found: list[Placed] = []
    rest = list(text)
    for match in _DATE.finditer(text):
        iso = _iso(match)
        if iso:
            found.append(Placed(match.start(), Amount(iso, "date")))
            rest[match.start() : match.end()] = " " * (match.end() - match.start())
    return [*found, *_numbers("".join(rest))]


def other_codes(claim: str, quotes: str) -> frozenset[str]:
    """Codes of a claim that its quotes do not hold, while they hold another one of the same family: "E-377" where they
    speak of E-201. A longer form of a code carries a shorter one: 1.2.1 is of version v1.2.
    """
    known = _codes(quotes)
    return frozenset(
        f"{family}{number}"
        for family, numbers in _codes(claim).items()
        for number in numbers
        if family in known and not any(_carries(other, number) for other in known[family])
    )


def _codes(text: str) -> dict[str, set[str]]:
    """Codes by their letters: `E-377`, `BOD 22-01`, `v1.2`, `type-2`."""
    found: dict[str, set[str]] = {}
    for match in _CODE.finditer(text):
        found.setdefault((match["joined"] or match["apart"]).casefold(), set()).add(match["number"])
    return found


def _carries(one: str, other: str) -> bool:
    return one == other or one.startswith((f"{other}.", f"{other}-")) or other.startswith((f"{one}.", f"{one}-"))


def disagreement(claim: Set[Amount], quotes: Set[Amount]) -> tuple[frozenset[Amount], frozenset[Amount]]:
    """Amounts of a claim that its quotes deny (they give another of that unit), and those that they do not hold."""
    values = {one.value for one in quotes}
    units = {unit: {one.value for one in quotes if one.unit == unit} for unit in {one.unit for one in quotes}}
    denied: set[Amount] = set()
    absent: set[Amount] = set()
    for one in claim:
        if not one.strict or any(_same(one, other) for other in quotes):
            continue
        if one.unit == "date":
            rivals = {other.value for other in quotes if other.unit == "date"} | {v for v in values if _is_year(v)}
            (denied if rivals else absent).add(one)
        elif (one.unit and units.get(one.unit)) or (
            not one.unit and any(_is_year(one.value) == _is_year(value) for value in units.get("", ()))
        ):
            denied.add(one)
        else:
            absent.add(one)
    return frozenset(denied), frozenset(absent)


def _same(claim: Amount, quote: Amount) -> bool:
    """Whether a quote's amount carries a claim's: the same value, and no other unit; a day carries its month."""
    if "date" in (claim.unit, quote.unit):
        return (
            quote.value == claim.value
            or quote.value.startswith(f"{claim.value}-")
            or (claim.value.startswith("--") and quote.value.endswith(claim.value[1:]))
        )
    return claim.value == quote.value and (claim.unit == quote.unit or not claim.unit or not quote.unit)


def _is_year(value: str) -> bool:
    return len(value) == 4 and value.isdigit() and value[0] in "12"


def _iso(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    year = groups["y1"] or groups["y2"] or groups["y3"] or groups["y4"]
    day = groups["d1"] or groups["d2"] or groups["d3"]
    named = groups["m2"] or groups["m3"] or groups["m4"]
    if named:
        word = named.rstrip(".").casefold()
        if len(word) > 3 and word not in _FULL_MONTHS and word != "may":
            return None
        if word == "may" and named[0].islower():
            return None
    month = _MONTHS[named[:3].casefold()] if named else int(groups["m1"])
    if not 1 <= month <= 12 or (day and not 1 <= int(day) <= 31):
        return None
    parts = [year or "-", f"{month:02d}", *([f"{int(day):02d}"] if day else [])]
    return "-".join(parts)


def _numbers(text: str) -> Iterator[Placed]:
    found = list(_NUMBER.finditer(text))
    tokens = [_Token(one, (one.group("word") or one.group("share") or "").casefold()) for one in found]
    place = 0
    while place < len(tokens):
        if tokens[place].word == "half":
            yield Placed(tokens[place].match.start(), Amount("50", "%", strict=False))
        number = _number(tokens, place)
        if number is None:
            place += 1
            continue
        value, strict, after = number
        unit, after = _unit(tokens, after)
        base, factor = _UNITS.get(tokens[place].match.group("sign") or unit, ("", 1.0))
        yield Placed(tokens[place].match.start(), Amount(_shown(value * factor), base, strict))
        place = after


class _Token(NamedTuple):
    match: re.Match[str]
    word: str


def _number(tokens: list[_Token], place: int) -> tuple[float, bool, int] | None:
    """The number that begins at a token, whether it is strict, and the place after it; None where none does."""
    token, after = tokens[place], place + 1
    digits, sign = token.match.group("digits"), token.match.group("sign")
    if digits:
        value, strict = float(digits.replace(",", "")), True
    elif token.word in _WORDS:
        value, strict = float(_WORDS[token.word]), _WORDS[token.word] > LENIENT
        if value >= 20 and after < len(tokens) and tokens[after].word in _SMALL[1:10]:
            value, after = value + _SMALL.index(tokens[after].word), after + 1
    elif token.word in ("a", "an") and after < len(tokens) and tokens[after].word in _SCALES:
        value, strict = 1.0, False
    else:
        return None
    while after < len(tokens) and tokens[after].word in _SCALES and (len(tokens[after].word) > 1 or sign):
        value, strict, after = value * _SCALES[tokens[after].word], True, after + 1
    return value, strict, after


def _unit(tokens: list[_Token], place: int) -> tuple[str, int]:
    """The unit that follows a number ("per cent" and "calendar days" too), and the place after what was read."""
    for there in range(place, min(place + 2, len(tokens))):
        word = tokens[there].word
        if word == "per" and there + 1 < len(tokens) and tokens[there + 1].word == "cent":
            return "%", there + 2
        unit = next((form for form in (word, word.removesuffix("s")) if form in _UNITS), None)
        if unit:
            return unit, there + 1
        if word not in _BEFORE_UNITS:
            break
    return "", place


def _shown(value: float) -> str:
    return f"{value:.6g}" if value < 1e6 else f"{value:.0f}"
