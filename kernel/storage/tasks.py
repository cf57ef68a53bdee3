"""Tasks: what runs of workflows ask of people. Every step is an entry of the ledger in its own transaction.

A task's state, who may decide and what is to be done next follow from its journal alone (`task_journal.standing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, false, func, or_, select, update

from kernel.errors import Conflict
from kernel.ids import random_id
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now
from kernel.storage.runs import ENDS as FINISHED
from kernel.storage.runs import RESUMED, NewEvent, Run, is_finished, tell
from kernel.storage.schema import run_event, run_state, task, task_event
from kernel.storage.task_journal import (
    ANY_TIME,
    CANCELLED,
    DECISIONS,
    ESCALATED,
    EXPIRED,
    OPEN,
    OPENED,
    REMINDED,
    ROLES,
    STATES,
    VIEWED,
    NewTask,
    Standing,
    Task,
    TaskEvent,
    content_of,
    opened_facts,
    reminder_at,
    standing,
    what_sha256,
)
from kernel.storage.task_rows import one_task, standing_of, task_events, task_record, task_rows

SYSTEM = "vouch"
"""Who acts where no person does: opening, reminders, escalation by the clock, expiry."""
KIND = "task."
Check = Callable[[Task, Standing, Sequence[TaskEvent]], None]


class Tasks:
    """The tasks of all runs: reads them, and takes each step of one in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, new: NewTask) -> tuple[Task, bool]:
        """Open a task, or find the one that was opened under the same key; whether it is new. A run that failed and was
        resumed asks anew.
        """
        with self._database.write() as connection:
            key = new.key + _round(connection, new.run_id)
            known = connection.execute(select(task.c.id).where(task.c.key == key)).scalar()
            if known is not None:
                return one_task(connection, known, now()), False
            moment = now()
            row: dict[str, Any] = {
                name: getattr(new, name)
                for name in ("sort", "run_id", "workflow", "spec", "step", "role", "starter", "deadline")
            }
            row["key"] = key
            content = {"by": SYSTEM} | content_of(new)
            row |= {"id": random_id("tsk"), "state": OPEN, "created_at": moment}
            row |= {"payload_sha256": what_sha256(new.shown, new.values, new.effects), "decided_at": None}
            begin = standing(new.role, new.deadline, content, ())
            row |= {"assignee": begin.assignee, "next_at": begin.next_at}
            leaf = append(
                self._database, connection, KIND + OPENED, row["id"], opened_facts(row), dumps(content), moment
            )
            connection.execute(task.insert(), row | {"leaf": leaf.number})
            connection.execute(task_event.insert(), _event_row(leaf.number, row["id"], OPENED, SYSTEM, "", moment))
            return one_task(connection, row["id"], moment), True

    def step(
        self,
        task_id: str,
        kind: str,
        actor: str,
        payload: Mapping[str, Any] | None = None,
        *,
        label: str = "",
        facts: Mapping[str, Any] | None = None,
        check: Check | None = None,
    ) -> tuple[Task, Run | None]:
        """Take one step. Of two people who decide at once one does. A decision goes into the run's journal too, and
        wakes it, in the same transaction: the run that is to be submitted then, so that it goes on.

        `check` is called with the task as this transaction sees it, and may raise. Raises NotFound, and Conflict where
        the task is decided, its deadline passed, or what it was about was erased.
        """
        with self._database.write() as connection:
            moment = now()
            found = one_task(connection, task_id, moment)
            events = task_events(connection, task_id)
            if found.state != OPEN and kind not in ANY_TIME:
                raise Conflict(f"the task is {found.state}: nothing more can be decided")
            if kind in DECISIONS and kind != "rejected" and not found.content:
                raise Conflict("what this was about was erased: reject it, or let it expire")
            refuse_erased_person(connection, actor)
            if kind in DECISIONS and is_finished(connection, found.run_id):
                raise Conflict("the run is finished: nothing waits for this any more")
            if check is not None:
                check(found, standing_of(found, events), events)
            said = dict(payload or {}) | ({"label": label} if label else {})
            self._event(connection, found, events, (kind, actor, label), said, dict(facts or {}), moment)
            woken = self._tell(connection, found, kind) if kind in DECISIONS else None
            return one_task(connection, task_id, moment), woken

    def view(self, task_id: str, actor: str) -> None:
        """Note that somebody began to look at an open task; the first time only."""
        if any(one.kind == VIEWED and one.actor == actor for one in self.events(task_id)):
            return
        with self._database.write() as connection:
            moment = now()
            found, events = one_task(connection, task_id, moment), task_events(connection, task_id)
            if found.state == OPEN and not any(one.kind == VIEWED and one.actor == actor for one in events):
                refuse_erased_person(connection, actor)
                self._event(connection, found, events, (VIEWED, actor, ""), {}, {}, moment)

    def due(self, moment: str | None = None, task_id: str | None = None, limit: int = 200) -> list[str]:
        """Open tasks of which something is to be done by a moment (default: now), the most urgent first."""
        query = select(task.c.id).where(task.c.state == OPEN, task.c.next_at <= (moment or now()))
        query = query if task_id is None else query.where(task.c.id == task_id)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(task.c.next_at, task.c.id).limit(limit)).scalars())

    def tend(self, task_id: str, moment: str | None = None) -> tuple[TaskEvent, Run | None] | None:
        """Do the next thing that is due of a task by a moment: remind, escalate or expire; what was done, and the run
        that is to be submitted. None where nothing is due, or somebody else has done it.
        """
        with self._database.write() as connection:
            at = now()
            wanted = moment or at
            found, events = one_task(connection, task_id, ""), task_events(connection, task_id)
            stands = standing_of(found, events)
            if stands.next_at is None or stands.next_kind is None or stands.next_at > wanted:
                return None
            kind, payload = stands.next_kind, {}
            if wanted >= found.deadline:
                kind = EXPIRED
            elif kind == REMINDED:
                payload = {"moment": reminder_at(found.content, wanted)}
            elif kind == ESCALATED:
                payload = escalation(str(found.content["escalate_to"]))
            event = self._event(connection, found, events, (kind, SYSTEM, ""), payload, {}, at)
            return event, self._tell(connection, found, kind) if kind == EXPIRED else None

    def _tell(self, connection: Connection, found: Task, kind: str) -> Run | None:
        """Let the journal of a run say that what it waits for was decided, and have it looked at."""
        data = {"task": found.id, "state": kind}
        return tell(self._database, connection, found.run_id, NewEvent("decided", found.step, data=data))

    def cancel_run(self, run_id: str) -> list[str]:
        """Close the open tasks of a run that was cancelled or failed; their ids."""
        return self._cancel(select(task.c.id).where(task.c.run_id == run_id, task.c.state == OPEN))

    def cancel(self, task_id: str) -> None:
        """Close a task that nobody waits for any more; nothing where it is closed."""
        self._cancel(select(task.c.id).where(task.c.id == task_id, task.c.state == OPEN))

    def _cancel(self, query: Select[Any]) -> list[str]:
        with self._database.write() as connection:
            moment = now()
            ids = list(connection.execute(query.order_by(task.c.id)).scalars())
            for task_id in ids:
                found, events = one_task(connection, task_id, ""), task_events(connection, task_id)
                self._event(connection, found, events, (CANCELLED, SYSTEM, ""), {}, {}, moment)
            return ids

    def _event(
        self,
        connection: Connection,
        found: Task,
        events: Sequence[TaskEvent],
        what: tuple[str, str, str],
        payload: Mapping[str, Any],
        facts: dict[str, Any],
        moment: str,
    ) -> TaskEvent:
        """Write a step, and what follows from it into the task's row. `what` is its kind, actor and label."""
        kind, actor, label = what
        draft = TaskEvent(-1, kind, actor, label, payload, moment)
        after = standing_of(found, [*events, draft])
        said = dumps({"by": actor} | dict(payload))
        leaf = append(self._database, connection, KIND + kind, found.id, facts | {"state": after.state}, said, moment)
        connection.execute(task_event.insert(), _event_row(leaf.number, found.id, kind, actor, label, moment))
        values = {name: getattr(after, name) for name in ("state", "decided_at", "assignee", "next_at")}
        connection.execute(update(task).where(task.c.id == found.id).values(values))
        return TaskEvent(leaf.number, kind, actor, label, payload, moment)

    def get(self, task_id: str) -> Task:
        """One task as it stands now. Raises NotFound."""
        with self._database.read() as connection:
            return one_task(connection, task_id, now())

    def events(self, task_id: str) -> list[TaskEvent]:
        """The steps of a task, oldest first."""
        with self._database.read() as connection:
            return task_events(connection, task_id)

    def whole(self, task_id: str) -> tuple[Task, Standing, list[TaskEvent]]:
        """A task, what follows from its journal, and the journal, as one moment has them. Raises NotFound."""
        with self._database.read() as connection:
            found, events = one_task(connection, task_id, now()), task_events(connection, task_id)
            return found, standing_of(found, events), events

    def items(
        self,
        *,
        limit: int,
        state: str | None = None,
        mine: str | None = None,
        run_id: str | None = None,
        sort: str | None = None,
        before: str | None = None,
        visible: tuple[str, Sequence[str]] | None = None,
    ) -> list[Task]:
        """Tasks, newest first: in a state, assigned to a person (`mine`), of a run, of a sort, before an id; only those
        that a person of these roles may see (`visible`).
        """
        moment = now()
        query = task_rows().where(_in_state(state, moment))
        for column, value in ((task.c.assignee, mine), (task.c.run_id, run_id), (task.c.sort, sort)):
            query = query if value is None else query.where(column == value)
        if before is not None:
            query = query.where(task.c.id < before)
        if visible is not None:
            query = query.where(or_(task.c.assignee == visible[0], task.c.role.in_(visible[1])))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(task.c.id.desc()).limit(limit)).all()
        return [task_record(row, moment) for row in rows]

    def orphaned(self, limit: int = 200) -> list[str]:
        """Runs that are finished and of which a task is open still."""
        query = select(task.c.run_id).join(run_state, run_state.c.run_id == task.c.run_id).distinct()
        query = query.where(task.c.state == OPEN, run_state.c.status.in_(FINISHED)).order_by(task.c.run_id)
        with self._database.read() as connection:
            return list(connection.execute(query.limit(limit)).scalars())

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state now."""
        overdue = (task.c.state == OPEN) & (task.c.deadline <= now())
        query = select(task.c.state, overdue.label("overdue"), func.count()).group_by(task.c.state, "overdue")
        found = dict.fromkeys(STATES, 0)
        with self._database.read() as connection:
            for state, late, count in connection.execute(query):
                found[EXPIRED if late else state] += count
        return found


def escalation(to: str) -> dict[str, str]:
    """The payload of an escalation to a role or a person."""
    return {"role": to} if to in ROLES else {"assignee": to}


def _event_row(leaf: int, task_id: str, kind: str, actor: str, label: str, moment: str) -> dict[str, Any]:
    row = {"leaf": leaf, "task_id": task_id, "kind": kind, "actor": actor, "label": label}
    return row | {"created_at": moment}


def _round(connection: Connection, run_id: str) -> str:
    """What tells the tasks of a run apart from those that it opened before it was resumed."""
    again = select(func.count()).where(run_event.c.run_id == run_id, run_event.c.kind == RESUMED)
    count = int(connection.execute(again).scalar_one())
    return f"~{count}" if count else ""


def _in_state(state: str | None, moment: str) -> ColumnElement[bool]:
    overdue = and_(task.c.state == OPEN, task.c.deadline <= moment)
    if state is None:
        return task.c.id == task.c.id
    if state == OPEN:
        return and_(task.c.state == OPEN, task.c.deadline > moment)
    return or_(task.c.state == state, overdue if state == EXPIRED else false())
