"""Sets of pinned versions that go live together, and every move of the pointer to the one in force.

A move puts `production` of every prompt of the set, `live` of every workflow, the policy and the pointer itself on
their places in one transaction, so that nobody ever gets a part of it. What it replaced is kept with it, so that it
can be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from sqlalchemy import Connection, func, select

from kernel.errors import Conflict, NotFound
from kernel.ids import canonical_json, sha256
from kernel.records import PolicyVersion, PromptVersion, WorkflowVersion
from kernel.storage import prompts, workflows
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.policies import move_policy, policy_pointer
from kernel.storage.rows import dumps, now
from kernel.storage.schema import release, release_move
from kernel.storage.versioned import Books, Event, Happening, V, append_events, keep_version, read_events

STORED, MOVED = "release.stored", "release.moved"


@dataclass(frozen=True, slots=True)
class Release:
    """A set: `manifest` has `prompts` and `workflows` (versions by name), `policy` (a number or None), `model` (or
    None).
    """

    number: int
    sha256: str
    manifest: Mapping[str, Any]
    author: str
    message: str
    created_at: str


@dataclass(frozen=True, slots=True)
class ReleaseMove:
    """A move of the pointer to a set (None: to before any), and what it replaced."""

    leaf: int
    release: int | None
    before: Mapping[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Present:
    """What is in force as the writing transaction sees it: moves oldest first, the policy's number (None: shipped), the
    journals of prompts and workflows from after an entry on.
    """

    moves: Sequence[ReleaseMove]
    policy: int | None
    prompts: Callable[[int], Sequence[Event]]
    workflows: Callable[[int], Sequence[Event]]


@dataclass(frozen=True, slots=True)
class Change(Generic[V]):
    """What a move writes of one library: rows of its journal, and versions that must be stored first."""

    happenings: Sequence[Happening] = ()
    keep: Sequence[V] = ()


@dataclass(frozen=True, slots=True)
class Switch:
    """What a move changes: in the libraries, the policy's number (None: as it is; `shipped`, where that is the one that
    came with the program), and what it replaces.
    """

    release: int | None
    before: Mapping[str, Any]
    prompts: Change[PromptVersion]
    workflows: Change[WorkflowVersion]
    policy: int | None = None
    shipped: PolicyVersion | None = None
    words: Mapping[str, Any] = field(default_factory=dict)


class ReleaseStore:
    """Stored sets and moves. Both are written once and never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, manifest: Mapping[str, Any], author: str, message: str) -> Release:
        """Store a set under the next number. Raises Conflict where that set is stored already."""
        kept = {name: value for name, value in manifest.items() if name != "workflows" or value}
        text = canonical_json(kept).decode()
        with self._database.write() as connection:
            refuse_erased_person(connection, author)
            digest = sha256(text)
            known = connection.execute(select(release.c.number).where(release.c.sha256 == digest)).scalar()
            if known is not None:
                raise Conflict(
                    f"this set is release {known} already: activate it with: vouch releases activate {known}"
                )
            number = int(connection.execute(select(func.coalesce(func.max(release.c.number), 0))).scalar_one()) + 1
            made = Release(number, digest, dict(manifest), author, message, now())
            row = {name: getattr(made, name) for name in ("number", "sha256", "author", "message", "created_at")}
            connection.execute(release.insert(), row | {"manifest": text})
            payload = dumps({"author": author, "message": message})
            facts = {"number": number, "sha256": digest}
            append(self._database, connection, STORED, f"release {number}", facts, payload, made.created_at)
        return made

    def get(self, number: int) -> Release:
        """One set. Raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(release).where(release.c.number == number)).first()
        if row is None:
            raise NotFound(f"no release {number}; see: vouch releases list")
        return release_record(row)

    def items(self) -> list[Release]:
        """Every set, newest first."""
        with self._database.read() as connection:
            return [
                release_record(row) for row in connection.execute(select(release).order_by(release.c.number.desc()))
            ]

    def moves(self) -> list[ReleaseMove]:
        """Every move, oldest first."""
        with self._database.read() as connection:
            return _moves(connection)

    def move(self, actor: str, decide: Callable[[Present], Switch]) -> ReleaseMove:
        """Carry out what `decide` makes of what is in force, in one transaction, all or nothing."""
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            present = Present(
                _moves(connection),
                policy_pointer(connection),
                lambda after: read_events(connection, prompts.BOOKS, after),
                lambda after: read_events(connection, workflows.BOOKS, after),
            )
            wanted = decide(present)
            self._change(connection, actor, prompts.BOOKS, wanted.prompts)
            self._change(connection, actor, workflows.BOOKS, wanted.workflows)
            if wanted.policy is not None:
                move_policy(self._database, connection, wanted.policy, actor, wanted.shipped)
            return self._moved(connection, actor, wanted)

    def _change(self, connection: Connection, actor: str, books: Books[V], wanted: Change[V]) -> None:
        for version in wanted.keep:
            keep_version(self._database, connection, books, version)
        append_events(self._database, connection, books, actor, wanted.happenings)

    def _moved(self, connection: Connection, actor: str, wanted: Switch) -> ReleaseMove:
        moment, before = now(), dict(wanted.before)
        payload = dumps({"by": actor} | dict(wanted.words))
        facts = {"release": wanted.release, "before": before}
        subject = f"release {wanted.release or 'none'}"
        leaf = append(self._database, connection, MOVED, subject, facts, payload, moment)
        row = {"leaf": leaf.number, "release": wanted.release, "before": dumps(before), "created_at": moment}
        connection.execute(release_move.insert(), row)
        return ReleaseMove(leaf.number, wanted.release, before, moment)


def release_record(row: Any) -> Release:
    """A set from its row."""
    manifest = {"workflows": {}} | json.loads(row.manifest)
    return Release(row.number, row.sha256, manifest, row.author, row.message, row.created_at)


def move_record(row: Any) -> ReleaseMove:
    """A move from its row."""
    return ReleaseMove(row.leaf, row.release, json.loads(row.before), row.created_at)


def _moves(connection: Connection) -> list[ReleaseMove]:
    return [move_record(row) for row in connection.execute(select(release_move).order_by(release_move.c.leaf))]
