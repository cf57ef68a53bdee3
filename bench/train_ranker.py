"""Train the second stage: `python -m bench.train_ranker` writes `retrieval/ranker.json` with its training record.

Logistic regression over the candidates of the even-numbered questions of every set, each set weighing the same. The
odd-numbered questions are never looked at here; `make bench` reports on them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.data import SETS, available, questions
from bench.homes import open_set
from bench.multihop import external_ids
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates, search_words
from retrieval.features import (
    FIRST,
    SECOND,
    Candidates,
    Surroundings,
    first_features,
    second_features,
    surroundings,
)
from retrieval.question import Asked
from retrieval.view import View

TARGET = Path(__file__).resolve().parents[1] / "retrieval" / "ranker.json"
MOST = 400
"""Questions taken of one set at the most."""
Example = tuple[NDArray[np.float64], NDArray[np.int64], float]


@dataclass(frozen=True, slots=True)
class Case:
    """A question's candidates with what their features are made from, and which of them are right."""

    view: View
    asked: Asked
    candidates: Candidates
    around: Surroundings
    first: NDArray[np.float64]
    right: NDArray[np.int64]
    weight: float

    def second(self, weights: Sequence[float]) -> NDArray[np.float64]:
        """All features, those of the second stage after a first stage with these weights."""
        key = self.view.index.key[self.candidates.places]
        order = np.lexsort((key, -np.round(self.first @ np.array(weights), 6)))
        more = second_features(self.view, self.asked, self.candidates, self.around, self.first, order)
        return np.concatenate([self.first, more], axis=1)


def main() -> None:
    """Train both stages and write them."""
    warnings.simplefilter("ignore", FutureWarning)
    gathered = {name: _gather(name) for name in SETS if available(name)}
    cases = [case for some in gathered.values() for case in some]
    first, _ = _fit([(case.first, case.right, case.weight) for case in cases])
    second, intercept = _fit([(case.second(first), case.right, case.weight) for case in cases])
    record = {
        "version": 1,
        "first": dict(zip(FIRST, first, strict=True)),
        "second": dict(zip((*FIRST, *SECOND), second, strict=True)),
        "intercept": intercept,
        "training": {
            "method": "logistic regression, L2, C=0.3, standardised features, each set weighs the same",
            "questions": {name: len(some) for name, some in gathered.items()},
            "which": f"even-numbered development questions, evenly spread, at most {MOST} a set",
        },
    }
    TARGET.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {TARGET.name}: {record['training']}")


def _gather(name: str) -> list[Case]:
    workspace, _ = open_set(name)
    with workspace:
        state = workspace.snapshots.live()
        view, dense = workspace.library.view(state, LOCAL_OWNER)
        names = external_ids(workspace, state.snapshot)
        chosen = questions(name)[::2]
        chosen = chosen[:: max(1, -(-len(chosen) // MOST))]
        cases = []
        for one in chosen:
            wording = search_words(view, one.question, workspace.settings.candidates)
            asked = Asked(one.question, workspace.embedder.embed([one.question])[0], wording.entities)
            candidates = find_candidates(view, dense, asked, wording, workspace.settings.candidates)
            documents = view.index.document_id[candidates.places].tolist()
            right = np.array([names[document] in one.supporting for document in documents], np.int64)
            if right.any():
                around = surroundings(view, candidates)
                first = first_features(view, asked, candidates, around)
                cases.append(Case(view, asked, candidates, around, first, right, 1.0))
        return [replace(case, weight=1.0 / len(cases)) for case in cases]


def _fit(examples: Sequence[Example]) -> tuple[list[float], float]:
    features = np.concatenate([f for f, _, _ in examples])
    labels = np.concatenate([y for _, y, _ in examples])
    weights = np.concatenate([np.full(len(y), w / y.sum()) for _, y, w in examples])
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    model = LogisticRegression(C=0.3, max_iter=5000)
    model.fit((features - mean) / spread, labels, sample_weight=weights / weights.mean())
    scaled = model.coef_[0] / spread
    return [round(float(x), 4) for x in scaled], round(float(model.intercept_[0] - (scaled * mean).sum()), 4)


if __name__ == "__main__":
    main()
