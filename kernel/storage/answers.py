"""Records of answers: written whole before anyone sees the answer, and never changed.

An answer is a leaf of the ledger. What was asked, said and shown is the leaf's payload; the row here holds facts to
find it by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from kernel.errors import Conflict, NotFound
from kernel.ids import sha256
from kernel.records import PolicyVersion, Principal, PromptVersion
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.policies import keep_policy
from kernel.storage.prompts import keep_prompt
from kernel.storage.rows import dumps, parts, stream
from kernel.storage.schema import (
    answer,
    answer_evidence,
    chunk,
    document,
    ledger_leaf,
    ledger_payload,
    prompt_version,
    revision,
    setting,
    source,
    withdrawal,
)
from kernel.storage.stale import is_withdrawn

ERASED_ACCESS = "erased_access_version"
"""Setting: the version of the access rules that the newest erasure of documents made."""
ANSWER = "answer"
"""The kind of an answer's leaf."""


class OvertakenError(Conflict):
    """Documents were withdrawn or erased while an answer was made: it may show what is gone, so it is made anew."""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """A stored answer: `body` as its caller saw it, `run` all that it stood on, both JSON objects; `principal` asked.

    Where the payload was erased, `erased` is true, and `body` holds only facts that name nobody.
    """

    id: str
    number: int
    principal: str
    body: Mapping[str, Any]
    run: Mapping[str, Any]
    leaf_sha256: str
    erased: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """An answer as lists of many show it. `question` is empty where it was erased; `stale`: it stood on something that
    is withdrawn now.
    """

    id: str
    index: int
    created_at: str
    status: str
    question: str
    principal: str
    snapshot: int
    prompt: str
    model: str
    confidence: float
    stale: bool


class Answers:
    """Every answer that was ever given. There is no way here to change or delete one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        body: Mapping[str, Any],
        run: Mapping[str, Any],
        *,
        principal: Principal,
        prompt: PromptVersion,
        evidence: Sequence[tuple[str, bool]],
        policy: PolicyVersion | None = None,
        then: Any = None,
    ) -> tuple[int, str]:
        """Store an answer and what it stood on, durably, in one transaction; its index in the ledger and leaf hash.

        `body` is stored without its `ledger` member, which follows from what is returned here. `evidence` holds
        the context's chunk ids in order, and whether each was cited. A `policy` that came with the program is stored
        with its first answer. `then`, where given, is called with the
        connection and the index before the transaction ends: what must be stored with the answer or not at all.

        Raises OvertakenError where something of the evidence was withdrawn meanwhile: no record is made of that.
        """
        with self._database.write() as connection:
            _refuse_erased(connection, run)
            refuse_erased_person(connection, principal.id)
            keep_prompt(self._database, connection, prompt)
            if policy is not None and policy.number < 1:
                keep_policy(self._database, connection, policy)
            row = answer_row(body, run)
            passages = _passages(connection, evidence)
            leaf = append(
                self._database,
                connection,
                ANSWER,
                str(body["id"]),
                answer_facts(row, passages),
                answer_payload(body, run),
                str(body["created_at"]),
            )
            connection.execute(answer.insert(), row | {"number": leaf.number, "principal": principal.id})
            _keep_evidence(connection, leaf.number, passages)
            if then is not None:
                then(connection, leaf.number)
        return leaf.number, leaf.sha256

    def get(self, answer_id: str, principal: Principal) -> AnswerRecord:
        """One answer. Raises NotFound where there is none, or none that `principal` may read."""
        query = _records().where(answer.c.id == answer_id)
        with self._database.read() as connection:
            row = connection.execute(_readable(query, principal)).first()
        if row is None:
            raise NotFound(f"no answer {answer_id}")
        return _record(row)

    def items(self, principal: Principal, *, limit: int, before: int | None = None) -> list[tuple[int, AnswerRecord]]:
        """Answers that `principal` may read with their index, newest first, those before index `before`."""
        query = _readable(_records(), principal)
        if before is not None:
            query = query.where(answer.c.number < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(answer.c.number.desc()).limit(limit)).all()
        return [(row.number, _record(row)) for row in rows]

    def records(self, numbers: Sequence[int] | None = None) -> Iterator[AnswerRecord]:
        """Answers in order of index, those of the given indexes or all."""
        query = _records().order_by(answer.c.number)
        if numbers is None:
            yield from map(_record, stream(self._database, query, 200))
            return
        for some in parts(sorted(numbers), 200):
            with self._database.read() as connection:
                rows = connection.execute(query.where(answer.c.number.in_(some))).all()
            yield from map(_record, rows)

    def reasked(self, answer_ids: Sequence[str]) -> set[str]:
        """Those of these answers that were asked again."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in parts(sorted(set(answer_ids))):
                query = select(answer.c.reask_of).where(answer.c.reask_of.in_(some))
                found.update(connection.execute(query.distinct()).scalars())
        return found

    def rows(self) -> Iterator[Any]:
        """Every row of facts, in order of index, for verification."""
        yield from stream(self._database, select(answer).order_by(answer.c.number), 500)

    def evidence(self) -> Iterator[tuple[int, list[tuple[int, int, bool]]]]:
        """Of each answer that had passages, by index: `(chunk row, revision row, cited)` of each in order."""
        query = select(answer_evidence).order_by(answer_evidence.c.answer_number, answer_evidence.c.position)
        number, found = -1, list[tuple[int, int, bool]]()
        for row in stream(self._database, query, 1000):
            if row.answer_number != number and found:
                yield number, found
                found = []
            number = row.answer_number
            found.append((row.chunk_id, row.revision_id, row.cited))
        if found:
            yield number, found

    def chain(self, chunk_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Of each chunk: its revision, document and source, as lineage shows them."""
        query = (
            select(
                chunk.c.public_id.label("chunk"),
                chunk.c.id.label("row"),
                revision.c.number,
                revision.c.content_sha256,
                revision.c.text_sha256,
                revision.c.created_at,
                revision.c.title,
                revision.c.uri,
                document.c.public_id.label("document"),
                document.c.external_id,
                source.c.name.label("source"),
                source.c.location,
            )
            .join(revision, revision.c.id == chunk.c.revision_id)
            .join(document, document.c.id == revision.c.document_id)
            .join(source, source.c.id == document.c.source_id)
            .where(chunk.c.public_id.in_(list(chunk_ids)))
        )
        with self._database.read() as connection:
            return {row.chunk: dict(row._mapping) for row in connection.execute(query)}


def _refuse_erased(connection: Connection, run: Mapping[str, Any]) -> None:
    erased = connection.execute(select(setting.c.value).where(setting.c.name == ERASED_ACCESS)).scalar()
    if erased is not None and run.get("access_version", 0) < int(erased):
        raise OvertakenError("documents were erased while this answer was made; ask again")


def answer_facts_of(connection: Connection, numbers: Sequence[int]) -> dict[int, AnswerFacts]:
    """The answers of these indexes."""
    gone = (
        select(answer_evidence.c.answer_number)
        .join(revision, revision.c.id == answer_evidence.c.revision_id)
        .join(withdrawal, withdrawal.c.document_id == revision.c.document_id)
        .where(withdrawal.c.died.is_(None))
    )
    query = (
        select(answer, ledger_payload.c.payload, prompt_version.c.name, prompt_version.c.version)
        .outerjoin(ledger_payload, ledger_payload.c.number == answer.c.number)
        .outerjoin(prompt_version, prompt_version.c.sha256 == answer.c.prompt_sha256)
    )
    found: dict[int, AnswerFacts] = {}
    for some in parts(sorted(numbers), 200):
        stale = set(connection.execute(gone.where(answer_evidence.c.answer_number.in_(some))).scalars())
        for row in connection.execute(query.where(answer.c.number.in_(some))):
            found[row.number] = AnswerFacts(
                row.id,
                row.number,
                row.created_at,
                row.status if row.payload is not None else "erased",
                json.loads(row.payload)["body"]["question"] if row.payload is not None else "",
                row.principal,
                row.snapshot,
                f"{row.name}@{row.version}" if row.name else "",
                row.model,
                row.confidence,
                row.number in stale,
            )
    return found


def answer_payload(body: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """What an answer's leaf commits to."""
    return dumps({"body": body, "run": run})


def answer_row(body: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an answer as its row keeps them, taken from its record; but for its index."""
    model = body.get("model", {})
    return {
        "id": body["id"],
        "principal": run["principal"]["id"],
        "status": body["status"],
        "snapshot": body["retrieval"]["snapshot"],
        "prompt_sha256": body["prompt"]["sha256"],
        "policy_sha256": body.get("policy", {}).get("sha256", ""),
        "model": f"{model.get('provider', '')}/{model.get('name', '')}",
        "confidence": body["confidence"],
        "reask_of": run.get("reask_of", ""),
        "experiment": body["prompt"].get("experiment", ""),
        "arm": body["prompt"].get("arm", ""),
        "created_at": body["created_at"],
    }


def answer_facts(row: Mapping[str, Any], passages: Sequence[tuple[int, int, bool]]) -> dict[str, Any]:
    """What an answer's leaf says openly: nothing that names a person. `passages` are the rows of chunk and revision of
    its context, in order, and whether each was cited: so what an answer stood on can be checked after an erasure too.
    """
    kept = ("status", "snapshot", "prompt_sha256", "policy_sha256", "model", "confidence")
    again = {name: row[name] for name in ("reask_of", "experiment", "arm") if row[name]}
    context = sha256(dumps([list(one) for one in passages]))
    return {name: row[name] for name in kept} | again | {"context_sha256": context}


def _records() -> Select[Any]:
    return (
        select(answer, ledger_leaf.c.sha256.label("leaf_sha256"), ledger_payload.c.payload)
        .join(ledger_leaf, ledger_leaf.c.number == answer.c.number)
        .outerjoin(ledger_payload, ledger_payload.c.number == answer.c.number)
    )


def _readable(query: Any, principal: Principal) -> Any:
    return query if principal.role.oversees else query.where(answer.c.principal == principal.id)


def _record(row: Any) -> AnswerRecord:
    ledger = {"index": row.number, "leaf_sha256": row.leaf_sha256}
    if row.payload is None:
        return AnswerRecord(
            row.id, row.number, row.principal, _remains(row) | {"ledger": ledger}, {}, row.leaf_sha256, True
        )
    record = json.loads(row.payload)
    return AnswerRecord(
        row.id, row.number, row.principal, record["body"] | {"ledger": ledger}, record["run"], row.leaf_sha256
    )


def _remains(row: Any) -> dict[str, Any]:
    """What is left to show of an answer whose payload was erased."""
    return {
        "id": row.id,
        "status": "erased",
        "reason": "What was asked and answered was erased.",
        "question": "",
        "answer": "",
        "confidence": row.confidence,
        "sentences": [],
        "citations": [],
        "conflicts": [],
        "notices": [],
        "retrieval": {"snapshot": row.snapshot, "as_of": None, "candidates": 0, "used": 0},
        "prompt": {"name": "", "version": 0, "sha256": row.prompt_sha256, "label": ""},
        "model": {"provider": row.model.partition("/")[0], "name": row.model.partition("/")[2], "parameters": {}},
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cost": None},
        "timings_ms": {},
        "created_at": row.created_at,
    }


def _passages(connection: Connection, evidence: Sequence[tuple[str, bool]]) -> list[tuple[int, int, bool]]:
    """Rows of chunk and revision of each passage, and whether it was cited."""
    if not evidence:
        return []
    query = select(chunk.c.public_id, chunk.c.id, chunk.c.revision_id)
    query = query.where(chunk.c.public_id.in_([chunk_id for chunk_id, _ in evidence]))
    rows = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    return [(*rows[chunk_id], cited) for chunk_id, cited in evidence]


def _keep_evidence(connection: Connection, number: int, passages: Sequence[tuple[int, int, bool]]) -> None:
    names = ("chunk_id", "revision_id", "cited")
    values = [
        {"answer_number": number, "position": position, **dict(zip(names, passage, strict=True))}
        for position, passage in enumerate(passages)
    ]
    if not values:
        return
    if is_withdrawn(connection, sorted({revision_id for _, revision_id, _ in passages})):
        raise OvertakenError("a document that this answer stands on was withdrawn while it was made; ask again")
    connection.execute(answer_evidence.insert(), values)
