"""Who may see what: groups of revisions and withdrawn documents, kept by version so that the past can be asked.

Every change of an access rule makes a new version. A record of an answer pins the version that it was made under;
a new question always asks under the newest one, whatever snapshot it names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, exists, or_, select, update

from kernel.errors import Conflict, NotFound
from kernel.ids import sha256
from kernel.records import Principal, WithdrawnDocument
from kernel.storage.database import Database
from kernel.storage.erasure_rows import erased_documents
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, insert_new, parts
from kernel.storage.schema import document, erased_revision, ledger_leaf, revision, revision_group, setting, withdrawal
from kernel.storage.stale import WITHDRAWN, answers_on, mark, stale_facts

ACCESS_VERSION = "access_version"
NEWEST = 2**31 - 1
"""A version that stands for the newest rules."""
OnStale = Callable[[Connection, Sequence[int]], object]
"""Told, within the transaction of a withdrawal, which answers (indexes) it makes stale."""


def in_force(born: Column[int], died: Column[int | None], version: int) -> ColumnElement[bool]:
    """The rule that a row of versions `born <= v < died` holds in `version`."""
    return and_(born <= version, or_(died.is_(None), died > version))


def may_see(principal: Principal, version: int = NEWEST) -> ColumnElement[bool] | None:
    """The rule of groups as a condition on `revision`; None where the principal sees everything.

    A revision that failed has no text that could say who may know of it, so only those see it who see everything.
    """
    if principal.groups is None:
        return None
    held = in_force(revision_group.c.born, revision_group.c.died, version)
    mine = and_(revision_group.c.revision_id == revision.c.id, held)
    public = ~exists().where(mine)
    ours = exists().where(and_(mine, revision_group.c.name.in_(sorted(principal.groups))))
    return and_(revision.c.status == "ok", or_(public, ours) if principal.groups else public)


def withdrawn(version: int = NEWEST) -> ColumnElement[bool]:
    """The rule, on `revision`, that its document is withdrawn, or that nothing is left of it: then nobody sees it."""
    held = in_force(withdrawal.c.born, withdrawal.c.died, version)
    gone = revision.c.document_id.in_(select(withdrawal.c.document_id).where(held))
    return or_(gone, revision.c.id.in_(select(erased_revision.c.revision_id)))


def groups_of(connection: Connection, revision_ids: Sequence[int], version: int = NEWEST) -> dict[int, tuple[str, ...]]:
    """The groups of each revision that has any."""
    found: dict[int, list[str]] = {}
    held = in_force(revision_group.c.born, revision_group.c.died, version)
    for some in parts(revision_ids):
        query = select(revision_group.c.revision_id, revision_group.c.name).where(
            revision_group.c.revision_id.in_(some), held
        )
        for revision_id, name in connection.execute(query):
            found.setdefault(revision_id, []).append(name)
    return {revision_id: tuple(sorted(names)) for revision_id, names in found.items()}


def put_groups(database: Database, connection: Connection, groups: Mapping[int, tuple[str, ...] | None]) -> bool:
    """Bring the groups of revisions to what is wanted, under a new version of the rules; whether that changed any."""
    wanted = {revision_id: tuple(sorted(set(names or ()))) for revision_id, names in groups.items()}
    known = groups_of(connection, list(wanted))
    changed = sorted(revision_id for revision_id, names in wanted.items() if names != known.get(revision_id, ()))
    if not changed:
        return False
    version = next_version(connection)
    for some in parts(changed):
        old = revision_group.c.revision_id.in_(some) & revision_group.c.died.is_(None)
        connection.execute(update(revision_group).where(old).values(died=version))
    rows = [
        {"revision_id": changed_id, "name": name, "born": version}
        for changed_id in changed
        for name in wanted[changed_id]
    ]
    if rows:
        connection.execute(revision_group.insert(), rows)
    facts = {"version": version, "revisions": len(changed), "rules_sha256": access_digest(connection, version)}
    append(database, connection, "access.changed", f"access {version}", facts)
    return True


def next_version(connection: Connection) -> int:
    """A new version of the access rules, so that every cached view is made anew."""
    insert_new(connection, setting, [{"name": ACCESS_VERSION, "value": "0"}])
    version = int(connection.execute(select(setting.c.value).where(setting.c.name == ACCESS_VERSION)).scalar_one()) + 1
    connection.execute(update(setting).where(setting.c.name == ACCESS_VERSION).values(value=str(version)))
    return version


def access_digest(connection: Connection, version: int) -> str:
    """What one version of the rules changed: SHA-256 over the rows that came and went with it."""
    lines: list[str] = []
    for column in (revision_group.c.born, revision_group.c.died):
        query = select(revision_group.c.revision_id, revision_group.c.name).where(column == version)
        rows = connection.execute(query.order_by(revision_group.c.revision_id, revision_group.c.name))
        lines.append(dumps([list(row) for row in rows]))
    for column in (withdrawal.c.born, withdrawal.c.died):
        query = select(withdrawal.c.document_id).where(column == version).order_by(withdrawal.c.document_id)
        lines.append(dumps(list(connection.execute(query).scalars())))
    return sha256("\n".join(lines))


class Withdrawals:
    """Documents that were taken back: gone from every search at once, in every snapshot, until they are restored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def withdraw(
        self, document_ids: Collection[str], payload: Mapping[str, Any], on_stale: OnStale | None = None
    ) -> tuple[int, list[str]]:
        """Take documents (by public id) back; the ledger's entry and those that were not withdrawn already.

        The answers that stood on them are marked stale in the same transaction, and `on_stale` is told of them.
        Raises NotFound for one that is not there, and Conflict where all were withdrawn before.
        """
        with self._database.write() as connection:
            rows = _rows(connection, document_ids)
            gone = set(
                connection.execute(select(withdrawal.c.document_id).where(withdrawal.c.died.is_(None))).scalars()
            )
            fresh = {name: row for name, row in sorted(rows.items()) if row not in gone}
            if not fresh:
                raise Conflict("withdrawn already")
            version = next_version(connection)
            connection.execute(
                withdrawal.insert(), [{"document_id": row, "born": version} for row in sorted(fresh.values())]
            )
            numbers = answers_on(connection, list(fresh.values()))
            leaf = self._note(connection, WITHDRAWN, list(fresh), version, payload, stale_facts(numbers))
            mark(connection, numbers, leaf)
            if on_stale is not None:
                on_stale(connection, numbers)
            return leaf, list(fresh)

    def restore(self, document_ids: Collection[str], payload: Mapping[str, Any]) -> tuple[int, list[str]]:
        """Let documents be seen again; those that were erased stay away. Raises NotFound, and Conflict where none of
        them is withdrawn, or was only erased.
        """
        with self._database.write() as connection:
            rows = _rows(connection, document_ids)
            erased = {name: row for name, row in erased_documents(connection).items() if name in rows}
            held = withdrawal.c.died.is_(None) & withdrawal.c.document_id.in_(
                sorted(set(rows.values()) - set(erased.values()))
            )
            back = set(connection.execute(select(withdrawal.c.document_id).where(held)).scalars())
            if not back and erased:
                name = min(erased)
                raise Conflict(f"{name} was erased; `vouch erase --document {name} --allow-again` lets it be read anew")
            if not back:
                raise Conflict("not withdrawn")
            version = next_version(connection)
            connection.execute(update(withdrawal).where(held).values(died=version))
            names = sorted(name for name, row in rows.items() if row in back)
            return self._note(connection, "document.restored", names, version, payload), names

    def _note(
        self,
        connection: Connection,
        kind: str,
        names: Sequence[str],
        version: int,
        payload: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> int:
        facts = {"version": version, "documents": len(names), "rules_sha256": access_digest(connection, version)}
        facts |= more or {}
        subject = names[0] if len(names) == 1 else f"access {version}"
        return append(
            self._database, connection, kind, subject, facts, dumps({**payload, "document_ids": list(names)})
        ).number

    def items(self) -> list[WithdrawnDocument]:
        """The documents that are withdrawn now, oldest first."""
        leaves = select(ledger_leaf).where(ledger_leaf.c.kind == WITHDRAWN)
        query = select(document.c.public_id, document.c.path, withdrawal.c.born).join(
            document, document.c.id == withdrawal.c.document_id
        )
        query = query.where(withdrawal.c.died.is_(None)).order_by(withdrawal.c.born, document.c.public_id)
        with self._database.read() as connection:
            made = {json.loads(row.leaf)["facts"]["version"]: row for row in connection.execute(leaves)}
            return [
                WithdrawnDocument(row.public_id, row.path, made[row.born].number, made[row.born].created_at)
                for row in connection.execute(query)
            ]


def initial_groups(connection: Connection, revision_id: int, groups: Sequence[str] | None) -> None:
    """The groups that a revision comes with, before any rule changed."""
    rows = [{"revision_id": revision_id, "name": name, "born": 0} for name in sorted(set(groups or ()))]
    if rows:
        connection.execute(revision_group.insert(), rows)


def _rows(connection: Connection, public_ids: Collection[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in parts(sorted(set(public_ids))):
        query = select(document.c.public_id, document.c.id).where(document.c.public_id.in_(some))
        found.update({row[0]: row[1] for row in connection.execute(query)})
    missing = sorted(set(public_ids) - found.keys())
    if missing:
        raise NotFound(f"no document {missing[0]}")
    return found
