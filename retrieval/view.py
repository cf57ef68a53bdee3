"""What one principal sees of one snapshot: a filter over an index, and every statistic taken within it.

Everything that ranks (document frequencies, average length, degrees, which titles exist) is counted here from visible
chunks alone, so a document that may not be seen cannot change an answer by a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.relations import ALIAS, REPLACING, STATUS
from graph.walk import Links
from retrieval.index import PHRASE, TITLE, Index

NOTABLE = (*REPLACING, STATUS, ALIAS)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The visible part of an index. `mask` is `[n]`; `documents` counts visible passages."""

    index: Index
    mask: NDArray[np.bool_]
    count: int
    average_length: float
    links: Links
    edges: NDArray[np.int64]  # numbers of the visible typed relations
    notable: dict[int, list[tuple[int, ...]]]  # the visible relations of standing and alias, by each entity of theirs

    @property
    def everything(self) -> bool:
        """Whether no chunk of the index is hidden."""
        return self.count == len(self.index)


def view_of(index: Index, visible_revisions: NDArray[np.int64]) -> View:
    """The view of the chunks whose revision is in `visible_revisions` (ascending row ids)."""
    mask = _members(index.revision_id, visible_revisions)
    count = int(mask.sum())
    average = float(index.length[mask].mean(dtype=np.float64)) if count else 1.0
    edges = np.flatnonzero(mask[index.edges[:, 0]])
    return View(index, mask, count, max(average, 1.0), _links(index, mask, count), edges, _notable(index, edges))


def _notable(index: Index, edges: NDArray[np.int64]) -> dict[int, list[tuple[int, ...]]]:
    known = [number for number in (index.entity(predicate) for predicate in NOTABLE) if number is not None]
    found: dict[int, list[tuple[int, ...]]] = {}
    rows = index.edges[edges[np.isin(index.edges[edges, 2], known)]]
    for row in rows[np.lexsort((rows[:, 4], index.key[rows[:, 0]]))].tolist():
        for end in {row[1], row[3]}:
            found.setdefault(end, []).append(tuple(row))
    return found


def _members(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[place] == values
    return found


def _links(index: Index, mask: NDArray[np.bool_], count: int) -> Links:
    entities = len(index.entities)
    owner = np.repeat(np.arange(entities), np.diff(index.ent_ptr))
    visible = mask[index.ent_chunk]
    title = (index.ent_kind & TITLE) > 0
    titled = np.zeros(entities, np.bool_)
    titled[owner[visible & title]] = True
    entity_open = visible & (((index.ent_kind & ~np.uint8(PHRASE)) > 0) | titled[owner])
    degree = np.bincount(owner[entity_open], minlength=entities).astype(np.int32)
    chunk_of = np.repeat(np.arange(len(index)), np.diff(index.pass_ptr))
    passage_open = mask[chunk_of] & (((index.pass_kind & ~np.uint8(PHRASE)) > 0) | titled[index.pass_entity])
    return Links(
        passage_ptr=index.pass_ptr,
        passage_entity=index.pass_entity,
        passage_kind=index.pass_kind,
        passage_open=passage_open,
        entity_ptr=index.ent_ptr,
        entity_passage=index.ent_chunk,
        entity_open=entity_open,
        is_title=title,
        weight=np.log1p(count / np.maximum(degree, 1)).astype(np.float32),
        degree=degree,
        passage_key=index.key,
    )
