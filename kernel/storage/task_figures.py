"""How long tasks wait and are worked on, which deadlines were missed, and what tasks were marked with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import func, or_, select

from kernel.storage.database import Database
from kernel.storage.rows import now
from kernel.storage.schema import task, task_event
from kernel.storage.task_journal import DECISIONS, EXPIRED, MARKED, OPEN, UNMARKED, VIEWED

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A decided task: minutes from its opening to the decision, and from when who decided first looked at it."""

    workflow: str
    step: str
    sort: str
    state: str
    queue_minutes: float
    active_minutes: float | None


class TaskFigures:
    """Reads what is measured of tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spans(self, since: str = "") -> list[Span]:
        """Tasks that people decided since a moment, oldest decision first."""
        decided = task_event.alias("decided")
        viewed = select(func.min(task_event.c.created_at)).where(
            task_event.c.task_id == task.c.id,
            task_event.c.kind == VIEWED,
            task_event.c.actor == decided.c.actor,
            task_event.c.actor != "",
        )
        query = (
            select(task, viewed.scalar_subquery().label("viewed"))
            .join(decided, (decided.c.task_id == task.c.id) & decided.c.kind.in_(DECISIONS))
            .where(task.c.decided_at >= since)
            .order_by(task.c.decided_at, task.c.id)
        )
        with self._database.read() as connection:
            return [_span(row) for row in connection.execute(query)]

    def breaches(self, since: str = "", limit: int = 200, before: str | None = None) -> list[Json]:
        """Tasks whose deadline passed undecided since a moment, the newest first; those before an id."""
        late = or_(task.c.state == EXPIRED, (task.c.state == OPEN) & (task.c.deadline <= now()))
        query = select(task).where(late, task.c.deadline >= since)
        query = query if before is None else query.where(task.c.id < before)
        names = ("id", "run_id", "workflow", "step", "sort", "role", "assignee", "created_at", "deadline")
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(task.c.id.desc()).limit(limit))
            return [{name: row._mapping[name] for name in names} for row in rows]

    def labels(self) -> dict[str, int]:
        """How many tasks are marked with each label now."""
        newest = select(func.max(task_event.c.leaf)).where(task_event.c.kind.in_((MARKED, UNMARKED)))
        newest = newest.where(task_event.c.label != "").group_by(task_event.c.task_id, task_event.c.label)
        query = select(task_event.c.label, func.count()).where(
            task_event.c.leaf.in_(newest), task_event.c.kind == MARKED
        )
        with self._database.read() as connection:
            return dict(connection.execute(query.group_by(task_event.c.label).order_by(task_event.c.label)).all())


def by_step(spans: Iterable[Span]) -> list[Json]:
    """Decided tasks by workflow and step: how many in which state, and how long they took, in minutes."""
    groups: dict[tuple[str, str], list[Span]] = {}
    for one in spans:
        groups.setdefault((one.workflow, one.step), []).append(one)
    return [{"workflow": name, "step": step} | _figures(some) for (name, step), some in sorted(groups.items())]


def _figures(some: list[Span]) -> Json:
    active = sorted(one.active_minutes for one in some if one.active_minutes is not None)
    queue = sorted(one.queue_minutes for one in some)
    states = {state: sum(one.state == state for one in some) for state in DECISIONS}
    return {"decided": len(some)} | states | {"queue_minutes": _spread(queue), "active_minutes": _spread(active)}


def _spread(values: list[float]) -> Json | None:
    """Median and nine tenths of ascending values."""
    if not values:
        return None
    return {"median": round(median(values), 3), "p90": round(values[max(0, -(-9 * len(values) // 10) - 1)], 3)}


def _span(row: Any) -> Span:
    active = _minutes(row.viewed, row.decided_at) if row.viewed else None
    return Span(row.workflow, row.step, row.sort, row.state, _minutes(row.created_at, row.decided_at), active)


def _minutes(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() / 60
