"""Small shared pieces of the repositories: the clock, batched statements, rule of visibility."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from kernel.storage.schema import document_group, visibility

T = TypeVar("T")


def now() -> str:
    """This moment in UTC, ISO 8601 to the microsecond, always of the same length."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def parts(items: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """`items` in slices that fit into one statement's parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose keys are not there yet."""
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def seen_by(snapshot: int) -> ColumnElement[bool]:
    """The rule of visibility: born by this snapshot and not dead in it."""
    return (visibility.c.born <= snapshot) & or_(visibility.c.died.is_(None), visibility.c.died > snapshot)


def groups_of(connection: Connection, document_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The groups of each document that has any."""
    found: dict[int, list[str]] = {}
    for some in parts(document_ids):
        query = select(document_group).where(document_group.c.document_id.in_(some)).order_by(document_group.c.name)
        for document_id, name in connection.execute(query):
            found.setdefault(document_id, []).append(name)
    return {document_id: tuple(names) for document_id, names in found.items()}


def dumps(value: object) -> str:
    """JSON as stored: sorted keys, compact, UTF-8 kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
