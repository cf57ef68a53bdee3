"""How likely an answer is right, from what can be seen of it: one probability, calibrated on labelled questions.

Logistic regression (Platt 1999) over a few features of the answer and its evidence, each bent at three places, so that
a step up may count for more where a feature is low than where it is high. Which way each feature counts is fixed
(`ANSWER_FEATURES`): more of the question held by a quote, or a wider lead over other documents, never makes an answer
less sure. Weights and training record are in `confidence.json`, written by `python -m bench.answers`. It was fitted on
answers by the extractive pipeline, whose sentences are nearly all plain quotes; how far other sentences are supported
is multiplied in. `docs/benchmarks.md` reports how well it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kernel.errors import IntegrityFailure
from kernel.ids import sha256
from kernel.records import AnswerStatus, Citation, Evidence, Grounded, Passage
from pipeline.claims import SUPPORTED
from pipeline.extractive import question_rarity
from pipeline.reading import Floats
from pipeline.wording import asking_words, base_form, clean, expected_kind, things_of_kind
from retrieval.analysis import terms

ANSWER_FEATURES: Mapping[str, int] = {
    "quote_holds": 1,
    "others_add": 1,
    "lacks": -1,
    "score": 1,
    "lead": 1,
    "similarity": 1,
    "asked_kind": 1,
    "open": -1,
}
"""Features, and whether more of one makes an answer more (1) or less (-1) likely right."""
BENDS = (-1.0, 0.0, 1.0)
"""Where a feature's weight changes, in spreads from its mean."""
FAR = 3.0
"""Spreads from the mean beyond which a feature says no more: nothing was seen there when the weights were fitted."""
UNRELATED = -4.0
"""About the score of a passage that has nothing to do with a question: the rival where no other one came up."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """Weights `[features, len(BENDS) + 1]`, one for each stretch of a feature less its `mean` and over its `spread`."""

    mean: Floats
    spread: Floats
    weights: Floats
    bias: float
    digest: str

    def chance(self, features: Floats) -> float:
        """P(right), rounded to four places."""
        score = float((stretches(features, self.mean, self.spread) * self.weights).sum() + self.bias)
        return round(1.0 / (1.0 + float(np.exp(-score))), 4)


def stretches(features: Floats, mean: Floats, spread: Floats) -> Floats:
    """How far features `[…, n]` reach into each stretch between the BENDS, from the mean outwards: `[…, n, 4]`."""
    edges = np.array([-FAR, *BENDS, FAR])
    reached = ((features - mean) / spread)[..., None]
    found: Floats = np.clip(reached, edges[:-1], edges[1:]) - np.clip(0.0, edges[:-1], edges[1:])
    return found


def support_of(grounded: Grounded) -> float:
    """The least score of its supported sentences, by the share of sentences that are supported: 1 for plain quotes."""
    scores = [one.support.score for one in grounded.sentences if one.support.label == SUPPORTED]
    return min(scores, default=0.0) * len(scores) / max(len(grounded.sentences), 1)


def confidence_of(grounded: Grounded, evidence: Evidence, question: str) -> float:
    """P(the answer is right): that it would be if its sentences held, times how far they do."""
    chance = shipped_confidence().chance(answer_features(grounded, evidence, question))
    return round(chance * support_of(grounded), 4)


def answer_features(grounded: Grounded, evidence: Evidence, question: str) -> Floats:
    """`[len(ANSWER_FEATURES)]` of an answer with at least one sentence.

    Terms are those of the question but for the ones that only say what kind of answer is wanted, as "how long".
    `quote_holds` is the share of them, by rarity, that the best single quote with its title holds, and
    `lacks` the rarest that it does not, as a share of the rarest of all; terms that no document holds count as the
    rarest. `others_add` is the share that other quotes and headings hold besides. `score` is the ranker's for the best
    cited passage, `lead` what that has over the best passage of any other document, `similarity` the cosine of the
    question to the best cited sentence. `asked_kind`: whether quotes have a name, number or time where one is asked
    for that the question does not have itself (1 or -1; 0 where its words do not say). `open`: a part of the question
    is known to be unanswered.
    """
    asking = terms(asking_words(question))
    rarity = question_rarity(question, evidence) or evidence.rarity
    rarity = {base_form(term): weight for term, weight in rarity.items() if term not in asking}
    used = {number for sentence in grounded.sentences for number in sentence.citations}
    cited = [citation for citation in grounded.citations if citation.id in used]
    chunks = {citation.chunk_id for citation in cited}
    passages = [passage for passage in evidence.passages if passage.chunk_id in chunks]
    score = max((passage.score for passage in passages), default=0.0)
    values = [
        *_holding(rarity, cited, [heading for passage in passages for heading in passage.heading]),
        score,
        score - _rival(evidence, passages),
        max((_similarity(citation, evidence) for citation in cited), default=0.0),
        _of_asked_kind(question, cited),
        float(grounded.status == AnswerStatus.PARTIAL and not grounded.conflicts),
    ]
    found: Floats = np.round(np.array(values), 4)
    return found


def _rival(evidence: Evidence, cited: Sequence[Passage]) -> float:
    """The best score of a passage of another document; where none was shown, of whatever else was considered."""
    documents, chunks = {passage.document_id for passage in cited}, {passage.chunk_id for passage in cited}
    others = [passage.score for passage in evidence.passages if passage.document_id not in documents]
    others = others or [score for chunk, score in evidence.candidates if chunk not in chunks]
    return max(others, default=UNRELATED)


def _holding(rarity: Mapping[str, float], cited: Sequence[Citation], headings: Sequence[str]) -> tuple[float, ...]:
    """`quote_holds`, `others_add` and `lacks`."""
    total, most = sum(rarity.values()), max(rarity.values(), default=0.0)
    quotes = [_bases(f"{one.quote} {one.title}") & rarity.keys() for one in cited]
    if not total or not quotes:
        return 0.0, 0.0, 1.0
    best = max(quotes, key=lambda held: _weight(held, rarity))
    every = _bases(" ".join(headings)).union(*quotes) & rarity.keys()
    lacks = max((weight for term, weight in rarity.items() if term not in best), default=0.0)
    return _weight(best, rarity) / total, _weight(every - best, rarity) / total, lacks / most


def _bases(text: str) -> frozenset[str]:
    return frozenset(base_form(term) for term in terms(text))


def _weight(held: frozenset[str], rarity: Mapping[str, float]) -> float:
    return round(sum(weight for term, weight in rarity.items() if term in held), 9)


def _of_asked_kind(question: str, cited: Sequence[Citation]) -> float:
    kind = expected_kind(question)
    if kind is None:
        return 0.0
    known = " ".join([question, *(citation.title for citation in cited)]).casefold()
    told = (one for citation in cited for one in things_of_kind(kind, clean(citation.quote)))
    return 1.0 if any(one.casefold() not in known for one in told) else -1.0


def _similarity(citation: Citation, evidence: Evidence) -> float:
    """The cosine to the question of the best sentence within a citation."""
    for passage in evidence.passages:
        if passage.chunk_id == citation.chunk_id:
            start, end = citation.start - passage.start, citation.end - passage.start
            return max((one.score for one in passage.sentences if start <= one.start < end), default=0.0)
    return 0.0


@cache
def shipped_confidence() -> Confidence:
    """The weights that come with the program. Raises IntegrityFailure where they are of other features."""
    text = Path(__file__).with_name("confidence.json").read_text(encoding="utf-8")
    return read_confidence(json.loads(text), sha256(text))


def read_confidence(kept: Mapping[str, Any], digest: str) -> Confidence:
    """Weights from their JSON form. Raises IntegrityFailure where their features are not this program's."""
    if list(kept["features"]) != list(ANSWER_FEATURES):
        raise IntegrityFailure("confidence.json was made for other features; fit it anew: python -m bench.answers")
    arrays = [np.array(kept[name], dtype=np.float64) for name in ("mean", "spread", "weights")]
    if arrays[2].shape != (len(ANSWER_FEATURES), len(BENDS) + 1):
        raise IntegrityFailure("confidence.json does not have a weight for each stretch of each feature")
    return Confidence(arrays[0], arrays[1], arrays[2], float(kept["bias"]), digest)
