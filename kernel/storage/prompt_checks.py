"""Whether prompts, their journal, their uses, releases and feedback are still what the ledger says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.prompt_runs import RUN, run_facts
from kernel.storage.prompts import FIRST_USED, KINDS, SAVED, event_facts, event_record, version_facts, version_payload
from kernel.storage.schema import prompt_event, prompt_run, prompt_version

Facts = Callable[[Any], dict[str, Any]]


def prompt_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Versions and rows of the journal that their entries contradict, or that have none."""
    yield from _version_faults(connection, ledger, by_kind, gone)
    yield from _run_faults(connection, ledger, by_kind, gone)
    leaves = {leaf.number: leaf for kind in KINDS for leaf in by_kind.get(f"prompt.{kind}", ())}
    rows = rows_of(connection, prompt_event, "leaf")
    for number, row, leaf in paired(rows, leaves):
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the journal of prompts do not fit: one of them misses the other")
            continue
        payload = payload_of(ledger, leaf, gone)
        said = (leaf.kind, leaf.facts, leaf.created_at)
        wrong = (f"prompt.{row.kind}", _event_facts(row), row.created_at) != said
        wrong |= leaf.subject != (f"{row.name}@{row.version}" if row.version else row.name)
        if wrong or row.actor != (payload["by"] if payload is not None else ""):
            yield Fault(f"ledger entry {number}", f"is not what the journal of prompt {row.name} has under it")


def _version_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    leaves = [*by_kind.get(FIRST_USED, ()), *by_kind.get(SAVED, ())]
    said = {leaf.facts["sha256"]: leaf for leaf in leaves}
    rows = {row.sha256: row for row in connection.execute(select(prompt_version))}
    for digest, row, leaf in paired(rows, said):
        if row is None or leaf is None:
            yield Fault(f"prompt {digest}", "is not the one that the ledger names")
            continue
        facts = version_facts(row) | {"sha256": sha256(row.template)}
        payload = payload_of(ledger, leaf, gone)
        wrong = (facts, row.created_at) != (leaf.facts, leaf.created_at)
        first = {"author": "", "message": ""}
        wrong |= payload is not None and first | dict(payload) != version_payload(row)
        if wrong:
            yield Fault(f"prompt {digest}", "is not the one that the ledger names")


def _run_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    leaves = {leaf.number: leaf for leaf in by_kind.get(RUN, ())}
    for number, row, leaf in paired(rows_of(connection, prompt_run, "number"), leaves):
        if row is None or leaf is None:
            name = row.id if row is not None else leaf.subject if leaf is not None else ""
            yield Fault(f"run {name}", "and the ledger do not fit: one of them misses the other")
            continue
        payload = payload_of(ledger, leaf, gone)
        said = (leaf.subject, leaf.facts, leaf.created_at)
        wrong = (row.id, run_facts(row._mapping), row.created_at) != said
        if wrong or row.principal != (payload["by"] if payload is not None else ""):
            yield Fault(f"run {leaf.subject}", f"is not what entry {number} of the ledger says")


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
