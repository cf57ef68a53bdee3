"""Chunks, mentions and relations as retrieval reads them: in bulk to build indexes, by id to show passages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from kernel.records import MentionKind, Passage, Span
from kernel.storage.database import Database
from kernel.storage.rows import parts, stream
from kernel.storage.schema import chunk, document, entity, mention, relation, revision, source

LAST = 2**63 - 1
"""A row id that no row is above."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What an index keeps of one chunk. `sentences` is int32 `[n, 2]`; vectors are float32 `[d]`, float16 `[n, d]`."""

    chunk_id: int
    public_id: str
    revision_id: int
    document_id: int
    ordinal: int
    title: str
    heading: tuple[str, ...]
    text: str
    sentences: NDArray[np.int32]
    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float16]
    signature: NDArray[np.uint32]


class Corpus:
    """Read access to stored chunks by row id. What is stored under an id never changes, so it may be cached."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def index_rows(self, after: int) -> Iterator[IndexRow]:
        """Chunks with row ids above `after`, ascending."""
        query = (
            select(chunk, revision.c.title, revision.c.document_id)
            .join(revision, revision.c.id == chunk.c.revision_id)
            .where(chunk.c.id > after)
            .order_by(chunk.c.id)
        )
        for row in stream(self._database, query, 1000):
            vector = np.frombuffer(row.vector, dtype="<f4")
            yield IndexRow(
                row.id,
                row.public_id,
                row.revision_id,
                row.document_id,
                row.ordinal,
                row.title,
                tuple(json.loads(row.heading)),
                row.text,
                np.frombuffer(row.sentences, dtype="<i4").reshape(-1, 2),
                vector,
                np.frombuffer(row.sentence_vectors, dtype="<f2").reshape(-1, len(vector)),
                np.frombuffer(row.signature, dtype="<u4"),
            )

    def chunks(self) -> int:
        """How many chunks are stored, visible or not."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(chunk)).scalar_one())

    def mentions(self, after: int, last: int = LAST) -> list[tuple[int, int, bool]]:
        """`(chunk, entity, is title)` row ids of every mention in chunks above `after`, up to `last`."""
        query = select(mention.c.chunk_id, mention.c.entity_id, mention.c.kind)
        query = query.where(mention.c.chunk_id > after, mention.c.chunk_id <= last)
        with self._database.read() as connection:
            return [(row[0], row[1], row[2] == MentionKind.TITLE) for row in connection.execute(query)]

    def relations(self, after: int, last: int = LAST) -> list[tuple[int, int, str, int, int, int]]:
        """`(chunk, subject, predicate, object, start, end)` of relations in chunks above `after`, up to `last`, in
        stored order."""
        columns = (relation.c.chunk_id, relation.c.subject_id, relation.c.predicate, relation.c.object_id)
        query = select(*columns, relation.c.start, relation.c.end)
        query = query.where(relation.c.chunk_id > after, relation.c.chunk_id <= last)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(relation.c.id))
            return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]

    def entity_names(self, ids: Sequence[int]) -> dict[int, str]:
        """Keys of the entities with these row ids."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for some in parts(ids):
                query = select(entity.c.id, entity.c.key).where(entity.c.id.in_(some))
                found.update({row[0]: row[1] for row in connection.execute(query)})
        return found

    def names_in(self, chunk_ids: Sequence[int]) -> dict[int, list[str]]:
        """Names of the entities that each chunk mentions, by row id."""
        query = (
            select(mention.c.chunk_id, entity.c.key)
            .join(entity, entity.c.id == mention.c.entity_id)
            .order_by(mention.c.chunk_id, entity.c.key)
            .distinct()
        )
        found: dict[int, list[str]] = {}
        with self._database.read() as connection:
            for some in parts(chunk_ids):
                for row in connection.execute(query.where(mention.c.chunk_id.in_(some))):
                    found.setdefault(row[0], []).append(row[1])
        return found

    def document_row(self, public_id: str) -> int | None:
        """The row id of a document, whoever may see it."""
        with self._database.read() as connection:
            found: int | None = connection.execute(
                select(document.c.id).where(document.c.public_id == public_id)
            ).scalar()
            return found

    def public_ids(self, chunk_ids: Sequence[int]) -> dict[int, str]:
        """Public ids of chunks by row id."""
        found: dict[int, str] = {}
        with self._database.read() as connection:
            for some in parts(chunk_ids):
                query = select(chunk.c.id, chunk.c.public_id).where(chunk.c.id.in_(some))
                found.update({row[0]: row[1] for row in connection.execute(query)})
        return found

    def passages(self, chunk_ids: Sequence[int]) -> dict[int, tuple[Passage, tuple[Span, ...]]]:
        """Passages (score 0) and their sentence spans, by chunk row id."""
        query = (
            select(
                *(
                    chunk.c[name]
                    for name in ("id", "public_id", "start", "end", "tokens", "page", "heading", "text", "sentences")
                ),
                revision.c.number,
                revision.c.title,
                revision.c.uri,
                document.c.public_id.label("document"),
                document.c.external_id,
                source.c.name.label("source"),
            )
            .join(revision, revision.c.id == chunk.c.revision_id)
            .join(document, document.c.id == revision.c.document_id)
            .join(source, source.c.id == document.c.source_id)
        )
        found: dict[int, tuple[Passage, tuple[Span, ...]]] = {}
        with self._database.read() as connection:
            for some in parts(chunk_ids):
                for row in connection.execute(query.where(chunk.c.id.in_(some))):
                    spans = np.frombuffer(row.sentences, dtype="<i4").reshape(-1, 2).tolist()
                    passage = Passage(
                        chunk_id=row.public_id,
                        document_id=row.document,
                        external_id=row.external_id,
                        revision=row.number,
                        source=row.source,
                        title=row.title,
                        uri=row.uri,
                        heading=tuple(json.loads(row.heading)),
                        text=row.text,
                        start=row.start,
                        end=row.end,
                        tokens=row.tokens,
                        page=row.page,
                        score=0.0,
                    )
                    found[row.id] = (passage, tuple(Span(a, b) for a, b in spans))
        return found
