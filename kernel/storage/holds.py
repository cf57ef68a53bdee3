"""Legal holds: what may be neither erased nor expired while one is on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, select, update

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.ids import random_id
from kernel.storage.database import Database
from kernel.storage.ledger import append
from kernel.storage.rows import dumps
from kernel.storage.schema import answer, answer_evidence, api_key, document, hold, ledger_payload, revision, source

PLACED, RELEASED = "hold.placed", "hold.released"
SCOPES = ("document", "source", "principal", "answer", "all")
EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class HoldInfo:
    """A hold as it is listed. `value` names what is held (a source by its name); `reason` is None where erased."""

    id: str
    scope: str
    value: str
    reason: str | None
    placed: int
    released: int | None
    created_at: str


class Holds:
    """Places, releases and lists legal holds; each is an entry of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def place(self, scope: str, value: str, reason: str, by: str) -> HoldInfo:
        """Hold a document (by id), a source (by name), a person (by key id), an answer (by id) or everything.

        Raises InvalidInput for another scope or no reason, NotFound where there is no such thing.
        """
        if scope not in SCOPES:
            raise InvalidInput(f"a hold is on one of {', '.join(SCOPES)}, not on {scope!r}")
        if not reason.strip():
            raise InvalidInput("a hold needs a reason")
        hold_id = random_id("hld")
        with self._database.write() as connection:
            facts = {"scope": scope, "value": _held(connection, scope, value)}
            leaf = append(
                self._database, connection, PLACED, hold_id, facts, dumps({"reason": reason.strip(), "by": by})
            )
            row = {"id": hold_id, "placed": leaf.number, "released": None, "created_at": leaf.created_at}
            connection.execute(hold.insert(), facts | row)
        return self.get(hold_id)

    def release(self, hold_id: str, reason: str, by: str) -> HoldInfo:
        """End a hold. Raises NotFound, and Conflict where it was released before."""
        with self._database.write() as connection:
            row = connection.execute(select(hold).where(hold.c.id == hold_id)).first()
            if row is None:
                raise NotFound(f"no hold {hold_id}; `vouch holds list` shows them")
            if row.released is not None:
                raise Conflict(f"the hold {hold_id} was released before")
            leaf = append(self._database, connection, RELEASED, hold_id, {}, dumps({"reason": reason, "by": by}))
            connection.execute(update(hold).where(hold.c.id == hold_id).values(released=leaf.number))
        return self.get(hold_id)

    def get(self, hold_id: str) -> HoldInfo:
        """One hold. Raises NotFound where there is none of that id."""
        found = self._read(_query().where(hold.c.id == hold_id))
        if not found:
            raise NotFound(f"no hold {hold_id}; `vouch holds list` shows them")
        return found[0]

    def items(self, *, released: bool = True) -> list[HoldInfo]:
        """Holds, the newest first; without `released`, only those in force."""
        query = _query() if released else _query().where(hold.c.released.is_(None))
        return self._read(query.order_by(hold.c.placed.desc()))

    def _read(self, query: Select[Any]) -> list[HoldInfo]:
        with self._database.read() as connection:
            names = {str(row.id): row.name for row in connection.execute(select(source.c.id, source.c.name))}
            return [_info(row, names) for row in connection.execute(query)]


def _query() -> Select[Any]:
    return select(hold, ledger_payload.c.payload).outerjoin(ledger_payload, ledger_payload.c.number == hold.c.placed)


def _info(row: Any, sources: Mapping[str, str]) -> HoldInfo:
    value = sources.get(row.value, row.value) if row.scope == "source" else row.value
    reason = None if row.payload is None else json.loads(row.payload)["reason"]
    return HoldInfo(row.id, row.scope, value, reason, row.placed, row.released, row.created_at)


def _held(connection: Connection, scope: str, value: str) -> str:
    """The id under which a hold names a thing: of a source, whose name may be a path, its row."""
    if scope == EVERYTHING:
        return ""
    known: dict[str, tuple[Column[Any], Column[Any]]] = {
        "document": (document.c.public_id, document.c.public_id),
        "source": (source.c.name, source.c.id),
        "principal": (api_key.c.id, api_key.c.id),
        "answer": (answer.c.id, answer.c.id),
    }
    column, shown = known[scope]
    found = connection.execute(select(shown).where(column == value)).scalar()
    if found is None and scope == "principal":
        found = connection.execute(select(answer.c.principal).where(answer.c.principal == value).limit(1)).scalar()
    if found is None or not value:
        raise NotFound(f"no {scope} {value}")
    return str(found)


def _in_force(connection: Connection) -> dict[str, dict[str, str]]:
    """By scope and value, the hold that is in force."""
    found: dict[str, dict[str, str]] = {scope: {} for scope in SCOPES}
    for row in connection.execute(select(hold).where(hold.c.released.is_(None)).order_by(hold.c.placed.desc())):
        found[row.scope][row.value] = row.id
    return found


def held_documents(connection: Connection) -> dict[int, str]:
    """Rows of the documents that a hold is on, or on their source, or on everything; and the hold."""
    held = _in_force(connection)
    everything = held[EVERYTHING].get("")
    query = select(document.c.id, document.c.public_id, document.c.source_id)
    if not everything:
        sources = [int(value) for value in held["source"]]
        query = query.where(document.c.public_id.in_(list(held["document"])) | document.c.source_id.in_(sources))
    return {
        row.id: everything or held["document"].get(row.public_id) or held["source"][str(row.source_id)]
        for row in connection.execute(query)
    }


def held_principals(connection: Connection) -> dict[str, str]:
    """People that a hold is on, and the hold; the name "" stands for everybody."""
    held = _in_force(connection)
    return held["principal"] | ({"": held[EVERYTHING][""]} if held[EVERYTHING] else {})


def held_answers(connection: Connection) -> dict[int, str]:
    """Answers that a hold is on: named itself, by who asked, or by a document or source in its context."""
    held = _in_force(connection)
    if held[EVERYTHING]:
        return dict.fromkeys(connection.execute(select(answer.c.number)).scalars(), held[EVERYTHING][""])
    found: dict[int, str] = {}
    for scope, column in (("answer", answer.c.id), ("principal", answer.c.principal)):
        if held[scope]:
            query = select(answer.c.number, column).where(column.in_(list(held[scope])))
            found.update({number: held[scope][value] for number, value in connection.execute(query)})
    documents = held_documents(connection)
    if documents:
        used = select(answer_evidence.c.answer_number, revision.c.document_id).join(
            revision, revision.c.id == answer_evidence.c.revision_id
        )
        used = used.where(revision.c.document_id.in_(select(document.c.id).where(document.c.id.in_(list(documents)))))
        found.update({number: documents[row] for number, row in connection.execute(used.distinct())})
    return found
