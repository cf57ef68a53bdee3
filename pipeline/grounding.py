"""Tying every sentence of an answer to exact quotes, and saying how far they carry it.

Each sentence is checked against what it cites (`pipeline/claims.py`): supported, contradicted or not found, with the
probability that it is supported. A citation of something that was not in the context is dropped, and a sentence left
without one is marked as not found. Where a judge is configured it is asked about what no rule decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from nupunkt import sent_spans

from graph.mentions import find_mentions
from kernel.errors import Unavailable
from kernel.ids import sha256
from kernel.ports import Embedder, Judge
from kernel.records import (
    AnswerSentence,
    AnswerStatus,
    Citation,
    Conflict,
    Evidence,
    Generation,
    Grounded,
    MentionKind,
    Passage,
    Support,
)
from pipeline.calibration import confidence_of, shipped_confidence
from pipeline.claims import ENOUGH, NOT_FOUND, SUPPORTED, shipped_checker, verbatim
from pipeline.reading import Reading, readings
from pipeline.wording import clean, is_field
from retrieval.analysis import content_terms

SAME_MATTER = 0.6
"""Share of terms that two sentences must have in common to speak of the same matter."""

_CITED = re.compile(r"((?:\s*\[c\d{1,4}\])+)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|cannot|without|n't)\b|n't\b", re.IGNORECASE)
_ABSTAINED = re.compile(r"^\W*not found\W*$", re.IGNORECASE)
USED, FAILED = "used", "failed: "
NOTHING = "The model found no answer in the passages that it was given."


@dataclass(slots=True)
class _Book:
    """Citations made so far, one for each distinct quote."""

    evidence: Evidence
    items: list[Citation] = field(default_factory=list)
    known: dict[tuple[str, int, int], Citation] = field(default_factory=dict)

    def cite(self, passage: Passage, start: int, end: int) -> Citation:
        key = (passage.chunk_id, start, end)
        if key not in self.known:
            self.known[key] = _citation(f"c{len(self.items) + 1}", passage, start, end)
            self.items.append(self.known[key])
        return self.known[key]


@dataclass(frozen=True, slots=True)
class Checks:
    """What sentences are checked with: they count as supported from probability `supported` on. Without an embedder
    words are compared by their stems alone.
    """

    supported: float = ENOUGH
    embedder: Embedder | None = None
    judge: Judge | None = None

    @property
    def method(self) -> dict[str, object]:
        """What takes part in a check, and how: part of what a record pins."""
        found: dict[str, object] = {
            "claims": shipped_checker().digest,
            "confidence": shipped_confidence().digest,
            "supported": self.supported,
        }
        if self.judge is not None:
            found["judge"] = {"model": self.judge.model, "prompt": self.judge.prompt}
        return found


@dataclass(frozen=True, slots=True)
class _Said:
    """A sentence of a reply and the citations that it was given."""

    text: str
    citations: tuple[Citation, ...]

    @property
    def titles(self) -> str:
        return " ".join(dict.fromkeys(citation.title for citation in self.citations))

    @property
    def quotes(self) -> tuple[str, ...]:
        return tuple(clean(citation.quote) for citation in self.citations)


def ground(generation: Generation, evidence: Evidence, checks: Checks | None = None, question: str = "") -> Grounded:
    """The answer with its sentences, citations, conflicts and notices, and how far it may be relied on.

    `confidence` is the probability that the answer is right (`pipeline/calibration.py`), 0 where there is none;
    `question` says what kind of thing is asked for.
    """
    checks = checks or Checks()
    if not generation.text.strip() or _ABSTAINED.match(generation.text):
        return Grounded(AnswerStatus.ABSTAINED, generation.reason or NOTHING, "", 0.0)
    book = _Book(evidence)
    said = [_Said(claim, tuple(_cite(claim, numbers, book))) for claim, numbers in _claims(generation.text)]
    text, sentences = _laid_out(said, _supports(said, checks))
    conflicts = _conflicts(book)
    status, reason = _decide(sentences, conflicts, generation.reason)
    if status == AnswerStatus.ABSTAINED:
        return Grounded(status, reason, "", 0.0)
    notices = tuple(dict.fromkeys(notice for citation in book.items for notice in citation.notices))
    found = Grounded(status, reason, text, 0.0, tuple(sentences), tuple(book.items), conflicts, notices)
    return replace(found, confidence=confidence_of(found, evidence, question))


def _laid_out(said: Sequence[_Said], supports: Sequence[Support]) -> tuple[str, list[AnswerSentence]]:
    """The answer's text and its sentences, each with its place in it."""
    text, sentences = "", []
    for one, support in zip(said, supports, strict=True):
        start = len(text) + (1 if text else 0)
        text = f"{text} {one.text}" if text else one.text
        ids = tuple(dict.fromkeys(citation.id for citation in one.citations))
        sentences.append(AnswerSentence(start, len(text), one.text, ids, support))
    return text, sentences


def _supports(said: Sequence[_Said], checks: Checks) -> list[Support]:
    """The support of each sentence. All that need vectors share one batch; sentences taken word for word need none."""
    plain = [not one.citations or verbatim(one.text, one.quotes, one.titles) for one in said]
    texts = [text for one, skip in zip(said, plain, strict=True) if not skip for text in (one.text, *one.quotes)]
    texts = list(dict.fromkeys(texts))
    read = dict(zip(texts, readings(texts, checks.embedder), strict=True))
    return [
        (Support(SUPPORTED, 1.0) if one.citations else Support(NOT_FOUND, 0.0)) if skip else _support(one, read, checks)
        for one, skip in zip(said, plain, strict=True)
    ]


def _support(said: _Said, read: Mapping[str, Reading], checks: Checks) -> Support:
    quotes = [read[quote] for quote in said.quotes]
    verdict = shipped_checker().check(read[said.text], quotes, said.titles, checks.supported)
    if checks.judge is None or verdict.certain is not None:
        return verdict.support
    try:
        return replace(checks.judge.judge(said.text, said.quotes), judge=USED)
    except Unavailable as error:
        return replace(verdict.support, judge=f"{FAILED}{error}")


def _claims(reply: str) -> Iterator[tuple[str, list[int]]]:
    """Each sentence of a reply with the numbers of the passages that it cites.

    Marks at the end of several sentences count for each of them: whether they hold is checked for each.
    """
    parts = _CITED.split(reply)
    for text, marks in zip(parts[0::2], [*parts[1::2], ""], strict=True):
        said = text.strip().lstrip(".,;:").strip()
        spans = [said[a:b].strip() for a, b in sent_spans(said)] if said else []
        spans = [clean(span) for span in spans if re.search(r"\w", span)]
        numbers = [int(number) for number in re.findall(r"\d+", marks)]
        yield from ((span, numbers) for span in spans)


def _cite(claim: str, numbers: Sequence[int], book: _Book) -> list[Citation]:
    wanted = set(content_terms(claim))
    citations: list[Citation] = []
    for number in dict.fromkeys(numbers):
        if 1 <= number <= len(book.evidence.passages):
            passage = book.evidence.passages[number - 1]
            start, end = _best_span(passage, wanted - set(content_terms(passage.title)) or wanted)
            citations.append(book.cite(passage, start, end))
    return citations


def _best_span(passage: Passage, wanted: set[str]) -> tuple[int, int]:
    """The sentence, or two neighbours where both are needed, that holds most of the wanted terms."""
    spans = [(sentence.start, sentence.end) for sentence in passage.sentences] or [(0, len(passage.text))]
    pairs = [(a[0], b[1]) for a, b in pairwise(spans)]
    best, best_score = spans[0], -1.0
    for start, end in (*spans, *pairs):
        held = len(wanted & set(content_terms(passage.text[start:end])))
        score = held - 0.001 * (end - start) / max(len(passage.text), 1) - 0.5 * ((start, end) in pairs)
        if score > best_score:
            best, best_score = (start, end), score
    return best


def _citation(number: str, passage: Passage, start: int, end: int) -> Citation:
    quote = passage.text[start:end]
    return Citation(
        id=number,
        document_id=passage.document_id,
        external_id=passage.external_id,
        revision=passage.revision,
        title=passage.title,
        uri=passage.uri,
        page=passage.page,
        chunk_id=passage.chunk_id,
        start=passage.start + start,
        end=passage.start + end,
        quote=quote,
        quote_sha256=sha256(quote),
        path=passage.path,
        notices=passage.notices,
    )


def _conflicts(book: _Book) -> tuple[Conflict, ...]:
    """Sentences of other documents in the context that give other numbers, or the opposite, on a cited matter."""
    found: list[Conflict] = []
    for citation in tuple(book.items):
        mine = set(content_terms(clean(citation.quote)))
        for passage in book.evidence.passages:
            if passage.document_id == citation.document_id or len(mine) < 4:
                continue
            for sentence in passage.sentences:
                reason = _disagreement(citation.quote, mine, passage.text[sentence.start : sentence.end])
                if reason:
                    other = book.cite(passage, sentence.start, sentence.end)
                    found.append(Conflict((citation.id, other.id), reason))
    return tuple(found[:4])


def _disagreement(quote: str, mine: set[str], other: str) -> str | None:
    """How two sentences on the same matter, of the same things, differ; None where they are not, or do not."""
    theirs = set(content_terms(clean(other)))
    words = {term for term in mine if not term[0].isdigit()}
    common = words & theirs
    if len(common) < 4 or len(common) < SAME_MATTER * max(len(words), len({t for t in theirs if not t[0].isdigit()})):
        return None
    if is_field(clean(quote)) or is_field(clean(other)) or _named(quote) != _named(other):
        return None
    one, two = set(_NUMBER.findall(quote)), set(_NUMBER.findall(other))
    if one - two and two - one:
        return f"one says {', '.join(sorted(one - two))}, the other {', '.join(sorted(two - one))}"
    if bool(_NEGATION.search(quote)) != bool(_NEGATION.search(other)):
        return "one says what the other denies"
    return None


def _named(text: str) -> set[str]:
    kinds = (MentionKind.NAME, MentionKind.CODE)
    return {mention.key for mention in find_mentions(clean(text)) if mention.kind in kinds and mention.start > 0}


def _decide(
    sentences: Sequence[AnswerSentence], conflicts: Sequence[Conflict], reason: str | None
) -> tuple[AnswerStatus, str | None]:
    supported = sum(sentence.support.label == SUPPORTED for sentence in sentences)
    if not sentences or supported == 0:
        return AnswerStatus.ABSTAINED, "Nothing in the reply is supported by the passages that it cites."
    if supported < len(sentences):
        rest = len(sentences) - supported
        return AnswerStatus.PARTIAL, f"{rest} of {len(sentences)} sentences are not supported by what they cite."
    if conflicts:
        return AnswerStatus.PARTIAL, "The documents disagree: see conflicts."
    return (AnswerStatus.PARTIAL, reason) if reason else (AnswerStatus.ANSWERED, None)
