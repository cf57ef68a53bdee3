"""Publishing, rolling back and naming snapshots. Publishing is one transaction; rolling back is one row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, ScalarSelect, func, select, update

from kernel.errors import NotFound
from kernel.ids import sha256
from kernel.moments import moment_of
from kernel.records import LiveState, Principal, SnapshotInfo
from kernel.storage.access import ACCESS_VERSION, NEWEST, may_see, withdrawn
from kernel.storage.database import Database
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts, seen_by
from kernel.storage.schema import chunk, publication, revision, setting, snapshot, visibility

LARGEST = 2**31 - 1
"""The highest number that a column of snapshot numbers holds."""


class Snapshots:
    """The published states of a workspace. Snapshot 0 is the empty one that every workspace starts from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def live(self) -> LiveState:
        """What a question that names no snapshot sees."""
        with self._database.read() as connection:
            return _live(connection)

    def publish(self, reason: str, births: Collection[int], deaths: Collection[int]) -> int:
        """Make revisions visible and withdraw others, at once; the number of the new snapshot.

        The new snapshot follows the live one, so after a rollback it builds on what was rolled back to. A revision
        takes the place of any other of its document. Publishes nothing, and returns the live number, where nothing
        changes.
        """
        with self._database.write() as connection:
            live = _live(connection).snapshot
            newest = connection.execute(select(func.coalesce(func.max(snapshot.c.number), 0))).scalar_one()
            before = _visible(connection, live)
            after = before - set(deaths) - _others(connection, births) | set(births)
            if after == before:
                return live
            current = before if live == newest else _visible(connection, newest)
            number = int(newest) + 1
            _move(connection, number, after - current, current - after)
            self._record(connection, number, live, reason)
            return number

    def _record(self, connection: Connection, number: int, parent: int, reason: str) -> None:
        documents = connection.execute(select(func.count()).select_from(visibility).where(seen_by(number))).scalar_one()
        newest = connection.execute(select(func.coalesce(func.max(chunk.c.id), 0))).scalar_one()
        before = connection.execute(select(func.coalesce(func.max(snapshot.c.last_chunk), 0))).scalar_one()
        last_chunk = max(newest, before)  # the newest chunks may have been erased
        values = {"number": number, "parent": parent, "documents": documents, "last_chunk": last_chunk}
        moment = now()
        connection.execute(snapshot.insert(), values | {"reason": reason, "created_at": moment})
        move = _point(connection, number, "publish", moment)
        facts = values | {"move": move, "changes_sha256": snapshot_digest(connection, number)}
        payload = dumps({"reason": reason})
        append(self._database, connection, "snapshot.published", f"snapshot {number}", facts, payload, moment)

    def rollback(self, number: int) -> None:
        """Make an earlier (or later) snapshot the live one. Raises NotFound where there is none of that number."""
        with self._database.write() as connection:
            if not _exists(connection, number):
                raise NotFound(f"no snapshot {number}; `vouch snapshots` lists them")
            moment = now()
            move = _point(connection, number, "rollback", moment)
            append(
                self._database,
                connection,
                "snapshot.rolled_back",
                f"snapshot {number}",
                {"snapshot": number, "move": move},
                at=moment,
            )

    def resolve(self, name: str) -> int:
        """The snapshot of a number, or the one that was live at an ISO 8601 moment (UTC where it names no zone)."""
        with self._database.read() as connection:
            if name.isdecimal():
                if not _exists(connection, int(name)):
                    raise NotFound(f"no snapshot {name}; `vouch snapshots` lists them")
                return int(name)
            moves = select(publication.c.snapshot).where(publication.c.created_at <= moment_of("as_of", name))
            return int(connection.execute(moves.order_by(publication.c.id.desc()).limit(1)).scalar() or 0)

    def items(self) -> list[SnapshotInfo]:
        """All snapshots, newest first."""
        with self._database.read() as connection:
            live = _live(connection).snapshot
            rows = connection.execute(select(snapshot).order_by(snapshot.c.number.desc()))
            return [
                SnapshotInfo(r.number, r.parent, r.reason, r.documents, r.created_at, r.number == live) for r in rows
            ]

    def visible_revisions(self, number: int, principal: Principal, access: int = NEWEST) -> list[int]:
        """Ids of the revisions that `principal` may see in a snapshot under a version of the access rules, ascending:
        the filter of every search.
        """
        query = select(visibility.c.revision_id).where(seen_by(number))
        rule = may_see(principal, access)
        if rule is not None:
            query = query.join(revision, revision.c.id == visibility.c.revision_id).where(rule)
        with self._database.read() as connection:
            gone = set(connection.execute(select(revision.c.id).where(withdrawn(access))).scalars())
            return sorted(set(connection.execute(query).scalars()) - gone)

    def last_chunk(self, number: int) -> int:
        """The highest chunk row that a snapshot can see; 0 for the empty one."""
        with self._database.read() as connection:
            return int(connection.execute(select(_reach(number))).scalar() or 0)


def _reach(number: int | ScalarSelect[Any]) -> ScalarSelect[Any]:
    """The last chunk of a snapshot that is there: those at its end may have been erased."""
    last = select(snapshot.c.last_chunk).where(snapshot.c.number == number).scalar_subquery()
    return select(func.max(chunk.c.id)).where(chunk.c.id <= last).scalar_subquery()


def _live(connection: Connection) -> LiveState:
    head = select(publication.c.snapshot).order_by(publication.c.id.desc()).limit(1).scalar_subquery()
    access = select(setting.c.value).where(setting.c.name == ACCESS_VERSION).scalar_subquery()
    reach = _reach(head)
    row = connection.execute(select(head, reach, access)).one()
    return LiveState(row[0] or 0, row[1] or 0, int(row[2] or 0))


def _point(connection: Connection, number: int, action: str, moment: str) -> int:
    """Move the live pointer; which move that is."""
    row = {"snapshot": number, "action": action, "created_at": moment}
    return int(connection.execute(publication.insert().returning(publication.c.id), row).scalar_one())


def _exists(connection: Connection, number: int) -> bool:
    if not 0 < number <= LARGEST:
        return number == 0
    return connection.execute(select(snapshot.c.number).where(snapshot.c.number == number)).first() is not None


def _others(connection: Connection, revision_ids: Collection[int]) -> set[int]:
    """The other revisions of the documents that these are revisions of."""
    other = revision.alias()
    query = select(other.c.id).join(revision, revision.c.document_id == other.c.document_id)
    found: set[int] = set()
    for some in parts(sorted(revision_ids)):
        found.update(connection.execute(query.where(revision.c.id.in_(some))).scalars())
    return found - set(revision_ids)


def _visible(connection: Connection, number: int) -> set[int]:
    return set(connection.execute(select(visibility.c.revision_id).where(seen_by(number))).scalars())


def _move(connection: Connection, number: int, shown: set[int], hidden: set[int]) -> None:
    for some in parts(sorted(hidden)):
        open_rows = visibility.c.revision_id.in_(some) & visibility.c.died.is_(None)
        connection.execute(update(visibility).where(open_rows).values(died=number))
    if shown:
        connection.execute(
            visibility.insert(), [{"revision_id": r, "born": number, "died": None} for r in sorted(shown)]
        )


def snapshot_digest(connection: Connection, number: int) -> str:
    """What a snapshot changed: SHA-256 over the hashes of the revisions that it showed and that it hid."""
    lines: list[str] = []
    for column in (visibility.c.born, visibility.c.died):
        query = select(revision.c.sha256).join(visibility, visibility.c.revision_id == revision.c.id)
        lines.append(" ".join(sorted(connection.execute(query.where(column == number)).scalars())))
    return sha256("\n".join(lines))
