"""What an erasure takes out of tasks: what they show of documents, answers and people, and who did what with them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, or_, select, update

from kernel.storage.erasure_rows import COPIED, rows_of
from kernel.storage.rows import parts
from kernel.storage.schema import ledger_leaf, ledger_payload, run, run_event, task, task_event
from kernel.storage.task_rows import task_standing

COPYING = ("run.", "task.")
"""What the kinds of entries begin with whose payloads hold text of documents and answers."""


def task_entries(connection: Connection, entries: Collection[int]) -> set[int]:
    """Entries of tasks that go with these entries: every one of a task whose opening goes, and of the tasks of a run of
    which an entry goes, since all of them tell of it.
    """
    runs = {*rows_of(connection, run_event.c.run_id, run_event.c.leaf, entries)}
    runs |= {*rows_of(connection, run.c.id, run.c.number, entries)}
    tasks = {
        *rows_of(connection, task.c.id, task.c.leaf, entries),
        *rows_of(connection, task.c.id, task.c.run_id, runs),
    }
    return set(rows_of(connection, task_event.c.leaf, task_event.c.task_id, tasks))


def showing(connection: Connection, ids: Collection[str]) -> set[int]:
    """Entries of runs and tasks that show one of these documents, passages or answers."""
    if not ids:
        return set()
    query = select(ledger_leaf.c.number, ledger_payload.c.payload).join(
        ledger_payload, ledger_payload.c.number == ledger_leaf.c.number
    )
    rows = connection.execute(query.where(or_(*(ledger_leaf.c.kind.like(f"{kind}%") for kind in COPYING))))
    return {number for number, payload in rows if not set(ids).isdisjoint(COPIED.findall(payload))}


def forget_tasks(connection: Connection, entries: Collection[int]) -> dict[str, int]:
    """Take out who did what with tasks where the entry that says so was emptied, and let what follows from their
    journals follow from what is left. Called once the payloads are gone. How many rows of each table.
    """
    counts = {"task": 0, "task_event": 0}
    touched: set[str] = set()
    for some in parts(sorted(entries)):
        mine = task_event.c.leaf.in_(some)
        touched |= set(connection.execute(select(task_event.c.task_id).where(mine)).scalars())
        done = connection.execute(update(task_event).where(mine).values(actor="", label=""))
        counts["task_event"] += int(done.rowcount)
        connection.execute(update(task).where(task.c.leaf.in_(some)).values(starter=""))
    for task_id in sorted(touched):
        after = task_standing(connection, task_id)
        values: dict[str, Any] = {"assignee": after.assignee, "next_at": after.next_at}
        counts["task"] += int(connection.execute(update(task).where(task.c.id == task_id).values(values)).rowcount)
    return counts
