"""What each part of retrieval is worth: a signal alone, the graph off, the second stage off. Nothing is trained anew.

The product has no switches for this: here its own functions are composed otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.assembly import Workspace
from bench.data import questions
from bench.multihop import external_ids, scores_of
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates, search_words
from retrieval.dense import DenseIndex
from retrieval.features import Candidates
from retrieval.question import Asked
from retrieval.ranker import Ranker, Ranking, shipped_ranker
from retrieval.view import View

RRF = 60
K = 10
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bench:
    """A corpus that is open for questions, with its graph (`view`) and without (`flat`)."""

    view: View
    flat: View
    dense: DenseIndex
    ranker: Ranker
    each: int

    def orders(self, text: str, vector: NDArray[np.float32]) -> dict[str, Places]:
        """The best K places of each way to rank, by its name on the page."""
        candidates, ranking = self._ranked(self.view, text, vector)
        graph_off = self._ranked(self.flat, text, vector)[1]
        key = self.view.index.key
        walk = candidates.walk.reshape(len(candidates.places), -1).max(axis=1, initial=0.0)
        signals = {"dense": candidates.dense, "lexical": candidates.lexical, "walk": walk}
        alone = {name: _by(candidates.places, score, key) for name, score in signals.items()}
        fused = reciprocal_rank_fusion(alone, key)
        both = {name: places for name, places in alone.items() if name != "walk"}
        return {
            "everything": ranking.places[:K],
            **{f"{name} alone": places[:K] for name, places in alone.items()},
            "graph off": graph_off.places[:K],
            "second stage off: signals fused by reciprocal rank": fused[:K],
            "both off: dense and lexical fused by reciprocal rank": reciprocal_rank_fusion(both, key)[:K],
        }

    def _ranked(self, view: View, text: str, vector: NDArray[np.float32]) -> tuple[Candidates, Ranking]:
        wording = search_words(view, text, self.each)
        asked = Asked(text, vector, wording.entities)
        candidates = find_candidates(view, self.dense, asked, wording, self.each)
        if view is self.flat:  # without links a walk stays on its seeds, which dense and lexical chose
            candidates = replace(candidates, walk=np.zeros_like(candidates.walk))
        return candidates, self.ranker.rank(view, asked, candidates)


def run(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """A row for each way to rank, over all questions of a set, with the recall on the half not trained on."""
    state = workspace.snapshots.live()
    view, dense = workspace.library.view(state, LOCAL_OWNER)
    names = external_ids(workspace, state.snapshot)
    bench = Bench(view, without_graph(view), dense, shipped_ranker(), workspace.settings.candidates)
    asked = questions(name)
    found: dict[str, list[list[str]]] = {}
    for one in asked:
        orders = bench.orders(one.question, workspace.embedder.embed([one.question])[0])
        for way, places in orders.items():
            found.setdefault(way, []).append([names[int(view.index.document_id[place])] for place in places])
    rows = []
    for way, ids in found.items():
        held = scores_of("", asked[1::2], ids[1::2])
        row = asdict(scores_of(way, asked, ids)) | {"held_recall2": held.recall2, "held_recall5": held.recall5}
        rows.append(row)
    return rows


class Unlinked:
    """The links of a view, none of which may be followed (`graph.walk.Links`)."""

    def __init__(self, links: Any) -> None:
        self.weight = links.weight
        self.degree = np.zeros_like(links.degree)
        self.passage_key = links.passage_key
        self.entity_key = getattr(links, "entity_key", None)

    def entities_in(self, _: Places) -> tuple[Places, Places, NDArray[np.bool_], NDArray[np.bool_]]:
        none, no = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return none, none, no, no

    def passages_of(self, _: Places, __: int | None = None) -> tuple[Places, Places, NDArray[np.bool_]]:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)


def without_graph(view: View) -> View:
    """The same passages in a graph of no links: no walk, no bridges, nothing that is named."""
    links: Any = Unlinked(view.links)
    return replace(view, links=links)


def reciprocal_rank_fusion(orders: Mapping[str, Places], key: NDArray[np.uint64]) -> Places:
    """Places by the sum of 1 / (60 + rank) over the orders that hold them (Cormack, Clarke and Buettcher, 2009)."""
    places = np.unique(np.concatenate(list(orders.values())))
    score = np.zeros(len(places))
    for order in orders.values():
        score[np.searchsorted(places, order)] += 1.0 / (RRF + 1 + np.arange(len(order)))
    return _by(places, score, key)


def _by(places: Places, score: NDArray[Any], key: NDArray[np.uint64]) -> Places:
    """Places by falling score; those that a signal did not find (score 0) are left out."""
    rounded = np.round(score.astype(np.float64), 12)
    order = np.lexsort((key[places], -rounded))
    return places[order][rounded[order] > 0]
