"""The context of an answer: the best passages within a token budget, without repeats, and the facts that tie them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernel.records import Evidence, GraphFact, Passage
from retrieval.search import Found
from retrieval.standing import NOT_IN_FORCE
from retrieval.view import View

MOST_FACTS = 12
PASSAGE_OVERHEAD = 16
"""Tokens that a passage's number and title take in a prompt, about."""


def assemble(found: Found, snapshot: int, budget: int) -> Evidence:
    """Passages in force before those that are not, best first, as many as fit into `budget` tokens (at least one).

    Near-duplicates of a passage already in are left out.
    """
    order = sorted(range(len(found.passages)), key=lambda i: (not_in_force(found.passages[i]), i))
    kept: list[int] = []
    tokens = 0
    for i in order:
        passage = found.passages[i]
        cost = passage.tokens + PASSAGE_OVERHEAD
        if passage.duplicate_of is None and (not kept or tokens + cost <= budget):
            kept.append(i)
            tokens += cost
    passages = tuple(found.passages[i] for i in kept)
    return Evidence(
        snapshot=snapshot,
        passages=passages,
        facts=_facts(found.view, [found.places[i] for i in kept], passages),
        rarity=found.rarity,
        candidates=found.candidates,
        tokens=tokens,
    )


def not_in_force(passage: Passage) -> bool:
    """Whether something in force says that this passage's document is not."""
    return any(notice.kind in NOT_IN_FORCE for notice in passage.notices)


def _facts(view: View, places: Sequence[int], passages: Sequence[Passage]) -> tuple[GraphFact, ...]:
    """Typed relations that a passage states between things that the passages are about or name."""
    index = view.index
    mentioned = [set(view.links.entities_in(np.array([place]))[1].tolist()) for place in places]
    found: list[GraphFact] = []
    for place, passage in zip(places, passages, strict=True):
        low, high = np.searchsorted(index.edges[:, 0], (place, place + 1))
        for _, subject, predicate, thing, _, _ in index.edges[low:high].tolist():
            if sum(subject in names or thing in names for names in mentioned) > 1:
                fact = GraphFact(index.name(subject), index.name(predicate), index.name(thing), passage.chunk_id)
                found.append(fact)
    return tuple(dict.fromkeys(found))[:MOST_FACTS]
