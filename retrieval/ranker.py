"""The second stage: a linear model over the features of the candidates, its weights kept as plain numbers.

The weights come with a record of what they were trained on (`ranker.json`, written by `bench/train_ranker.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernel.errors import IntegrityFailure
from kernel.ids import canonical_json, sha256
from retrieval.features import FIRST, SECOND, Candidates, Floats, first_features, second_features, surroundings
from retrieval.question import Asked
from retrieval.view import View

SPREAD = 1.0
"""How much a second passage of one document is held back, in units of the model's log-odds."""


@dataclass(frozen=True, slots=True)
class Ranker:
    """Two linear models: `first` weighs how passages fit the question, `second` also how they follow each other."""

    version: int
    sha256: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def rank(self, view: View, asked: Asked, candidates: Candidates) -> Ranking:
        """Score every candidate; best first, of equal scores in the order of the index's key."""
        if not len(candidates.places):
            return Ranking(candidates.places, np.zeros(0), np.zeros((0, len(FIRST) + len(SECOND))))
        around = surroundings(view, candidates)
        first = first_features(view, asked, candidates, around)
        key = view.index.key[candidates.places]
        order = np.lexsort((key, -np.round(first @ self.first, 6)))
        features = np.concatenate([first, second_features(view, asked, candidates, around, first, order)], axis=1)
        score = np.round(_spread(features @ self.second, view.index.document_id[candidates.places], key), 6)
        best = np.lexsort((key, -score))
        return Ranking(candidates.places[best], score[best], features[best])


def _spread(score: Floats, document: NDArray[np.int64], key: NDArray[np.uint64]) -> Floats:
    """Scores less a penalty for each better passage of the same document, so that one document cannot fill the top."""
    order = np.lexsort((key, -np.round(score, 6), document))
    begins = np.flatnonzero(np.append(True, document[order][1:] != document[order][:-1]))
    within = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    spread = score.copy()
    spread[order] -= SPREAD * np.log1p(within)
    return spread


@dataclass(frozen=True, slots=True)
class Ranking:
    """Positions best first, their scores, and the features that the scores come from."""

    places: NDArray[np.int64]
    scores: Floats
    features: Floats


@cache
def shipped_ranker() -> Ranker:
    """The weights that come with this version. Raises IntegrityFailure where they do not fit its features."""
    data = json.loads((Path(__file__).parent / "ranker.json").read_text())
    return ranker_from(data)


def ranker_from(data: Mapping[str, Mapping[str, float]]) -> Ranker:
    """A ranker from its JSON form: `first` and `second` map the name of each feature to its weight."""
    first, second = data["first"], data["second"]
    if set(first) != set(FIRST) or set(second) != {*FIRST, *SECOND}:
        raise IntegrityFailure("the ranker's weights were made for other features; train it again")
    weights = {"first": dict(first), "second": dict(second)}
    return Ranker(
        int(str(data["version"])),
        sha256(canonical_json(weights)),
        np.array([first[name] for name in FIRST]),
        np.array([second[name] for name in (*FIRST, *SECOND)]),
    )
