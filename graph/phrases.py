"""Names in text that has no usable capitals: runs of content words, as in RAKE (Rose et al., 2010).

Lower-case notes, chat logs and ALL-CAPS forms do not show which words are names. There a candidate is a run of words
between stop words, common words and punctuation. Whether it binds passages is left to its degree: a rare run does, a
common one is damped. Linear in the text, and from the text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from graph.common import COMMON, KINDS
from graph.names import STOPWORDS, name_key
from kernel.records import Mention, MentionKind

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_JOINTS = frozenset([" ", "-", "- ", "/", ".", ". ", "_"])
_MIXED = re.compile(r"[^\W\d_]\d|\d[^\W\d_]")
_OF = frozenset(["of", "de", "von", "van", "der", "del", "di", "la", "al", "bin"])
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_STARTS = re.compile(r"(?:\A|[.!?][\"'”’)]?\s+)[^\w\n]{0,3}([^\W\d_])")
_ABSTRACT = (
    *("ing", "ed", "tion", "tions", "sion", "sions", "ment", "ments", "ness", "able", "ible", "ance", "ances"),
    *("ence", "ences", "ities", "ative", "ical", "ically", "ously", "fully"),
)
LONG = 7
"""Letters of a lone word from which on an ending of _ABSTRACT says that it names no thing."""
MAX_WORDS = 4
SPARE = 20
"""Text has no usable capitals where fewer than one word in so many is capitalised: less than one a sentence."""


def lacks_capitals(text: str) -> bool:
    """Whether capitals say nothing in `text`: hardly a word has one at its front alone (ALL CAPS words do not).

    Prose that just names nothing still begins its sentences with capitals; then few capitals are enough.
    """
    words = [match.group() for match in _LETTERS.finditer(text)]
    shaped = sum(word[0].isupper() and not word.isupper() for word in words)
    if shaped * SPARE >= len(words):
        return False
    starts: list[bool] = [start.group(1).isupper() for start in _STARTS.finditer(text)]
    shouted = sum(word.isupper() for word in words)
    return 2 * sum(starts) <= len(starts) or 2 * shouted > len(words)


def find_phrases(text: str) -> list[Mention]:
    """Runs of content words in `text`, as terms; of a run of more than two words also its pairs.

    "of" and its like join two runs ("bank of england"); a word with digits ("log4j") is a term by itself.
    """
    found: list[Mention] = []
    before: list[re.Match[str]] = []
    for run in _runs(text):
        if before and text[before[-1].end() : run[0].start()].strip().lower() in _OF:
            for end in run[: MAX_WORDS - 2]:
                found += _mention(text, before[-1], end)
        before = run
        plain = [word.group().lower() in KINDS for word in run]
        for first, last in _parts(len(run)):
            if not all(plain[first : last + 1]):
                found += _mention(text, run[first], run[last])
        for word in run if len(run) > 1 else ():
            if _MIXED.search(word.group()):
                found += _mention(text, word, word)
    return found


def _parts(length: int) -> Iterator[tuple[int, int]]:
    if length <= MAX_WORDS:
        yield 0, length - 1
    if length > 2:
        yield from ((place, place + 1) for place in range(length - 1))


def _mention(text: str, first: re.Match[str], last: re.Match[str]) -> Iterator[Mention]:
    start, end = first.start(), last.end()
    key = name_key(text[start:end])
    lone = " " not in key and len(key) >= LONG and key.endswith(_ABSTRACT)
    if len(key) > 2 and not lone and not key.replace(" ", "").isdigit() and key not in STOPWORDS:
        yield Mention(key, MentionKind.TERM, start, end)


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Content words that follow each other; "of" and its like join two of them: "bank of england"."""
    run: list[re.Match[str]] = []
    for word in _WORD.finditer(text):
        joined = bool(run) and text[run[-1].end() : word.start()] in _JOINTS
        lower = word.group().lower()
        if run and not joined:
            yield run
            run = []
        if lower in STOPWORDS or lower in COMMON:
            if run:
                yield run
            run = []
        else:
            run.append(word)
    if run:
        yield run
