"""Typed relations that a passage states: from structure (facts, links) and from a few verbs of record-keeping.

Each relation keeps the span that states it. "This directive", "these guidelines" and the like stand for the document
itself, whose key is that of its title.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from graph.names import name_key
from kernel.records import ChunkDraft, Fact, Link, Mention, MentionKind, Relation

SUPERSEDES, REVOKES, AMENDS = "supersedes", "revokes", "amends"
STATUS, ALIAS, LINKS_TO = "has status", "alias", "links to"
REPLACING = (SUPERSEDES, REVOKES, AMENDS)
NOTABLE = (*REPLACING, STATUS, ALIAS)
"""Relations that say how a document stands, or what else a thing is called."""

_VERBS = {
    "supersede": SUPERSEDES,
    "replace": SUPERSEDES,
    "revoke": REVOKES,
    "rescind": REVOKES,
    "repeal": REVOKES,
    "cancel": REVOKES,
    "withdraw": REVOKES,
    "amend": AMENDS,
    "require": "requires",
    "implement": "implements",
}
_STEM = "supersede|replace|revoke|rescind|repeal|cancel|withdraw|amend|require|implement"
_ACTIVE = re.compile(rf"\b(?:hereby\s+)?({_STEM})s?\b(?!\s+(?:by|that|to)\b)")
_PASSIVE = re.compile(
    r"\b(?:is|are|was|were|been|be|being|hereby)\s+(?:now\s+|also\s+|hereby\s+|since\s+)*"
    r"(supersed|replac|revok|rescind|repeal|cancell?|withdraw|amend)(?:ed|d|n)\b(\s+by\b)?"
)
_PART_OF = re.compile(r"\b(?:is|are|was)\s+(?:a\s+)?part\s+of\b")
_THIS = re.compile(
    r"\b(?:[Tt]his|[Tt]hese)\s+(?:\w+\s+){0,3}?"
    r"(?:directives?|documents?|publications?|guidelines?|guidance|polic(?:y|ies)|orders?|versions?|standards?|pages?|memorand(?:um|a)|"
    r"specifications?|agreements?|contracts?|procedures?|rules?|notices?|handbooks?|reports?|packages?|librar(?:y|ies))\b"
)
_PRONOUN = re.compile(r"(?:^|[.*_]\s+)It\s*$")
_ACRONYM = re.compile(r"\(([A-Z][A-Za-z]{0,2}[A-Z]{1,8}s?|[a-z]{3,8})\)")
_OUTDATED = re.compile(
    r"\b[Tt]his\s+(?:page|document|guide|policy|guidance|section|directive|version)\s+(?:is|has\s+been|was)\s+(?:now\s+|marked\s+)?"
    r"(?:as\s+)?(outdated|out\s+of\s+date|obsolete|deprecated|archived|retired|no\s+longer\s+(?:maintained|in\s+(?:force|effect|use)|current))\b"
)
_TRIGGER = re.compile(rf"{_STEM}|supersed|replac|revok|amend|part\s+of|\([A-Z]", re.IGNORECASE)
_BREAK = re.compile(r"[.;!?]\s|\(|\n\s*\n|\bwhich\b|\bunless\b|\bbut\b")
BEFORE, AFTER, MOST = 120, 160, 6
OUTDATED_FLAGS = frozenset({"outdated", "deprecated", "obsolete", "archived", "superseded", "revoked"})


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk's text, its mentions by position with their starts and ends, and the key of its document."""

    text: str
    mentions: Sequence[Mention]
    document: str
    starts: Sequence[int]
    ends: Sequence[int]


def find_relations(text: str, mentions: Sequence[Mention], document: str) -> list[Relation]:
    """Relations stated in the running text of a chunk of the document whose key is `document`."""
    if not _TRIGGER.search(text) and not _OUTDATED.search(text):
        return []
    named = [
        m for m in mentions if m.end > m.start and m.kind in (MentionKind.NAME, MentionKind.CODE, MentionKind.TERM)
    ]
    passage = Passage(text, named, document, [m.start for m in named], [m.end for m in named])
    found = [*_actives(passage), *_passives(passage), *_part_of(passage), *_acronyms(passage)]
    if document:
        found += [Relation(document, STATUS, "outdated", m.start(), m.end()) for m in _OUTDATED.finditer(text)]
    return _distinct(found)


def structural_relations(
    chunk: ChunkDraft, document: str, facts: Sequence[Fact], links: Sequence[Link]
) -> list[Relation]:
    """Relations that the document's structure states inside a chunk, with spans in the chunk's text."""
    found = []
    for fact in facts:
        if chunk.start <= fact.start and fact.end <= chunk.end:
            keys = name_key(fact.subject), name_key(fact.object)
            predicate = " ".join(fact.predicate.split())[:64]
            span = fact.start - chunk.start, fact.end - chunk.start
            if predicate.casefold() in OUTDATED_FLAGS and fact.object.strip().casefold() in ("true", "yes", "1"):
                found.append(Relation(document or keys[0], STATUS, predicate.casefold(), *span))
            elif all(keys) and predicate:
                found.append(Relation(keys[0], predicate, keys[1], *span))
    for link in links:
        if document and chunk.start <= link.start and link.end <= chunk.end:
            start, end = link.start - chunk.start, link.end - chunk.start
            target = name_key(chunk.text[start:end])
            if target and target != document:
                found.append(Relation(document, LINKS_TO, target, start, end))
    return _distinct(found)


def title_aliases(title: str, others: Sequence[str]) -> list[Relation]:
    """Other names of a document: `others`, and "BOD 19-02" of "Binding Operational Directive 19-02"."""
    key = name_key(title)
    names = {name_key(name) for name in (*others, *initials(title))}
    return [Relation(key, ALIAS, name, 0, 0) for name in sorted(names) if key and name and name != key]


def initials(title: str) -> list[str]:
    """Initials of the capitalised words before a number, with the number; none where there are not at least two."""
    found = re.match(r"((?:[A-Z][\w-]*\s+){2,6})(\d[\w.-]*)\s*$", title)
    return ["".join(word[0] for word in found.group(1).split()) + " " + found.group(2)] if found else []


def _actives(passage: Passage) -> list[Relation]:
    found = []
    for verb in _ACTIVE.finditer(passage.text):
        subject = _subject(passage, verb.start())
        if subject:
            predicate = _VERBS[verb.group(1).lower()]
            found += [
                Relation(subject[0], predicate, item.key, subject[1], item.end)
                for item in _objects(passage, verb.end())
                if item.key != subject[0]
            ]
    return found


def _passives(passage: Passage) -> list[Relation]:
    found = []
    for verb in _PASSIVE.finditer(passage.text):
        subject = _subject(passage, verb.start())
        if not subject or passage.text[: verb.start()].rstrip().endswith(("which", "that")):
            continue
        predicate = next(value for stem, value in _VERBS.items() if stem.startswith(verb.group(1)[:6]))
        doers = _objects(passage, verb.end())[:1] if verb.group(2) else []
        found += [
            Relation(item.key, predicate, subject[0], subject[1], item.end) for item in doers if item.key != subject[0]
        ]
        if not doers and predicate in (REVOKES, SUPERSEDES):
            found.append(
                Relation(
                    subject[0],
                    STATUS,
                    {REVOKES: "revoked", SUPERSEDES: "superseded"}[predicate],
                    subject[1],
                    verb.end(),
                )
            )
    return found


def _part_of(passage: Passage) -> list[Relation]:
    found = []
    for verb in _PART_OF.finditer(passage.text):
        subject, wholes = _subject(passage, verb.start()), _objects(passage, verb.end())[:1]
        found += [
            Relation(subject[0], "part of", item.key, subject[1], item.end)
            for item in wholes
            if subject and item.key != subject[0]
        ]
    return found


def _acronyms(passage: Passage) -> list[Relation]:
    """ "Federal Acquisition Regulation (FAR)": the short form's letters begin the words before it."""
    found = []
    for match in _ACRONYM.finditer(passage.text):
        short = match.group(1)
        words = [*re.finditer(r"[\w'’]+", passage.text[max(0, match.start() - 100) : match.start()])]
        letters = [character.lower() for character in short.rstrip("s")]
        for take in range(len(letters), min(len(letters) + 4, len(words)) + 1):
            chosen = words[-take:]
            big = [word.group()[0].lower() for word in chosen if word.group()[0].isupper() or len(word.group()) > 3]
            if big == letters or [word.group()[0].lower() for word in chosen] == letters:
                start = max(0, match.start() - 100) + chosen[0].start()
                long_key, short_key = name_key(passage.text[start : match.start()]), name_key(short)
                if long_key and short_key and long_key != short_key:
                    found.append(Relation(long_key, ALIAS, short_key, start, match.end()))
                break
    return found


def _subject(passage: Passage, end: int) -> tuple[str, int] | None:
    """What the clause before `end` is about: its nearest name, or the document where it says "this directive"."""
    start = _clause_start(passage.text, end)
    clause = passage.text[start:end]
    this = next(reversed(list(_THIS.finditer(clause))), None)
    place = bisect_right(passage.ends, end) - 1
    mention = passage.mentions[place] if place >= 0 and passage.mentions[place].start >= start else None
    if this and passage.document and (mention is None or mention.end <= start + this.end()):
        return passage.document, start + this.start()
    if mention:
        return mention.key, mention.start
    if passage.document and _PRONOUN.search(passage.text[max(0, end - 12) : end].rstrip() + " "):
        return passage.document, max(0, end - 3)
    return None


def _objects(passage: Passage, start: int) -> list[Mention]:
    """Names after `start` in its clause; of nested names the outer one ("section 4 of ED 21-01" is not ED 21-01)."""
    stop = _BREAK.search(passage.text, start, min(len(passage.text), start + AFTER))
    end = stop.start() if stop else start + AFTER
    near = passage.mentions[bisect_left(passage.starts, start) : bisect_left(passage.starts, end)]
    within = [m for m in near if m.end <= end]
    outer = [m for m in within if not any(o.start <= m.start and m.end <= o.end and o != m for o in within)]
    return outer[:MOST]


def _clause_start(text: str, end: int) -> int:
    start = max(0, end - BEFORE)
    for stop in re.finditer(r"[.;!?]\s|\n\s*\n", text[start:end]):
        start = max(start, stop.end() + max(0, end - BEFORE))
    return start


def _distinct(found: Sequence[Relation]) -> list[Relation]:
    return list({(r.subject, r.predicate, r.object, r.start): r for r in found}.values())
