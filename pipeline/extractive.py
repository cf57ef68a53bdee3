"""The generator that needs no model: it picks the sentences that answer, orders them, cites each, or abstains.

Deterministic: a function of the question and its evidence alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graph.names import STOPWORDS
from kernel.ports import GenerationRequest
from kernel.records import Evidence, Generation, ModelInfo, Passage
from pipeline.wording import clean, is_field, is_prose
from retrieval.analysis import content_terms, terms
from retrieval.context import not_in_force

NAME = "sentence-selection-1"
NOT_FOUND = "The documents do not say."

MOST_SENTENCES = 3
PASSAGES = 6


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each sign counts that a sentence answers, and how sure the best must be for an answer at all."""

    similarity: float = 1.0
    coverage: float = 0.9
    title_coverage: float = 0.35
    kind: float = 0.15
    rank: float = 0.12
    further: float = 0.62
    enough: float = 0.95
    least_coverage: float = 0.4


@dataclass(frozen=True, slots=True)
class Choice:
    """A sentence of a passage that may answer. `covers` are the question's terms that it or its title holds."""

    passage: int
    start: int
    end: int
    text: str
    score: float
    covers: frozenset[str]
    own: frozenset[str]


class ExtractiveGenerator:
    """Answers in sentences of the documents themselves."""

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights()

    @property
    def info(self) -> ModelInfo:
        """The name of the method, and its weights as parameters."""
        names = self._weights.__dataclass_fields__
        return ModelInfo("extractive", NAME, {name: getattr(self._weights, name) for name in names})

    def generate(self, request: GenerationRequest) -> Generation:
        """Up to three sentences, each followed by the number of its passage; or an abstention with its reason."""
        rarity = question_rarity(request.question, request.evidence)
        choices = rank_sentences(request.question, request.evidence, rarity, self._weights)
        if not choices:
            return Generation("", "No passage that you may see bears on the question.")
        reason = self._doubt(choices, rarity)
        if reason:
            return Generation("", reason)
        picked = self._pick(choices, rarity)
        lines = [
            f"{_shown(choice, request.evidence.passages[choice.passage])} [c{choice.passage + 1}]" for choice in picked
        ]
        return Generation("\n".join(lines))

    def _doubt(self, choices: Sequence[Choice], rarity: Mapping[str, float]) -> str | None:
        best = choices[0]
        missing = [term for term in rarity if not any(term in choice.covers for choice in choices)]
        total = sum(rarity.values())
        held = 1 - sum(rarity[term] for term in missing) / total if total else 0.0
        if best.score < self._weights.enough or held < self._weights.least_coverage:
            return "No passage that you may see answers the question; the nearest ones speak of other things."
        return None

    def _pick(self, choices: Sequence[Choice], rarity: Mapping[str, float]) -> list[Choice]:
        """The best sentence, then those that are nearly as good and cover terms of the question still missing."""
        picked = [choices[0]]
        for choice in choices[1:]:
            if len(picked) == MOST_SENTENCES:
                break
            covered = frozenset().union(*(one.covers for one in picked))
            gain = sum(rarity[term] for term in choice.covers - covered) / max(sum(rarity.values()), 1e-9)
            if choice.score >= self._weights.further * choices[0].score and gain > 0.1 and not _repeats(choice, picked):
                picked.append(choice)
        return sorted(picked, key=lambda choice: (choice.passage, choice.start)) if len(picked) > 1 else picked


def question_rarity(question: str, evidence: Evidence) -> dict[str, float]:
    """The question's content terms with their rarity; terms that no visible document holds weigh most."""
    most = max(evidence.rarity.values(), default=1.0)
    return {term: evidence.rarity.get(term, most) for term in dict.fromkeys(content_terms(question))}


def rank_sentences(question: str, evidence: Evidence, rarity: Mapping[str, float], weights: Weights) -> list[Choice]:
    """Sentences of the best passages, most promising first; ties by their place in the context."""
    wanted = expected_kind(question)
    total = max(sum(rarity.values()), 1e-9)
    found: list[Choice] = []
    for number, passage in enumerate(evidence.passages[:PASSAGES]):
        above = set(terms(" ".join((passage.title, *passage.heading)))) & rarity.keys()
        for sentence in passage.sentences:
            raw = passage.text[sentence.start : sentence.end]
            text = clean(raw)
            if not is_prose(text):
                continue
            own = set(terms(text)) & rarity.keys()
            score = (
                weights.similarity * sentence.score
                + weights.coverage * sum(rarity[term] for term in own) / total
                + weights.title_coverage * sum(rarity[term] for term in above - own) / total
                + weights.kind * (wanted is not None and bool(wanted.search(text)))
                + weights.rank / (1 + number)
                - 0.3 * not_in_force(passage)
            )
            found.append(
                Choice(
                    number, sentence.start, sentence.end, text, round(score, 6), frozenset(own | above), frozenset(own)
                )
            )
    return sorted(found, key=lambda choice: (-choice.score, choice.passage, choice.start))


_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|thirty|hundred|thousand|half)\b", re.I
)
_TIME = re.compile(
    r"\b\d{4}\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
    r"|\d[ -](?:day|week|month|year|hour|minute)",
    re.I,
)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+|\b[A-Z]{2,}\b")
_KINDS = (
    (
        re.compile(
            r"\b(?:how (?:many|much|often|large|big|high)|what (?:number|percentage|share|length|size))\b", re.I
        ),
        _NUMBER,
    ),
    (
        re.compile(
            r"\b(?:when|how (?:long|soon|quickly|fast)|by when|what (?:date|year|day)|which (?:date|year|day))\b", re.I
        ),
        _TIME,
    ),
    (re.compile(r"\b(?:who|whom|whose|where)\b", re.I), _NAME),
)


def expected_kind(question: str) -> re.Pattern[str] | None:
    """What an answer to the question should hold: a number, a time, a name; None where its words do not say."""
    return next((kind for asks, kind in _KINDS if asks.search(question)), None)


def _shown(choice: Choice, passage: Passage) -> str:
    """The sentence as the answer says it; a bare field ("License: MIT") is told with what it is a field of."""
    text = choice.text if choice.text[-1] in ".!?" else f"{choice.text}."
    return f"{passage.title} — {text}" if is_field(choice.text) and passage.title not in choice.text else text


def _repeats(choice: Choice, picked: Sequence[Choice]) -> bool:
    mine = set(terms(choice.text)) - STOPWORDS
    return any(len(mine & set(terms(one.text))) >= 0.8 * max(len(mine), 1) for one in picked)
