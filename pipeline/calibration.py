"""How likely an answer is right, from what can be seen of it: one probability, calibrated on labelled questions.

Logistic regression (Platt 1999) over a few features of the answer and its evidence; weights and training record are in
`confidence.json`, written by `python -m bench.answers`. It was fitted on answers by the extractive pipeline, whose
sentences are nearly all plain quotes; how far other sentences are supported is multiplied in. `docs/benchmarks.md`
reports how well it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kernel.errors import IntegrityFailure
from kernel.ids import sha256
from kernel.records import AnswerStatus, Citation, Evidence, Grounded
from pipeline.claims import SUPPORTED
from pipeline.reading import Floats
from retrieval.analysis import terms

ANSWER_FEATURES = (
    "cited_similarity",
    "coverage",
    "quote_coverage",
    "documents",
    "length",
    "others_gap",
    "conflicts",
    "open",
)
FAR = 3.0
"""Spreads from the mean beyond which a feature says no more: nothing was seen there when the weights were fitted."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """Weights `[features]` over features less their `mean` and over their `spread`."""

    mean: Floats
    spread: Floats
    weights: Floats
    bias: float
    digest: str

    def chance(self, features: Floats) -> float:
        """P(right), rounded to four places."""
        score = float(standing(features, self.mean, self.spread) @ self.weights + self.bias)
        return round(1.0 / (1.0 + float(np.exp(-score))), 4)


def standing(features: Floats, mean: Floats, spread: Floats) -> Floats:
    """Features in spreads from the mean, at most FAR."""
    found: Floats = np.clip((features - mean) / spread, -FAR, FAR)
    return found


def support_of(grounded: Grounded) -> float:
    """The least score of its supported sentences, by the share of sentences that are supported: 1 for plain quotes."""
    scores = [one.support.score for one in grounded.sentences if one.support.label == SUPPORTED]
    return min(scores, default=0.0) * len(scores) / max(len(grounded.sentences), 1)


def confidence_of(grounded: Grounded, evidence: Evidence) -> float:
    """P(the answer is right): that it would be if its sentences held, times how far they do."""
    chance = shipped_confidence().chance(answer_features(grounded, evidence))
    return round(chance * support_of(grounded), 4)


def answer_features(grounded: Grounded, evidence: Evidence) -> Floats:
    """`[len(ANSWER_FEATURES)]` of an answer with at least one sentence."""
    used = {number for sentence in grounded.sentences for number in sentence.citations}
    cited = [citation for citation in grounded.citations if citation.id in used]
    shown = " ".join([grounded.answer, *(citation.title for citation in cited)])
    quotes = " ".join(citation.quote for citation in cited)
    values = [
        max((_similarity(citation, evidence) for citation in cited), default=0.0),
        _coverage(shown, evidence),
        _coverage(quotes, evidence),
        min(len({citation.document_id for citation in cited}), 4) / 4,
        np.tanh(len(grounded.answer) / 400),
        _gap(evidence),
        float(bool(grounded.conflicts)),
        float(grounded.status == AnswerStatus.PARTIAL and not grounded.conflicts),
    ]
    found: Floats = np.round(np.array(values), 4)
    return found


def _similarity(citation: Citation, evidence: Evidence) -> float:
    """The cosine to the question of the best sentence within a citation."""
    for passage in evidence.passages:
        if passage.chunk_id == citation.chunk_id:
            start, end = citation.start - passage.start, citation.end - passage.start
            return max((one.score for one in passage.sentences if start <= one.start < end), default=0.0)
    return 0.0


def _coverage(text: str, evidence: Evidence) -> float:
    """The share of the question's terms, by rarity, that a text holds."""
    held = frozenset(terms(text))
    total = sum(evidence.rarity.values())
    return sum(weight for term, weight in evidence.rarity.items() if term in held) / total if total else 0.0


def _gap(evidence: Evidence) -> float:
    """The gap between the second and the third passage's score, squashed."""
    scores = sorted((passage.score for passage in evidence.passages), reverse=True)
    return float(np.tanh((scores[1] - scores[2]) / 8)) if len(scores) > 2 else 0.0


@cache
def shipped_confidence() -> Confidence:
    """The weights that come with the program. Raises IntegrityFailure where they are of other features."""
    text = Path(__file__).with_name("confidence.json").read_text(encoding="utf-8")
    return read_confidence(json.loads(text), sha256(text))


def read_confidence(kept: Mapping[str, Any], digest: str) -> Confidence:
    """Weights from their JSON form. Raises IntegrityFailure where their features are not this program's."""
    if tuple(kept["features"]) != ANSWER_FEATURES:
        raise IntegrityFailure("confidence.json was made for other features; fit it anew: python -m bench.answers")
    arrays = [np.array(kept[name], dtype=np.float64) for name in ("mean", "spread", "weights")]
    return Confidence(arrays[0], arrays[1], arrays[2], float(kept["bias"]), digest)
