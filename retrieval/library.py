"""The live index of a workspace and the views over it: kept up with the store, shared by all threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from kernel.records import LiveState, Principal
from kernel.storage.corpus import Corpus
from kernel.storage.snapshots import Snapshots
from retrieval.build import Additions, empty_index, extend
from retrieval.dense import DenseIndex
from retrieval.index import Index
from retrieval.shelf import Shelf
from retrieval.view import View, view_of

VIEWS = 16


@dataclass(frozen=True, slots=True)
class Opened:
    """An index with its dense search, as one generation of the library."""

    index: Index
    dense: DenseIndex


class Library:
    """Gives, for a snapshot and a principal, the view to search in. Rebuilds what it lacks from the store."""

    def __init__(self, corpus: Corpus, snapshots: Snapshots, shelf: Shelf, dimension: int) -> None:
        self._corpus = corpus
        self._snapshots = snapshots
        self._shelf = shelf
        self._dimension = dimension
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._opened: Opened | None = None
        self._views: OrderedDict[tuple[object, ...], tuple[Opened, View]] = OrderedDict()

    def view(self, state: LiveState, principal: Principal) -> tuple[View, DenseIndex]:
        """What `principal` sees of `state.snapshot`, under the access rules as they are now."""
        opened = self.reach(state.last_chunk)
        key = (state.snapshot, state.access_version, principal.groups, id(opened))
        with self._lock:
            known = self._views.get(key)
            if known is not None:
                self._views.move_to_end(key)
                return known[1], opened.dense
        visible = np.array(self._snapshots.visible_revisions(state.snapshot, principal), np.int64)
        view = view_of(opened.index, visible)
        with self._lock:
            self._views[key] = (opened, view)
            while len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return view, opened.dense

    def reach(self, last_chunk: int) -> Opened:
        """The index as far as chunk `last_chunk` at least: the open one, one from the shelf, or one built further."""
        opened = self._opened
        if opened is None or opened.index.last_chunk < last_chunk:
            with self._building:
                opened = self._opened
                if opened is None or opened.index.last_chunk < last_chunk:
                    opened = self._opened = self._open(opened.index if opened else None, last_chunk)
        return opened

    def update(self) -> Index:
        """Index every chunk that the store holds and put the index on the shelf, for all processes to open."""
        with self._building:
            known = self._opened.index if self._opened else self._stored()
            index = self._extended(known)
            if self._opened is None or index is not self._opened.index:
                self._opened = Opened(index, DenseIndex(index))
            self._shelf.put(index)
        return index

    def rebuild(self) -> Index:
        """Build an index anew from the store alone and put it in the place of all others; questions go on meanwhile."""
        with self._building:
            index = self._extended(empty_index(self._dimension))
            self._shelf.drop()
            self._shelf.put(index)
            self._opened = Opened(index, DenseIndex(index))
            with self._lock:
                self._views.clear()
        return index

    def _open(self, index: Index | None, last_chunk: int) -> Opened:
        stored = self._shelf.newest()
        if stored is not None and (index is None or stored.last_chunk > index.last_chunk):
            index = stored
        index = index or empty_index(self._dimension)
        if index.last_chunk < last_chunk:
            index = self._extended(index)
        return Opened(index, DenseIndex(index))

    def _stored(self) -> Index:
        return self._shelf.newest() or empty_index(self._dimension)

    def _extended(self, index: Index) -> Index:
        after = index.last_chunk
        rows = list(self._corpus.index_rows(after))
        if not rows:
            return index
        last = rows[-1].chunk_id
        mentions = [mention for mention in self._corpus.mentions(after) if mention[0] <= last]
        relations = [relation for relation in self._corpus.relations(after) if relation[0] <= last]
        ids = {m[1] for m in mentions} | {i for r in relations for i in (r[1], r[3])}
        names = self._corpus.entity_names(sorted(ids))
        return extend(
            index,
            Additions(
                rows,
                [(chunk, names[entity], title) for chunk, entity, title in mentions],
                [
                    (chunk, names[s], predicate, names[o], start, end)
                    for chunk, s, predicate, o, start, end in relations
                ],
            ),
        )
