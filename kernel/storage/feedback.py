"""What people say of answers: a score each time, as an entry of the ledger. The last word of each person counts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from kernel.errors import InvalidInput, NotFound
from kernel.records import Fault
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import Leaf, Ledger, append
from kernel.storage.rows import dumps, parts
from kernel.storage.schema import answer, feedback, ledger_payload
from kernel.storage.version_checks import paired, payload_of, rows_of

FEEDBACK = "answer.feedback"
"""The kind of the entries."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody said of an answer. `actor` is empty, and there are no words, where that was erased."""

    leaf: int
    answer_id: str
    actor: str
    score: float
    comment: str
    labels: tuple[str, ...]
    created_at: str


class Feedback:
    """Scores of answers, 0 (useless) to 1 (just right). Nothing that was said is changed; it may be said anew."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, answer_id: str, actor: str, score: float, comment: str = "", labels: Sequence[str] = ()) -> Opinion:
        """Record what `actor`, who may read the answer, says of it. Raises InvalidInput for a score outside of 0 to 1,
        NotFound where the answer is not there or was erased.
        """
        if not 0 <= score <= 1:
            raise InvalidInput("a score is between 0 and 1")
        with self._database.write() as connection:
            refuse_erased_person(connection, actor)
            query = select(answer.c.number).join(ledger_payload, ledger_payload.c.number == answer.c.number)
            number = connection.execute(query.where(answer.c.id == answer_id)).scalar()
            if number is None:
                raise NotFound(f"no answer {answer_id}, or it was erased")
            payload = dumps({"by": actor, "comment": comment, "labels": list(labels)})
            row = {"answer_number": number, "actor": actor, "score": float(score)}
            leaf = append(self._database, connection, FEEDBACK, answer_id, feedback_facts(row), payload)
            connection.execute(feedback.insert(), row | {"leaf": leaf.number, "created_at": leaf.created_at})
            return Opinion(leaf.number, answer_id, actor, float(score), comment, tuple(labels), leaf.created_at)

    def of(self, numbers: Sequence[int]) -> dict[int, list[Opinion]]:
        """Of each of these answers (indexes) that somebody said something of: the last word of each, oldest first."""
        found: dict[int, dict[object, Opinion]] = {}
        query = select(feedback, answer.c.id, ledger_payload.c.payload)
        query = query.join(answer, answer.c.number == feedback.c.answer_number)
        query = query.outerjoin(ledger_payload, ledger_payload.c.number == feedback.c.leaf).order_by(feedback.c.leaf)
        with self._database.read() as connection:
            for some in parts(sorted(set(numbers))):
                for row in connection.execute(query.where(feedback.c.answer_number.in_(some))):
                    mine = found.setdefault(row.answer_number, {})
                    mine.pop(row.actor, None)
                    mine[row.actor or row.leaf] = _opinion(row)
        return {number: list(mine.values()) for number, mine in found.items()}


def feedback_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the entry of a score says openly."""
    return {"answer": row["answer_number"], "score": row["score"]}


def feedback_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Scores that their entries contradict, or that have none. One whose words were erased names nobody."""
    ids = {row.number: row.id for row in connection.execute(select(answer.c.number, answer.c.id))}
    leaves = {leaf.number: leaf for leaf in by_kind.get(FEEDBACK, ())}
    for number, row, leaf in paired(rows_of(connection, feedback, "leaf"), leaves):
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the feedback on answers do not fit: one of them is missing")
            continue
        payload = payload_of(ledger, leaf, gone)
        said = (leaf.facts, leaf.subject, leaf.created_at, "" if payload is None else payload["by"])
        stored = (feedback_facts(row._mapping), ids.get(row.answer_number), row.created_at, row.actor)
        if said != stored:
            yield Fault(f"ledger entry {number}", "is not what the feedback on answers has under it")


def _opinion(row: Any) -> Opinion:
    said = json.loads(row.payload) if row.payload else {}
    labels = tuple(said.get("labels", ()))
    return Opinion(row.leaf, row.id, row.actor, row.score, said.get("comment", ""), labels, row.created_at)
