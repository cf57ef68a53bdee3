"""Whether the versions and the journal of a library are still what the ledger says of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.versioned import Books, V, event_facts, event_record, version_facts, version_payload


def library_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int], books: Books[V]
) -> Iterator[Fault]:
    """Versions and rows of the journal that their entries contradict, or that have none."""
    yield from _version_faults(connection, ledger, by_kind, gone, books)
    leaves = {leaf.number: leaf for kind in books.kinds for leaf in by_kind.get(f"{books.what}.{kind}", ())}
    rows = rows_of(connection, books.events, "leaf")
    for number, row, leaf in paired(rows, leaves):
        entry = f"ledger entry {number}"
        if row is None or leaf is None:
            yield Fault(entry, f"and the journal of {books.what}s do not fit: one of them misses the other")
            continue
        payload = payload_of(ledger, leaf, gone)
        said = (leaf.kind, leaf.facts, leaf.created_at)
        wrong = (f"{books.what}.{row.kind}", _event_facts(row), row.created_at) != said
        wrong |= leaf.subject != (f"{row.name}@{row.version}" if row.version else row.name)
        if wrong or row.actor != (payload["by"] if payload is not None else ""):
            yield Fault(entry, f"is not what the journal of {books.what} {row.name} has under it")


def _version_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int], books: Books[V]
) -> Iterator[Fault]:
    leaves = [*by_kind.get(books.first_used, ()), *by_kind.get(books.saved, ())]
    said = {leaf.facts["sha256"]: leaf for leaf in leaves}
    for digest, row, leaf in paired(rows_of(connection, books.versions, "sha256"), said):
        if row is None or leaf is None or _changed(row, leaf, payload_of(ledger, leaf, gone), books):
            yield Fault(f"{books.what} {digest}", "is not the one that the ledger names")


def _changed(row: Any, leaf: Leaf, payload: Mapping[str, Any] | None, books: Books[V]) -> bool:
    facts = version_facts(row) | {"sha256": sha256(row._mapping[books.text])}
    if (facts, row.created_at) != (leaf.facts, leaf.created_at):
        return True
    first = {"author": "", "message": ""}
    return payload is not None and first | dict(payload) != version_payload(row)


def _event_facts(row: Any) -> dict[str, Any] | None:
    try:
        return event_facts(event_record(row))
    except (ValueError, TypeError):
        return None


def rows_of(connection: Connection, table: Table, key: str) -> dict[Any, Any]:
    """The rows of a table by a column."""
    return {row._mapping[key]: row for row in connection.execute(select(table))}


def paired(rows: Mapping[Any, Any], leaves: Mapping[Any, Leaf]) -> Iterator[tuple[Any, Any, Leaf | None]]:
    """Each key of either with the row and the leaf of it, None where there is none."""
    for key in sorted({*rows, *leaves}):
        yield key, rows.get(key), leaves.get(key)


def payload_of(ledger: Ledger, leaf: Leaf, gone: Collection[int]) -> Mapping[str, Any] | None:
    """The payload of an entry; None where it was erased."""
    stored: Sequence[Any] | None = None if leaf.number in gone else ledger.payload(leaf.number)
    found: Mapping[str, Any] | None = json.loads(stored[1]) if stored else None
    return found
