"""Whether prompts, their journal and their uses are still what the ledger says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection

from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.prompt_runs import RUN, run_facts
from kernel.storage.prompts import BOOKS
from kernel.storage.schema import prompt_run
from kernel.storage.version_checks import library_faults, paired, payload_of, rows_of


def prompt_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Versions, rows of the journal and runs that their entries contradict, or that have none."""
    yield from library_faults(connection, ledger, by_kind, gone, BOOKS)
    yield from _run_faults(connection, ledger, by_kind, gone)


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
