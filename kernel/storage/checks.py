"""What verification reads of the store, and rules that rows must keep among each other."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select, text

from kernel.records import Fault
from kernel.storage.database import Database
from kernel.storage.schema import chunk, publication, revision, revision_text, snapshot, visibility


def structure_faults(database: Database) -> Iterator[Fault]:
    """Damage that the database itself can see, and rows that contradict each other."""
    with database.read() as connection:
        if database.is_sqlite:
            for row in connection.execute(text("PRAGMA integrity_check(5)")).scalars():
                if row != "ok":
                    yield Fault("database", str(row))
            for row in connection.execute(text("PRAGMA foreign_key_check")):
                yield Fault(f"table {row[0]}", f"row {row[1]} refers to a row of {row[2]} that is not there")
        numbers = list(connection.execute(select(snapshot.c.number).order_by(snapshot.c.number)).scalars())
        if numbers != list(range(1, len(numbers) + 1)):
            yield Fault("snapshots", "a number is missing")
        live = connection.execute(select(publication.c.snapshot).order_by(publication.c.id.desc()).limit(1)).scalar()
        if live not in (None, 0, *numbers):
            yield Fault("snapshots", f"the live one, {live}, is not there")
        ends = select(visibility.c.revision_id).where(visibility.c.died <= visibility.c.born)
        for revision_id in connection.execute(ends).scalars():
            yield Fault(f"revision {revision_id}", "dies before it is born")
        late = select(func.max(visibility.c.born), func.max(visibility.c.died))
        if any(number and number > len(numbers) for number in connection.execute(late).one()):
            yield Fault("visibility", "a revision belongs to a snapshot that was never published")


def stored_texts(database: Database) -> Iterator[tuple[int, str, str]]:
    """`(revision, text, SHA-256 that the text should have)`, one at a time."""
    query = select(revision.c.id, revision_text.c.text, revision.c.text_sha256).outerjoin(
        revision_text, revision_text.c.revision_id == revision.c.id
    )
    with database.read() as connection:
        for row in connection.execution_options(yield_per=100).execute(query.order_by(revision.c.id)):
            yield row[0], row[1] or "", row[2]


def stored_chunks(database: Database) -> Iterator[tuple[int, str, int, int, str]]:
    """`(revision, chunk, start, end, text)` of every chunk, by revision."""
    query = select(chunk.c.revision_id, chunk.c.public_id, chunk.c.start, chunk.c.end, chunk.c.text)
    with database.read() as connection:
        for row in connection.execution_options(yield_per=1000).execute(
            query.order_by(chunk.c.revision_id, chunk.c.id)
        ):
            yield row[0], row[1], row[2], row[3], row[4]
