"""Train the second stage: `python -m bench.train_ranker` writes `retrieval/ranker.json` with its training record.

Logistic regression over the candidates of the even-numbered questions of every set, each set weighing the same. The
odd-numbered questions are never looked at here; `make bench` reports on them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.data import SETS, available, questions
from bench.homes import open_set
from bench.multihop import external_ids
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates
from retrieval.features import FIRST, SECOND, first_features, second_features, surroundings
from retrieval.question import understand

TARGET = Path(__file__).resolve().parents[1] / "retrieval" / "ranker.json"
MOST = 400
"""Questions taken of one set at the most."""
Example = tuple[NDArray[np.float64], NDArray[np.int64], float]


def main() -> None:
    """Train both stages and write them."""
    warnings.simplefilter("ignore", FutureWarning)
    gathered = {name: _gather(name) for name in SETS if available(name)}
    first_examples = [(f, y, w) for rows in gathered.values() for f, _, y, w in rows]
    first, _ = _fit(first_examples)
    second_examples = [(again(first), y, w) for rows in gathered.values() for _, again, y, w in rows]
    second, intercept = _fit(second_examples)
    record = {
        "version": 1,
        "first": dict(zip(FIRST, first, strict=True)),
        "second": dict(zip((*FIRST, *SECOND), second, strict=True)),
        "intercept": intercept,
        "training": {
            "method": "logistic regression, L2, C=0.3, standardised features, each set weighs the same",
            "questions": {name: len(rows) for name, rows in gathered.items()},
            "which": f"even-numbered development questions, evenly spread, at most {MOST} a set",
        },
    }
    TARGET.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {TARGET.name}: {record['training']}")


def _gather(name: str) -> list:  # type: ignore[type-arg]
    workspace, _ = open_set(name)
    with workspace:
        state = workspace.snapshots.live()
        view, dense = workspace.library.view(state, LOCAL_OWNER)
        names = external_ids(workspace, state.snapshot)
        chosen = questions(name)[::2]
        chosen = chosen[:: max(1, len(chosen) // MOST)]
        rows = []
        for asked in chosen:
            understood = understand(view, asked.question, workspace.embedder.embed([asked.question])[0])
            candidates = find_candidates(view, dense, understood, workspace.settings.candidates)
            documents = view.index.document_id[candidates.places].tolist()
            labels = np.array([names[document] in asked.supporting for document in documents], np.int64)
            if not labels.any():
                continue
            around = surroundings(view, candidates)
            features = first_features(view, understood, candidates, around)

            def again(
                first: Sequence[float],
                parts: tuple = (view, understood, candidates, around, features),  # type: ignore[type-arg]
            ) -> NDArray[np.float64]:
                key = parts[0].index.key[parts[2].places]
                order = np.lexsort((key, -np.round(parts[4] @ np.array(first), 6)))
                return np.concatenate([parts[4], second_features(*parts, order)], axis=1)

            rows.append((features, again, labels, 1.0))
        return [(f, again, y, 1.0 / len(rows)) for f, again, y, _ in rows]


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
