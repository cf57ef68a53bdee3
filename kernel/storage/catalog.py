"""Sources, documents and their revisions: staging what an ingest made, and listing it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, func, or_, select, update

from kernel.errors import NotFound
from kernel.ids import derived_id, sha256
from kernel.records import (
    DocumentInfo,
    Principal,
    RevisionState,
    SourceInfo,
    Span,
    StagedRevision,
    StoredChunk,
    StoredRevision,
)
from kernel.storage.access import groups_of, initial_groups, may_see, put_groups, withdrawn
from kernel.storage.database import Database
from kernel.storage.ledger import append
from kernel.storage.rows import (
    DOCUMENT_FACTS,
    REVISION_FACTS,
    chunk_digest,
    dumps,
    insert_new,
    now,
    parts,
    revision_digest,
    revision_digests,
    seen_by,
)
from kernel.storage.schema import (
    chunk,
    document,
    entity,
    mention,
    relation,
    revision,
    revision_text,
    setting,
    source,
    visibility,
)

SOURCE_ADDED = "source.added"
SOURCE_MOVED = "source.moved"
"""Kinds of leaves; their payload is the source's row. A name or place may name a person, so it is no fact."""


class Catalog:
    """What is known of sources and documents. Writing here makes nothing visible: `Snapshots.publish` does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entity_ids: dict[str, int] = {}

    def source_id(self, name: str, location: str) -> int:
        """The source of that name, made where there is none yet; its location is brought up to date."""
        with self._database.write() as connection:
            known = connection.execute(select(source).where(source.c.name == name)).first()
            if known is not None and known.location == location:
                return int(known.id)
            moment = now()
            row = {"name": name, "location": location, "created_at": known.created_at if known else moment}
            if known is None:
                found = int(connection.execute(source.insert().returning(source.c.id), row).scalar_one())
            else:
                found = int(known.id)
                connection.execute(update(source).where(source.c.id == found).values(location=location))
            kind = SOURCE_ADDED if known is None else SOURCE_MOVED
            append(self._database, connection, kind, f"source {found}", {"source": found}, dumps(row), moment)
            return found

    def sources(self, snapshot: int) -> list[SourceInfo]:
        """All sources by name, with their number of documents in `snapshot`."""
        count = (
            select(document.c.source_id, func.count().label("documents"))
            .join(revision, revision.c.document_id == document.c.id)
            .join(visibility, visibility.c.revision_id == revision.c.id)
            .where(seen_by(snapshot))
            .group_by(document.c.source_id)
            .subquery()
        )
        query = (
            select(source, func.coalesce(count.c.documents, 0))
            .outerjoin(count, count.c.source_id == source.c.id)
            .order_by(source.c.name)
        )
        with self._database.read() as connection:
            return [SourceInfo(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(query)]

    def states(self, source_id: int, snapshot: int) -> dict[str, RevisionState]:
        """Of each document path of a source, what `snapshot` sees."""
        query = (
            select(document.c.path, revision.c.id, document.c.id, revision.c.content_sha256, revision.c.recipe)
            .join(revision, revision.c.document_id == document.c.id)
            .join(visibility, visibility.c.revision_id == revision.c.id)
            .where(document.c.source_id == source_id, seen_by(snapshot))
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            groups = groups_of(connection, [row[1] for row in rows])
        return {row[0]: RevisionState(row[1], row[2], row[3], row[4], groups.get(row[1])) for row in rows}

    def staged(self, source_id: int, path: str, content_sha256: str, recipe: str) -> StagedRevision | None:
        """The revision of that content, if it was ever stored: it can be shown again without new work."""
        query = (
            select(revision.c.id, revision.c.reason)
            .join(document, document.c.id == revision.c.document_id)
            .where(
                document.c.source_id == source_id,
                document.c.path == path,
                revision.c.content_sha256 == content_sha256,
                revision.c.recipe == recipe,
            )
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else StagedRevision(row[0], row[1])

    def document_rows(self, source_id: int, paths: Sequence[str]) -> dict[str, int]:
        """The row of each document of a source, by path."""
        found: dict[str, int] = {}
        with self._database.read() as connection:
            for some in parts(paths):
                query = select(document.c.path, document.c.id).where(
                    document.c.source_id == source_id, document.c.path.in_(some)
                )
                found.update({row[0]: row[1] for row in connection.execute(query)})
        return found

    def stage(self, source_id: int, recipe: str, revisions: Sequence[StoredRevision]) -> list[int]:
        """Store revisions with all their chunks, mentions and relations in one transaction; their ids, in order."""
        with self._database.write() as connection:
            name = connection.execute(select(source.c.name).where(source.c.id == source_id)).scalar_one()
            learnt = self._learn_entities(connection, revisions)
            entities = ChainMap(learnt, self._entity_ids)
            stored = [self._stage_one(connection, (source_id, name), recipe, made, entities) for made in revisions]
        self._entity_ids.update(learnt)
        return stored

    def _stage_one(
        self,
        connection: Connection,
        owner: tuple[int, str],
        recipe: str,
        made: StoredRevision,
        entities: Mapping[str, int],
    ) -> int:
        source_id, name = owner
        public_id = derived_id("doc", name, made.path)
        row = {
            "public_id": public_id,
            "source_id": source_id,
            "path": made.path,
            "external_id": made.external_id,
            "created_at": now(),
        }
        insert_new(connection, document, [row])
        known = connection.execute(select(document).where(document.c.public_id == public_id)).one()
        document_id = known.id
        last = connection.execute(
            select(func.max(revision.c.number)).where(revision.c.document_id == document_id)
        ).scalar()
        values = {
            "document_id": document_id,
            "number": (last or 0) + 1,
            "content_sha256": made.content_sha256,
            "text_sha256": sha256(made.text),
            "recipe": recipe,
            "media_type": made.media_type,
            "title": made.title,
            "uri": made.uri,
            "status": "failed" if made.reason else "ok",
            "reason": made.reason,
            "length": len(made.text),
            "details": dumps(made.details),
            "sha256": "",
            "created_at": now(),
        }
        revision_id = int(connection.execute(revision.insert().returning(revision.c.id), values).scalar_one())
        connection.execute(revision_text.insert(), {"revision_id": revision_id, "text": made.text})
        initial_groups(connection, revision_id, made.groups)
        stem = (public_id, made.content_sha256, recipe)
        facts = [*(known._mapping[fact] for fact in DOCUMENT_FACTS), *(values[fact] for fact in REVISION_FACTS)]
        groups = [[group] for group in set(made.groups or ())]
        digest = revision_digest(
            facts, [groups, *self._stage_chunks(connection, revision_id, stem, made.chunks, entities)]
        )
        connection.execute(update(revision).where(revision.c.id == revision_id).values(sha256=digest))
        return revision_id

    @staticmethod
    def _stage_chunks(
        connection: Connection,
        revision_id: int,
        stem: tuple[str, ...],
        chunks: Sequence[StoredChunk],
        entities: Mapping[str, int],
    ) -> tuple[list[Sequence[Any]], ...]:
        """Store chunks; what the revision's digest covers of them, as `revision_digests` reads it back."""
        mentions: list[dict[str, Any]] = []
        relations: list[dict[str, Any]] = []
        rows: tuple[list[Sequence[Any]], ...] = ([], [], [])
        for made in chunks:
            ordinal = made.draft.ordinal
            values = _chunk_values(made) | {
                "revision_id": revision_id,
                "public_id": derived_id("chk", *stem, str(made.draft.ordinal)),
            }
            chunk_id = connection.execute(chunk.insert().returning(chunk.c.id), values).scalar_one()
            rows[0].append([ordinal, chunk_id, *(values[name] for name in ("public_id", "tokens", "sha256"))])
            rows[1].extend([ordinal, m.start, m.end, m.kind.value, m.key] for m in made.mentions)
            rows[2].extend([ordinal, r.subject, r.predicate, r.object, r.start, r.end] for r in made.relations)
            mentions += [
                {
                    "chunk_id": chunk_id,
                    "start": m.start,
                    "end": m.end,
                    "entity_id": entities[m.key],
                    "kind": m.kind.value,
                }
                for m in made.mentions
            ]
            relations += [
                {
                    "chunk_id": chunk_id,
                    "subject_id": entities[r.subject],
                    "predicate": r.predicate,
                    "object_id": entities[r.object],
                    "start": r.start,
                    "end": r.end,
                }
                for r in made.relations
            ]
        if mentions:
            connection.execute(mention.insert(), mentions)
        if relations:
            connection.execute(relation.insert(), relations)
        return rows

    def _learn_entities(self, connection: Connection, revisions: Sequence[StoredRevision]) -> dict[str, int]:
        """Ids of the keys that were not known, stored where they are new; certain only once that is committed."""
        keys = {
            key
            for made in revisions
            for piece in made.chunks
            for key in (*(m.key for m in piece.mentions), *(k for r in piece.relations for k in (r.subject, r.object)))
        }
        if len(self._entity_ids) > 1_000_000:
            self._entity_ids.clear()
        unknown = sorted(keys - self._entity_ids.keys())
        insert_new(connection, entity, [{"key": key} for key in unknown])
        learnt: dict[str, int] = {}
        for some in parts(unknown):
            query = select(entity.c.key, entity.c.id).where(entity.c.key.in_(some))
            learnt.update({row[0]: row[1] for row in connection.execute(query)})
        return learnt

    def set_groups(self, groups: Mapping[int, tuple[str, ...] | None]) -> None:
        """Set who may see each document (by row id; None: everyone), in all its revisions, from the next request on."""
        with self._database.write() as connection:
            wanted: dict[int, tuple[str, ...] | None] = {}
            for some in parts(list(groups)):
                query = select(revision.c.id, revision.c.document_id).where(revision.c.document_id.in_(some))
                wanted.update({row[0]: groups[row[1]] for row in connection.execute(query)})
            put_groups(self._database, connection, wanted)

    def set_revision_groups(self, groups: Mapping[int, tuple[str, ...] | None]) -> None:
        """Set who may see each revision (by row id; None: everyone), from the next request on."""
        if groups:
            with self._database.write() as connection:
                put_groups(self._database, connection, groups)

    def documents(
        self,
        snapshot: int,
        principal: Principal,
        *,
        limit: int,
        after: str = "",
        status: str | None = None,
        source_name: str | None = None,
    ) -> list[DocumentInfo]:
        """Documents that `principal` may see in `snapshot`, by public id after `after`, at most `limit`."""
        query = _document_query(snapshot, principal).where(document.c.public_id > after)
        if status is not None:
            query = query.where(revision.c.status == status)
        if source_name is not None:
            query = query.where(source.c.name == source_name)
        with self._database.read() as connection:
            return _document_infos(connection, query.order_by(document.c.public_id).limit(limit))

    def external_ids(self, snapshot: int) -> dict[int, str]:
        """The records' own ids in `snapshot`, by document row."""
        query = (
            select(document.c.id, document.c.external_id)
            .join(revision, revision.c.document_id == document.c.id)
            .join(visibility, visibility.c.revision_id == revision.c.id)
            .where(seen_by(snapshot), document.c.external_id.is_not(None))
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def document(self, public_id: str, snapshot: int, principal: Principal) -> DocumentInfo:
        """One document. Raises NotFound where there is none, or none that `principal` may see in `snapshot`."""
        query = _document_query(snapshot, principal).where(document.c.public_id == public_id)
        with self._database.read() as connection:
            found = _document_infos(connection, query)
        if not found:
            raise NotFound(f"no document {public_id}")
        return found[0]

    def named(self, name: str, snapshot: int, principal: Principal, limit: int) -> list[DocumentInfo]:
        """Documents that `principal` may see in `snapshot` with this path or own id; where there is none, those whose
        title or end of path it is. By public id, at most `limit`."""
        exact = or_(document.c.path == name, document.c.external_id == name)
        title = or_(revision.c.title == name, func.lower(revision.c.title) == name.lower())
        loose = or_(title, document.c.path.endswith(f"/{name}", autoescape=True))
        query = _document_query(snapshot, principal).order_by(document.c.public_id).limit(limit)
        with self._database.read() as connection:
            found = _document_infos(connection, query.where(exact))
            return found or _document_infos(connection, query.where(loose))

    def text(self, public_id: str, number: int) -> str:
        """The canonical text of a document's revision; the caller has checked that it may be seen."""
        query = (
            select(revision_text.c.text)
            .join(revision, revision.c.id == revision_text.c.revision_id)
            .join(document, document.c.id == revision.c.document_id)
            .where(document.c.public_id == public_id, revision.c.number == number)
        )
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            raise NotFound(f"no revision {number} of document {public_id}")
        return str(found)

    def setting(self, name: str) -> str | None:
        """A stored setting of the workspace."""
        with self._database.read() as connection:
            value: str | None = connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar()
            return value


def seal_revisions(connection: Connection, revision_ids: Sequence[int]) -> None:
    """Store what binds each revision to all that was stored with it."""
    digests = revision_digests(connection, revision_ids)
    for revision_id, digest in digests.items():
        connection.execute(update(revision).where(revision.c.id == revision_id).values(sha256=digest))


def _chunk_values(made: StoredChunk) -> dict[str, Any]:
    draft = made.draft
    values = {
        "ordinal": draft.ordinal,
        "start": draft.start,
        "end": draft.end,
        "tokens": draft.tokens,
        "page": draft.page,
        "heading": dumps(list(draft.heading)),
        "text": draft.text,
        "sentences": pack_spans(draft.sentences),
        "vector": made.vector,
        "sentence_vectors": made.sentence_vectors,
        "signature": made.signature,
    }
    return values | {"sha256": chunk_digest(values)}


def pack_spans(spans: Sequence[Span]) -> bytes:
    """Spans as little-endian int32 pairs."""
    return np.array([(span.start, span.end) for span in spans], dtype="<i4").tobytes()


def _document_query(snapshot: int, principal: Principal) -> Select[Any]:
    chunks = select(func.count()).where(chunk.c.revision_id == revision.c.id).scalar_subquery()
    query = (
        select(
            revision.c.id.label("row"),
            document.c.public_id,
            source.c.name,
            document.c.path,
            document.c.external_id,
            revision,
            chunks,
        )
        .join(source, source.c.id == document.c.source_id)
        .join(revision, revision.c.document_id == document.c.id)
        .join(visibility, visibility.c.revision_id == revision.c.id)
        .where(seen_by(snapshot), ~withdrawn())
    )
    rule = may_see(principal)
    return query if rule is None else query.where(rule)


def _document_infos(connection: Connection, query: Select[Any]) -> list[DocumentInfo]:
    rows = connection.execute(query).all()
    groups = groups_of(connection, [row[0] for row in rows])
    return [
        DocumentInfo(
            id=row.public_id,
            source=row.name,
            path=row.path,
            external_id=row.external_id,
            title=row.title,
            uri=row.uri,
            status=row.status,
            reason=row.reason,
            revision=row.number,
            media_type=row.media_type,
            length=row.length,
            content_sha256=row.content_sha256,
            chunks=row[-1],
            groups=groups.get(row[0]),
            created_at=row.created_at,
        )
        for row in rows
    ]
