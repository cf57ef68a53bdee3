"""The first stage: the best of each signal, as one set of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.walk import Mass, Steps, WalkSettings, steps_from_entities, steps_from_passages
from retrieval.decompose import target_of
from retrieval.dense import DenseIndex
from retrieval.features import Candidates
from retrieval.lexical import Lexical, question_terms
from retrieval.question import Asked, named_in
from retrieval.view import View

WALKS = ((0.1, 0.7), (0.5, 0.5))
"""Two walks, each (share that begins at passages, damping): one follows what the question names, one what it means."""
SEEDS = 16
BRIDGE_ANCHORS = 4
BRIDGED_EACH = 2
BRIDGED = 24
BRIDGED_FROM = 1024
"""Passages about one named thing that are looked at."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a question's words alone lead to: all that can be found before its vector is known.

    `aimed` are the terms that say what is asked for; `worded` the best chunks by BM25; `steps` the walk from the
    entities that the question names.
    """

    text: str
    entities: Mass
    lexical: Lexical
    aimed: tuple[str, ...]
    worded: NDArray[np.int64]
    steps: tuple[tuple[int, Mass], ...]


def search_words(view: View, text: str, each: int) -> Wording:
    """Everything that needs the words of a question and not its vector."""
    entities = named_in(view, text)
    lexical = Lexical(view, text)
    rare = view.links.weight[entities.nodes].astype(np.float64) ** 1.5 * entities.values
    seeds = Mass(entities.nodes, rare / max(float(rare.sum()), 1e-12))
    return Wording(
        text=text,
        entities=entities,
        lexical=lexical,
        aimed=tuple(question_terms(target_of(text))),
        worded=lexical.best(each),
        steps=steps_from_entities(view.links, seeds, WalkSettings()),
    )


def find_candidates(view: View, dense: DenseIndex, asked: Asked, wording: Wording, each: int) -> Candidates:
    """The union of the best `each` of the dense and lexical signals and of the two walks, and what those lead to."""
    near, cosine = dense.search(view, asked.vector, each)
    walked = walk(view, wording, near, cosine)
    by_walk = [_best(view, mass)[:each] for mass in walked]
    places = np.unique(np.concatenate([near, wording.worded, *by_walk]))
    anchors = _anchors(dense, asked, wording.lexical, places, view.index.key)
    places = np.union1d(places, bridges(view, dense, asked, anchors, wording))
    lexical, coverage = wording.lexical.at(places)
    top = np.zeros(len(places))
    for mass in walked:
        found = np.isin(places, mass.nodes)
        top[found] = np.maximum(top[found], mass.values[np.searchsorted(mass.nodes, places[found])])
    return Candidates(
        places=places,
        dense=np.round((dense.vectors[places] @ asked.vector).astype(np.float64), 6),
        lexical=lexical,
        walk=top,
        coverage=coverage,
        target=wording.lexical.at(places, wording.aimed)[1],
        rarity=wording.lexical.rarity,
    )


def bridges(
    view: View, dense: DenseIndex, asked: Asked, anchors: NDArray[np.int64], wording: Wording
) -> NDArray[np.int64]:
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
    aimed = wording.lexical.at(places, wording.aimed)[0]
    score = np.round(aimed / max(float(aimed.max(initial=0.0)), 1e-9) + dense.vectors[places] @ asked.vector, 6)
    order = np.lexsort((index.key[places], -score, index.document_id[places]))
    places, score = places[order], score[order]
    document = index.document_id[places]
    begins = np.flatnonzero(np.append(True, document[1:] != document[:-1]))
    within = np.arange(len(places)) - np.repeat(begins, np.diff(np.append(begins, len(places))))
    places, score = places[within < BRIDGED_EACH], score[within < BRIDGED_EACH]
    return places[np.lexsort((index.key[places], -score))][:BRIDGED]


def _anchors(
    dense: DenseIndex,
    asked: Asked,
    wording: Lexical,
    places: NDArray[np.int64],
    key: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """The few candidates that are nearest to the question in words and meaning together."""
    lexical = wording.at(places)[0]
    score = np.round(dense.vectors[places] @ asked.vector + lexical / max(float(lexical.max(initial=0.0)), 1e-9), 6)
    return places[np.lexsort((key[places], -score))][:BRIDGE_ANCHORS]


def _best(view: View, mass: Mass) -> NDArray[np.int64]:
    """Nodes by falling mass; equals in the order of the index's key."""
    return mass.nodes[np.lexsort((view.index.key[mass.nodes], -np.round(mass.values, 12)))]


def walk(view: View, wording: Wording, near: NDArray[np.int64], cosine: NDArray[np.float32]) -> list[Mass]:
    """Personalised PageRank from the question's entities and the passages nearest to it, once for each of WALKS."""
    seeds = _passage_seeds(near[:SEEDS], cosine[:SEEDS], wording.lexical, wording.worded[:SEEDS])
    seeds = seeds.scaled(1 / max(float(seeds.values.sum()), 1e-12))
    steps = Steps(steps_from_passages(view.links, seeds, WalkSettings()), wording.steps)
    named = len(wording.entities.nodes) > 0
    return [steps.mixed(share if named else 1.0, damping) for share, damping in WALKS]


def _passage_seeds(
    near: NDArray[np.int64], cosine: NDArray[np.float32], wording: Lexical, worded: NDArray[np.int64]
) -> Mass:
    lexical = wording.at(worded)[0]
    scale = max(float(lexical.max(initial=0.0)), 1e-9)
    values = [np.maximum(cosine, 0).astype(np.float64) ** 4, (lexical / scale) ** 4 / 4]
    return Mass.of(np.concatenate([near, worded]), np.concatenate(values))
