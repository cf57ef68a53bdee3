"""Personalised PageRank over the passage-entity graph, followed only as far as it matters.

Power iteration in which each half step keeps the strongest nodes alone (a beam), so the cost of a question follows
the size of its answer, not that of the corpus. After HippoRAG (Gutierrez et al., 2024) in seeding passages and
entities together; the beam is a truncation of the push method of Andersen, Chung and Lang (2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Links(Protocol):
    """The bipartite graph of passages and entities as one reader may walk it.

    `weight` is the rarity of each entity, `degree` the number of its links; `passage_key` and `entity_key` order nodes
    whose mass is the same, so that how nodes are numbered cannot be felt.
    """

    @property
    def weight(self) -> NDArray[np.float32]: ...
    @property
    def degree(self) -> NDArray[np.int32]: ...
    @property
    def passage_key(self) -> NDArray[np.uint64]: ...
    @property
    def entity_key(self) -> NDArray[np.uint64]: ...

    def entities_in(self, passages: Ints) -> tuple[Ints, Ints, Bools, Bools]:
        """Of each link of `passages`: its passage's place in `passages`, the entity, whether the passage is about the
        entity, and whether its text names it."""
        ...

    def passages_of(self, entities: Ints, most: int | None = None) -> tuple[Ints, Ints, Bools]:
        """Of each link of `entities`, at most `most` of each, those of the lowest passage keys: the entity's place in
        `entities`, the passage, and whether the passage is about the entity."""
        ...


@dataclass(frozen=True, slots=True)
class Mass:
    """A sparse distribution: node numbers, ascending and distinct, and the mass of each."""

    nodes: Ints
    values: Floats

    @staticmethod
    def of(
        nodes: NDArray[np.integer[Any]],
        values: NDArray[np.number[Any]],
        beam: int | None = None,
        key: NDArray[np.uint64] | None = None,
        size: int | None = None,
    ) -> Mass:
        """The sum of positive `values` by node, only the strongest `beam` of them: of equal ones those lowest in `key`.

        `size` is how many nodes there could be; where that is few, they are summed in a row rather than by sorting.
        """
        if size is not None and size <= 32 * len(nodes):
            row = np.bincount(nodes, weights=values, minlength=size)
            unique = np.flatnonzero(row)
            total = row[unique]
        else:
            unique, inverse = np.unique(nodes, return_inverse=True)
            total = np.bincount(inverse, weights=values, minlength=len(unique))
        if beam is not None and len(unique) > beam:
            keep = _strongest(total.astype(np.float64), unique if key is None else key[unique], beam)
            unique, total = unique[keep], total[keep]
        return Mass(unique.astype(np.int64), total.astype(np.float64))

    def scaled(self, factor: float) -> Mass:
        """The same nodes with `factor` times the mass."""
        return Mass(self.nodes, self.values * factor)


def _strongest(total: Floats, tie: NDArray[Any], beam: int) -> Ints:
    """Places of the `beam` highest totals, ascending; of equal ones those with the lowest tie."""
    rounded = np.round(total, 12)
    bar = np.partition(rounded, len(rounded) - beam)[len(rounded) - beam]
    above, level = np.flatnonzero(rounded > bar), np.flatnonzero(rounded == bar)
    chosen = level[np.argsort(tie[level], kind="stable")[: beam - len(above)]]
    return np.sort(np.concatenate([above, chosen]))


@dataclass(frozen=True, slots=True)
class WalkSettings:
    """How to walk. `damping` is the chance to go on at each step; `hub` the most links followed from one entity."""

    damping: float = 0.6
    rounds: int = 3
    beam: int = 192
    hub: int = 256
    title_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Steps:
    """Where walkers from each kind of seed stand among the passages after so many steps, none having stopped."""

    from_passages: tuple[tuple[int, Mass], ...]
    from_entities: tuple[tuple[int, Mass], ...]

    def mixed(self, share: float, damping: float) -> Mass:
        """Personalised PageRank of the passages: `share` of the walkers began at the passages, the rest at entities.

        The walk is linear in its seeds, so one set of steps serves every share and damping.
        """
        parts = [mass.scaled(share * damping**steps) for steps, mass in self.from_passages]
        parts += [mass.scaled((1 - share) * damping**steps) for steps, mass in self.from_entities]
        return Mass.of(np.concatenate([part.nodes for part in parts]), np.concatenate([part.values for part in parts]))


def personalised_pagerank(links: Links, passages: Mass, entities: Mass, settings: WalkSettings) -> Mass:
    """Mass of the passages after walking from the seeds, whose values say how many walkers begin at each."""
    steps = Steps(steps_from_passages(links, passages, settings), steps_from_entities(links, entities, settings))
    return steps.mixed(0.5, settings.damping).scaled(2.0)


def steps_from_passages(links: Links, seeds: Mass, settings: WalkSettings) -> tuple[tuple[int, Mass], ...]:
    """The walkers that begin at passages, each time that they stand at passages, within `settings.rounds` steps."""
    found = [(0, seeds)]
    for steps in range(2, settings.rounds + 1, 2):
        at = to_passages(links, to_entities(links, found[-1][1], settings), settings)
        found.append((steps, at))
    return tuple(found)


def steps_from_entities(links: Links, seeds: Mass, settings: WalkSettings) -> tuple[tuple[int, Mass], ...]:
    """The walkers that begin at entities, each time that they stand at passages, within `settings.rounds` steps."""
    found: list[tuple[int, Mass]] = []
    here = seeds
    for steps in range(1, settings.rounds + 1, 2):
        found.append((steps, to_passages(links, here, settings)))
        if steps + 2 <= settings.rounds:
            here = to_entities(links, found[-1][1], settings)
    return tuple(found)


def to_entities(links: Links, mass: Mass, settings: WalkSettings) -> Mass:
    """One half step: each passage shares its mass among its entities, the rare ones first."""
    owner, entity, _, _ = links.entities_in(mass.nodes)
    share = links.weight[entity].astype(np.float64)
    total = np.bincount(owner, weights=share, minlength=len(mass.nodes))
    values = mass.values[owner] * share / total[owner]
    return Mass.of(entity, values, settings.beam, links.entity_key, len(links.degree))


def to_passages(links: Links, mass: Mass, settings: WalkSettings) -> Mass:
    """One half step: each entity gives `title_share` to the passages about it and the rest to those that name it."""
    owner, passage, title = links.passages_of(mass.nodes, settings.hub)
    titles = np.bincount(owner, weights=title, minlength=len(mass.nodes)).astype(np.float64)
    others = np.maximum(links.degree[mass.nodes] - titles, 0.0)
    titled, plain = _shares(titles, others, settings.title_share)
    share = np.where(title, titled[owner], plain[owner])
    values = mass.values[owner] * share
    return Mass.of(passage, values, settings.beam, links.passage_key, len(links.passage_key))


def _shares(titles: Floats, others: Floats, title_share: float) -> tuple[Floats, Floats]:
    """What one titled passage and one other passage of each entity get of its mass."""
    to_titles = np.where(titles == 0, 0.0, np.where(others == 0, 1.0, title_share))
    return to_titles / np.maximum(titles, 1), (1 - to_titles) / np.maximum(others, 1)


def gather(ptr: NDArray[np.int64], nodes: Ints, most: int | None = None) -> tuple[Ints, Ints]:
    """Of each link of `nodes`, at most the first `most` of each, its node's place in `nodes`, and its slot."""
    starts = ptr[nodes]
    lengths = ptr[nodes + 1] - starts
    if most is not None:
        lengths = np.minimum(lengths, most)
    owner = np.repeat(np.arange(len(nodes), dtype=np.int64), lengths)
    offsets = np.arange(len(owner), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, np.repeat(starts, lengths) + offsets


def first_of(owner: Ints, most: int) -> Bools:
    """Of values in the order of their owners, which ones are among the first `most` of their owner."""
    if not len(owner):
        return np.zeros(0, np.bool_)
    begins = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    found: Bools = np.arange(len(owner)) - np.repeat(begins, np.diff(np.append(begins, len(owner)))) < most
    return found
