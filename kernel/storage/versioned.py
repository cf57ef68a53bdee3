"""What libraries share (prompts, workflows): numbered texts and a journal, both written once and never changed.

Labels, states and the rest are not stored: they follow from the journal by a pure fold, and every row of it is an entry
of the ledger in its own transaction. So what is in force can be told for any past moment too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Table, func, select

from kernel.errors import Conflict, NotFound, PreconditionFailed
from kernel.ids import sha256
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import ledger_payload

SUBMITTED, APPROVED, REJECTED, COMMENTED = "submitted", "approved", "rejected", "commented"
LABELLED, UNLABELLED, RETIRED = "labelled", "unlabelled", "retired"


class Version(Protocol):
    """A numbered text of a library; `sha256` is over the text."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def message(self) -> str: ...


V = TypeVar("V", bound=Version)


@dataclass(frozen=True, slots=True)
class Event:
    """A row of a journal. `version` 0: it is about the thing as a whole. `data` names no person."""

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


@dataclass(frozen=True, slots=True)
class Books(Generic[V]):
    """The tables of a library. `what` is what messages and entries call its things, `text` the column of their text,
    `read` makes a version of a row, `kinds` are the kinds of rows of its journal.
    """

    what: str
    versions: Table
    events: Table
    text: str
    read: Callable[[Any], V]
    kinds: tuple[str, ...]

    @property
    def saved(self) -> str:
        """The kind of the entry of a version that somebody saved."""
        return f"{self.what}.saved"

    @property
    def first_used(self) -> str:
        """The kind of the entry of a version that came with the program, when something first needed it stored."""
        return f"{self.what}.first_used"


class Versioned(Generic[V]):
    """Stored versions by name and number or by hash, and their journal."""

    def __init__(self, database: Database, books: Books[V]) -> None:
        self._database = database
        self._books = books

    def add(self, name: str, text: str, author: str, message: str, expected: int | None = None, shipped: int = 0) -> V:
        """Store a text as the next version. `expected` is the newest version that its author has seen; 0: none; None:
        whatever there is. `shipped` is the newest version that came with the program.

        Raises PreconditionFailed where somebody else saved meanwhile, Conflict where this text is a version already.
        """
        what, table = self._books.what, self._books.versions
        with self._database.write() as connection:
            refuse_erased_person(connection, author)
            newest = max(_newest(connection, table, name), shipped)
            if expected is not None and expected != newest:
                raise PreconditionFailed(_overtaken(f"{what} {name}", expected, newest))
            known = connection.execute(select(table).where(table.c.sha256 == sha256(text))).first()
            if known is not None:
                raise Conflict(f"this text is version {known.version} of {what} {known.name} already")
            values = {"sha256": sha256(text), "name": name, "version": newest + 1, self._books.text: text}
            values |= {"author": author, "message": message}
            return _store(self._database, connection, self._books, values, self._books.saved)

    def versions(self, name: str) -> list[V]:
        """The stored versions of a name, newest first."""
        table = self._books.versions
        query = select(table).where(table.c.name == name).order_by(table.c.version.desc())
        with self._database.read() as connection:
            return [self._books.read(row) for row in connection.execute(query)]

    def all(self) -> list[V]:
        """Every stored version of every name, by name, newest first."""
        table = self._books.versions
        query = select(table).order_by(table.c.name, table.c.version.desc())
        with self._database.read() as connection:
            return [self._books.read(row) for row in connection.execute(query)]

    def heads(self) -> list[tuple[str, int, str]]:
        """Name, number and hash of every stored version, without its text; by name, newest first."""
        table = self._books.versions
        query = select(table.c.name, table.c.version, table.c.sha256)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.name, table.c.version.desc()))
            return [(row[0], row[1], row[2]) for row in rows]

    def texts(self, digests: Collection[str]) -> dict[str, str]:
        """The texts of versions by hash, of those that are stored."""
        table, found = self._books.versions, dict[str, str]()
        with self._database.read() as connection:
            for some in parts(sorted(digests)):
                query = select(table.c.sha256, table.c[self._books.text])
                rows = connection.execute(query.where(table.c.sha256.in_(some)))
                found.update((row[0], row[1]) for row in rows)
        return found

    def get(self, name: str, version: int) -> V:
        """One version. Raises NotFound."""
        table = self._books.versions
        query = select(table).where(table.c.name == name, table.c.version == version)
        return self._one(query, f"{self._books.what} {name} has no version {version}")

    def by_sha256(self, digest: str) -> V:
        """The version of a hash. Raises NotFound."""
        table = self._books.versions
        return self._one(select(table).where(table.c.sha256 == digest), f"no {self._books.what} has the hash {digest}")

    def write(
        self,
        actor: str,
        decide: Callable[[Callable[[int], Sequence[Event]]], Sequence[Happening]],
        keep: Sequence[V] = (),
    ) -> list[Event]:
        """Append to the journal what `decide` makes of its newest state, in one transaction, all or nothing.

        `decide` gets a function that reads the journal from after an entry on as this transaction sees it, and may
        raise to write nothing. `keep` are versions that came with the program and are stored first, since an entry will
        name them.
        """
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            wanted = decide(lambda after: read_events(connection, self._books, after))
            for version in keep:
                keep_version(self._database, connection, self._books, version)
            return append_events(self._database, connection, self._books, actor, wanted)

    def last_event(self) -> int:
        """The entry of the newest row of the journal; -1 where it is empty."""
        newest = select(func.coalesce(func.max(self._books.events.c.leaf), -1))
        with self._database.read() as connection:
            return int(connection.execute(newest).scalar_one())

    def events(self, after: int = -1) -> list[Event]:
        """The journal in order, from after an entry on."""
        with self._database.read() as connection:
            return read_events(connection, self._books, after)

    def words(self, leaf: int) -> Mapping[str, Any]:
        """What was said with a row of the journal, such as a comment or results; empty where it was erased."""
        query = select(ledger_payload.c.payload).where(ledger_payload.c.number == leaf)
        with self._database.read() as connection:
            payload = connection.execute(query).scalar()
        found: Mapping[str, Any] = json.loads(payload) if payload else {}
        return found

    def _one(self, query: Any, missing: str) -> V:
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(missing)
        return self._books.read(row)


def append_events(
    database: Database, connection: Connection, books: Books[V], actor: str, wanted: Sequence[Happening]
) -> list[Event]:
    """Write rows of a journal in the writing transaction of `connection`."""
    made = []
    for one in wanted:
        moment = now()
        subject = f"{one.name}@{one.version}" if one.version else one.name
        payload = dumps({"by": actor} | dict(one.words))
        leaf = append(database, connection, f"{books.what}.{one.kind}", subject, event_facts(one), payload, moment)
        event = Event(leaf.number, one.name, one.version, one.kind, one.label, one.data, actor, moment)
        row = {
            name: getattr(event, name) for name in ("leaf", "name", "version", "kind", "label", "actor", "created_at")
        }
        connection.execute(books.events.insert(), row | {"data": dumps(dict(one.data))})
        made.append(event)
    return made


def keep_version(database: Database, connection: Connection, books: Books[V], version: V) -> None:
    """Store a version that came with the program where it is not yet: its text must outlive the program."""
    table = books.versions
    known = select(table.c.sha256).where(table.c.sha256 == version.sha256)
    if connection.execute(known).first() is not None:
        return
    mine = (table.c.name == version.name) & (table.c.version == version.version)
    if connection.execute(select(table.c.sha256).where(mine)).first() is not None:
        what = f"version {version.version} of {books.what} {version.name}"
        raise Conflict(f"another {what} was saved meanwhile: try again")
    names = ("sha256", "name", "version", books.text, "author", "message")
    values = {name: getattr(version, name) for name in names}
    _store(database, connection, books, values, books.first_used)


def event_facts(one: Event | Happening) -> dict[str, Any]:
    """What the entry of a row says openly."""
    return {"name": one.name, "version": one.version, "label": one.label, "data": dict(one.data)}


def version_facts(row: Any) -> dict[str, Any]:
    """What the entry of a stored version says openly."""
    return {"sha256": row.sha256, "name": row.name, "version": row.version}


def version_payload(row: Any) -> dict[str, Any]:
    """What else the entry of a saved version commits to."""
    return {"author": row.author, "message": row.message}


def event_record(row: Any) -> Event:
    """A row of a journal."""
    return Event(row.leaf, row.name, row.version, row.kind, row.label, json.loads(row.data), row.actor, row.created_at)


def read_events(connection: Connection, books: Books[V], after: int) -> list[Event]:
    """A journal in order, from after an entry on, as a transaction sees it."""
    table = books.events
    query = select(table).where(table.c.leaf > after).order_by(table.c.leaf)
    return [event_record(row) for row in connection.execute(query)]


def _overtaken(what: str, expected: int, newest: int) -> str:
    if not newest:
        return f"there is no {what} yet, and your change is of version {expected}"
    of = f"of version {expected}" if expected else "of a new one"
    return f"{what} is at version {newest} now, and your change is {of}: read it again, change that"


def _newest(connection: Connection, table: Table, name: str) -> int:
    query = select(func.coalesce(func.max(table.c.version), 0)).where(table.c.name == name)
    return int(connection.execute(query).scalar_one())


def _store(database: Database, connection: Connection, books: Books[V], values: Mapping[str, Any], kind: str) -> V:
    row = SimpleNamespace(**values, created_at=now())
    connection.execute(books.versions.insert(), vars(row))
    payload = dumps(version_payload(row))
    append(database, connection, kind, f"{row.name}@{row.version}", version_facts(row), payload, row.created_at)
    return books.read(row)
