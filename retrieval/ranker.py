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


@dataclass(frozen=True, slots=True)
class Ranker:
    """Two linear models: `first` weighs how passages fit the question, `second` also how they follow each other."""

    version: int
    sha256: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def rank(self, view: View, asked: Asked, candidates: Candidates) -> Ranking:
        """Score every candidate; best first, of equal scores the lower position first."""
        if not len(candidates.places):
            return Ranking(candidates.places, np.zeros(0), np.zeros((0, len(FIRST) + len(SECOND))))
        around = surroundings(view, candidates)
        first = first_features(view, asked, candidates, around)
        order = np.argsort(-(first @ self.first), kind="stable")
        features = np.concatenate([first, second_features(view, asked, candidates, around, first, order)], axis=1)
        score = np.round(features @ self.second, 6)
        best = np.lexsort((candidates.places, -score))
        return Ranking(candidates.places[best], score[best], features[best])


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
