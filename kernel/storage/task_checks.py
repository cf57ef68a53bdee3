"""Whether tasks and their steps are still what the ledger says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.schema import task, task_event
from kernel.storage.task_journal import OPENED, TaskEvent, opened_facts, standing, what_sha256
from kernel.storage.tasks import KIND
from kernel.storage.version_checks import paired, payload_of
from kernel.storage.version_checks import rows_of as rows_by

Payloads = Mapping[int, Mapping[str, Any] | None]


def task_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Tasks and steps that their entries contradict, or that have none; whatever does not follow from the steps."""
    leaves = {leaf.number: leaf for kind, some in by_kind.items() if kind.startswith(KIND) for leaf in some}
    payloads = {number: payload_of(ledger, leaf, gone) for number, leaf in leaves.items()}
    events = rows_by(connection, task_event, "leaf")
    for number, row, leaf in paired(events, leaves):
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the steps of tasks that are stored do not fit")
            continue
        said = (leaf.subject, leaf.kind, leaf.created_at)
        payload = payloads[number] or {}
        who = (payload.get("by", ""), payload.get("label", ""))
        if (row.task_id, KIND + row.kind, row.created_at) != said or (row.actor, row.label) != who:
            yield Fault(f"task {leaf.subject}", f"its step {number} is not what its ledger entry says")
    yield from _task_faults(connection, leaves, payloads)


def _task_faults(connection: Connection, leaves: Mapping[int, Leaf], payloads: Payloads) -> Iterator[Fault]:
    steps: dict[str, list[Leaf]] = {}
    for _, leaf in sorted(leaves.items()):
        steps.setdefault(leaf.subject, []).append(leaf)
    rows = {row.id: row for row in connection.execute(select(task))}
    for task_id in sorted({*rows, *steps}):
        row, mine = rows.get(task_id), steps.get(task_id, [])
        if row is None or not mine:
            yield Fault(f"task {task_id}", "is missing" if row is None else "has no entry in the ledger")
        elif not _holds(row, mine, payloads):
            yield Fault(f"task {task_id}", "is not what its ledger entries say")


def _holds(row: Any, mine: list[Leaf], payloads: Payloads) -> bool:
    """Whether a task's row is what its entries say, the opening first."""
    first, content = mine[0], payloads[mine[0].number]
    opened = (row.leaf, row.created_at, opened_facts(row._mapping))
    if first.kind != KIND + OPENED or opened != (first.number, first.created_at, first.facts):
        return False
    if row.starter != (content or {}).get("starter", ""):
        return False
    if content is not None and row.payload_sha256 != what_sha256(
        content["shown"], content["values"], content["effects"]
    ):
        return False
    events = [
        TaskEvent(leaf.number, leaf.kind.removeprefix(KIND), "", "", payloads[leaf.number] or {}, leaf.created_at)
        for leaf in mine
    ]
    after = standing(row.role, row.deadline, content or {}, events)
    if any(leaf.facts["state"] != after.state for leaf in mine[-1:]):
        return False
    names = ("state", "decided_at", "assignee", "next_at")
    return all(row._mapping[name] == getattr(after, name) for name in names)
