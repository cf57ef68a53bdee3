"""The next hop of a question: what the best passages so far name, and the passages that name it too.

A walk spreads its mass over everything near; a chain of facts goes on at one rare name. So the few best passages are
looked at again: of each rare entity that they hold and the question does not, the passages that fit the question best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graph.walk import Mass
from retrieval.dense import Cosines
from retrieval.lexical import Lexical
from retrieval.question import Asked
from retrieval.view import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_PLACES = 4096
"""Passages that are looked at of all entities together: of the rarest first."""
MOST_LINKS = 256
"""Passages that are looked at of one entity; of an entity with more, the first by key."""
EACH = 3
FOUND = 24
RARITY = 0.7
"""What the rarest possible link counts, beside a cosine of 1."""


def next_passages(view: View, cosines: Cosines, asked: Asked, lexical: Lexical, anchors: Ints, have: Ints) -> Ints:
    """Passages that share a rare entity with one of the `anchors` (best first) and are not in `have`, best first.

    At most EACH of an entity and FOUND in all.
    """
    entities, strength = _leads(view, asked, anchors)
    owner, places, is_title = view.links.passages_of(entities, MOST_LINKS)
    fresh = ~np.isin(places, have)
    owner, places, is_title = owner[fresh], places[fresh], is_title[fresh]
    if not len(places):
        return places
    unique, inverse = np.unique(places, return_inverse=True)
    link = np.zeros(len(unique))
    np.maximum.at(link, inverse, strength[owner] * (1 + 0.5 * is_title))
    score = cosines.at(unique) + lexical.aimed_at(unique)
    score = np.round(score + RARITY * link, 6)
    key = view.index.key[unique]
    order = np.lexsort((key[inverse], -score[inverse], owner))
    kept = np.unique(inverse[order[place_within(owner[order]) < EACH]])
    return unique[kept[np.lexsort((key[kept], -score[kept]))]][:FOUND]


def _leads(view: View, asked: Asked, anchors: Ints) -> tuple[Ints, Floats]:
    """Entities that the anchors hold and the question does not name, with their rarity times the anchor's rank."""
    owner, entity, _, _ = view.links.entities_in(anchors)
    entities, inverse = np.unique(entity, return_inverse=True)
    trust = np.zeros(len(entities))
    np.maximum.at(trust, inverse, 1.0 / (1.0 + 0.25 * owner))
    leads = (value_at(asked.entities, entities) == 0) & (view.links.degree[entities] > 1)
    entities, trust = entities[leads], trust[leads]
    entities, trust = _affordable(view, entities, trust)
    return entities, trust * view.links.weight[entities] / max(float(np.log1p(view.count)), 1.0)


def _affordable(view: View, entities: Ints, trust: Floats) -> tuple[Ints, Floats]:
    """The rarest of the entities, as far as their passages together are not too many to look at."""
    degree = np.minimum(view.links.degree[entities], MOST_LINKS)
    order = np.lexsort((view.links.entity_key[entities], degree))
    kept = np.sort(order[np.cumsum(degree[order]) <= MOST_PLACES])
    return entities[kept], trust[kept]


def place_within(groups: NDArray[np.int64]) -> Ints:
    """Of each row of an array in which equal values stand together: how many rows of its value come before it."""
    begins = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))[: len(groups)]
    return np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))


def value_at(mass: Mass, wanted: Ints) -> Floats:
    """The values of a sparse distribution at `wanted`, 0 where it has none."""
    if not len(mass.nodes):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(mass.nodes, wanted), len(mass.nodes) - 1)
    return np.where(mass.nodes[place] == wanted, mass.values[place], 0.0)
