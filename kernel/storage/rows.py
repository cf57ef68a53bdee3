"""Small shared pieces of the repositories: the clock, batched statements, rule of visibility."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from kernel.ids import sha256
from kernel.storage.database import Database
from kernel.storage.schema import (
    chunk,
    document,
    entity,
    mention,
    relation,
    revision,
    revision_group,
    visibility,
)

T = TypeVar("T")


def now() -> str:
    """This moment in UTC, ISO 8601 to the microsecond, always of the same length."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def parts(items: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """`items` in slices that fit into one statement's parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def stream(database: Database, query: Select[Any], step: int) -> Iterator[Any]:
    """The rows of a query, fetched `step` at a time in one transaction; may be left before its end."""
    with database.read() as connection, connection.execution_options(yield_per=step).execute(query) as rows:
        yield from rows


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose keys are not there yet."""
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def seen_by(snapshot: int) -> ColumnElement[bool]:
    """The rule of visibility: born by this snapshot and not dead in it."""
    return (visibility.c.born <= snapshot) & or_(visibility.c.died.is_(None), visibility.c.died > snapshot)


def chunk_digest(values: Mapping[str, Any]) -> str:
    """What a chunk's row says besides its text, which its revision vouches for: SHA-256 over a hash of each part."""
    plain = dumps([values[name] for name in ("ordinal", "start", "end", "page", "heading")])
    packed = [sha256(values[name]) for name in ("sentences", "vector", "sentence_vectors", "signature")]
    return sha256("".join([sha256(plain), *packed]))


DOCUMENT_FACTS = ("public_id", "path", "external_id", "created_at")
REVISION_FACTS = (
    "number",
    "content_sha256",
    "text_sha256",
    "recipe",
    "media_type",
    "title",
    "uri",
    "status",
    "reason",
    "length",
    "details",
    "created_at",
)


def revision_digest(facts: Sequence[Any], parts_of: Sequence[Sequence[Sequence[Any]]]) -> str:
    """What a snapshot's entry in the ledger binds of a revision: SHA-256 over its facts and the rows that belong to it
    (`revision_parts`), each part in the order of its values, whatever order it was read in.
    """
    return sha256(dumps([list(facts), *(sorted(map(list, rows)) for rows in parts_of)]))


def revision_digests(connection: Connection, revision_ids: Sequence[int]) -> dict[int, str]:
    """Of each revision, the digest of all that was stored with it, as the rows say it now. Covers its facts, first
    groups, chunks with their vectors, mentions and relations.
    """
    digests: dict[int, str] = {}
    for some in parts(revision_ids, 200):
        query = select(revision, *(document.c[name].label(f"document_{name}") for name in DOCUMENT_FACTS))
        query = query.join(document, document.c.id == revision.c.document_id).where(revision.c.id.in_(some))
        facts = {
            row.id: [
                *(row._mapping[f"document_{name}"] for name in DOCUMENT_FACTS),
                *(row._mapping[name] for name in REVISION_FACTS),
            ]
            for row in connection.execute(query)
        }
        rows: dict[int, list[list[Sequence[Any]]]] = {known: [] for known in facts}
        for part in _revision_parts(some):
            for found in rows.values():
                found.append([])
            for revision_id, *values in connection.execute(part):
                if revision_id in rows:
                    rows[revision_id][-1].append(values)
        digests.update({known: revision_digest(facts[known], rows[known]) for known in facts})
    return digests


def _revision_parts(revision_ids: Sequence[int]) -> tuple[Select[Any], ...]:
    """What belongs to revisions: groups, chunks, mentions, relations; each a query of the revision's id and values."""
    named = entity.alias()
    mine = chunk.c.revision_id.in_(revision_ids)
    group = revision_group.c
    return (
        select(group.revision_id, group.name).where(group.revision_id.in_(revision_ids), group.born == 0),
        select(
            chunk.c.revision_id, chunk.c.ordinal, chunk.c.id, chunk.c.public_id, chunk.c.tokens, chunk.c.sha256
        ).where(mine),
        select(chunk.c.revision_id, chunk.c.ordinal, mention.c.start, mention.c.end, mention.c.kind, entity.c.key)
        .join(mention, mention.c.chunk_id == chunk.c.id)
        .join(entity, entity.c.id == mention.c.entity_id)
        .where(mine),
        select(
            chunk.c.revision_id,
            chunk.c.ordinal,
            entity.c.key,
            relation.c.predicate,
            named.c.key,
            relation.c.start,
            relation.c.end,
        )
        .join(relation, relation.c.chunk_id == chunk.c.id)
        .join(entity, entity.c.id == relation.c.subject_id)
        .join(named, named.c.id == relation.c.object_id)
        .where(mine),
    )


def dumps(value: object) -> str:
    """JSON as stored: sorted keys, compact, UTF-8 kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
