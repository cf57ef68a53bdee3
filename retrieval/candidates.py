"""The first stage: the best of each signal, as one set of candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graph.walk import Mass, WalkSettings, personalised_pagerank
from retrieval.dense import DenseIndex
from retrieval.features import Candidates
from retrieval.lexical import bm25, strongest
from retrieval.question import Asked
from retrieval.view import View

WALKS = (
    (0.1, WalkSettings(damping=0.7)),
    (0.5, WalkSettings(damping=0.5)),
)
"""Two walks, each (share of the passage seeds, settings): one follows what the question names, one what it means."""
SEEDS = 16


def find_candidates(view: View, dense: DenseIndex, asked: Asked, each: int) -> Candidates:
    """The union of the best `each` of the dense and lexical signals and of the two walks."""
    near, cosine = dense.search(view, asked.vector, each)
    lexical, rarity = bm25(view, asked.text)
    worded = strongest(lexical, each)
    walked = walk(view, asked, near, cosine, lexical, worded)
    by_walk = [mass.nodes[np.lexsort((mass.nodes, -mass.values))][:each] for mass in walked]
    places = np.unique(np.concatenate([near, worded, *by_walk]))
    top = np.zeros(len(places))
    for mass in walked:
        found = np.isin(places, mass.nodes)
        top[found] = np.maximum(top[found], mass.values[np.searchsorted(mass.nodes, places[found])])
    return Candidates(
        places=places,
        dense=(dense.vectors[places] @ asked.vector).astype(np.float64),
        lexical=lexical[places].astype(np.float64),
        walk=top,
        coverage=_coverage(view, rarity, places),
        rarity=rarity,
    )


def walk(
    view: View,
    asked: Asked,
    near: NDArray[np.int64],
    cosine: NDArray[np.float32],
    lexical: NDArray[np.float32],
    worded: NDArray[np.int64],
) -> list[Mass]:
    """Personalised PageRank from the question's entities and the passages nearest to it, once for each of WALKS."""
    seeds = _passage_seeds(near[:SEEDS], cosine[:SEEDS], lexical, worded[:SEEDS])
    rarity = view.links.weight[asked.entities.nodes].astype(np.float64) ** 1.5 * asked.entities.values
    found = []
    for wanted, settings in WALKS:
        share = wanted if len(rarity) else 1.0
        passages = Mass(seeds.nodes, seeds.values * (share / max(float(seeds.values.sum()), 1e-12)))
        entities = Mass(asked.entities.nodes, rarity * ((1 - share) / max(float(rarity.sum()), 1e-12)))
        found.append(personalised_pagerank(view.links, passages, entities, settings))
    return found


def _passage_seeds(
    near: NDArray[np.int64], cosine: NDArray[np.float32], lexical: NDArray[np.float32], worded: NDArray[np.int64]
) -> Mass:
    scale = max(float(lexical[worded].max(initial=0.0)), 1e-9)
    values = [np.maximum(cosine, 0).astype(np.float64) ** 4, (lexical[worded] / scale).astype(np.float64) ** 4 / 4]
    return Mass.of(np.concatenate([near, worded]), np.concatenate(values))


def _coverage(view: View, rarity: dict[str, float], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of the question's terms, by rarity, that each passage holds."""
    held = np.zeros(len(places))
    for term, idf in rarity.items():
        chunk, _ = view.index.postings(term)
        spot = np.minimum(np.searchsorted(chunk, places), len(chunk) - 1)
        held += idf * (chunk[spot] == places)
    return held / max(sum(rarity.values()), 1e-9)
