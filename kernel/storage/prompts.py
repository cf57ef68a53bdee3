"""Versions of prompts, and the journal of all that was done with them. Both are written once and never changed.

Labels, states, rules and experiments are not stored: they follow from the journal (`pipeline/prompts/state.py`), of
which every row is an entry of the ledger in its own transaction. So what is in force can be told for any past moment
too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from kernel.errors import Conflict, NotFound, PreconditionFailed
from kernel.ids import sha256
from kernel.records import PromptVersion
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import ledger_payload, prompt_event, prompt_version

SAVED, FIRST_USED = "prompt.saved", "prompt.first_used"
SUBMITTED, APPROVED, REJECTED, COMMENTED = "submitted", "approved", "rejected", "commented"
TESTED, LABELLED, UNLABELLED, RETIRED = "tested", "labelled", "unlabelled", "retired"
RULES, EXPERIMENT = "rules", "experiment"
KINDS = (SUBMITTED, APPROVED, REJECTED, COMMENTED, TESTED, LABELLED, UNLABELLED, RETIRED, RULES, EXPERIMENT)


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """A row of the journal. `version` 0: it is about the prompt as a whole. `data` names no person."""

    leaf: int
    name: str
    version: int
    kind: str
    label: str
    data: Mapping[str, Any]
    actor: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Happening:
    """A row that is to be written: `words` (comments, results) go to the erasable payload."""

    name: str
    version: int
    kind: str
    label: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)


class Prompts:
    """Stored prompts by name and number or by hash, and their journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, name: str, text: str, author: str, message: str, expected: int | None = None, shipped: int = 0
    ) -> PromptVersion:
        """Store a text as the next version of a prompt. `expected` is the newest version that its author has seen; 0:
        none; None: whatever there is. `shipped` is the newest version that came with the program.

        Raises PreconditionFailed where somebody else saved meanwhile, Conflict where this text is a version already.
        """
        with self._database.write() as connection:
            refuse_erased_person(connection, author)
            newest = max(_newest(connection, name), shipped)
            if expected is not None and expected != newest:
                raise PreconditionFailed(_overtaken(name, expected, newest))
            known = connection.execute(select(prompt_version).where(prompt_version.c.sha256 == sha256(text))).first()
            if known is not None:
                raise Conflict(f"this text is version {known.version} of prompt {known.name} already")
            made = PromptVersion(name, newest + 1, sha256(text), "", text, author, message, now())
            _store(self._database, connection, made, SAVED)
            return made

    def versions(self, name: str) -> list[PromptVersion]:
        """The stored versions of a prompt, newest first."""
        query = select(prompt_version).where(prompt_version.c.name == name).order_by(prompt_version.c.version.desc())
        with self._database.read() as connection:
            return [prompt_record(row) for row in connection.execute(query)]

    def all(self) -> list[PromptVersion]:
        """Every stored version of every prompt, by name, newest first."""
        query = select(prompt_version).order_by(prompt_version.c.name, prompt_version.c.version.desc())
        with self._database.read() as connection:
            return [prompt_record(row) for row in connection.execute(query)]

    def heads(self) -> list[tuple[str, int, str]]:
        """Name, number and hash of every stored version, without its text; by name, newest first."""
        query = select(prompt_version.c.name, prompt_version.c.version, prompt_version.c.sha256)
        query = query.order_by(prompt_version.c.name, prompt_version.c.version.desc())
        with self._database.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def texts(self, digests: Collection[str]) -> dict[str, str]:
        """The texts of versions by hash, of those that are stored."""
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for some in parts(sorted(digests)):
                query = select(prompt_version.c.sha256, prompt_version.c.template)
                rows = connection.execute(query.where(prompt_version.c.sha256.in_(some)))
                found.update((row[0], row[1]) for row in rows)
        return found

    def get(self, name: str, version: int) -> PromptVersion:
        """One version. Raises NotFound."""
        query = select(prompt_version).where(prompt_version.c.name == name, prompt_version.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"prompt {name} has no version {version}")
        return prompt_record(row)

    def write(
        self,
        actor: str,
        decide: Callable[[Callable[[int], Sequence[PromptEvent]]], Sequence[Happening]],
        keep: Sequence[PromptVersion] = (),
    ) -> list[PromptEvent]:
        """Append to the journal what `decide` makes of its newest state, in one transaction, all or nothing.

        `decide` gets a function that reads the journal from after an entry on as this transaction sees it, and may
        raise to write nothing. `keep` are versions that came with the program and are stored first, since an entry will
        name them.
        """
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            wanted = decide(lambda after: read_events(connection, after))
            for version in keep:
                keep_prompt(self._database, connection, version)
            return append_events(self._database, connection, actor, wanted)

    def last_event(self) -> int:
        """The entry of the newest row of the journal; -1 where it is empty."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.coalesce(func.max(prompt_event.c.leaf), -1))).scalar_one())

    def events(self, after: int = -1) -> list[PromptEvent]:
        """The journal in order, from after an entry on."""
        with self._database.read() as connection:
            return read_events(connection, after)

    def words(self, leaf: int) -> Mapping[str, Any]:
        """What was said with a row of the journal, such as a comment or results; empty where it was erased."""
        query = select(ledger_payload.c.payload).where(ledger_payload.c.number == leaf)
        with self._database.read() as connection:
            payload = connection.execute(query).scalar()
        found: Mapping[str, Any] = json.loads(payload) if payload else {}
        return found


def append_events(
    database: Database, connection: Connection, actor: str, wanted: Sequence[Happening]
) -> list[PromptEvent]:
    """Write rows of the journal in the writing transaction of `connection`."""
    made = []
    for one in wanted:
        moment = now()
        subject = f"{one.name}@{one.version}" if one.version else one.name
        payload = dumps({"by": actor} | dict(one.words))
        leaf = append(database, connection, f"prompt.{one.kind}", subject, event_facts(one), payload, moment)
        event = PromptEvent(leaf.number, one.name, one.version, one.kind, one.label, one.data, actor, moment)
        row = {
            name: getattr(event, name) for name in ("leaf", "name", "version", "kind", "label", "actor", "created_at")
        }
        connection.execute(prompt_event.insert(), row | {"data": dumps(dict(one.data))})
        made.append(event)
    return made


def keep_prompt(database: Database, connection: Connection, prompt: PromptVersion) -> None:
    """Store a version that came with the program where it is not yet: its text must outlive the program."""
    known = select(prompt_version.c.sha256).where(prompt_version.c.sha256 == prompt.sha256)
    if connection.execute(known).first() is not None:
        return
    mine = (prompt_version.c.name == prompt.name) & (prompt_version.c.version == prompt.version)
    if connection.execute(select(prompt_version.c.sha256).where(mine)).first() is not None:
        raise Conflict(f"another version {prompt.version} of prompt {prompt.name} was saved meanwhile: try again")
    _store(database, connection, prompt, FIRST_USED)


def event_facts(one: PromptEvent | Happening) -> dict[str, Any]:
    """What the entry of a row says openly."""
    return {"name": one.name, "version": one.version, "label": one.label, "data": dict(one.data)}


def version_facts(row: Any) -> dict[str, Any]:
    """What the entry of a stored version says openly."""
    return {"sha256": row.sha256, "name": row.name, "version": row.version}


def version_payload(row: Any) -> dict[str, Any]:
    """What else the entry of a saved version commits to."""
    return {"author": row.author, "message": row.message}


def prompt_record(row: Any, label: str = "") -> PromptVersion:
    """A version from its row."""
    return PromptVersion(
        row.name, row.version, row.sha256, label, row.template, row.author, row.message, row.created_at
    )


def event_record(row: Any) -> PromptEvent:
    """A row of the journal."""
    return PromptEvent(
        row.leaf, row.name, row.version, row.kind, row.label, json.loads(row.data), row.actor, row.created_at
    )


def read_events(connection: Connection, after: int) -> list[PromptEvent]:
    """The journal in order, from after an entry on, as a transaction sees it."""
    query = select(prompt_event).where(prompt_event.c.leaf > after).order_by(prompt_event.c.leaf)
    return [event_record(row) for row in connection.execute(query)]


def _overtaken(name: str, expected: int, newest: int) -> str:
    if not newest:
        return f"there is no prompt {name} yet, and your change is of version {expected}"
    of = f"of version {expected}" if expected else "of a new prompt"
    return f"prompt {name} is at version {newest} now, and your change is {of}: read it again, change that"


def _newest(connection: Connection, name: str) -> int:
    query = select(func.coalesce(func.max(prompt_version.c.version), 0)).where(prompt_version.c.name == name)
    return int(connection.execute(query).scalar_one())


def _store(database: Database, connection: Connection, made: PromptVersion, kind: str) -> None:
    moment = now()
    row = {"sha256": made.sha256, "name": made.name, "version": made.version, "template": made.template}
    row |= {"author": made.author, "message": made.message, "created_at": moment}
    connection.execute(prompt_version.insert(), row)
    payload = dumps(version_payload(made))
    append(database, connection, kind, f"{made.name}@{made.version}", version_facts(made), payload, moment)
