"""How a document stands: whether another one revoked, superseded or amended it, or it calls itself outdated.

Only relations that a visible chunk states count, so a notice never gives away a document that may not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.relations import ALIAS, AMENDS, REVOKES, STATUS, SUPERSEDES
from retrieval.view import View

KINDS = {SUPERSEDES: "superseded", REVOKES: "revoked", AMENDS: "amended"}
NOT_IN_FORCE = frozenset({"superseded", "revoked", "outdated"})
"""Kinds that make another document the one to prefer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One statement about a document: its kind, by what (a name), and where: `[start, end)` of the chunk at `place`."""

    kind: str
    by: str | None
    place: int
    start: int
    end: int


def standings_of(view: View, places: Sequence[int]) -> dict[int, tuple[Standing, ...]]:
    """What visible chunks say of the standing of the document at each of `places`."""
    titles = view.index.numbers(view.index.title[np.array(places, np.int64)])
    noted = view.index.noted(titles)
    return {place: standing_of(view, place) if some else () for place, some in zip(places, noted.tolist(), strict=True)}


def standing_of(view: View, place: int) -> tuple[Standing, ...]:
    """What visible chunks say of the standing of the document at `place`, one statement a kind."""
    index = view.index
    title = index.number(int(index.title[place]))
    if title is None:
        return ()
    names = {title, *aliases(view, title)}
    found: dict[str, Standing] = {}
    for name in sorted(names, key=lambda name: int(index.entity_key[name])):
        for edge in view.edges_of(name, notable=True).tolist():
            made = _standing(view, place, names, edge)
            if made is not None:
                found.setdefault(made.kind, made)
    return tuple(found[kind] for kind in sorted(found))


def _standing(view: View, place: int, names: set[int], edge: Sequence[int]) -> Standing | None:
    index = view.index
    where, subject, predicate, thing, start, end = edge
    word = index.name(predicate)
    if word == STATUS and subject in names and index.document_id[where] == index.document_id[place]:
        value = index.name(thing)
        return Standing(value if value in NOT_IN_FORCE else "outdated", None, where, start, end)
    if word in KINDS and thing in names and subject not in names:
        return Standing(KINDS[word], index.name(subject), where, start, end)
    return None


def aliases(view: View, entity: int) -> list[int]:
    """Entities that a visible chunk calls another name of this one."""
    rows = view.edges_of(entity, notable=True)
    if not len(rows):
        return []
    rows = rows[rows[:, 2] == view.index.entity(ALIAS)]
    others = {end for row in rows.tolist() for end in (row[1], row[3])} - {entity}
    return sorted(others, key=lambda other: int(view.index.entity_key[other]))
