"""What triggers of workflows need of the store: secrets of events, and which documents are new since when."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from kernel.errors import NotFound
from kernel.records import Principal
from kernel.storage.access import NEWEST, may_see, withdrawn
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, insert_new, now
from kernel.storage.schema import document, event_secret, revision, snapshot, source, trigger_mark, visibility

SECRET = "event.secret"  # noqa: S105  # the kind of an entry
MADE, ENDED = "made", "ended"
GRACE = timedelta(hours=24)
"""For how long the secret before the newest one still holds, so that senders can change over."""
MOST_LISTED = 1000
"""Documents that a change names."""


@dataclass(frozen=True, slots=True)
class EventSecret:
    """A secret of an event, without what it is. `state` of the newest: made or ended."""

    name: str
    number: int
    state: str
    created_at: str


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """New or changed documents of a source: the newest snapshot that shows some, when that was, which they are (the
    first thousand, by id) and how many.
    """

    snapshot: int
    at: str
    documents: tuple[str, ...]
    count: int


class EventSecrets:
    """Secrets that senders of events sign with. They are derived from the key of the ledger, so none is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, name: str, actor: str, reason: str = "") -> tuple[EventSecret, str]:
        """A new secret for an event, and what it is. The one before holds for another day."""
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            rows = _rows(connection, name)
            made = self._add(connection, name, rows[0].number + 1 if rows else 1, MADE, actor, reason)
        return made, self._secret(name, made.number)

    def end(self, name: str, actor: str) -> EventSecret:
        """No signature of an event holds any more. Raises NotFound where there is no secret in force."""
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            rows = _rows(connection, name)
            if not rows or rows[0].state == ENDED:
                raise NotFound(f"the event {name} has no secret")
            return self._add(connection, name, rows[0].number, ENDED, actor)

    def items(self) -> list[EventSecret]:
        """What was last done with the secret of every event, by name."""
        newest = select(func.max(event_secret.c.leaf)).group_by(event_secret.c.name)
        query = select(event_secret).where(event_secret.c.leaf.in_(newest)).order_by(event_secret.c.name)
        with self._database.read() as connection:
            return [_item(row) for row in connection.execute(query)]

    def valid(self, name: str, moment: datetime) -> list[str]:
        """The secrets that hold for an event now, the newest first."""
        with self._database.read() as connection:
            rows = _rows(connection, name)
        if not rows or rows[0].state == ENDED:
            return []
        before = rows[1] if len(rows) > 1 and rows[1].state == MADE else None
        fresh = before is not None and moment < datetime.fromisoformat(rows[0].created_at) + GRACE
        return [self._secret(name, one.number) for one in (rows[0], *((before,) if fresh else ()))]

    def _add(
        self, connection: Connection, name: str, number: int, state: str, actor: str, reason: str = ""
    ) -> EventSecret:
        moment = now()
        facts = {"name": name, "number": number, "state": state}
        said = dumps({"by": actor, "reason": reason})
        leaf = append(self._database, connection, SECRET, subject_of(name), facts, said, moment)
        connection.execute(event_secret.insert(), facts | {"leaf": leaf.number, "created_at": moment})
        return EventSecret(name, number, state, moment)

    def _secret(self, name: str, number: int) -> str:
        derived = self._database.signer.derived(f"event {number} {name}")
        return f"vouch_event_{base64.urlsafe_b64encode(derived).decode().rstrip('=')}"


class DocumentChanges:
    """Which documents are new or changed, as the published snapshots say; and how far that was acted on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(
        self, source_name: str, principal: Principal, moment: str, trigger: tuple[str, str]
    ) -> DocumentChange | None:
        """What was published of a source after a moment, and after what a trigger (workflow, and which of it) already
        acted on, as far as `principal` may see it; None where that is nothing.
        """
        with self._database.read() as connection:
            after = _mark(connection, trigger)
            query = _born(source_name, principal).where(snapshot.c.number > after, snapshot.c.created_at > moment)
            newest = query.with_only_columns(snapshot.c.number, snapshot.c.created_at)
            last = connection.execute(newest.order_by(snapshot.c.number.desc()).limit(1)).first()
            if last is None:
                return None
            ids = query.with_only_columns(document.c.public_id).distinct()
            count = connection.execute(select(func.count()).select_from(ids.subquery())).scalar_one()
            named = connection.execute(ids.order_by(document.c.public_id).limit(MOST_LISTED)).scalars()
            return DocumentChange(last.number, last.created_at, tuple(named), int(count))

    def mark(self, trigger: tuple[str, str], number: int) -> None:
        """A trigger has acted on changes up to a snapshot."""
        mine = (trigger_mark.c.workflow == trigger[0]) & (trigger_mark.c.trigger == trigger[1])
        row = {"workflow": trigger[0], "trigger": trigger[1], "snapshot": number}
        with self._database.write() as connection:
            insert_new(connection, trigger_mark, [row])
            later = update(trigger_mark).where(mine, trigger_mark.c.snapshot < number)
            connection.execute(later.values(snapshot=number))


def subject_of(name: str) -> str:
    """What the entry of an event's secret is about, as short as subjects are."""
    return f"event {name}"[:64]


def secret_facts(row: Any) -> dict[str, Any]:
    """What the entry of a row says openly."""
    return {"name": row.name, "number": row.number, "state": row.state}


def _rows(connection: Connection, name: str) -> Sequence[Any]:
    query = select(event_secret).where(event_secret.c.name == name).order_by(event_secret.c.leaf.desc()).limit(2)
    return connection.execute(query).all()


def _item(row: Any) -> EventSecret:
    return EventSecret(row.name, row.number, row.state, row.created_at)


def _mark(connection: Connection, trigger: tuple[str, str]) -> int:
    mine = (trigger_mark.c.workflow == trigger[0]) & (trigger_mark.c.trigger == trigger[1])
    return int(connection.execute(select(trigger_mark.c.snapshot).where(mine)).scalar() or 0)


def _born(source_name: str, principal: Principal) -> Select[Any]:
    query = (
        select(document)
        .join(revision, revision.c.document_id == document.c.id)
        .join(visibility, visibility.c.revision_id == revision.c.id)
        .join(snapshot, snapshot.c.number == visibility.c.born)
        .join(source, source.c.id == document.c.source_id)
        .where(source.c.name == source_name, ~withdrawn(NEWEST))
    )
    rule = may_see(principal, NEWEST)
    return query if rule is None else query.where(rule)
