"""The live index of a workspace and the views over it: kept up with the store, shared by all threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernel.records import LiveState, Principal
from kernel.storage.corpus import Corpus, IndexRow
from kernel.storage.snapshots import Snapshots
from retrieval.build import Additions, addition
from retrieval.dense import DenseIndex
from retrieval.index import Index
from retrieval.shelf import Shelf
from retrieval.view import View, view_of

VIEWS = 16
STEP = 25_000
"""Chunks that are read and indexed at a time."""

Progress = Callable[[int], None]
"""Told how many chunks are indexed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An index with its dense search, as one generation of the library."""

    index: Index
    dense: DenseIndex


class Library:
    """Gives, for a snapshot and a principal, the view to search in. Rebuilds what it lacks from the store."""

    def __init__(self, corpus: Corpus, snapshots: Snapshots, shelf: Shelf, *, exact: bool = False) -> None:
        self._corpus = corpus
        self._snapshots = snapshots
        self._shelf = shelf
        self._exact = exact
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._opened: Opened | None = None
        self._views: OrderedDict[tuple[object, ...], tuple[Opened, View]] = OrderedDict()

    @property
    def search(self) -> str:
        """`exact` where vectors are never searched approximately, else `auto`."""
        return "exact" if self._exact else "auto"

    def view(
        self, state: LiveState, principal: Principal, within: frozenset[str] | None = None
    ) -> tuple[View, DenseIndex]:
        """What `principal` sees of `state.snapshot`, under `state`'s version of the access rules; of the documents with
        these ids alone, where `within` names some.
        """
        opened = self.reach(state.last_chunk)
        key = (state.snapshot, state.access_version, principal.groups, within, id(opened))
        with self._lock:
            known = self._views.get(key)
            if known is not None:
                self._views.move_to_end(key)
                return known[1], opened.dense
            alike = (principal.groups, within)
            base = next((view for old, (_, view) in reversed(self._views.items()) if old[2:4] == alike), None)
        visible = np.array(self._snapshots.visible_revisions(state.snapshot, principal, state.access_version), np.int64)
        if within is not None:
            visible = np.intersect1d(visible, self._revisions(opened.index, within))
        view = view_of(opened.index, visible, base)
        with self._lock:
            if opened is self._opened:
                self._views[key] = (opened, view)
            while len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return view, opened.dense

    def _revisions(self, index: Index, documents: frozenset[str]) -> NDArray[np.int64]:
        """Row ids of the indexed revisions of documents."""
        found = (self._corpus.document_row(one) for one in sorted(documents))
        rows = np.array([row for row in found if row is not None], np.int64)
        revisions: NDArray[np.int64] = np.unique(index.revision_id[np.isin(index.document_id, rows)]).astype(np.int64)
        return revisions

    def reach(self, last_chunk: int) -> Opened:
        """The index as far as chunk `last_chunk` at least: the open one, the one on the shelf, or one built further."""
        self.renew()
        opened = self._opened
        if opened is None or opened.index.last_chunk < last_chunk:
            with self._building:
                opened = self._opened
                if opened is None or opened.index.last_chunk < last_chunk:
                    stored = self._shelf.open(opened.index if opened else None)
                    if stored is None or stored.last_chunk < last_chunk:
                        stored = self._updated()
                    opened = self._open(stored)
        return opened

    def renew(self) -> None:
        """Let go of an index in whose place another one was built, and of all views of it. Waits for nobody."""
        opened = self._opened
        if opened is None or not self._shelf.replaced(opened.index) or not self._building.acquire(blocking=False):
            return
        try:
            stored = self._shelf.open()
            if stored is not None:
                self._open(stored)
                self._forget()
        finally:
            self._building.release()

    def _forget(self) -> None:
        with self._lock:
            self._views = OrderedDict((key, value) for key, value in self._views.items() if value[0] is self._opened)

    def update(self, progress: Progress = lambda _: None) -> Index:
        """Index every chunk that the store holds, on the shelf, for all processes to open."""
        with self._building:
            return self._open(self._updated(progress)).index

    def rebuild(self, progress: Progress = lambda _: None) -> Index:
        """Build an index anew from the store alone and put it in the place of any other; questions go on meanwhile."""
        with self._building, self._shelf.lock():
            index = self._extended(self._shelf.begin(), progress)
            self._shelf.adopt(index)
            opened = self._open(index)
            self._forget()
            return opened.index

    def _updated(self, progress: Progress = lambda _: None) -> Index:
        with self._shelf.lock():
            index = self._shelf.open(self._opened.index if self._opened else None)
            if index is not None:
                return self._extended(index, progress)
            index = self._extended(self._shelf.begin(), progress)
            self._shelf.adopt(index)
            return index

    def _open(self, index: Index) -> Opened:
        if self._opened is None or self._opened.index is not index:
            self._opened = Opened(index, DenseIndex(index, exact=self._exact))
        return self._opened

    def _extended(self, index: Index, progress: Progress) -> Index:
        for rows in _parts(self._corpus.index_rows(index.last_chunk)):
            index = self._shelf.append(index, addition(index, self._additions(rows)))
            progress(len(index))
        return self._shelf.finish(index)

    def _additions(self, rows: list[IndexRow]) -> Additions:
        after, last = rows[0].chunk_id - 1, rows[-1].chunk_id
        mentions = self._corpus.mentions(after, last)
        relations = self._corpus.relations(after, last)
        names = self._corpus.entity_names(
            sorted({m[1] for m in mentions} | {i for r in relations for i in (r[1], r[3])})
        )
        return Additions(
            rows,
            [(chunk, names[entity], title) for chunk, entity, title in mentions],
            [(chunk, names[s], predicate, names[o], start, end) for chunk, s, predicate, o, start, end in relations],
        )


def _parts(rows: Iterator[IndexRow]) -> Iterator[list[IndexRow]]:
    part: list[IndexRow] = []
    for row in rows:
        part.append(row)
        if len(part) == STEP:
            yield part
            part = []
    if part:
        yield part
