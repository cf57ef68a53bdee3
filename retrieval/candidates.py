"""The first stage: the best of each signal, as one set of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.walk import Mass, Steps, WalkSettings, steps_from_entities, steps_from_passages
from retrieval.decompose import target_of
from retrieval.dense import Cosines, DenseIndex
from retrieval.features import Candidates, on_log_scale, scaled
from retrieval.hops import next_passages, place_within, value_at
from retrieval.lexical import Lexical
from retrieval.question import Asked, named_in
from retrieval.view import View

WALKS = ((0.1, 0.7), (0.5, 0.5))
"""Two walks, each (share that begins at passages, damping): one follows what the question names, one what it means."""
SEEDS = 16
ANCHORS = 6
"""Candidates that are looked at again for what they lead to; the first BRIDGE_ANCHORS of them also for documents."""
BRIDGE_ANCHORS = 4
BRIDGED_EACH = 2
BRIDGED = 24
BRIDGED_FROM = 1024
"""Passages about one named thing that are looked at."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a question's words alone lead to: all that can be found before its vector is known.

    `worded` are the best chunks by BM25; `steps` is the walk from the entities that the question names.
    """

    text: str
    entities: Mass
    lexical: Lexical
    worded: NDArray[np.int64]
    steps: tuple[tuple[int, Mass], ...]


def search_words(view: View, text: str, each: int) -> Wording:
    """Everything that needs the words of a question and not its vector."""
    entities = named_in(view, text)
    lexical = Lexical(view, text, target_of(text))
    rare = view.links.weight[entities.nodes].astype(np.float64) ** 1.5 * entities.values
    seeds = Mass(entities.nodes, rare / max(float(rare.sum()), 1e-12))
    return Wording(
        text=text,
        entities=entities,
        lexical=lexical,
        worded=lexical.best(each),
        steps=steps_from_entities(view.links, seeds, WalkSettings()),
    )


def find_candidates(
    view: View,
    dense: DenseIndex,
    asked: Asked,
    wording: Wording,
    each: int,
    also: NDArray[np.int64] | None = None,
) -> Candidates:
    """The union of the best `each` of the dense and lexical signals and of the two walks, and what those lead to.

    The visible passages `also` are added in any case; they lead to nothing.
    """
    cosines = Cosines(dense, view, asked.vector)
    near, cosine = cosines.best(each)
    walked = walk(view, wording, near, cosine)
    by_walk = [_best(view, mass)[:each] for mass in walked]
    places = np.unique(np.concatenate([near, wording.worded, *by_walk]))
    anchors = _anchors(view, cosines, wording, walked, places)
    places = np.union1d(places, bridges(view, cosines, anchors[:BRIDGE_ANCHORS], wording.lexical))
    places = np.union1d(places, next_passages(view, cosines, asked, wording.lexical, anchors, places))
    if also is not None:
        places = np.union1d(places, also)
    return _gathered(view, cosines, wording, walked, places)


def _gathered(
    view: View, cosines: Cosines, wording: Wording, walked: Sequence[Mass], places: NDArray[np.int64]
) -> Candidates:
    """The candidates with every signal's score of each."""
    lexical = wording.lexical
    beside, there = _beside(view, places)
    each = lexical.contributions(np.concatenate([places, *beside]))
    scores = each.sum(axis=0).reshape(3, len(places))
    holds = (each[:, : len(places)] > 0).T
    return Candidates(
        places=places,
        dense=cosines.exactly(places),
        lexical=scores[0],
        walk=np.stack([value_at(mass, places) for mass in walked], axis=1),
        coverage=holds @ lexical.idf / max(float(lexical.idf.sum()), 1e-9),
        target=holds @ lexical.aims / max(float(lexical.aims.sum()), 1e-9),
        rarity=lexical.rarity,
        holds=holds,
        idf=lexical.idf,
        unknown=lexical.unknown * float(np.log1p(view.count)),
        beside_dense=np.max(np.where(there, [cosines.at(at) for at in beside], 0.0), axis=0, initial=0.0) + 0.0,
        beside_lexical=np.max(scores[1:] * there, axis=0, initial=0.0),
    )


def bridges(view: View, cosines: Cosines, anchors: NDArray[np.int64], lexical: Lexical) -> NDArray[np.int64]:
    """Passages of the documents that the anchors name, the BRIDGED_EACH of each that best hold what is asked for.

    This is the question's second hop where documents are long: a walk knows only that a document is about a name.
    """
    index = view.index
    _, entity, _, is_named = view.links.entities_in(anchors)
    _, places, is_title = view.links.passages_of(np.unique(entity[is_named]), BRIDGED_FROM)
    places = np.unique(places[is_title])
    places = places[~np.isin(index.document_id[places], index.document_id[anchors])]
    if not len(places):
        return places
    score = np.round(lexical.aimed_at(places) + cosines.at(places), 6)
    order = np.lexsort((index.key[places], -score, index.document_id[places]))
    places, score = places[order], score[order]
    document = index.document_id[places]
    kept = place_within(document) < BRIDGED_EACH
    places, score = places[kept], score[kept]
    return places[np.lexsort((index.key[places], -score))][:BRIDGED]


def _anchors(
    view: View, cosines: Cosines, wording: Wording, walked: Sequence[Mass], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The few candidates that are nearest to the question in meaning, words and the graph together, best first."""
    score = cosines.at(places) + 0.5 * scaled(wording.lexical.at(places))
    score += 0.3 * on_log_scale(np.max([value_at(mass, places) for mass in walked], axis=0))
    return places[np.lexsort((view.index.key[places], -np.round(score, 6)))][:ANCHORS]


def _best(view: View, mass: Mass) -> NDArray[np.int64]:
    """Nodes by falling mass; equals in the order of the index's key."""
    return mass.nodes[np.lexsort((view.index.key[mass.nodes], -np.round(mass.values, 12)))]


def walk(view: View, wording: Wording, near: NDArray[np.int64], cosine: NDArray[np.float64]) -> list[Mass]:
    """Personalised PageRank from the question's entities and the passages nearest to it, once for each of WALKS."""
    seeds = _passage_seeds(near[:SEEDS], cosine[:SEEDS], wording.lexical, wording.worded[:SEEDS])
    seeds = seeds.scaled(1 / max(float(seeds.values.sum()), 1e-12))
    steps = Steps(steps_from_passages(view.links, seeds, WalkSettings()), wording.steps)
    named = len(wording.entities.nodes) > 0
    return [steps.mixed(share if named else 1.0, damping) for share, damping in WALKS]


def _passage_seeds(
    near: NDArray[np.int64], cosine: NDArray[np.float64], wording: Lexical, worded: NDArray[np.int64]
) -> Mass:
    lexical = wording.at(worded)
    scale = max(float(lexical.max(initial=0.0)), 1e-9)
    values = [np.maximum(cosine, 0).astype(np.float64) ** 4, (lexical / scale) ** 4 / 4]
    return Mass.of(np.concatenate([near, worded]), np.concatenate(values))


def _beside(view: View, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`[2, n]` each: the chunks before and after, and whether they are visible chunks of the same text."""
    index = view.index
    steps = np.array([[-1], [1]])
    at = np.clip(places + steps, 0, max(len(index) - 1, 0))
    follows = index.ordinal[at] - index.ordinal[places] == steps
    same: NDArray[np.bool_] = (index.revision_id[at] == index.revision_id[places]) & follows & view.mask[at]
    return at, same
