"""What one principal sees of one snapshot: a filter over an index, and every statistic taken within it.

Everything that ranks (document frequencies, average length, degrees, which titles exist) is counted here from visible
chunks alone, so a document that may not be seen cannot change an answer by a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.walk import first_of, gather
from retrieval.index import PHRASE, TITLE, Index
from retrieval.lists import Int64, joined

FEW = 0.25
"""Share of an index's chunks up to which a view is made from an older one by what differs."""

Bools = NDArray[np.bool_]
_NO_LINKS = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Counts:
    """Of each entity the visible chunks that name it or are about it, that only word it, and that are about it."""

    named: NDArray[np.int32]
    worded: NDArray[np.int32]
    titled: NDArray[np.int32]

    def degree(self) -> NDArray[np.int32]:
        """Links that may be followed: a wording counts only where a visible chunk is about the entity."""
        degree: NDArray[np.int32] = self.named + np.where(self.titled > 0, self.worded, 0)
        return degree


class ViewLinks:
    """The links between chunks and entities that a view may follow (`graph.walk.Links`)."""

    def __init__(self, index: Index, mask: Bools, count: int, counts: Counts) -> None:
        self.counts = counts
        self.degree = counts.degree()
        self.weight = np.log1p(count / np.maximum(self.degree, 1)).astype(np.float32)
        self.passage_key = index.key
        self.entity_key = index.entity_key
        self._index = index
        self._mask = mask

    def entities_in(self, passages: Int64) -> tuple[Int64, Int64, Bools, Bools]:
        """Of each link of `passages`: its passage's place in `passages`, the entity, whether the passage is about the
        entity, and whether its text names it."""
        owner, entity, kind = _links_of(self._index, passages)
        usable = self._mask[passages[owner]] & self._usable(entity, kind)
        owner, entity, kind = owner[usable], entity[usable], kind[usable]
        return owner, entity.astype(np.int64), (kind & TITLE) > 0, (kind & ~np.uint8(TITLE)) > 0

    def passages_of(self, entities: Int64, most: int | None = None) -> tuple[Int64, Int64, Bools]:
        """Of each link of `entities`, at most `most` of each: the entity's place in `entities`, the passage, and
        whether the passage is about the entity. Those count first, then those of the lowest passage keys; without
        `most` they also come in that order."""
        parts = [self._passages_in(number, entities, most) for number in range(len(self._index.runs))]
        owner, chunk, kind = joined(parts, _NO_LINKS)
        about = (kind & TITLE) > 0
        if len(parts) > 1:
            many = np.bincount(owner, minlength=len(entities)) > (most or 0)
            sort = np.flatnonzero(many[owner])
            sort = sort[np.lexsort((self.passage_key[chunk[sort]], ~about[sort], owner[sort]))]
            if most is not None:
                sort = sort[first_of(owner[sort], most)]
            order = np.concatenate([np.flatnonzero(~many[owner]), sort])
            owner, chunk, about = owner[order], chunk[order], about[order]
        return owner, chunk.astype(np.int64), about

    def _passages_in(
        self, run: int, entities: Int64, most: int | None
    ) -> tuple[Int64, NDArray[np.int32], NDArray[np.uint8]]:
        """The links in one run; of an entity with many, no more are read than it takes to find `most` visible ones."""
        links = self._index.runs[run].links
        read = most
        while True:
            owner, slots = links.slots(entities, read)
            chunk, kind = links.values[0][slots], links.values[1][slots]
            usable = self._mask[chunk] & self._usable(entities[owner], kind)
            if read is None or most is None:
                break
            cut = np.bincount(owner, minlength=len(entities)) >= read
            short = np.bincount(owner[usable], minlength=len(entities)) < most
            if not np.any(cut & short):
                break
            read *= 8
        owner, chunk, kind = owner[usable], chunk[usable], kind[usable]
        if most is not None and read != most:
            kept = first_of(owner, most)
            owner, chunk, kind = owner[kept], chunk[kept], kind[kept]
        return owner, chunk, kind

    def _usable(self, entity: NDArray[np.integer], kind: NDArray[np.uint8]) -> Bools:
        worded = kind == PHRASE
        usable: Bools = ~worded
        if worded.any():
            usable[worded] = self.counts.titled[entity[worded]] > 0
        return usable


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The visible part of an index. `mask` is `[n]`; `count` is the number of visible passages."""

    index: Index
    mask: Bools
    count: int
    average_length: float
    links: ViewLinks

    @property
    def everything(self) -> bool:
        """Whether no chunk of the index is hidden."""
        return self.count == len(self.index)

    @property
    def edges(self) -> Int64:
        """The visible typed relations, `[r, 6]`, in their order."""
        rows: Int64 = self.index.edges[self.mask[self.index.edges[:, 0]]]
        return rows

    def edges_of(self, entity: int, *, notable: bool = False) -> Int64:
        """The visible typed relations of an entity: all, or only those of standing and other names."""
        rows = self.index.edges_of(entity, notable=notable)
        rows = rows[self.mask[rows[:, 0]]]
        order: Int64 = rows[np.lexsort((rows[:, 4], self.index.key[rows[:, 0]]))]
        return order


def view_of(index: Index, visible_revisions: Int64, base: View | None = None) -> View:
    """The view of the chunks whose revision is in `visible_revisions` (ascending row ids).

    `base` may be any view of an index that this one grew from: then only what differs is counted.
    """
    mask = _members(index.revision_id, visible_revisions)
    count = int(np.count_nonzero(mask))
    average = float(index.length[mask].mean(dtype=np.float64)) if count else 1.0
    counts = _counts(index, mask, base)
    return View(index, mask, count, max(average, 1.0), ViewLinks(index, mask, count, counts))


def _members(values: Int64, ascending: Int64) -> Bools:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: Bools = ascending[place] == values
    return found


def _counts(index: Index, mask: Bools, base: View | None) -> Counts:
    if base is not None and index.lineage and base.index.lineage == index.lineage and len(base.index) <= len(index):
        before = np.zeros(len(mask), np.bool_)
        before[: len(base.mask)] = base.mask
        changed = np.flatnonzero(mask != before)
        if len(changed) <= FEW * len(mask):
            return _changed_counts(index, mask, before, changed, base)
    owner = np.repeat(mask, np.diff(index.pass_ptr))
    parts = [(np.ones(int(owner.sum()), np.int64), index.pass_entity[owner], index.pass_kind[owner])]
    for run in index.runs:
        shown = np.repeat(mask[run.late.keys], np.diff(run.late.ptr))
        parts.append((np.ones(int(shown.sum()), np.int64), run.late.values[0][shown], run.late.values[1][shown]))
    return _counted(joined(parts, _NO_LINKS), len(index.entity_key))


def _changed_counts(index: Index, mask: Bools, before: Bools, changed: Int64, base: View) -> Counts:
    owner, entity, kind = _links_of(index, changed)
    parts = [(np.where(mask[changed[owner]], 1, -1), entity, kind)]
    for run in index.runs:
        if run.high > len(base.index):  # what was found since in chunks that were visible: not counted before
            chunk = run.late.owners()
            since = before[chunk] & (run.late.values[2] >= len(base.index))
            parts.append((np.ones(int(since.sum()), np.int64), run.late.values[0][since], run.late.values[1][since]))
    more = _counted(joined(parts, _NO_LINKS), len(index.entity_key))
    old = base.links.counts
    known = len(old.named)
    for name in ("named", "worded", "titled"):
        getattr(more, name)[:known] += getattr(old, name)
    return more


def _counted(links: tuple[NDArray, ...], entities: int) -> Counts:  # type: ignore[type-arg]
    sign, entity, kind = links

    def count(which: Bools) -> NDArray[np.int32]:
        found = np.bincount(entity[which], weights=sign[which], minlength=entities)
        return found.astype(np.int32)

    return Counts(count(kind != PHRASE), count(kind == PHRASE), count((kind & TITLE) > 0))


def _links_of(index: Index, passages: Int64) -> tuple[Int64, NDArray[np.int32], NDArray[np.uint8]]:
    """Every link of some passages: the passage's place among them, the entity and the kind."""
    owner, slots = gather(index.pass_ptr, passages)
    parts = [(owner, index.pass_entity[slots], index.pass_kind[slots])]
    for run in index.runs:
        if len(run.late.keys):
            owner, slots = run.late.slots(passages)
            parts.append((owner, run.late.values[0][slots], run.late.values[1][slots]))
    return joined(parts, _NO_LINKS)  # type: ignore[return-value]
