"""Answers that stood on something withdrawn: marked in the withdrawal's transaction, and shown so until it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.database import Database
from kernel.storage.rows import dumps, parts
from kernel.storage.schema import answer_evidence, document, ledger_leaf, ledger_payload, revision, stale, withdrawal

WITHDRAWN = "document.withdrawn"
"""The kind of a withdrawal's leaf."""


def answers_on(connection: Connection, document_rows: Sequence[int]) -> list[int]:
    """Indexes of the answers whose context held a passage of these documents (row ids), ascending."""
    query = select(answer_evidence.c.answer_number).distinct()
    query = query.join(revision, revision.c.id == answer_evidence.c.revision_id)
    found: set[int] = set()
    for some in parts(sorted(document_rows)):
        found.update(connection.execute(query.where(revision.c.document_id.in_(some))).scalars())
    return sorted(found)


def stale_facts(numbers: Sequence[int]) -> dict[str, Any]:
    """What a withdrawal's leaf says of the answers that it marks: how many, and SHA-256 of their indexes."""
    return {"answers": len(numbers), "answers_sha256": sha256(dumps(sorted(numbers)))}


def mark(connection: Connection, numbers: Sequence[int], leaf: int) -> None:
    """Mark answers with the leaf of the withdrawal that took from under them what they stood on."""
    if numbers:
        connection.execute(stale.insert(), [{"answer_number": number, "leaf": leaf} for number in numbers])


def is_withdrawn(connection: Connection, revision_ids: Sequence[int]) -> bool:
    """Whether the document of any of these revisions is withdrawn now."""
    query = select(withdrawal.c.document_id).join(revision, revision.c.document_id == withdrawal.c.document_id)
    query = query.where(revision.c.id.in_(revision_ids), withdrawal.c.died.is_(None)).limit(1)
    return connection.execute(query).first() is not None


class Stale:
    """Says which answers stand on something that is withdrawn now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def marks(self, numbers: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """Of each of these answers (indexes) that is stale: since when, of which documents, and why, oldest first.

        A mark ends where the document was restored; the reason is missing where it was erased.
        """
        found: dict[int, list[dict[str, Any]]] = {}
        with self._database.read() as connection:
            for some in parts(sorted(numbers)):
                gone = _withdrawn_under(connection, some)
                for row in connection.execute(_leaves(some)):
                    version = json.loads(row.text)["facts"]["version"]
                    documents = gone.get((row.answer_number, version), [])
                    if documents:
                        reason = json.loads(row.payload).get("reason") if row.payload else None
                        shown = {"since": row.created_at, "document_ids": documents, "leaf": row.leaf}
                        found.setdefault(row.answer_number, []).append(shown | ({"reason": reason} if reason else {}))
        return found

    def numbers(self, document_ids: Sequence[str]) -> list[int]:
        """Indexes of the answers that are stale because one of these documents is withdrawn now, newest first."""
        query = select(answer_evidence.c.answer_number).distinct()
        query = query.join(stale, stale.c.answer_number == answer_evidence.c.answer_number)
        query = query.join(revision, revision.c.id == answer_evidence.c.revision_id)
        query = query.join(withdrawal, withdrawal.c.document_id == revision.c.document_id)
        query = query.join(document, document.c.id == revision.c.document_id).where(withdrawal.c.died.is_(None))
        found: set[int] = set()
        with self._database.read() as connection:
            for some in parts(sorted(set(document_ids))):
                found.update(connection.execute(query.where(document.c.public_id.in_(some))).scalars())
        return sorted(found, reverse=True)


def _withdrawn_under(connection: Connection, numbers: Sequence[int]) -> dict[tuple[int, int], list[str]]:
    """Documents of each answer that are withdrawn now, by the answer and the version that withdrew them."""
    query = (
        select(answer_evidence.c.answer_number, withdrawal.c.born, document.c.public_id)
        .join(revision, revision.c.id == answer_evidence.c.revision_id)
        .join(withdrawal, withdrawal.c.document_id == revision.c.document_id)
        .join(document, document.c.id == revision.c.document_id)
        .where(answer_evidence.c.answer_number.in_(numbers), withdrawal.c.died.is_(None))
        .order_by(document.c.public_id)
        .distinct()
    )
    found: dict[tuple[int, int], list[str]] = {}
    for number, version, public_id in connection.execute(query):
        found.setdefault((number, version), []).append(public_id)
    return found


def _leaves(numbers: Sequence[int]) -> Any:
    return (
        select(
            stale.c.answer_number,
            stale.c.leaf,
            ledger_leaf.c.leaf.label("text"),
            ledger_leaf.c.created_at,
            ledger_payload.c.payload,
        )
        .join(ledger_leaf, ledger_leaf.c.number == stale.c.leaf)
        .outerjoin(ledger_payload, ledger_payload.c.number == stale.c.leaf)
        .where(stale.c.answer_number.in_(numbers))
        .order_by(stale.c.answer_number, stale.c.leaf)
    )


def stale_faults(connection: Connection, facts: Mapping[int, Mapping[str, Any]]) -> Iterator[Fault]:
    """Marks that no withdrawal's leaf made, or that are gone. `facts` are those of each such leaf by its number."""
    marked: dict[int, list[int]] = {}
    for leaf, number in connection.execute(select(stale.c.leaf, stale.c.answer_number)):
        marked.setdefault(leaf, []).append(number)
    for leaf in sorted({*marked, *facts}):
        said = {name: facts.get(leaf, {}).get(name) for name in ("answers", "answers_sha256")}
        if said != stale_facts(marked.get(leaf, [])):
            yield Fault(f"ledger entry {leaf}", "does not name the answers that are marked as stale with it")
