"""Ways to turn a sentence into another whose truth follows: one word to its opposite, a denial, a number, names.

Used to make labelled claims from plain text; the program itself never changes a sentence.
"""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path

_LEXICON: dict[str, list[str]] = json.loads(Path(__file__).with_name("turns.json").read_text(encoding="utf-8"))
_VERBS = frozenset(_LEXICON["verbs"])
_WORD = re.compile(r"[A-Za-z]+")
_BE = re.compile(r"\b(is|are|was|were|can|may|must|will|should|has been|have been|could|does|did|do)( not)?\b(?! not)")
_DO_NOT = re.compile(r"\b(does not|do not|did not) ([a-z]+)\b")
_NUMBER = re.compile(r"(?<![\w.,-])(\d{1,4})(?![\w-]|[.,]\d)")
_NAME = re.compile(r"(?:(?:[A-Z][\w'’-]+)(?: (?:of|the|de|van|and) (?=[A-Z]))?(?: (?=[A-Z]))?)+")
_ASIDE = re.compile(r"\s*\([^()]*\)|, (?:which|who|where|including|such as)\b[^,.;]*(?=[,.;])")


def _opposites() -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in _LEXICON["both_ways"]:
        one, other = pair.split("/")
        found.setdefault(one, other)
        found.setdefault(other, one)
    return {**dict(pair.split("/") for pair in _LEXICON["one_way"]), **found}


_OPPOSITE = _opposites()


def turned(text: str) -> list[str]:
    """The text with one word turned to its opposite, once for each word that has one."""
    found = []
    for match in _WORD.finditer(text):
        other = _OPPOSITE.get(match.group().lower())
        if other:
            other = other.capitalize() if match.group()[0].isupper() else other
            found.append(f"{text[: match.start()]}{other}{text[match.end() :]}")
    return found


def denied(text: str) -> list[str]:
    """The text with its first statement denied, or no longer denied; empty where no verb is known."""
    match = _DO_NOT.search(text)
    if match:
        verb = match.group(2) if match.group(1) != "does not" else _third_person(match.group(2))
        return [f"{text[: match.start()]}{verb}{text[match.end() :]}"]
    match = _BE.search(text)
    if match:
        first, _, rest = match.group(1).partition(" ")
        words = f"{first} {rest}".strip() if match.group(2) else f"{first} not {rest}".strip()
        return [f"{text[: match.start()]}{words}{text[match.end() :]}"]
    for match in re.finditer(r"(?<=\w )([a-z]+?)(s?)\b", text):
        if match.group(1) in _VERBS:
            auxiliary = "does not" if match.group(2) else "do not"
            return [f"{text[: match.start()]}{auxiliary} {match.group(1)}{text[match.end() :]}"]
    return []


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "x", "ch", "sh", "o")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2:-1] not in "aeiou" else f"{verb}s"


def renumbered(text: str, source: random.Random) -> str | None:
    """The text with one number changed to another of its size; None where it has none."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    match = source.choice(found)
    value = int(match.group())
    other = value + source.choice([-3, -2, -1, 1, 2, 3, 5, 10]) if value > 3 else value + source.randint(1, 4)
    other = other if other != value and other > 0 else value + 1
    return f"{text[: match.start()]}{other}{text[match.end() :]}"


def names_of(text: str) -> list[tuple[int, int]]:
    """Where runs of capitalised words stand, the sentence's first word aside where it stands alone."""
    spans = [(match.start(), match.start() + len(match.group().rstrip())) for match in _NAME.finditer(text)]
    return [(a, b) for a, b in spans if b - a > 2 and (a > 0 or " " in text[a:b])]


def swapped(text: str) -> str | None:
    """The text with the first two names before and after a verb exchanged; None without two."""
    spans = names_of(text)
    for (a, b), (c, d) in pairwise(spans):
        between = text[b:c].split()
        if text[a:b] != text[c:d] and 1 <= len(between) <= 6 and any(word.endswith(("ed", "s")) for word in between):
            return f"{text[:a]}{text[c:d]}{text[b:c]}{text[a:b]}{text[d:]}"
    return None


def renamed(text: str, other: str, source: random.Random) -> str | None:
    """The text with one of its names exchanged for one of another text; None where either has none that is new."""
    mine = names_of(text)
    theirs = [other[a:b] for a, b in names_of(other) if other[a:b] not in text]
    if not mine or not theirs:
        return None
    a, b = source.choice(mine)
    return f"{text[:a]}{source.choice(theirs)}{text[b:]}"


def shortened(text: str, source: random.Random) -> str:
    """The text without its asides, or else without some of its first or last words."""
    short = _ASIDE.sub("", text)
    if short != text:
        return short
    parts = text.split(", ")
    if len(parts) > 1 and len(parts[0].split()) >= 5:
        return f"{parts[0].rstrip('.')}."
    words = text.split()
    drop = [
        n for n, word in enumerate(words[1:-1], 1) if word.endswith("ly") or word.lower() in ("also", "then", "the")
    ]
    if drop:
        del words[source.choice(drop)]
    return " ".join(words)
