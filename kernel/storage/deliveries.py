"""What runs deliver to the outside, by the key of the step: begun once, done once, each an entry of the ledger.

Where the sink can tell a key that it has seen, what was begun is gone on with after a crash, and arrives exactly once.
Where it cannot, what was begun and not done may have arrived: it is sent again, with the same key for the receiver.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, select, update

from kernel.errors import Conflict, NotFound
from kernel.ids import derived_id
from kernel.records import Fault
from kernel.storage.database import Database
from kernel.storage.erasure_rows import rows_of
from kernel.storage.ledger import Leaf, Ledger, append
from kernel.storage.rows import dumps, parts
from kernel.storage.schema import delivery, ledger_payload, run, run_event
from kernel.storage.version_checks import paired, payload_of
from kernel.storage.version_checks import rows_of as rows_by

BEGUN, DONE = "delivery.begun", "delivery.done"
"""Kinds of the entries."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery. `once`: the sink takes a key once. `where` and `token` are what it was begun with, `receipt` how it
    ended; they are empty where that was erased. `begun` and `done` are indexes of entries.
    """

    key: str
    sink: str
    once: bool
    sha256: str
    begun: int
    done: int | None
    at: str
    where: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    receipt: Mapping[str, Any] = field(default_factory=dict)


class Deliveries:
    """Every delivery there was. None is changed but from begun to done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: str) -> Delivery | None:
        """The delivery of a key; None where none was begun."""
        with self._database.read() as connection:
            return _find(connection, key)

    def begin(
        self, key: str, sink: str, *, once: bool, sha256: str, where: Mapping[str, Any], token: str = ""
    ) -> Delivery:
        """Record durably that it begins, before anything is done; what was begun before is returned as it is.

        Raises Conflict where the key was begun with other content or another sink.
        """
        with self._database.write() as connection:
            known = _find(connection, key)
            if known is None:
                facts = {"key": key, "sink": sink, "once": once}
                payload = dumps({"sha256": sha256, "where": dict(where), "token": token})
                leaf = append(self._database, connection, BEGUN, derived_id("dlv", key), facts, payload)
                row = {"key": key, "begun": leaf.number, "sink": sink, "once": once, "sha256": sha256}
                connection.execute(delivery.insert(), row | {"created_at": leaf.created_at})
                return Delivery(key, sink, once, sha256, leaf.number, None, leaf.created_at, dict(where), token)
        if known.sink != sink or known.sha256 not in (sha256, ""):
            raise Conflict(f"the delivery {key} was begun before, with other content or to another sink")
        return known

    def finish(self, key: str, receipt: Mapping[str, Any]) -> Delivery:
        """Record that it is done; one that is done already stays as it is. Raises NotFound where it was not begun."""
        with self._database.write() as connection:
            known = _find(connection, key)
            if known is None:
                raise NotFound(f"no delivery {key} was begun")
            if known.done is None:
                facts, payload = {"key": key, "begun": known.begun}, dumps({"receipt": dict(receipt)})
                leaf = append(self._database, connection, DONE, derived_id("dlv", key), facts, payload)
                connection.execute(update(delivery).where(delivery.c.key == key).values(done=leaf.number))
                known = _find(connection, key)
        assert known is not None  # noqa: S101 - it was found above, in the same transaction
        return known

    def of_run(self, run_id: str) -> list[Delivery]:
        """The deliveries of a run, in the order in which they were begun."""
        query = _records().where(delivery.c.key.startswith(f"{run_id}:", autoescape=True)).order_by(delivery.c.begun)
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query)]


def delivery_entries(connection: Connection, entries: Collection[int]) -> set[int]:
    """Entries of deliveries that go with these entries: all of a run of which an entry goes, and of a delivery both."""
    numbers = sorted(entries)
    runs = {*rows_of(connection, run_event.c.run_id, run_event.c.leaf, numbers)}
    runs |= {*rows_of(connection, run.c.id, run.c.number, numbers)}
    runs |= {key.split(":")[0] for key in rows_of(connection, delivery.c.key, delivery.c.begun, numbers)}
    found: set[int] = set()
    for run_id in sorted(runs):
        mine = delivery.c.key.startswith(f"{run_id}:", autoescape=True)
        for row in connection.execute(select(delivery.c.begun, delivery.c.done).where(mine)):
            found |= {number for number in row if number is not None}
    return found


def delivered(connection: Connection, entries: Collection[int]) -> int:
    """How many deliveries these entries tell of: what went out is reached by no erasure."""
    return len({*rows_of(connection, delivery.c.key, delivery.c.begun, sorted(entries))})


def forget_deliveries(connection: Connection, entries: Collection[int]) -> int:
    """Take out what was delivered where the entry that says so is emptied; how many rows."""
    return sum(
        int(connection.execute(update(delivery).where(delivery.c.begun.in_(some)).values(sha256="")).rowcount)
        for some in parts(sorted(entries))
    )


def delivery_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Deliveries that their entries contradict, or that have none."""
    begun = {leaf.facts["key"]: leaf for leaf in by_kind.get(BEGUN, ())}
    done = {leaf.facts["key"]: leaf for leaf in by_kind.get(DONE, ())}
    for key, row, leaf in paired(rows_by(connection, delivery, "key"), begun):
        if row is None or leaf is None:
            yield Fault(f"delivery {key}", "is missing" if row is None else "has no entry in the ledger")
            continue
        payload = payload_of(ledger, leaf, gone)
        end = done.get(key)
        facts = {"key": row.key, "sink": row.sink, "once": row.once}
        said = (leaf.number, leaf.facts, leaf.created_at, "" if payload is None else payload["sha256"])
        wrong = said != (row.begun, facts, row.created_at, row.sha256)
        wrong |= row.done != (end.number if end else None)
        if wrong or (end is not None and end.facts["begun"] != row.begun):
            yield Fault(f"delivery {key}", "is not what its ledger entries say")


def _records() -> Select[Any]:
    begun, done = ledger_payload.alias(), ledger_payload.alias()
    return (
        select(delivery, begun.c.payload.label("start"), done.c.payload.label("end"))
        .outerjoin(begun, begun.c.number == delivery.c.begun)
        .outerjoin(done, done.c.number == delivery.c.done)
    )


def _find(connection: Connection, key: str) -> Delivery | None:
    row = connection.execute(_records().where(delivery.c.key == key)).first()
    return None if row is None else _delivery(row)


def _delivery(row: Any) -> Delivery:
    start, end = (json.loads(text) if text else {} for text in (row.start, row.end))
    return Delivery(
        row.key,
        row.sink,
        row.once,
        row.sha256,
        row.begun,
        row.done,
        row.created_at,
        start.get("where", {}),
        start.get("token", ""),
        end.get("receipt", {}),
    )
