"""Small questions about wording that generating and grounding both ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import unescape

from retrieval.analysis import plain, stem

_LEAD = re.compile(r"^\s*(?:(?:#{1,6}\s+|>\s?|[-*+•]\s+|\d{1,3}[.)]\s+|\|\s*))+")
_MARKS = re.compile(
    r"[*`]{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|\{:?[^{}\n]{0,80}\}|\[\^?\d+\]|\\(?=[$*_#\[\]\"'])"
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s\"[^\"]*\")?\)|!?\[([^\[\]]*)\]\[[^\[\]]*\]")
_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"^[A-Z][\w /-]{0,40}: \S")
_ITEM = re.compile(r"\s*(?:[-*+•]\s|\d{1,3}[.)]\s|[a-z][.)]\s|\|)")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|hundred|thousand|half|none)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b\d{4}\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
    r"|\b(?:\d+|one|two|three|five|six|seven|ten|thirty)[ -](?:\w+ )?(?:days?|weeks?|months?|years?|hours?|minutes?)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+|\b[A-Z]{2,}\b")
_OPENING = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w.'’-]*)+")
_IRREGULAR = """
be was were been; become became; begin began begun; bind bound; break broke broken; bring brought; build built;
buy bought; catch caught; choose chose chosen; come came; cut cut; deal dealt; do did done; draw drew drawn;
drive drove driven; eat ate eaten; fall fell fallen; feed fed; feel felt; fight fought; find found; fly flew flown;
forbid forbade forbidden; forget forgot forgotten; freeze froze frozen; get got gotten; give gave given;
go went gone; grow grew grown; have had; hear heard; hide hid hidden; hold held; keep kept; know knew known;
lay laid; lead led; leave left; lend lent; lose lost; make made; mean meant; meet met; pay paid; rise rose risen;
run ran; say said; see saw seen; seek sought; sell sold; send sent; show showed shown; shrink shrank shrunk;
sing sang sung; sink sank sunk; sit sat; speak spoke spoken; spend spent; stand stood; steal stole stolen;
strike struck stricken; swear swore sworn; swim swam swum; take took taken; teach taught; tell told;
think thought; throw threw thrown; understand understood; undertake undertook undertaken; wear wore worn;
win won; withdraw withdrew withdrawn; withhold withheld; write wrote written; child children; foot feet;
goose geese; man men; mouse mice; person people; tooth teeth; woman women
"""
"""Words with the other forms that no stemmer brings together with them."""
_KINDS = (
    (
        re.compile(
            r"\bhow (?:long|soon|quickly|fast|often)\b|\b(?:by )?when\b|\b(?:what|which) (?:date|year|day|deadline)\b",
            re.I,
        ),
        _TIME,
    ),
    (
        re.compile(
            r"\bhow (?:many|much|large|big|high|short)\b"
            r"|\b(?:what|which) (?:\w+ )?(?:number|percentage|share|length|size|limit|version)\b",
            re.I,
        ),
        _NUMBER,
    ),
    (re.compile(r"\b(?:who|whom|whose|where)\b", re.I), _NAME),
)


def clean(text: str) -> str:
    """A sentence as a reader sees it: no markup, no link targets, one space between words."""
    text = _LINK.sub(lambda match: match.group(1) or match.group(2) or "", text)
    text = _MARKS.sub("", _LEAD.sub("", unescape(plain(text))))
    return _SPACE.sub(" ", text.replace("|", " | ")).strip(" |")


def is_field(text: str) -> bool:
    """Whether a line is "Name: value", which says little without what it is a field of."""
    return bool(_FIELD.match(text))


def is_item(text: str) -> bool:
    """Whether a piece of raw text is an item of a list or a row of a table."""
    return bool(_ITEM.match(text))


def is_prose(text: str) -> bool:
    """Whether a piece of text can be an answer: words, not a bare heading, a remnant of markup, or a question."""
    if text.startswith(("[", "(", "<", "!")) or "[!" in text or "](" in text or text.endswith("?"):
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    long_enough = len(text) >= 24 or (len(text) >= 12 and is_field(text))
    return len(_LETTERS.findall(text)) >= 2 and letters >= 0.55 * len(text) and (long_enough or text[-1:] in ".:")


def expected_kind(question: str) -> re.Pattern[str] | None:
    """What an answer to the question should hold: a time, a number, a name; None where its words do not say."""
    return next((kind for asks, kind in _KINDS if asks.search(question)), None)


def asking_words(question: str) -> str:
    """The words that say so, as "how long": a text that answers need not have them. Empty where there are none."""
    found = next((match for asks, _ in _KINDS if (match := asks.search(question))), None)
    return found.group(0) if found else ""


def things_of_kind(kind: re.Pattern[str], text: str) -> Iterator[str]:
    """What a sentence has of a kind that `expected_kind` gave; of names also one of several words that opens it."""
    yield from (match.group(0) for match in kind.finditer(text))
    opening = _OPENING.match(text) if kind is _NAME else None
    if opening:
        yield opening.group(0)


def base_form(term: str) -> str:
    """The stem that an irregular form of a word goes with: `pay` of `paid`; of any other stem itself."""
    return _bases().get(term, term)


@cache
def _bases() -> dict[str, str]:
    rows = [[stem(word) for word in row.split()] for row in _IRREGULAR.split(";")]
    return {form: base for base, *forms in rows for form in forms}
