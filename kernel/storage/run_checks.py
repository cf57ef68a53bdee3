"""Whether runs of workflows and their journals are still what the ledger says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.runs import FINISHED, OPEN, REFUSED, RESUMED, STARTED, event_facts, event_record, run_facts
from kernel.storage.schema import run, run_event, run_state
from kernel.storage.version_checks import paired, payload_of, rows_of

PREFIX = "run."


def run_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Runs and rows of their journals that their entries contradict, or that have none; and where a run's standing is
    not what its journal comes to.
    """
    leaves = {leaf.number: leaf for leaf in by_kind.get(f"{PREFIX}{STARTED}", ())}
    for number, row, leaf in paired(rows_of(connection, run, "number"), leaves):
        if row is None or leaf is None:
            name = row.id if row is not None else leaf.subject if leaf is not None else ""
            yield Fault(f"run {name}", "and the ledger do not fit: one of them misses the other")
        elif _run_wrong(row, leaf, payload_of(ledger, leaf, gone)):
            yield Fault(f"run {leaf.subject}", f"is not what entry {number} of the ledger says")
    yield from _event_faults(connection, ledger, by_kind, gone)
    yield from _state_faults(connection)


def _run_wrong(row: Any, leaf: Leaf, payload: Mapping[str, Any] | None) -> bool:
    if (row.id, run_facts(row._mapping), row.created_at) != (leaf.subject, leaf.facts, leaf.created_at):
        return True
    return bool(row.principal != ((payload.get("principal") or {}).get("id") if payload is not None else ""))


def _event_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    others = (f"{PREFIX}{STARTED}", f"{PREFIX}{REFUSED}")
    kinds = [kind for kind in by_kind if kind.startswith(PREFIX) and kind not in others]
    leaves = {leaf.number: leaf for kind in kinds for leaf in by_kind[kind]}
    for number, row, leaf in paired(rows_of(connection, run_event, "leaf"), leaves):
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the journals of runs do not fit: one of them misses the other")
            continue
        payload = payload_of(ledger, leaf, gone)
        said = (leaf.kind, leaf.subject, leaf.facts, leaf.created_at)
        wrong = (f"{PREFIX}{row.kind}", row.run_id, _facts(row), row.created_at) != said
        if wrong or row.actor != (payload["by"] if payload is not None else ""):
            yield Fault(f"ledger entry {number}", f"is not what the journal of run {row.run_id} has under it")


def _state_faults(connection: Connection) -> Iterator[Fault]:
    """A run is finished exactly where its journal says so, with that status and at that moment."""
    ended: dict[str, tuple[str | None, str | None]] = {}
    query = select(run_event).where(run_event.c.kind.in_((FINISHED, RESUMED))).order_by(run_event.c.leaf)
    for row in connection.execute(query):
        facts = _facts(row) or {}
        finished = row.kind == FINISHED
        ended[row.run_id] = (facts.get("data", {}).get("status"), row.created_at) if finished else (None, None)
    known = set(connection.execute(select(run.c.id)).scalars())
    for row in connection.execute(select(run_state)):
        status, at = ended.get(row.run_id, (None, None))
        fits = row.status == status if status is not None else row.status in OPEN
        if not fits or row.finished_at != at:
            yield Fault(f"run {row.run_id}", "does not stand as its journal says")
        known.discard(row.run_id)
    for run_id in sorted(known):
        yield Fault(f"run {run_id}", "has no standing: whether it is finished is not kept")


def _facts(row: Any) -> dict[str, Any] | None:
    try:
        return event_facts(event_record(row))
    except (ValueError, TypeError):
        return None
