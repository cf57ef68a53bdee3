"""Reading tasks from their tables, within somebody's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from kernel.errors import NotFound
from kernel.storage.rows import parts
from kernel.storage.schema import ledger_payload, task, task_event
from kernel.storage.task_journal import EXPIRED, OPEN, Standing, Task, TaskEvent, standing


def task_rows() -> Select[Any]:
    """Tasks with the payload of their opening."""
    return select(task, ledger_payload.c.payload).outerjoin(ledger_payload, ledger_payload.c.number == task.c.leaf)


def one_task(connection: Connection, task_id: str, moment: str) -> Task:
    """A task as of a moment; empty: as it is written."""
    row = connection.execute(task_rows().where(task.c.id == task_id)).first()
    if row is None:
        raise NotFound(f"no task {task_id}")
    return task_record(row, moment)


def task_events(connection: Connection, task_id: str) -> list[TaskEvent]:
    """The journal of a task, oldest first."""
    return events_of(connection, [task_id]).get(task_id, [])


def events_of(connection: Connection, task_ids: Sequence[str]) -> dict[str, list[TaskEvent]]:
    """The journals of tasks, each oldest first."""
    found: dict[str, list[TaskEvent]] = {}
    query = select(task_event, ledger_payload.c.payload).outerjoin(
        ledger_payload, ledger_payload.c.number == task_event.c.leaf
    )
    for some in parts(list(task_ids)):
        for row in connection.execute(query.where(task_event.c.task_id.in_(some)).order_by(task_event.c.leaf)):
            payload = json.loads(row.payload) if row.payload else {}
            event = TaskEvent(row.leaf, row.kind, row.actor, row.label, payload, row.created_at)
            found.setdefault(row.task_id, []).append(event)
    return found


def standing_of(found: Task, events: Sequence[TaskEvent]) -> Standing:
    """What follows from these steps of a task."""
    return standing(found.role, found.deadline, found.content, events)


def task_record(row: Any, moment: str) -> Task:
    """A task from its row, as of a moment."""
    values = dict(row._mapping)
    payload = values.pop("payload")
    if values["state"] == OPEN and values["deadline"] <= moment:
        values |= {"state": EXPIRED, "decided_at": values["deadline"]}
    return Task(**values, content=json.loads(payload) if payload else {})


def task_standing(connection: Connection, task_id: str) -> Standing:
    """What follows from a task's journal as a transaction sees it."""
    return standing_of(one_task(connection, task_id, ""), task_events(connection, task_id))
