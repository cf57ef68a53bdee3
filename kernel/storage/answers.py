"""Records of answers: written whole before anyone sees the answer, and never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from kernel.errors import NotFound
from kernel.ids import sha256
from kernel.records import Principal, PromptVersion, Role
from kernel.storage.database import Database
from kernel.storage.rows import dumps, insert_new, now, stream
from kernel.storage.schema import answer, answer_evidence, chunk, document, prompt_version, revision, source


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """A stored answer: `body` as its caller saw it, `run` all that it stood on, both JSON objects."""

    id: str
    body: Mapping[str, Any]
    run: Mapping[str, Any]
    leaf_sha256: str


def leaf_hash(body: str, run: str) -> str:
    """The hash that binds a record: over the exact stored bytes of its two halves (RFC 9162's leaf prefix)."""
    return sha256(b"\x00" + sha256(body).encode() + sha256(run).encode())


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
    ) -> tuple[int, str]:
        """Store an answer and what it stood on, durably, in one transaction; its index and leaf hash.

        `body` is stored without its `ledger` member, which follows from what is returned here. `evidence` holds
        the context's chunk ids in order, and whether each was cited.
        """
        body_text, run_text = dumps(body), dumps(run)
        leaf = leaf_hash(body_text, run_text)
        with self._database.write() as connection:
            _keep_prompt(connection, prompt)
            values = {
                "id": body["id"],
                "principal": principal.id,
                "status": body["status"],
                "question": body["question"],
                "snapshot": body["retrieval"]["snapshot"],
                "prompt_sha256": prompt.sha256,
                "confidence": body["confidence"],
                "body": body_text,
                "run": run_text,
                "leaf_sha256": leaf,
                "created_at": body["created_at"],
            }
            last = connection.execute(select(func.max(answer.c.number))).scalar()
            number = 0 if last is None else last + 1
            connection.execute(answer.insert(), values | {"number": number})
            _keep_evidence(connection, number, evidence)
        return number, leaf

    def get(self, answer_id: str, principal: Principal) -> AnswerRecord:
        """One answer. Raises NotFound where there is none, or none that `principal` may read."""
        query = select(answer).where(answer.c.id == answer_id)
        with self._database.read() as connection:
            row = connection.execute(_readable(query, principal)).first()
        if row is None:
            raise NotFound(f"no answer {answer_id}")
        return _record(row)

    def items(self, principal: Principal, *, limit: int, before: int | None = None) -> list[tuple[int, AnswerRecord]]:
        """Answers that `principal` may read with their index, newest first, those before index `before`."""
        query = _readable(select(answer), principal)
        if before is not None:
            query = query.where(answer.c.number < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(answer.c.number.desc()).limit(limit)).all()
        return [(row.number, _record(row)) for row in rows]

    def rows(self) -> Iterator[Any]:
        """Every stored row, in order of index, for verification."""
        yield from stream(self._database, select(answer).order_by(answer.c.number), 500)

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


def _readable(query: Any, principal: Principal) -> Any:
    return query if principal.role != Role.APP else query.where(answer.c.principal == principal.id)


def _record(row: Any) -> AnswerRecord:
    body = json.loads(row.body)
    body["ledger"] = {"index": row.number, "leaf_sha256": row.leaf_sha256}
    return AnswerRecord(row.id, body, json.loads(row.run), row.leaf_sha256)


def _keep_prompt(connection: Connection, prompt: PromptVersion) -> None:
    row = {"sha256": prompt.sha256, "name": prompt.name, "version": prompt.version, "template": prompt.template}
    insert_new(connection, prompt_version, [row | {"created_at": now()}])


def _keep_evidence(connection: Connection, number: int, evidence: Sequence[tuple[str, bool]]) -> None:
    if not evidence:
        return
    query = select(chunk.c.public_id, chunk.c.id).where(chunk.c.public_id.in_([chunk_id for chunk_id, _ in evidence]))
    rows: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    values = [
        {"answer_number": number, "position": position, "chunk_id": rows[chunk_id], "cited": cited}
        for position, (chunk_id, cited) in enumerate(evidence)
    ]
    connection.execute(answer_evidence.insert(), values)
