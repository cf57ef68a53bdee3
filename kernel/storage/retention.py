"""Letting answers expire: their payloads go after so many days, unless a hold covers them; the entries stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from kernel.errors import InvalidInput
from kernel.ids import random_id
from kernel.storage.database import Database
from kernel.storage.deliveries import delivery_entries, forget_deliveries
from kernel.storage.erasure import ErasureInfo, seal
from kernel.storage.erasure_rows import (
    EXPIRED,
    forget_library_users,
    numbers_digest,
    remains_digest,
    remove_payloads,
    remove_requests,
    review_entries,
    rows_of,
    run_entries,
)
from kernel.storage.holds import held_answers, held_principals
from kernel.storage.schema import answer, ledger_payload, prompt_run
from kernel.storage.task_erasure import forget_tasks, showing, task_entries


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """How long things are kept, in whole days; None is for ever."""

    answers_days: int | None = None

    def __post_init__(self) -> None:
        if self.answers_days is not None and self.answers_days < 1:
            raise InvalidInput("answers are kept for at least one day; leave answers_days out to keep them for ever")


@dataclass(frozen=True, slots=True)
class Due:
    """Answers whose time has come: those that expire, and those that a hold keeps (with the hold); and runs of prompts
    that do.
    """

    before: str | None
    answers: list[int] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    runs: list[int] = field(default_factory=list)


class Retention:
    """Finds answers that are older than the rules allow, and empties them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, rules: RetentionRules, moment: datetime | None = None) -> Due:
        """What would expire at `moment` (by default now)."""
        with self._database.read() as connection:
            return _due(connection, rules, moment or datetime.now(UTC))

    def kept(self) -> dict[str, Any]:
        """How many answers still have their payload, and when the oldest of them was given."""
        query = select(func.count(), func.min(answer.c.created_at)).join(
            ledger_payload, ledger_payload.c.number == answer.c.number
        )
        with self._database.read() as connection:
            count, oldest = connection.execute(query).one()
            return {"answers": int(count), "oldest": oldest}

    def expire(self, rules: RetentionRules, by: str, moment: datetime | None = None) -> ErasureInfo | None:
        """Empty what is due, in one transaction, under one entry; None where nothing is."""
        with self._database.write() as connection:
            due = _due(connection, rules, moment or datetime.now(UTC))
            if not due.answers and not due.runs:
                return None
            entries = sorted({*due.answers, *due.runs, *_stored(connection, review_entries(connection, due.answers))})
            ids = rows_of(connection, answer.c.id, answer.c.number, due.answers)
            entries = sorted({*entries, *_stored(connection, _copies(connection, ids))})
            ids += rows_of(connection, prompt_run.c.id, prompt_run.c.number, due.runs)
            people = select(answer.c.number, answer.c.principal).where(answer.c.principal != "")
            mine = set(due.answers)
            askers = {str(number): who for number, who in connection.execute(people) if number in mine}
            facts = {
                "answers": len(due.answers),
                **({"runs": len(due.runs)} if due.runs else {}),
                "entries": len(entries),
                "answers_days": rules.answers_days,
                "entries_sha256": numbers_digest(entries),
                "revisions_sha256": numbers_digest([]),
                "remains_sha256": remains_digest(connection, []),
            }
            removed = {
                "idempotency": remove_requests(connection, ids, ()),
                "ledger_payload": remove_payloads(connection, entries),
                "delivery": forget_deliveries(connection, entries),
                **forget_tasks(connection, entries),
                **forget_library_users(connection, entries, ()),
            }
            draft = {"state": "running", "removed": removed, "kept": {}, "before": due.before, "held": len(due.held)}
            payload = {"by": by, "reason": f"older than {rules.answers_days} days", "askers": askers}
            return seal(self._database, connection, EXPIRED, random_id("ret"), (entries, []), facts, draft, payload)


def _copies(connection: Connection, ids: list[str]) -> set[int]:
    """Entries of runs of workflows, and of what they asked people, that go with these answers."""
    entries = showing(connection, ids)
    entries |= run_entries(connection, entries, ())
    return entries | task_entries(connection, entries) | delivery_entries(connection, entries)


def _stored(connection: Connection, numbers: set[int]) -> list[int]:
    return rows_of(connection, ledger_payload.c.number, ledger_payload.c.number, numbers)


def _due(connection: Connection, rules: RetentionRules, moment: datetime) -> Due:
    if rules.answers_days is None:
        return Due(None)
    before = (moment.astimezone(UTC) - timedelta(days=rules.answers_days)).isoformat(timespec="microseconds")
    query = select(answer.c.number, answer.c.id).join(ledger_payload, ledger_payload.c.number == answer.c.number)
    rows = connection.execute(query.where(answer.c.created_at < before).order_by(answer.c.number)).all()
    held = held_answers(connection)
    return Due(
        before,
        [row.number for row in rows if row.number not in held],
        {row.id: held[row.number] for row in rows if row.number in held},
        _due_runs(connection, before),
    )


def _due_runs(connection: Connection, before: str) -> list[int]:
    people = held_principals(connection)
    if "" in people:
        return []
    query = select(prompt_run.c.number).join(ledger_payload, ledger_payload.c.number == prompt_run.c.number)
    query = query.where(prompt_run.c.created_at < before, prompt_run.c.principal.not_in(list(people)))
    return list(connection.execute(query.order_by(prompt_run.c.number)).scalars())
