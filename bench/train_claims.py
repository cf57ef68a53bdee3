"""Train the claim model: `python -m bench.train_claims` writes `pipeline/claims.json` with its training record.

Learned from the even half of SciFact's claims, from the same with one word turned to its opposite, and from the half 0
of claims made from plain sentences (`bench/made_claims.py`); the other halves are never looked at here, `python -m
bench.claims` reports on them. Multinomial logistic regression with an L2 penalty, once with and once without the
features that need vectors. `python -m bench.train_claims check` writes nothing: it prints how well each variant does on
folds of SciFact's even half, and of the made claims, that it was not trained on.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.homes import HOME
from bench.made_claims import Item, made, scifact, turned_claims
from kernel.ids import sha256
from kernel.ports import Embedder
from kernel.providers.embedder import OnnxEmbedder, ensure_model
from kernel.settings import Settings
from pipeline.claims import LABELS, ClaimModel, forbidden, label_of
from pipeline.evidence_features import FEATURES, Pair, features_of
from pipeline.reading import Floats, Reading, readings

TARGET = Path(__file__).resolve().parents[1] / "pipeline" / "claims.json"
PENALTY = 3.0
"""Weight of the squared coefficients beside the summed loss of items."""
WEIGHT = {"turned": 0.4, "made": 0.1}
"""What an item of these kinds weighs beside one of SciFact's own."""
FOLDS = 5
BATCH = 256


@dataclass(frozen=True, slots=True)
class Table:
    """Items with their features, with vectors and without, `[items, features]` each; `ruled` is what a rule says."""

    items: tuple[Item, ...]
    rich: Floats
    plain: Floats
    ruled: tuple[str | None, ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each item."""
        return np.array([one.label for one in self.items])


def local_embedder() -> OnnxEmbedder:
    """The embedding model of the settings, on one thread; it is made first where it is not there yet."""
    folder = Settings.load(home=HOME).model_folder
    ensure_model(folder)
    return OnnxEmbedder(folder, 1)


def tabulate(items: Sequence[Item], embedder: Embedder) -> Table:
    """The features of items."""
    texts = list(dict.fromkeys(text for one in items for text in (one.claim, one.quote)))
    rich: dict[str, Reading] = {}
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        rich |= dict(zip(some, readings(some, embedder), strict=True))
    plain = dict(zip(texts, readings(texts, None), strict=True))
    pairs = [[Pair(read[one.claim], [read[one.quote]], one.title) for one in items] for read in (rich, plain)]
    tables = [np.array([features_of(pair) for pair in some]) for some in pairs]
    return Table(tuple(items), tables[0], tables[1], tuple(forbidden(pair) for pair in pairs[0]))


def is_made(item: Item) -> bool:
    """Whether an item was made from a plain sentence."""
    return not item.group.startswith("scifact ")


def fit(rows: Floats, labels: NDArray[np.int64], weights: Floats, penalty: float = PENALTY) -> ClaimModel:
    """The weights that make the labels most likely, of features that vary; the rest weigh nothing."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    inputs = torch.tensor((rows - mean) / spread, dtype=torch.float64)
    wanted, share = torch.tensor(labels), torch.tensor(weights, dtype=torch.float64)
    matrix = torch.zeros((len(LABELS), rows.shape[1]), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(LABELS), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([matrix, bias], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-7)

    def loss() -> torch.Tensor:
        search.zero_grad()
        each = torch.nn.functional.cross_entropy(inputs @ matrix.T + bias, wanted, reduction="none")
        value = (each * share).sum() + penalty * (matrix**2).sum()
        value.backward()
        return value

    search.step(loss)
    return ClaimModel(mean, spread, matrix.detach().numpy().copy(), bias.detach().numpy().copy())


def weights_of(table: Table, weight: dict[str, float]) -> Floats:
    """How much each item counts. What a rule decides anyway is no lesson, unless people wrote it."""
    found = np.array([weight["made"] if is_made(one) else weight.get(one.kind, 1.0) for one in table.items])
    ours = np.array([is_made(one) or one.kind == "turned" for one in table.items])
    decided = np.array([label is not None for label in table.ruled])
    return np.where(ours & decided, 0.0, found)


def said_of(table: Table, chances: Floats) -> NDArray[np.int64]:
    """The labels that the chances and the rules lead to."""
    own = [label_of(row) for row in chances]
    both = [
        label if ruled is None or label == "contradicted" else ruled
        for label, ruled in zip(own, table.ruled, strict=True)
    ]
    return np.array([LABELS.index(label) for label in both])


def macro_f1(labels: NDArray[np.int64], said: NDArray[np.int64]) -> tuple[float, list[float]]:
    """The mean of the F1 of each label, and these."""
    each = []
    for label in range(len(LABELS)):
        right = int(((labels == label) & (said == label)).sum())
        each.append(2 * right / max(int((labels == label).sum() + (said == label).sum()), 1))
    return round(float(np.mean(each)), 4), [round(one, 4) for one in each]


def folded(table: Table, rows: Floats, weight: dict[str, float], penalty: float) -> Floats:
    """The chances of each item by a model that saw none of its group."""
    fold = np.array([int(sha256(one.group)[:8], 16) % FOLDS for one in table.items])
    weights = weights_of(table, weight)
    found = np.zeros((len(fold), len(LABELS)))
    for number in range(FOLDS):
        learn = (fold != number) & (weights > 0)
        model = fit(rows[learn], table.labels[learn], weights[learn], penalty)
        found[fold == number] = model.chances(rows[fold == number])
    return found


def check(table: Table) -> None:
    """Print how variants do on what they were not trained on."""
    own = np.array([not is_made(one) and one.kind != "turned" for one in table.items])
    synthetic = np.array([is_made(one) for one in table.items])
    ways = {
        "SciFact alone": {"turned": 0.0, "made": 0.0},
        "and claims turned": {"turned": 0.4, "made": 0.0},
        "and made claims": {"turned": 0.0, "made": 0.1},
        "and both": {"turned": 0.4, "made": 0.1},
        "and both, made weigh more": {"turned": 0.4, "made": 0.3},
    }
    for name, weight in ways.items():
        for kind, rows in (("vectors", table.rich), ("no vectors", table.plain)):
            for penalty in (1.0, PENALTY, 10.0):
                chances = folded(table, rows, weight, penalty)
                said = said_of(table, chances)
                figures = [macro_f1(table.labels[some], said[some]) for some in (own, synthetic)]
                print(
                    f"{name:28s} {kind:11s} penalty {penalty:5.1f}  SciFact {figures[0]}  made {figures[1]}", flush=True
                )


def main(wanted: Sequence[str]) -> None:
    """Train and write, or check."""
    torch.set_num_threads(1)
    table = learning_table()
    if "check" in wanted:
        check(table)
        return
    weights = weights_of(table, WEIGHT)
    models = {
        "with_vectors": fit(table.rich, table.labels, weights),
        "without": fit(table.plain, table.labels, weights),
    }
    kept = {
        "version": 1,
        "labels": list(LABELS),
        "features": list(FEATURES),
        "training": record(table),
        "models": {name: _numbers(model) for name, model in models.items()},
    }
    TARGET.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}")


def learning_table() -> Table:
    """All that may be learned from."""
    embedder = local_embedder()
    own = [one for one in scifact(embedder) if one.half == 0]
    return tabulate([*own, *turned_claims(own), *(one for one in made() if one.half == 0)], embedder)


def record(table: Table) -> dict[str, Any]:
    """What the weights were learned from."""
    counts = Counter(f"{'made' if is_made(one) else 'scifact'}, {one.kind}, {one.name}" for one in table.items)
    return {
        "method": "multinomial logistic regression, L2",
        "penalty": PENALTY,
        "weight_of_kinds": WEIGHT,
        "half": "even claims of SciFact by place in the file; made claims of half 0",
        "items": dict(sorted(counts.items())),
    }


def _numbers(model: ClaimModel) -> dict[str, Any]:
    values = {"mean": model.mean, "spread": model.spread, "weights": model.weights, "bias": model.bias}
    return {name: np.round(value, 5).tolist() for name, value in values.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
