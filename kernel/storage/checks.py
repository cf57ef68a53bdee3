"""What verification reads of the store, and rules that rows must keep among each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, func, or_, select, text

from kernel.records import Fault
from kernel.storage.database import Database
from kernel.storage.rows import chunk_digest, stream
from kernel.storage.schema import (
    chunk,
    erased_leaf,
    erased_revision,
    metadata,
    publication,
    revision,
    revision_text,
    snapshot,
    visibility,
)


def structure_faults(database: Database) -> Iterator[Fault]:
    """Damage that the database itself can see, and rows that contradict each other."""
    with database.read() as connection:
        yield from _file_faults(connection) if database.is_sqlite else _reference_faults(connection)
        numbers = list(connection.execute(select(snapshot.c.number).order_by(snapshot.c.number)).scalars())
        if numbers != list(range(1, len(numbers) + 1)):
            yield Fault("snapshots", "a number is missing")
            return
        live = connection.execute(select(publication.c.snapshot).order_by(publication.c.id.desc()).limit(1)).scalar()
        if live not in ((0, *numbers) if numbers else (0, None)):
            yield Fault("snapshots", f"the live one, {live}, is not there")
        yield from _visibility_faults(connection, len(numbers))
        yield from _snapshot_faults(connection)
    yield from _chunk_faults(database)


def _file_faults(connection: Connection) -> Iterator[Fault]:
    for row in connection.execute(text("PRAGMA integrity_check(5)")).scalars():
        if row != "ok":
            yield Fault("database", str(row))
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield Fault(f"table {row[0]}", f"row {row[1]} refers to a row of {row[2]} that is not there")


def _reference_faults(connection: Connection) -> Iterator[Fault]:
    """Rows that refer to what is not there: where triggers were off, PostgreSQL lets that pass."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            for key in column.foreign_keys:
                parent = key.column.table.alias()
                orphans = select(column).outerjoin(parent, parent.c[key.column.name] == column)
                missing = parent.c[key.column.name].is_(None) & column.is_not(None)
                for value in connection.execute(orphans.where(missing).limit(5)).scalars():
                    name = key.column.table.name
                    yield Fault(f"table {table.name}", f"refers to {name} {value}, which is not there")


def _visibility_faults(connection: Connection, newest: int) -> Iterator[Fault]:
    ends = select(visibility.c.revision_id).where(visibility.c.died <= visibility.c.born)
    for revision_id in connection.execute(ends).scalars():
        yield Fault(f"revision {revision_id}", "dies before it is born")
    strange = or_(visibility.c.born < 1, visibility.c.born > newest, visibility.c.died > newest)
    for revision_id in connection.execute(select(visibility.c.revision_id).where(strange)).scalars():
        yield Fault(f"revision {revision_id}", "belongs to a snapshot that was never published")
    twice = (
        select(revision.c.document_id)
        .join(visibility, visibility.c.revision_id == revision.c.id)
        .where(visibility.c.died.is_(None))
        .group_by(revision.c.document_id)
        .having(func.count() > 1)
    )
    for document_id in connection.execute(twice).scalars():
        yield Fault(f"document {document_id}", "shows two revisions at once")


def _snapshot_faults(connection: Connection) -> Iterator[Fault]:
    """Snapshots whose row does not say what they show."""
    born = _counted(connection, visibility.c.born)
    died = _counted(connection, visibility.c.died)
    last_of = select(chunk.c.revision_id, func.max(chunk.c.id).label("last")).group_by(chunk.c.revision_id).subquery()
    reach = select(visibility.c.born, func.max(last_of.c.last)).join(
        last_of, last_of.c.revision_id == visibility.c.revision_id
    )
    reaches: dict[int, int] = {row[0]: row[1] for row in connection.execute(reach.group_by(visibility.c.born))}
    documents = last = 0
    for row in connection.execute(select(snapshot).order_by(snapshot.c.number)):
        documents += born.get(row.number, 0) - died.get(row.number, 0)
        if row.documents != documents:
            yield Fault(f"snapshot {row.number}", f"counts {row.documents} documents, but shows {documents}")
        if row.last_chunk < max(last, reaches.get(row.number, 0)):
            yield Fault(f"snapshot {row.number}", "ends before a chunk that it shows")
        if not 0 <= row.parent < row.number:
            yield Fault(f"snapshot {row.number}", f"was not made from an earlier one, but from {row.parent}")
        last = row.last_chunk


def _chunk_faults(database: Database) -> Iterator[Fault]:
    for row in stream(database, select(chunk).order_by(chunk.c.id), 500):
        if chunk_digest(row._mapping) != row.sha256:
            yield Fault(f"chunk {row.public_id}", "its place, sentences or vectors are not those that were stored")


def _counted(connection: Connection, column: Column[Any]) -> dict[int, int]:
    return {row[0]: row[1] for row in connection.execute(select(column, func.count()).group_by(column))}


def stored_texts(database: Database) -> Iterator[tuple[int, str | None, str]]:
    """`(revision, text or None, SHA-256 that the text should have)`, one at a time."""
    query = select(revision.c.id, revision_text.c.text, revision.c.text_sha256).outerjoin(
        revision_text, revision_text.c.revision_id == revision.c.id
    )
    query = query.where(revision.c.id.not_in(select(erased_revision.c.revision_id)))
    for row in stream(database, query.order_by(revision.c.id), 100):
        yield row[0], row[1], row[2]


def stored_chunks(database: Database) -> Iterator[tuple[int, str, int, int, str]]:
    """`(revision, chunk, start, end, text)` of every chunk, by revision."""
    query = select(chunk.c.revision_id, chunk.c.public_id, chunk.c.start, chunk.c.end, chunk.c.text)
    for row in stream(database, query.order_by(chunk.c.revision_id, chunk.c.id), 1000):
        yield row[0], row[1], row[2], row[3], row[4]


def erased_entries(database: Database) -> set[int]:
    """Numbers of the ledger's entries whose payload was erased."""
    with database.read() as connection:
        return set(connection.execute(select(erased_leaf.c.number)).scalars())
