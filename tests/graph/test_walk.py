"""The walk against its own definition: the plain transition matrix of a small graph, multiplied out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from graph.walk import Mass, WalkSettings, personalised_pagerank

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WIDE = WalkSettings(damping=0.6, rounds=3, beam=10_000, hub=10_000, title_share=0.5)


class ToyLinks:
    """`graph.walk.Links` read straight from the matrices."""

    def __init__(self, toy: Toy) -> None:
        self._usable, self._title = toy.linked & toy.open, toy.title
        self.weight = toy.weight
        self.degree = self._usable.sum(axis=0).astype(np.int32)
        self.passage_key = np.arange(toy.linked.shape[0], dtype=np.uint64)
        self.entity_key = np.arange(toy.linked.shape[1], dtype=np.uint64)

    def entities_in(self, passages: Ints) -> tuple[Ints, Ints, NDArray[np.bool_], NDArray[np.bool_]]:
        owner, entity = np.nonzero(self._usable[passages])
        title = self._title[passages[owner], entity]
        return owner, entity, title, ~title

    def passages_of(self, entities: Ints, most: int | None = None) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        pairs = []
        for owner, entity in enumerate(entities.tolist()):
            held = np.flatnonzero(self._usable[:, entity])
            held = held[np.argsort(~self._title[held, entity], kind="stable")][:most]
            pairs += [(owner, int(passage)) for passage in held]
        owners, passages = np.array(pairs, np.int64).reshape(-1, 2).T
        return owners, passages, self._title[passages, entities[owners]]


@dataclass(frozen=True)
class Toy:
    """A bipartite graph as matrices `[passages, entities]`: which links are, are open and are titles."""

    linked: NDArray[np.bool_]
    open: NDArray[np.bool_]
    title: NDArray[np.bool_]
    weight: NDArray[np.float32]

    def renumbered(self, passages: NDArray[np.int64], entities: NDArray[np.int64]) -> Toy:
        def moved(matrix: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return matrix[passages][:, entities]

        return Toy(moved(self.linked), moved(self.open), moved(self.title), self.weight[entities])

    def links(self) -> ToyLinks:
        return ToyLinks(self)

    def matrices(self, share: float) -> tuple[Floats, Floats]:
        """How a passage shares among its open entities, by weight; and an entity among titles and others."""
        usable = self.linked & self.open
        down = usable * self.weight.astype(np.float64)
        down /= np.maximum(down.sum(axis=1, keepdims=True), 1e-300)
        titles, others = usable & self.title, usable & ~self.title
        up = np.zeros(usable.T.shape)
        for entity in range(usable.shape[1]):
            many, rest = titles[:, entity].sum(), others[:, entity].sum()
            to_titles = 0.0 if not many else 1.0 if not rest else share
            up[entity] = titles[:, entity] * (to_titles / max(many, 1)) + others[:, entity] * (
                (1 - to_titles) / max(rest, 1)
            )
        return down, up


def plain_walk(toy: Toy, passages: Floats, entities: Floats, rules: WalkSettings) -> Floats:
    """What the documentation says, over dense matrices: the sum of what is at the passages after each round."""
    down, up = toy.matrices(rules.title_share)
    total = passages.copy()
    for _ in range(rules.rounds):
        passages, entities = rules.damping * entities @ up, rules.damping * passages @ down
        total += passages
    return total


@st.composite
def toys(draw: st.DrawFn) -> Toy:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    linked = rng.random(shape) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    open_ = rng.random(shape) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    return Toy(linked, open_, rng.random(shape) < 0.3, rng.uniform(0.1, 5, shape[1]).astype(np.float32))


def seeds(rng: np.random.Generator, size: int, total: float) -> Floats:
    values = rng.random(size) * (rng.random(size) < 0.5)
    return values * (total / values.sum()) if values.any() else values


def sparse(values: Floats) -> Mass:
    nodes = np.flatnonzero(values)
    return Mass(nodes, values[nodes])


def dense(mass: Mass, size: int) -> Floats:
    out = np.zeros(size)
    out[mass.nodes] = mass.values
    return out


CASES = settings(deadline=None, max_examples=150, derandomize=True, database=None)


@CASES
@given(toys(), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.6, 0.85]), st.integers(0, 5))
def test_equals_the_plain_matrix(toy: Toy, seed: int, damping: float, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    passages, entities = seeds(rng, toy.linked.shape[0], 0.4), seeds(rng, toy.linked.shape[1], 0.6)
    rules = WalkSettings(damping, rounds, 10_000, 10_000, 0.5)
    found = personalised_pagerank(toy.links(), sparse(passages), sparse(entities), rules)
    np.testing.assert_allclose(dense(found, len(passages)), plain_walk(toy, passages, entities, rules), atol=1e-9)
    assert np.all(np.diff(found.nodes) > 0)


@CASES
@given(toys(), st.integers(0, 2**32 - 1))
def test_closed_links_carry_nothing(toy: Toy, seed: int) -> None:
    """The same graph without its closed links gives the same mass, narrow beam and small hub included."""
    rng = np.random.default_rng(seed)
    passages, entities = seeds(rng, toy.linked.shape[0], 0.4), seeds(rng, toy.linked.shape[1], 0.6)
    bare = Toy(toy.linked & toy.open, toy.open, toy.title, toy.weight)
    for rules in (WIDE, WalkSettings(beam=3, hub=2)):
        one, other = (
            personalised_pagerank(graph.links(), sparse(passages), sparse(entities), rules) for graph in (toy, bare)
        )
        np.testing.assert_array_equal(one.nodes, other.nodes)
        np.testing.assert_array_equal(one.values, other.values)


@CASES
@given(toys(), st.integers(0, 2**32 - 1))
def test_numbering_does_not_matter(toy: Toy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    passages, entities = seeds(rng, toy.linked.shape[0], 0.4), seeds(rng, toy.linked.shape[1], 0.6)
    by_passage, by_entity = rng.permutation(len(passages)), rng.permutation(len(entities))
    moved = toy.renumbered(by_passage, by_entity)
    one = personalised_pagerank(toy.links(), sparse(passages), sparse(entities), WIDE)
    other = personalised_pagerank(moved.links(), sparse(passages[by_passage]), sparse(entities[by_entity]), WIDE)
    np.testing.assert_allclose(dense(other, len(passages)), dense(one, len(passages))[by_passage], atol=1e-12)


def test_the_beam_keeps_the_strongest_and_breaks_ties_by_key() -> None:
    nodes, values = np.array([4, 1, 3, 1, 2]), np.array([0.2, 0.1, 0.2, 0.1, 0.5])
    key = np.array([0, 9, 5, 7, 8], np.uint64)
    kept = Mass.of(nodes, values, beam=3, key=key)
    assert kept.nodes.tolist() == [2, 3, 4]
    assert kept.values.tolist() == [0.5, 0.2, 0.2]
    assert Mass.of(nodes, values, beam=2, key=key).nodes.tolist() == [2, 3]


def test_nowhere_to_go() -> None:
    nothing = Mass(np.zeros(0, np.int64), np.zeros(0))
    toy = Toy(np.ones((2, 1), np.bool_), np.zeros((2, 1), np.bool_), np.zeros((2, 1), np.bool_), np.ones(1, np.float32))
    assert not len(personalised_pagerank(toy.links(), nothing, nothing, WIDE).nodes)
    seeded = personalised_pagerank(toy.links(), nothing, Mass(np.array([0]), np.array([1.0])), WIDE)
    assert not seeded.values.any()
