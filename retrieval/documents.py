"""Reading a document through the index: its passages in order, as far as a reader may see them in a snapshot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.errors import NotFound
from kernel.records import LiveState, Notice, Passage, Principal
from kernel.storage.corpus import Corpus
from retrieval.library import Library
from retrieval.standing import Standing, standings_of
from retrieval.view import View

PART = 400
"""Passages of a document that are read at a time."""


class DocumentReader:
    """Reads documents as a search would show them: the same filter, and the same notices."""

    def __init__(self, library: Library, corpus: Corpus) -> None:
        self._library = library
        self._corpus = corpus

    def passages(self, name: str, start: int, state: LiveState, principal: Principal) -> list[Passage]:
        """The passages of a document, in order, that end after character `start`; `name` is its id, or the id of a
        passage, which is where reading begins unless `start` lies behind it. Raises NotFound.
        """
        view, _ = self._library.view(state, principal)
        places = self._places(view, name)
        if not len(places):
            raise NotFound(f"no document {name}")
        rows = {place: int(view.index.chunk_id[place]) for place in places}
        read = self._corpus.passages(list(rows.values()))
        kept = [(place, read[row][0]) for place, row in rows.items() if row in read]
        if name.startswith("chk_"):
            start = max(start, next((one.start for _, one in kept if one.chunk_id == name), 0))
        shown = [(place, passage) for place, passage in kept if passage.end > start][:PART]
        standings = standings_of(view, [place for place, _ in shown])
        return [replace(one, notices=self._notices(view, one, standings[place])) for place, one in shown]

    def _places(self, view: View, name: str) -> list[int]:
        """Where the document's visible chunks are, in the order of its text."""
        index = view.index
        if name.startswith("chk_"):
            found = np.flatnonzero((index.public_id == name.encode()) & view.mask)
            row = int(index.document_id[found[0]]) if len(found) else -1
        else:
            row = self._corpus.document_row(name) or -1
        places = np.flatnonzero((index.document_id == row) & view.mask)
        ordered: list[int] = places[np.argsort(index.ordinal[places], kind="stable")].tolist()
        return ordered

    def _notices(self, view: View, passage: Passage, standings: tuple[Standing, ...]) -> tuple[Notice, ...]:
        rows = {one.place: int(view.index.chunk_id[one.place]) for one in standings}
        read = self._corpus.passages(list(rows.values())) if rows else {}
        found = [(one, read[rows[one.place]][0]) for one in standings if rows[one.place] in read]
        return tuple(
            Notice(passage.document_id, one.kind, one.by, by.chunk_id, by.text[one.start : one.end])
            for one, by in found
        )
