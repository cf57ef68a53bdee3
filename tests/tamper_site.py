"""A workspace with records of every kind, and ways to change them behind the program's back and to put them right."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pysqlite3
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import Column, Connection, Engine, Row, Table, and_, create_engine, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from tamper_prompts import fill_prompts
from tamper_workflows import fill_workflows
from task_parts import fill_tasks
from workflow_parts import Bench

from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage import schema
from kernel.storage.access import Withdrawals
from kernel.storage.deliveries import Deliveries
from kernel.storage.erasure import ErasureRequest
from kernel.storage.impact import Of, Scope
from kernel.storage.policies import Policies
from kernel.storage.reviews import Reviews
from kernel.storage.runs import NewEvent

ASKER = Principal("key_asker", Role.APP)
FAR = 1_000_003

NOT_RECORDS = {
    "job": "a queue of work that changes as it is done; what a job did is an entry of its own",
    "trigger_mark": "how far changes were acted on; the runs that they started are records of their own",
    "prompt_favourite": "what people marked for themselves; nothing follows from it",
    "breaker": "counts that change with every failure; that one opened or closed is an entry of its own",
    "allowance": "how full the buckets of rate limits are; nothing follows from it later",
    "idempotency": "replies kept for a request that is sent again; no proof, report or lineage reads them",
}
"""Tables that record nothing, and why."""
NOT_SAID = {
    ("relation", "id"): "a row number that nothing refers to",
    ("run_state", "epoch"): "who may write next; what was written is in the journal",
    ("run_state", "turn"): "which turn is the next; what was done in turns is in the journal",
    ("run_state", "queue"): "where a run waits for a worker",
    ("run_state", "priority"): "what is done first",
    ("run_state", "wake_at"): "when to look again; what is waited for is in the journal",
}
"""Columns that say nothing, and why."""


def fill(made: FastWorkspace, folder: Path, answers: int) -> None:
    """Sources that moved, groups that changed, documents withdrawn and restored, keys, roll-backs, answers."""
    for name in ("first", "second"):
        for n in range(3):
            path = folder / name / f"{n}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Register {n}\n\nAlpha Team keeps register {n} of {name} in Lisbon. It is large.\n")
        made.indexer.ingest(InlineParser(), [folder / name], name)
    (folder / "first" / "0.md").write_text("# Register 0\n\nBeta Team keeps register 0 in Porto.\n")
    (folder / "first" / "empty.pdf").write_bytes(b"")
    made.indexer.ingest(InlineParser(), [folder / "first"], "first")
    source = made.catalog.source_id("second", f"{folder / 'second'}/")
    rows = sorted(made.catalog.document_rows(source, [f"{n}.md" for n in range(3)]).values())
    made.catalog.set_groups(dict.fromkeys(rows, ("staff",)))
    made.catalog.set_groups({rows[0]: ("board", "staff"), rows[1]: None})
    with made.database.read() as connection:
        ids = list(connection.execute(select(schema.document.c.public_id)).scalars())
    withdrawals = Withdrawals(made.database)
    withdrawals.withdraw(ids[:2], {"reason": "recalled"})
    withdrawals.restore(ids[:1], {"reason": "checked"})
    made.snapshots.rollback(1)
    made.snapshots.rollback(made.snapshots.items()[0].number)
    key, _ = made.keys.create(Role.REVIEWER, ("staff",), "Robin", datetime.now(UTC) + timedelta(days=9))
    made.keys.create(Role.ADMIN, None)
    made.keys.revoke(key.id)
    for n in range(answers):
        made.answering.ask(Question(f"Who keeps register {n}?", ASKER))
    newest = made.answers.items(ASKER, limit=answers)
    used = next(item["document_id"] for _, record in newest for item in record.run["context"])
    made.impact.withdraw(Scope(Of.DOCUMENT, used), "a misprint", ASKER)
    list(made.impact.reask(Scope(Of.DOCUMENT, used), 2))
    fills = (
        fill_policies,
        fill_reviews,
        fill_feedback,
        fill_prompts,
        fill_workflows,
        fill_runs,
        fill_tasks,
        fill_deliveries,
    )
    for more in (*fills, erase_some):
        more(made)


def fill_policies(made: FastWorkspace) -> None:
    """Two policies besides the one that came with the program, and three releases."""
    policies = Policies(made.database)
    text = policies.by_sha256(made.answers.items(ASKER, limit=1)[0][1].body["policy"]["sha256"]).text
    for n in (1, 2):
        policies.add(f"{text}\n# version {n}\n", "key_admin", f"the reason for {n}")
        policies.release(n, "key_admin")
    policies.release(1, "key_admin")


def fill_reviews(made: FastWorkspace) -> None:
    """Reviews in every state: open, approved by two, edited, rejected, expired."""
    reviews = Reviews(made.database)
    numbers = [number for number, _ in made.answers.items(ASKER, limit=6)]
    ids = []
    with made.database.write() as connection:
        for place, number in enumerate(numbers):
            hours, people = (-1.0 if place == 0 else 24.0), (2 if place == 1 else 1)
            ids += reviews.open(connection, [number], "policy", approvals=people, deadline_hours=hours, rules=("r",))
    reviews.expire()
    reviews.step(ids[1], "assigned", "key_boss", {}, assignee="key_one")
    reviews.step(ids[1], "commented", "key_one", {"comment": "I look at it"})
    for actor in ("key_one", "key_two"):
        reviews.step(ids[1], "approved", actor, {"comment": ""})
    reviews.step(ids[2], "edited", "key_one", {"edited": {"answer": "Other."}, "reason": "clearer"})
    reviews.step(ids[3], "rejected", "key_one", {"reason": "wrong"})
    reviews.step(ids[4], "assigned", "key_boss", {}, assignee="key_two")


def fill_runs(made: FastWorkspace) -> None:
    """Runs of workflows that ended well and badly, one that was resumed, and one that waits."""
    bench = Bench(made.database)
    step = {"id": "a", "kind": "echo", "with": {"value": "said", "fail": "{{ input.fail }}"}}
    later = {"id": "b", "kind": "echo", "needs": ["a"], "with": {"value": "{{ steps.a.output }}", "wait": "nobody"}}
    quick = {"retry": {"attempts": 1}}
    for steps in ([step | quick], [step | quick, later]):
        for fail in (0, 9):
            bench.drain(bench.start({"steps": steps}, {"fail": fail}, dedup=sha256(f"{len(steps)}{fail}")).id)
    failed = made.runs.items(limit=9, status=["failed"])[0]
    made.runs.reopen(failed.id, NewEvent("resumed"), "key_boss")
    bench.drain(failed.id)


def fill_deliveries(made: FastWorkspace) -> None:
    """Deliveries that are done and one that was only begun."""
    store = Deliveries(made.database)
    for n, sink in enumerate(("file", "mail", "webhook", "mail")):
        key = f"run_{n}:send:0"
        store.begin(key, sink, once=sink == "file", sha256=sha256(key), where={"n": n}, token=f"dlv.{n}")
        if n != 1:
            store.finish(key, {"n": n})


def fill_feedback(made: FastWorkspace) -> None:
    """What two people said of answers, one of them twice."""
    for n, (_, record) in enumerate(made.answers.items(ASKER, limit=4)):
        made.feedback.give(record.id, "key_one", n / 4, "so it is", ["wording"])
        made.feedback.give(record.id, "key_two", 0.5)
        made.feedback.give(record.id, "key_one", 1.0)


class Saboteur:
    """Writes to a workspace's database past every rule of it."""

    def __init__(self, made: FastWorkspace) -> None:
        self._engine = _plain_engine(made)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no foreign key stops."""
        with self._engine.begin() as connection:
            if connection.dialect.name != "sqlite":
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection

    def rows(self, table: Table) -> list[Row[Any]]:
        """All rows of a table, by key."""
        with self._engine.connect() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))

    @contextmanager
    def changed(self, table: Table, row: Row[Any], values: Mapping[str, Any]) -> Iterator[None]:
        """The row with other values, for the time of the block."""
        before = dict(row._mapping)
        with self.write() as connection:
            connection.execute(update(table).where(_key(table, before)).values(dict(values)))
        try:
            yield
        finally:
            with self.write() as connection:
                connection.execute(update(table).where(_key(table, before | dict(values))).values(before))

    @contextmanager
    def flipped(self, table: Table, row: Row[Any], column: Column[Any]) -> Iterator[None]:
        """The row with one value changed by the least, or by much where the least is taken."""
        values = {column.name: flip(row._mapping[column.name], column)}
        if self._taken(table, row, values):
            values = {column.name: flip(row._mapping[column.name], column, far=True)}
        with self.changed(table, row, values):
            yield

    def _taken(self, table: Table, row: Row[Any], values: Mapping[str, Any]) -> bool:
        """Whether a rule of uniqueness stops the row from having these values."""
        before = dict(row._mapping)
        try:
            with self.write() as connection:
                connection.execute(update(table).where(_key(table, before)).values(dict(values)))
                connection.rollback()
        except IntegrityError:
            return True
        return False

    @contextmanager
    def without(self, table: Table, row: Row[Any]) -> Iterator[None]:
        """The table without the row, for the time of the block."""
        with self.write() as connection:
            connection.execute(delete(table).where(_key(table, row._mapping)))
        try:
            yield
        finally:
            with self.write() as connection:
                connection.execute(insert(table), dict(row._mapping))

    @contextmanager
    def swapped(self, table: Table, one: Row[Any], other: Row[Any], columns: Sequence[str]) -> Iterator[None]:
        """Two rows with their values of some columns exchanged."""

        def exchange(to: Row[Any], of: Row[Any]) -> None:
            values = {name: of._mapping[name] for name in columns}
            with self.write() as connection:
                connection.execute(update(table).where(_key(table, to._mapping)).values(values))

        exchange(one, other)
        exchange(other, one)
        try:
            yield
        finally:
            exchange(one, one)
            exchange(other, other)

    def close(self) -> None:
        self._engine.dispose()


def flip(value: Any, column: Column[Any], *, far: bool = False) -> Any:
    """The value with one thing changed: a letter, a bit, or by one."""
    if value is None:
        return "x" if column.type.python_type is str else 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        middle = len(value) // 2
        return value[:middle] + ("x" if value[middle : middle + 1] != "x" else "y") + value[middle + 1 :]
    if isinstance(value, bytes):
        return (value[:-1] + bytes([value[-1] ^ 1])) if value else b"x"
    return value + (FAR if far else 1 if isinstance(value, int) else 0.25)


def records() -> list[Table]:
    """Every table that records something."""
    return [table for table in schema.metadata.sorted_tables if table.name not in NOT_RECORDS]


def said_columns() -> list[Column[Any]]:
    """Every column of them that says something."""
    return [column for table in records() for column in table.columns if (table.name, column.name) not in NOT_SAID]


def named(made: FastWorkspace, table: Table, row: Row[Any]) -> set[str]:
    """What a fault may call the record that a row belongs to."""
    values = row._mapping
    names = {f"{kind} {values[column]}" for column, kind in _CALLED.get(table.name, {}).items()}
    if table.name in ("mention", "relation", "entity"):
        names |= {f"revision {owner}" for owner in _owners(made, table, row)} | {"table mention", "table relation"}
    if table.name == "ledger_node":
        names = {f"ledger node {values['level']}/"}
    return names | _ALWAYS.get(table.name, set())


def erase_some(made: FastWorkspace) -> None:
    """A document, a person and a hold that were erased, and released; and a hold in force."""
    ids = [one.id for one in made.catalog.documents(made.snapshots.live().snapshot, LOCAL_OWNER, limit=99)]
    key, _ = made.keys.create(Role.APP, ("hr",), "somebody's laptop")
    made.holds.release(made.holds.place("document", ids[-1], "a case", "local").id, "settled", "local")
    made.eraser.erase(ErasureRequest((ids[-1],), (key.id,)), "a request", "local")
    made.holds.place("document", ids[0], "another case", "local")


_CALLED: dict[str, dict[str, str]] = {
    "source": {"id": "source"},
    "document": {"public_id": "document", "id": "document"},
    "revision": {"id": "revision"},
    "revision_text": {"revision_id": "revision"},
    "revision_group": {"born": "access rules", "died": "access rules", "revision_id": "revision"},
    "withdrawal": {"born": "access rules", "died": "access rules"},
    "visibility": {"revision_id": "revision", "born": "snapshot", "died": "snapshot"},
    "chunk": {"public_id": "chunk", "revision_id": "revision"},
    "snapshot": {"number": "snapshot"},
    "api_key": {"id": "key"},
    "prompt_version": {"sha256": "prompt"},
    "workflow_version": {"sha256": "workflow"},
    "workflow_event": {"leaf": "ledger entry", "name": "workflow"},
    "event_secret": {"leaf": "ledger entry", "name": "event"},
    "feedback": {"leaf": "ledger entry"},
    "delivery": {"key": "delivery"},
    "ledger_leaf": {"number": "ledger entry"},
    "ledger_payload": {"number": "ledger entry"},
    "answer": {"id": "answer"},
    "prompt_event": {"leaf": "ledger entry", "name": "prompt"},
    "prompt_run": {"id": "run"},
    "run": {"id": "run"},
    "run_state": {"run_id": "run"},
    "run_event": {"leaf": "ledger entry", "run_id": "run"},
    "release": {"number": "release"},
    "release_move": {"leaf": "ledger entry"},
    "policy_version": {"number": "policy", "sha256": "policy"},
    "policy_release": {"leaf": "ledger entry"},
    "review": {"id": "review"},
    "review_event": {"leaf": "ledger entry", "review_id": "review"},
    "task": {"id": "task"},
    "task_event": {"leaf": "ledger entry", "task_id": "task"},
    "hold": {"id": "hold"},
    "erasure": {"id": "erasure"},
    "erased_leaf": {"leaf": "ledger entry", "number": "ledger entry"},
    "erased_revision": {"leaf": "ledger entry", "revision_id": "revision"},
    "stale": {"leaf": "ledger entry"},
}
"""By table: columns that name the record, and what they are called in a fault."""
_ALWAYS: dict[str, set[str]] = {
    "setting": {"access rules", "setting "},
    "publication": {"snapshots", "move "},
    "revision": {"a revision that it emptied"},
    "answer_evidence": {"answer "},
    "document": {"revision "},
    "source": {"table document"},
    "revision_group": {"table revision_group", "access rules "},
    "withdrawal": {"table withdrawal", "access rules "},
}


def _owners(made: FastWorkspace, table: Table, row: Row[Any]) -> set[int]:
    """The revisions whose text an entity, mention or relation is from."""
    chunk, mention, relation = schema.chunk.c, schema.mention.c, schema.relation.c
    if table.name != "entity":
        queries = [select(chunk.revision_id).where(chunk.id == row.chunk_id)]
    else:
        ends = (relation.subject_id == row.id) | (relation.object_id == row.id)
        queries = [
            select(chunk.revision_id)
            .join(schema.mention, mention.chunk_id == chunk.id)
            .where(mention.entity_id == row.id),
            select(chunk.revision_id).join(schema.relation, relation.chunk_id == chunk.id).where(ends),
        ]
    with made.database.read() as connection:
        return {found for query in queries for found in connection.execute(query).scalars()}


def some(rows: list[Row[Any]], column: Column[Any], seed: int) -> Row[Any]:
    """A row to change: one that has a value where there is any."""
    filled = [row for row in rows if row._mapping[column.name] is not None] or rows
    return random.Random(seed).choice(filled)


def _key(table: Table, values: Mapping[str, Any]) -> Any:
    return and_(*(column == values[column.name] for column in table.primary_key))


def _plain_engine(made: FastWorkspace) -> Engine:
    url = made.database.url
    if made.database.is_sqlite:
        return create_engine(url, module=pysqlite3.dbapi2)
    path = f"-csearch_path={made.database.schema}"
    return create_engine(url.set(drivername="postgresql+psycopg"), connect_args={"options": path})
