"""What is known of each candidate passage, as numbers that a linear model can weigh.

The first group compares a passage with the question. The second follows the question's second hop without a model
call: from the best passages found so far (anchors) to what they name, and from the question together with an anchor's
best sentence (a hop vector) to what that makes askable next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.question import Asked
from retrieval.view import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST = (
    "dense",
    "dense_rank",
    "lexical",
    "lexical_rank",
    "coverage",
    "walk",
    "walk_rank",
    "sentence",
    "two_sentences",
    "titled",
    "entity_share",
    "titled_x_sentence",
    "target",
)
SECOND = (
    "named_by_anchor",
    "names_anchor",
    "shared_rarity",
    "hop",
    "hop_sentence",
    "anchor",
    "titled_x_named",
    "sentence_x_named",
    "named_x_hop",
    "unasked_title",
    "named_x_target",
)
ANCHORS = 6
OPEN = 0.1
"""Share of the question's terms, by rarity, from which on a passage that lacks them leads to others in full."""
HOP_ANCHORS = 4
HOP_SENTENCES = 2


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate positions, ascending, with each signal's score (0 where it did not find one).

    `coverage` is the share of the question's terms that a passage holds, weighed by `rarity`, their idf; `target` the
    share of those terms that say what is asked for.
    """

    places: Ints
    dense: Floats
    lexical: Floats
    walk: Floats
    coverage: Floats
    target: Floats
    rarity: dict[str, float]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The sentences and entities of the candidates, gathered once.

    Whether a passage is about an entity (title) or names it in its text is told apart: the passages of one long
    document share its title, and that alone does not lead from one of them to the next.
    """

    sentences: NDArray[np.float32]
    sentence_owner: Ints
    entity: Ints
    entity_owner: Ints
    is_title: NDArray[np.bool_]
    is_named: NDArray[np.bool_]
    document: Ints


def surroundings(view: View, candidates: Candidates) -> Surroundings:
    """Read what the features need of each candidate's sentences and entities."""
    sentence_owner, sentences = view.index.sentences_in(candidates.places)
    entity_owner, entity, is_title, is_named = view.links.entities_in(candidates.places)
    return Surroundings(
        sentences,
        sentence_owner,
        entity,
        entity_owner,
        is_title,
        is_named,
        view.index.document_id[candidates.places],
    )


def first_features(view: View, asked: Asked, candidates: Candidates, around: Surroundings) -> Floats:
    """`[candidates, len(FIRST)]`: how a passage fits the question itself."""
    count = len(candidates.places)
    similarity = np.round(around.sentences @ asked.vector, 6)
    best, second = _two_best(similarity, around.sentence_owner, candidates.dense)
    asked_weight = np.zeros(len(around.entity))
    share = np.zeros(count)
    if len(asked.entities.nodes):
        asked_weight = _lookup(asked.entities.nodes, asked.entities.values, around.entity)
        rarity = view.links.weight[around.entity] * asked_weight
        total = float((view.links.weight[asked.entities.nodes] * asked.entities.values).sum())
        share = np.bincount(around.entity_owner, weights=rarity, minlength=count) / max(total, 1e-9)
    titled = np.zeros(count)
    np.maximum.at(titled, around.entity_owner, asked_weight * around.is_title * _sharpness(view, around))
    lexical = candidates.lexical / max(float(candidates.lexical.max(initial=0.0)), 1e-9)
    walk = candidates.walk / max(float(candidates.walk.max(initial=0.0)), 1e-12)
    columns = (
        candidates.dense,
        _reciprocal_rank(candidates.dense),
        lexical,
        _reciprocal_rank(candidates.lexical),
        candidates.coverage,
        np.log1p(100 * walk) / np.log(101),
        _reciprocal_rank(candidates.walk),
        best,
        (best + second) / 2,
        titled,
        share,
        titled * best,
        candidates.target,
    )
    return np.stack(columns, axis=1)


def second_features(
    view: View, asked: Asked, candidates: Candidates, around: Surroundings, first: Floats, order: Ints
) -> Floats:
    """`[candidates, len(SECOND)]`: how a passage follows from the best ones so far. `order` ranks the candidates."""
    count = len(candidates.places)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    named, names, shared = _bridges(view, asked, candidates, around, order)
    hop, hop_sentence = _hops(view, asked, candidates, around, order)
    best, titled = first[:, FIRST.index("sentence")], first[:, FIRST.index("titled")]
    columns = (
        named,
        names,
        shared,
        hop,
        hop_sentence,
        1.0 / (1.0 + rank),
        titled * named,
        best * named,
        named * hop_sentence,
        (titled == 0) * named,
        named * candidates.target,
    )
    return np.stack(columns, axis=1)


def _bridges(
    view: View, asked: Asked, candidates: Candidates, around: Surroundings, order: Ints
) -> tuple[Floats, Floats, Floats]:
    """How strongly the anchors name each passage, are named by it, and share rare entities with it.

    An anchor that holds all the question's terms leads nowhere: there is nothing left to ask of another passage.
    """
    count = len(candidates.places)
    left = np.clip((1.0 - candidates.coverage) / OPEN, 0.0, 1.0)
    named, names, shared = np.zeros(count), np.zeros(count), np.zeros(count)
    rarity = view.links.weight[around.entity].astype(np.float64)
    sharpness = _sharpness(view, around)
    rarity *= 1 - _lookup(asked.entities.nodes, asked.entities.values, around.entity)
    ceiling = max(float(np.log1p(view.count)), 1.0)
    for number, anchor in enumerate(order[:ANCHORS].tolist()):
        mine = around.entity_owner == anchor
        elsewhere = around.document[around.entity_owner] != around.document[anchor]
        trust = left[anchor] / (1.0 + 0.25 * number)
        here = np.isin(around.entity, around.entity[mine]) & ~mine
        to_title = np.isin(around.entity, around.entity[mine & around.is_named]) & around.is_title & elsewhere
        np.maximum.at(named, around.entity_owner[to_title], trust * sharpness[to_title])
        from_title = np.isin(around.entity, around.entity[mine & around.is_title]) & around.is_named & elsewhere
        np.maximum.at(names, around.entity_owner[from_title], trust * sharpness[from_title])
        tie = np.bincount(around.entity_owner[here], weights=rarity[here], minlength=count) * (trust / ceiling)
        np.maximum(shared, tie, out=shared)
    return named, names, np.minimum(shared, 3.0)


def _sharpness(view: View, around: Surroundings) -> Floats:
    """How far an entity points at single passages: 1 where two share it, falling to 0 for one that all share."""
    rarity = view.links.weight[around.entity].astype(np.float64)
    return np.minimum(rarity / max(float(np.log1p(view.count / 2)), 1.0), 1.0) ** 2


def _hops(view: View, asked: Asked, candidates: Candidates, around: Surroundings, order: Ints) -> tuple[Floats, Floats]:
    vectors, owners = [], []
    similarity = np.round(around.sentences @ asked.vector, 6)
    for anchor in order[:HOP_ANCHORS].tolist():
        rows = np.flatnonzero(around.sentence_owner == anchor)
        for row in rows[np.argsort(-similarity[rows], kind="stable")[:HOP_SENTENCES]].tolist():
            joined = asked.vector + around.sentences[row]
            vectors.append(joined / max(float(np.linalg.norm(joined)), 1e-9))
            owners.append(anchor)
    count = len(candidates.places)
    if not vectors:
        return np.zeros(count), np.zeros(count)
    hops = np.stack(vectors)
    passage = view.index.vectors[candidates.places] @ hops.T
    sentence = around.sentences @ hops.T
    for column, anchor in enumerate(owners):
        passage[anchor, column] = -1.0
        sentence[around.sentence_owner == anchor, column] = -1.0
    best = np.full(count, -1.0)
    np.maximum.at(best, around.sentence_owner, sentence.max(axis=1, initial=-1.0))
    return passage.max(axis=1), np.where(best < -0.99, passage.max(axis=1), best)


def _two_best(similarity: NDArray[np.float32], owner: Ints, otherwise: Floats) -> tuple[Floats, Floats]:
    order = np.lexsort((-similarity, owner))
    owner, similarity = owner[order], similarity[order]
    best, second = otherwise.copy(), otherwise.copy()
    first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1])) if len(owner) else np.zeros(0, np.int64)
    best[owner[first]] = second[owner[first]] = similarity[first]
    follows = first + 1
    follows = follows[(follows < len(owner))]
    follows = follows[owner[follows] == owner[follows - 1]]
    second[owner[follows]] = similarity[follows]
    return best, second


def _lookup(nodes: Ints, values: Floats, wanted: Ints) -> Floats:
    """`values` of the ascending `nodes` at `wanted`, 0 where a wanted one is not among them."""
    if not len(nodes):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(nodes, wanted), len(nodes) - 1)
    return np.where(nodes[place] == wanted, values[place], 0.0)


def _reciprocal_rank(scores: Floats) -> Floats:
    """1 for the highest score, falling with the rank, equal for equals; 0 where the score is not positive."""
    rounded = np.round(scores, 9)
    rank = np.searchsorted(np.sort(-rounded), -rounded)
    return np.where(scores > 0, 1.0 / (1.0 + rank / 4.0), 0.0)
