"""Runs of workflows, and the journal of each: written once and never changed; what a run is follows from it.

Every row of the journal is an entry of the ledger in its own transaction. Who writes has taken the run: each taking
makes the run's epoch one larger, and a write that names an older epoch is refused. So of two workers that hold a run
for a moment only the later one records.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, or_, select, update

from kernel.errors import Conflict, NotFound
from kernel.ids import random_id
from kernel.records import WorkflowVersion
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import ledger_payload, run, run_event, run_state
from kernel.storage.workflows import keep_workflow

QUEUED, RUNNING, WAITING = "queued", "running", "waiting"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
OPEN = (QUEUED, RUNNING, WAITING)
ENDS = (DONE, FAILED, CANCELLED)
STARTED, FINISHED, RESUMED, REFUSED = "started", "finished", "resumed", "refused"
SYSTEM = "vouch"
"""Who acts where no person does."""
_FACTS = ("workflow", "version", "spec_sha256", "mode", "trigger", "parent", "dedup", "due_at")


class Superseded(Conflict):
    """The run was taken over by another worker, cancelled or finished: what was to be written is not."""


class Overlooked(Conflict):
    """Others wrote of the run meanwhile, such as its cancellation: that is looked at before it ends."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be started. `said` is the payload: `input`, `principal` (id, role, groups), `pins`."""

    workflow: str
    version: int
    spec_sha256: str
    mode: str
    trigger: str
    principal: str
    said: Mapping[str, Any]
    parent: str = ""
    dedup: str | None = None
    due_at: str | None = None
    queue: str = "default"
    priority: int = 5
    actor: str = ""
    keep: WorkflowVersion | None = None
    """The version of the workflow, where it must be stored first, since the run will name it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands. `said` is empty where its payload was erased."""

    id: str
    number: int
    workflow: str
    version: int
    spec_sha256: str
    mode: str
    trigger: str
    principal: str
    parent: str
    due_at: str | None
    created_at: str
    status: str
    epoch: int
    turn: int
    queue: str
    priority: int
    wake_at: str | None
    finished_at: str | None
    said: Mapping[str, Any] = field(default_factory=dict)
    erased: bool = False


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row of the journal that is to be written: `data` names nobody, `words` go to the erasable payload."""

    kind: str
    step: str = ""
    item: int | None = None
    attempt: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A row of the journal. `words` is None where it was not read, and empty where it was erased."""

    leaf: int
    run_id: str
    kind: str
    step: str
    item: int | None
    attempt: int
    data: Mapping[str, Any]
    actor: str
    created_at: str
    words: Mapping[str, Any] | None = None


class Runs:
    """Every run there was, and the one way to write of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- Starting and finding -------------------------------------------------------------------------------------

    def start(self, wanted: NewRun, events: Sequence[NewEvent] = ()) -> tuple[Run, bool]:
        """Store a run, durably: from here on it will be done. With a `dedup` that is known: that run, and False."""
        with self._database.write() as connection:
            refuse_erased_person(connection, wanted.principal)
            if wanted.dedup is not None:
                known = connection.execute(select(run.c.id).where(run.c.dedup == wanted.dedup)).scalar()
                if known is not None:
                    return _one(connection, known), False
            if wanted.keep is not None:
                keep_workflow(self._database, connection, wanted.keep)
            made = self._insert(connection, wanted)
            _append(self._database, connection, made, events, wanted.actor or SYSTEM)
            return _one(connection, made), True

    def _insert(self, connection: Connection, wanted: NewRun) -> str:
        moment = now()
        row = {"id": random_id("wfr"), "principal": wanted.principal, "created_at": moment}
        row |= {name: getattr(wanted, name) for name in _FACTS}
        said = dict(wanted.said) | {"principal": {**wanted.said.get("principal", {}), "id": wanted.principal}}
        payload = dumps({"by": wanted.actor or wanted.principal} | said)
        leaf = append(self._database, connection, f"run.{STARTED}", str(row["id"]), run_facts(row), payload, moment)
        connection.execute(run.insert(), row | {"number": leaf.number})
        standing = {"run_id": row["id"], "status": QUEUED, "epoch": 0, "turn": 0}
        standing |= {"queue": wanted.queue, "priority": wanted.priority}
        connection.execute(run_state.insert(), standing)
        return str(row["id"])

    def get(self, run_id: str) -> Run:
        """One run. Raises NotFound."""
        with self._database.read() as connection:
            return _one(connection, run_id)

    def items(
        self,
        *,
        limit: int,
        before: int | None = None,
        workflow: str | None = None,
        status: Collection[str] = (),
        principal: str | None = None,
        text: str = "",
    ) -> list[Run]:
        """Runs, newest first, those before index `before`; `text` is looked for in what they were started with."""
        query = _runs().order_by(run.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(run.c.number < before)
        if workflow is not None:
            query = query.where(run.c.workflow == workflow)
        if status:
            query = query.where(run_state.c.status.in_(sorted(status)))
        if principal is not None:
            query = query.where(run.c.principal == principal)
        if text:
            query = query.where(ledger_payload.c.payload.icontains(text, autoescape=True))
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(query)]

    def children(self, run_id: str) -> list[Run]:
        """The runs that steps of a run started, and those that were forked from it, oldest first."""
        mine = or_(run.c.parent == run_id, run.c.parent.startswith(f"{run_id}:", autoescape=True))
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(_runs().where(mine).order_by(run.c.number))]

    def parts(self, run_id: str) -> list[Run]:
        """The open runs that steps of a run started, oldest first."""
        mine = run.c.parent.startswith(f"{run_id}:", autoescape=True)
        query = _runs().where(mine, run_state.c.status.in_(OPEN)).order_by(run.c.number)
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(query)]

    def orphans(self) -> list[Run]:
        """The open runs that were started by a step of a run which is finished."""
        with self._database.read() as connection:
            query = _runs().where(run.c.parent.contains(":"), run_state.c.status.in_(OPEN)).order_by(run.c.number)
            found = [run_record(row) for row in connection.execute(query)]
            return [one for one in found if is_finished(connection, one.parent.partition(":")[0])]

    def events(self, run_id: str, after: int = -1, *, words: bool = True) -> list[RunEvent]:
        """The journal of a run in order, from after an entry on."""
        with self._database.read() as connection:
            return _events(connection, run_id, after, words=words)

    def causes(self, run_id: str) -> set[str]:
        """Who had a run done, or one that it is a part of: who started, forked or resumed it."""
        found: set[str] = set()
        with self._database.read() as connection:
            while run_id:
                known = _one(connection, run_id)
                found |= {known.principal, str(known.said.get("by", ""))}
                resumed = (run_event.c.run_id == run_id) & (run_event.c.kind == RESUMED)
                found |= set(connection.execute(select(run_event.c.actor).where(resumed)).scalars())
                run_id, _, step = known.parent.partition(":")
                run_id = run_id if step else ""
        return found

    def ended(self, workflow: str, before: int, limit: int, status: str = DONE) -> list[Run]:
        """Runs of a workflow that ended so, newest first, those that were started before entry `before`."""
        query = _runs().where(run.c.workflow == workflow, run.c.number < before, run_state.c.status == status)
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(query.order_by(run.c.number.desc()).limit(limit))]

    def green(self, spec_sha256: str) -> int:
        """How many unattended runs of exactly this spec ended well (pilot or live), since the last that failed.
        One that was forked shows little: what it did not do anew was kept.
        """
        query = select(run_state.c.status).join(run, run.c.id == run_state.c.run_id)
        query = query.where(run.c.spec_sha256 == spec_sha256, run.c.mode != "test", run_state.c.status.in_(ENDS))
        query = query.where(run.c.trigger != "fork")
        with self._database.read() as connection:
            found = connection.execute(query.order_by(run.c.number.desc())).scalars().all()
        since = next((place for place, status in enumerate(found) if status == FAILED), len(found))
        return sum(1 for status in found[:since] if status == DONE)

    def unfinished(self) -> list[Run]:
        """Runs that are queued or under way, or whose moment to be woken has come: what an engine must know of."""
        due = (run_state.c.status == WAITING) & (run_state.c.wake_at <= now())
        query = _runs().where(or_(run_state.c.status.in_((QUEUED, RUNNING)), due)).order_by(run.c.number)
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(query)]

    def overdue(self) -> list[Run]:
        """Open runs whose deadline has passed and whose journal does not say so yet."""
        told = select(run_event.c.run_id).where(run_event.c.kind == "breached")
        late = _runs().where(run_state.c.status.in_(OPEN), run.c.due_at < now(), run.c.id.not_in(told))
        with self._database.read() as connection:
            return [run_record(row) for row in connection.execute(late.order_by(run.c.number))]

    # --- Writing --------------------------------------------------------------------------------------------------

    def take(self, run_id: str, turn: int) -> Run | None:
        """Take a run for a turn: from now on only who names its new epoch writes. None where the run is finished, or
        has gone on to a later turn.
        """
        with self._database.write() as connection:
            found = _one(connection, run_id)
            if found.status in ENDS or found.turn != turn:
                return None
            change = update(run_state).where(run_state.c.run_id == run_id)
            connection.execute(change.values(status=RUNNING, epoch=found.epoch + 1, wake_at=None))
            return _one(connection, run_id)

    def write(self, run_id: str, epoch: int, events: Sequence[NewEvent], seen: int) -> list[RunEvent]:
        """Append to the journal of a run that was taken. All its rows after entry `seen`: what others wrote meanwhile
        (a cancellation), then these. Raises Superseded where another worker took the run, or it ended.
        """
        with self._database.write() as connection:
            newest = _newest(connection, run_id, epoch)
            others = _events(connection, run_id, seen, words=True) if newest > seen else []
            return [*others, *_append(self._database, connection, run_id, events, SYSTEM)]

    def release(self, run_id: str, epoch: int, seen: int, wake_at: str | None) -> Run | None:
        """Let go of a run that waits, until `wake_at` at the latest. None where its journal has rows after entry
        `seen`: then there is more to do first. Raises Superseded.
        """
        with self._database.write() as connection:
            if _newest(connection, run_id, epoch) > seen:
                return None
            turn = run_state.c.turn + 1 if wake_at is not None else run_state.c.turn
            change = update(run_state).where(run_state.c.run_id == run_id)
            connection.execute(change.values(status=WAITING, wake_at=wake_at, turn=turn))
            return _one(connection, run_id)

    def finish(self, run_id: str, epoch: int, ending: NewEvent, seen: int | None = None) -> Run | None:
        """End a run: `ending.data` has its `status`. The run that waited for it, woken; None where there is none.
        Raises Overlooked where its journal has rows after entry `seen`, Superseded where another worker took it.

        The journal of that run says so, too: it may be under way, and looks there before it lets go.
        """
        with self._database.write() as connection:
            if _newest(connection, run_id, epoch) > (2**62 if seen is None else seen):
                raise Overlooked(f"something was written of run {run_id} meanwhile")
            (made,) = _append(self._database, connection, run_id, [ending], SYSTEM)
            change = update(run_state).where(run_state.c.run_id == run_id)
            ended = {"status": ending.data["status"], "finished_at": made.created_at, "wake_at": None}
            connection.execute(change.values(**ended))
            parent = str(connection.execute(select(run.c.parent).where(run.c.id == run_id)).scalar_one())
            waits, _, step = parent.partition(":")
            if not step or _one(connection, waits).status in ENDS:
                return None
            told = NewEvent("child", step.partition(":")[0], data={"run": run_id, "status": ending.data["status"]})
            _append(self._database, connection, waits, [told], SYSTEM)
            return wake(connection, waits)

    def interrupt(self, run_id: str, event: NewEvent, actor: str) -> Run | None:
        """Write something of an open run from outside, such as its cancellation, and have it looked at; the run where
        it must be submitted for that. Raises NotFound, and Conflict where it is finished.
        """
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            found = _one(connection, run_id)
            if found.status in ENDS:
                raise Conflict(f"run {run_id} is {found.status} already")
            _append(self._database, connection, run_id, [event], actor)
            return wake(connection, run_id)

    def breach(self, run_id: str, event: NewEvent, actor: str) -> None:
        """Write, once, of an open run that its deadline has passed. Raises NotFound, Conflict where it is finished."""
        with self._database.write() as connection:
            found = _one(connection, run_id)
            told = select(run_event.c.leaf).where(run_event.c.run_id == run_id, run_event.c.kind == event.kind)
            if found.status in ENDS:
                raise Conflict(f"run {run_id} is {found.status} already")
            if connection.execute(told).first() is None:
                _append(self._database, connection, run_id, [event], actor)

    def reopen(self, run_id: str, event: NewEvent, actor: str) -> Run:
        """Go on with a run that failed or was cancelled. Raises NotFound, and Conflict where it is open or done."""
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            found = _one(connection, run_id)
            if found.status not in (FAILED, CANCELLED):
                raise Conflict(f"run {run_id} is {found.status}: only one that failed or was cancelled can be resumed")
            _append(self._database, connection, run_id, [event], actor)
            change = update(run_state).where(run_state.c.run_id == run_id)
            connection.execute(change.values(status=QUEUED, finished_at=None, turn=found.turn + 1))
            return _one(connection, run_id)

    def refused(self, workflow: str, spec_sha256: str, trigger: str, said: Mapping[str, Any], actor: str) -> None:
        """Record that an input was refused: the entry names the workflow, its payload what was wrong."""
        with self._database.write() as connection:
            facts = {"workflow": workflow, "spec_sha256": spec_sha256, "trigger": trigger}
            append(self._database, connection, f"run.{REFUSED}", workflow, facts, dumps({"by": actor} | dict(said)))


def wake(connection: Connection, run_id: str) -> Run | None:
    """Have a waiting run looked at, in the writing transaction of `connection`: the run, which must be submitted after
    it. None where it is under way (it looks before it lets go), or queued already, or finished.
    """
    found = _one(connection, run_id)
    if found.status != WAITING:
        return None
    change = update(run_state).where(run_state.c.run_id == run_id)
    connection.execute(change.values(status=QUEUED, turn=found.turn + 1, wake_at=None))
    return _one(connection, run_id)


def tell(database: Database, connection: Connection, run_id: str, event: NewEvent) -> Run | None:
    """Write of an open run what it waits for, in the writing transaction of `connection`, and have it looked at: a turn
    that is under way finds the row before it lets go. The run where it must be submitted; None too where there is none,
    or it is finished.
    """
    if is_finished(connection, run_id):
        return None
    if connection.execute(select(run.c.id).where(run.c.id == run_id)).first() is None:
        return None
    _append(database, connection, run_id, [event], SYSTEM)
    return wake(connection, run_id)


def is_finished(connection: Connection, run_id: str) -> bool:
    """Whether a run has come to its end."""
    query = select(run_state.c.run_id).where(run_state.c.run_id == run_id, run_state.c.status.in_(ENDS))
    return connection.execute(query).first() is not None


def run_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the entry of a run's start says openly: nothing that names a person."""
    return {name: row[name] for name in _FACTS}


def event_facts(event: NewEvent | RunEvent) -> dict[str, Any]:
    """What the entry of a journal's row says openly."""
    return {"step": event.step, "item": event.item, "attempt": event.attempt, "data": dict(event.data)}


def event_record(row: Any, words: Mapping[str, Any] | None = None) -> RunEvent:
    """A row of the journal."""
    return RunEvent(
        row.leaf,
        row.run_id,
        row.kind,
        row.step,
        row.item,
        row.attempt,
        json.loads(row.data),
        row.actor,
        row.created_at,
        words,
    )


def run_record(row: Any) -> Run:
    """A run from its row, its state's and its payload."""
    said = json.loads(row.payload) if row.payload else {}
    shown = {name: getattr(row, name) for name in Run.__slots__ if name not in ("said", "erased")}
    return Run(**shown, said=said, erased=row.payload is None)


def _runs() -> Select[Any]:
    state = [run_state.c[name] for name in ("status", "epoch", "turn", "queue", "priority", "wake_at", "finished_at")]
    query = select(run, *state, ledger_payload.c.payload).join(run_state, run_state.c.run_id == run.c.id)
    return query.outerjoin(ledger_payload, ledger_payload.c.number == run.c.number)


def _one(connection: Connection, run_id: str) -> Run:
    row = connection.execute(_runs().where(run.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"no run {run_id} of a workflow")
    return run_record(row)


_MINE: BindParameter[str] = bindparam("mine")
_STANDING = select(
    run_state.c.epoch,
    run_state.c.status,
    func.coalesce(
        select(func.max(run_event.c.leaf)).where(run_event.c.run_id == _MINE).scalar_subquery(),
        -1,
    ).label("newest"),
).where(run_state.c.run_id == _MINE)
"""Who may write of a run, and the newest row of its journal: asked before every write, so made once."""
_INSERT = run_event.insert()


def _newest(connection: Connection, run_id: str, epoch: int) -> int:
    """The newest row of a run's journal. Raises Superseded where this epoch may not write of it."""
    found = connection.execute(_STANDING, {"mine": run_id}).first()
    if found is None or found.epoch != epoch or found.status in ENDS:
        raise Superseded(f"run {run_id} was taken over")
    return int(found.newest)


def _append(
    database: Database, connection: Connection, run_id: str, events: Sequence[NewEvent], actor: str
) -> list[RunEvent]:
    made = []
    for event in events:
        moment, payload = now(), dumps({"by": actor} | dict(event.words))
        leaf = append(database, connection, f"run.{event.kind}", run_id, event_facts(event), payload, moment)
        row = {"leaf": leaf.number, "run_id": run_id, "kind": event.kind, "step": event.step, "item": event.item}
        row |= {"attempt": event.attempt, "data": dumps(dict(event.data)), "actor": actor, "created_at": moment}
        connection.execute(_INSERT, row)
        values = (event.kind, event.step, event.item, event.attempt, event.data, actor, moment, event.words)
        made.append(RunEvent(leaf.number, run_id, *values))
    return made


def _events(connection: Connection, run_id: str, after: int, *, words: bool) -> list[RunEvent]:
    rows = list(
        connection.execute(
            select(run_event).where(run_event.c.run_id == run_id, run_event.c.leaf > after).order_by(run_event.c.leaf)
        )
    )
    if not words:
        return [event_record(row) for row in rows]
    texts: dict[int, str] = {}
    for some in parts([row.leaf for row in rows]):
        query = select(ledger_payload.c.number, ledger_payload.c.payload).where(ledger_payload.c.number.in_(some))
        texts.update((row[0], row[1]) for row in connection.execute(query))
    return [event_record(row, _words(texts.get(row.leaf))) for row in rows]


def _words(payload: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload) if payload else {}
    found.pop("by", None)
    return found
