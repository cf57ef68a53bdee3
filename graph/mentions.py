"""Finding what a passage names, by the shape of the text alone: no model, linear time, the same result everywhere.

A name is a run of capitalised words (with the small words that names hold inside: "Bank of England"), a code
("BOD 22-01", "CVE-2020-1350"), a technical term (`snake_case`, quoted or back-quoted), a date or an amount. Where a
text has no usable capitals, runs of its content words stand in for names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from graph.names import STOPWORDS, base_name, name_key
from graph.phrases import find_phrases, lacks_capitals
from graph.subjects import OPENING, headings_in, speakers_in, subjects_of
from kernel.records import Mention, MentionKind

_WORD = r"[^\W\d_][\w'’]*(?:[.-][\w'’]+)*"
_TOKEN = re.compile(r"\d[\w]*(?:[.,-]\w+)*|" + _WORD)
_INSIDE = frozenset(
    [
        "of",
        "the",
        "de",
        "la",
        "le",
        "du",
        "des",
        "del",
        "della",
        "di",
        "da",
        "dos",
        "van",
        "von",
        "der",
        "den",
        "ter",
        "zu",
        "zum",
        "y",
        "e",
        "al",
        "el",
        "bin",
        "ibn",
        "for",
        "in",
        "on",
        "at",
        "to",
        "&",
    ]
)
_CODE = re.compile(r"\b[A-Z][A-Za-z]{0,11}(?:[ -]\d[\w.]*(?:-[\w.]+)*|-[A-Z\d][\w.]*\d[\w.]*|\d[\w.]*(?:-[\w.]+)*)")
_TERM = re.compile(
    r"`([^`\n]{2,60})`|[\"“]([^\"“”\n]{2,80})[\"”]|\b([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\b|\b([a-z]+[A-Z]\w+)\b|\b([a-z]{3,}(?:-[a-z]{3,})+)\b"
)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH = "Sept\\.?|" + "|".join(f"{name}|{name[:3]}\\.?" for name in _MONTHS)
_MONTH_WORDS = frozenset([*_MONTHS, *(name[:3] for name in _MONTHS), "Sept"])
_DATE = re.compile(
    rf"(?<![\w-])(?:(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<m1>{_MONTH}),?\s+(?P<y1>\d{{3,4}})"
    rf"|(?P<m2>{_MONTH})\s+(?:(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,?\s+)?(?P<y2>\d{{4}})"
    r"|(?P<y3>\d{4})-(?P<m3>\d{2})-(?P<d3>\d{2})|(?P<y4>1\d{3}|20\d{2}))(?![\w-])"
)
_ANY_DATE = re.compile(_DATE.pattern, re.IGNORECASE)
_UNIT = (
    r"percent|per cent|days?|weeks?|months?|years?|hours?|minutes?|million|billion|thousand|dollars?|euros?"
    r"|km|kg|mg|miles?|bits?|bytes?|[kMG]B"
)
_NUMBER = r"\d{1,20}(?:[.,]\d{1,20}){0,6}"
"""Bounded, so that a long run of digits and stops costs no more than its length."""
_AMOUNT = re.compile(
    rf"[$€£]\s?{_NUMBER}(?:\s(?:million|billion|thousand)\b)?|(?<![\w.,]){_NUMBER}(?:\s?%|[\s-](?:{_UNIT})\b)"
)
_UPPER = re.compile(r"^[A-Z\d][A-Z\d.&/-]*$")
MAX_WORDS = 8
REACH = 4000
"""Characters before a passage in which the paragraph that goes on in it, and its heading, are looked for."""
_ARTICLE = re.compile(r"\s*(?:(?:The|A|An)\s+)?")
_BLANK = re.compile(r"\n[ \t]*\n\s*")


def find_mentions(text: str) -> list[Mention]:
    """Mentions in `text`, by position; where two overlap, both stay (a code inside a name is worth having)."""
    return _distinct(_shapes(text, capitals=not lacks_capitals(text)))


def names_in(text: str) -> list[Mention]:
    """What a passage names: its mentions and, where it has no usable capitals, its phrases."""
    capitals = not lacks_capitals(text)
    found = _distinct(_shapes(text, capitals=capitals))
    if capitals:
        return found
    dated = {place for one in found if one.kind == MentionKind.DATE for place in range(one.start, one.end)}
    return _distinct([*found, *(one for one in find_phrases(text) if dated.isdisjoint((one.start, one.end - 1)))])


def _shapes(text: str, *, capitals: bool) -> list[Mention]:
    found = [*_dates(text, capitals), *_amounts(text), *_codes(text), *_terms(text)]
    return [*found, *_names(text)] if capitals or not text.isupper() else found


def _distinct(found: Iterable[Mention]) -> list[Mention]:
    unique = {(mention.start, mention.end, mention.key): mention for mention in reversed(list(found))}
    return [unique[place] for place in sorted(unique)]


def about(title: str, headings: Iterable[str]) -> list[Mention]:
    """Mentions, with empty spans at 0, of what a passage is about: its document's title, and its headings as terms."""
    kinds: dict[str, MentionKind] = {}
    for name, kind in [(title, MentionKind.TITLE), *((heading, MentionKind.TERM) for heading in headings)]:
        for form in (name, base_name(name)):
            key = name_key(form) if form else ""
            if key and key not in STOPWORDS:
                kinds.setdefault(key, kind)
    return [Mention(key, kind, 0, 0) for key, kind in kinds.items()]


def subjects(text: str, named: Iterable[Mention], rows: Iterable[str], before: str = "") -> list[Mention]:
    """Mentions, with empty spans at 0, of what a passage is about though no title says so.

    That is the subject of each of its paragraphs, or else a name that opens one (one of `named`, of several words),
    its headings, who speaks in it, and the first cells of its table's `rows`. `before` is the text that leads up to
    it: a paragraph that began there goes on being about its subject, and the last heading there still holds.
    """
    opening = {mention.start: mention for mention in named if mention.kind == MentionKind.NAME}
    told = [name for start, part in _paragraphs(text) for name in subjects_of(part) or _opening(text, start, opening)]
    names = [*told, *_carried(text, before), *headings_in(text), *rows, *speakers_in(text)]
    keys = (name_key(name) for name in names)
    return [Mention(key, MentionKind.TITLE, 0, 0) for key in dict.fromkeys(keys) if _tells(key)]


def title_of(text: str) -> str:
    """What to call a document that has no title: what its opening is about; empty where that does not say."""
    opening = {one.start: one for one in find_mentions(text[:OPENING]) if one.kind == MentionKind.NAME}
    names = subjects_of(text) or _opening(text, 0, opening)
    return next((name for name in names if _tells(name_key(name))), "")


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Each part of `text` between blank lines, and where it begins."""
    begin = 0
    for gap in _BLANK.finditer(text):
        yield begin, text[begin : gap.start()]
        begin = gap.end()
    yield begin, text[begin:]


def _carried(text: str, before: str) -> list[str]:
    """What the text that leads up to a passage says that it is about: the paragraph it is within, the last heading."""
    gaps = [gap.end() for gap in _BLANK.finditer(before)]
    begun = before[gaps[-1] :] if gaps else before
    within = subjects_of(begun + text[:OPENING]) if begun.strip() else []
    whole = before if len(before) < REACH else before[gaps[0] :] if gaps else ""
    return [*within, *headings_in(whole)[-1:]]


def _opening(text: str, start: int, opening: Mapping[int, Mention]) -> list[str]:
    """The name of several words that a paragraph opens with; `opening` holds names by where they begin."""
    found = _ARTICLE.match(text, start)
    mention = opening.get(found.end() if found else start)
    name = text[mention.start : mention.end] if mention else ""
    return [name] if " " in name else []


def _tells(key: str) -> bool:
    """Whether a key can name one thing: it has a letter, and is neither a sentence nor a word that means nothing."""
    return len(key) > 1 and key.count(" ") < MAX_WORDS and key not in STOPWORDS and any(c.isalpha() for c in key)


def _mention(surface: str, kind: MentionKind, start: int) -> Iterator[Mention]:
    key = name_key(surface)
    if len(key) > 1 and key not in STOPWORDS:
        yield Mention(key, kind, start, start + len(surface))


def _codes(text: str) -> Iterator[Mention]:
    for match in _CODE.finditer(text):
        surface = match.group().rstrip(".-")
        word, _, rest = surface.partition(" ")
        plain = word in _MONTH_WORDS or (word.lower() in STOPWORDS and not (word.isupper() and len(word) > 1))
        if any(character.isdigit() for character in surface) and not (rest and plain):
            yield from _mention(surface, MentionKind.CODE, match.start())


def _terms(text: str) -> Iterator[Mention]:
    for match in _TERM.finditer(text):
        group = match.lastindex or 0
        surface = match.group(group)
        if surface.count(" ") < MAX_WORDS:
            yield from _mention(surface, MentionKind.TERM, match.start(group))


def _dates(text: str, capitals: bool) -> Iterator[Mention]:
    for match in (_DATE if capitals else _ANY_DATE).finditer(text):
        part = match.groupdict()
        year = next(part[name] for name in ("y1", "y2", "y3", "y4") if part[name])
        month = part["m1"] or part["m2"]
        number = _month_number(month) if month else int(part["m3"] or 0)
        day = int(part["d1"] or part["d2"] or part["d3"] or 0)
        key = f"date {int(year):04d}" + (f" {number:02d}" if number else "") + (f" {day:02d}" if day else "")
        yield Mention(key, MentionKind.DATE, match.start(), match.end())
        if number:
            yield Mention(f"date {int(year):04d}", MentionKind.DATE, match.start(), match.end())


def _month_number(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name[:3].capitalize()))


def _amounts(text: str) -> Iterator[Mention]:
    for match in _AMOUNT.finditer(text):
        surface = match.group()
        key = name_key(surface.replace("%", " percent ").replace("$", "usd ").replace("€", "eur ").replace("£", "gbp "))
        yield Mention(f"amount {key}", MentionKind.AMOUNT, match.start(), match.end())


def _names(text: str) -> Iterator[Mention]:
    """Runs of capitalised words; a run ends at punctuation, at a plain word, and after MAX_WORDS words."""
    run: list[re.Match[str]] = []
    waiting: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        word = token.group()
        last = waiting[-1] if waiting else run[-1] if run else None
        joined = last is not None and text[last.end() : token.start()] in (" ", "\n", "-", " & ", ". ")
        if run and not (joined and _abbreviates(last, text)):
            yield from _name(run, text)
            run, waiting = [], []
        capital = word[0].isupper()
        if run and (capital or word[0].isdigit()):
            run += [*waiting, token]
            waiting = []
        elif run and word in _INSIDE and len(waiting) < 2:
            waiting.append(token)
        else:
            if run:
                yield from _name(run, text)
            run, waiting = ([token] if capital else []), []
    if run:
        yield from _name(run, text)


def _abbreviates(last: re.Match[str] | None, text: str) -> bool:
    """Whether what follows `last` still belongs to it: no full stop between, or one after an initial."""
    return last is not None and (text[last.end() : last.end() + 1] != "." or len(last.group()) <= 2)


def _name(run: list[re.Match[str]], text: str) -> Iterator[Mention]:
    first, end = 0, len(run)
    while first < end and _opens_no_name(run[first].group(), begun=first > 0):
        first += 1
    while end > first and (run[end - 1].group().lower() in STOPWORDS or run[end - 1].group() in _INSIDE):
        end -= 1
    run = run[first:end]
    if not run or len(run) > MAX_WORDS * 2:
        return
    if run[0].group() in _MONTH_WORDS and all(token.group()[0].isdigit() for token in run[1:]):
        return
    yield from _mention(text[run[0].start() : run[-1].end()], MentionKind.NAME, run[0].start())


def _opens_no_name(word: str, *, begun: bool) -> bool:
    """Whether a name does not begin with this word: "The", and after such a word also "of" or a number."""
    if word.lower() in STOPWORDS:
        return not (_UPPER.match(word) and len(word) > 1)
    return begun and (word in _INSIDE or word[0].isdigit())
