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
from kernel.storage.schema import revision_group, visibility

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


def groups_of(connection: Connection, revision_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The groups of each revision that has any."""
    found: dict[int, list[str]] = {}
    for some in parts(revision_ids):
        query = select(revision_group).where(revision_group.c.revision_id.in_(some))
        for revision_id, name in connection.execute(query):
            found.setdefault(revision_id, []).append(name)
    return {revision_id: tuple(sorted(names)) for revision_id, names in found.items()}


def chunk_digest(values: Mapping[str, Any]) -> str:
    """What a chunk's row says besides its text, which its revision vouches for: SHA-256 over a hash of each part."""
    plain = dumps([values[name] for name in ("ordinal", "start", "end", "page", "heading")])
    packed = [sha256(values[name]) for name in ("sentences", "vector", "sentence_vectors", "signature")]
    return sha256("".join([sha256(plain), *packed]))


def dumps(value: object) -> str:
    """JSON as stored: sorted keys, compact, UTF-8 kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
