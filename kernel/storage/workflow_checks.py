"""Whether workflows, their journal and the secrets of events are still what the ledger says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection

from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.schema import event_secret
from kernel.storage.triggers import SECRET, secret_facts, subject_of
from kernel.storage.version_checks import library_faults, paired, rows_of
from kernel.storage.workflows import BOOKS


def workflow_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Versions, rows of the journal and secrets of events that their entries contradict, or that have none."""
    yield from library_faults(connection, ledger, by_kind, gone, BOOKS)
    leaves = {leaf.number: leaf for leaf in by_kind.get(SECRET, ())}
    for number, row, leaf in paired(rows_of(connection, event_secret, "leaf"), leaves):
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the secrets of events do not fit: one misses the other")
        elif (secret_facts(row), row.created_at, subject_of(row.name)) != (leaf.facts, leaf.created_at, leaf.subject):
            yield Fault(f"ledger entry {number}", f"is not what the secret of event {row.name} has under it")
