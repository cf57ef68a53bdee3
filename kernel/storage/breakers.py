"""Circuit breakers and rate limits, kept in the store so that all workers share them.

A breaker (Nygard, *Release It!*, 2007) opens once calls of its target failed several times in a row within a window;
then nothing is let through until its cool-down is over, and after that one probe at a time: if that succeeds it closes,
else it opens again for twice as long. Opening and closing are entries of the ledger. A rate limit is a token bucket,
kept as the moment at which it is full again (the virtual scheduling of ITU-T I.371).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select, update

from kernel.ids import derived_id
from kernel.storage.database import Database
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, insert_new
from kernel.storage.schema import allowance, breaker

OPENED, CLOSED = "breaker.opened", "breaker.closed"
"""Kinds of the entries."""


class State(StrEnum):
    """Whether calls are let through: all, none, or one to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """When a breaker opens, and for how many seconds: `failures` in a row within `window` open it for `cool_down`,
    doubled with each probe that fails up to `longest`; a probe that says nothing for `probe` seconds is given up.
    """

    failures: int = 5
    window: float = 60.0
    cool_down: float = 30.0
    longest: float = 600.0
    probe: float = 120.0


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """What is stored of a breaker. Moments are Unix seconds."""

    target: str
    state: State = State.CLOSED
    failures: int = 0
    since: float = 0.0
    until: float = 0.0
    probes: int = 0


class Breakers:
    """The stored breakers and buckets. Every change is one transaction; a target that never failed has no row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, target: str) -> BreakerRow:
        """The breaker of a target; a closed one where none is stored."""
        with self._database.read() as connection:
            return _read(connection, target)

    def items(self) -> list[BreakerRow]:
        """Every breaker that has a row, by target."""
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(select(breaker).order_by(breaker.c.target))]

    def failed(self, target: str, rule: BreakerRule, now: float, *, probe: bool) -> BreakerRow:
        """Count a failure: of the probe, or of a call that a closed breaker let through. A failure that comes from a
        call of before the breaker opened changes nothing.
        """

        def change(connection: Connection, row: BreakerRow) -> BreakerRow:
            if probe and row.state is State.HALF_OPEN:
                wait = min(rule.longest, rule.cool_down * 2.0 ** (row.probes + 1))
                return self._open(connection, row, now, wait, row.failures + 1, row.probes + 1)
            if probe or row.state is not State.CLOSED:
                return row
            fresh = not row.failures or now - row.since > rule.window
            failures, since = (1, now) if fresh else (row.failures + 1, row.since)
            if failures >= rule.failures:
                return self._open(connection, row, now, rule.cool_down, failures, 0)
            return BreakerRow(target, State.CLOSED, failures, since)

        return self._change(target, change)

    def succeeded(self, target: str, *, probe: bool) -> BreakerRow:
        """Count a success: of the probe, which closes the breaker, or of another call, which ends a row of failures."""

        def change(connection: Connection, row: BreakerRow) -> BreakerRow:
            if row.state is State.CLOSED:
                return BreakerRow(target)
            if not probe or row.state is not State.HALF_OPEN:
                return row
            self._log(connection, CLOSED, row)
            return BreakerRow(target)

        return self._change(target, change)

    def probe(self, target: str, rule: BreakerRule, now: float) -> bool:
        """Whether the caller may make the one call that tries an open breaker: its cool-down is over, and nobody else
        is trying.
        """
        due = (breaker.c.target == target) & (breaker.c.state != State.CLOSED) & (breaker.c.until <= now)
        values = {"state": State.HALF_OPEN, "until": now + rule.probe}
        with self._database.write() as connection:
            return bool(connection.execute(update(breaker).where(due).values(values)).rowcount)

    def give_up_probe(self, target: str, now: float) -> None:
        """The probe said nothing of the target: let another be made at once."""
        mine = (breaker.c.target == target) & (breaker.c.state == State.HALF_OPEN)
        with self._database.write() as connection:
            connection.execute(update(breaker).where(mine).values(state=State.OPEN, until=now))

    def take(self, target: str, every: float, burst: int, now: float, patience: float) -> float:
        """Take one of `burst` tokens that come back one each `every` seconds. How many seconds to wait before it may
        be used: up to `patience` it is taken; where it would be more, none is taken.
        """
        with self._database.write() as connection:
            insert_new(connection, allowance, [{"target": target, "free_at": now}])
            mine = allowance.c.target == target
            free_at = float(connection.execute(select(allowance.c.free_at).where(mine)).scalar_one())
            full = max(free_at, now) + every
            wait = max(0.0, full - now - every * burst)
            if wait <= patience:
                connection.execute(update(allowance).where(mine).values(free_at=full))
        return wait

    def _change(self, target: str, change: Callable[[Connection, BreakerRow], BreakerRow]) -> BreakerRow:
        with self._database.write() as connection:
            before = _read(connection, target)
            after = change(connection, before)
            if after != before:
                insert_new(connection, breaker, [_values(before)])
                connection.execute(update(breaker).where(breaker.c.target == target).values(_values(after)))
        return after

    def _open(
        self, connection: Connection, row: BreakerRow, now: float, wait: float, failures: int, probes: int
    ) -> BreakerRow:
        opened = BreakerRow(row.target, State.OPEN, failures, row.since or now, now + wait, probes)
        self._log(connection, OPENED, opened, {"wait_ms": round(wait * 1000)})
        return opened

    def _log(self, connection: Connection, kind: str, row: BreakerRow, more: dict[str, Any] | None = None) -> None:
        facts = {"failures": row.failures, "probes": row.probes} | (more or {})
        subject = derived_id("brk", row.target)
        append(self._database, connection, kind, subject, facts, dumps({"target": row.target}))


def _read(connection: Connection, target: str) -> BreakerRow:
    found = connection.execute(select(breaker).where(breaker.c.target == target)).first()
    return BreakerRow(target) if found is None else _row(found)


def _row(row: Any) -> BreakerRow:
    return BreakerRow(row.target, State(row.state), row.failures, row.since, row.until, row.probes)


def _values(row: BreakerRow) -> dict[str, Any]:
    return {
        "target": row.target,
        "state": row.state.value,
        "failures": row.failures,
        "since": row.since,
        "until": row.until,
        "probes": row.probes,
    }
