"""What depends on a document, a revision, a source, an entity or a prompt: passages, edges, snapshots and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, cast, false, func, or_, select, true, union

from kernel.errors import InvalidInput, NotFound
from kernel.storage.answers import AnswerFacts, answer_facts_of
from kernel.storage.database import Database
from kernel.storage.schema import (
    answer,
    answer_evidence,
    chunk,
    document,
    entity,
    mention,
    prompt_version,
    relation,
    revision,
    snapshot,
    source,
    visibility,
    withdrawal,
)

FEW = 20
"""Revisions up to which each is looked through by itself."""


class Of(StrEnum):
    """What can have an impact."""

    DOCUMENT = "document"
    REVISION = "revision"
    SOURCE = "source"
    ENTITY = "entity"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Scope:
    """A thing by name: a document's id, `ID:REVISION`, a source's name, an entity's key, or `PROMPT@VERSION`."""

    of: Of
    name: str


@dataclass(frozen=True, slots=True)
class Affected:
    """An answer that depends on a scope, and whether it cites it; None of a prompt, which cannot be cited."""

    answer: AnswerFacts
    cited: bool | None


@dataclass(frozen=True, slots=True)
class _Reach:
    """The conditions by which a scope is found in the tables."""

    chunks: ColumnElement[bool]
    edges: ColumnElement[bool]
    revisions: Select[Any] | None
    evidence: ColumnElement[bool] | None
    answers: ColumnElement[bool] = field(default_factory=true)
    rows: tuple[int, ...] = ()


class Impact:
    """Counts and lists what depends on a scope. Every method raises NotFound where there is no such thing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, scope: Scope) -> dict[str, Any]:
        """How many chunks, edges, snapshots and answers depend on it; of the answers, how many cite it."""
        with self._database.read() as connection:
            reach = _reach(connection, scope)
            edges = select(func.count()).select_from(relation).where(reach.edges)
            chunks = select(func.count()).select_from(chunk).where(reach.chunks)
            total, cited = connection.execute(_answer_count(reach)).one()
            cited = None if reach.evidence is None else int(cited or 0)
            return {
                "chunks": {"count": connection.execute(chunks).scalar_one()},
                "edges": {"count": connection.execute(edges).scalar_one()},
                "snapshots": {"count": sum(end - begin for begin, end in _snapshots(connection, reach))},
                "answers": {
                    "count": int(total),
                    "cited": cited,
                    "context_only": None if cited is None else int(total) - cited,
                },
            }

    def chunks(self, scope: Scope, limit: int, after: int = 0) -> list[dict[str, Any]]:
        """Chunks that belong to it (of an entity: that name it), by row after `after`; `row` is for the next page."""
        columns = (chunk.c.id.label("row"), chunk.c.public_id, document.c.public_id.label("document"))
        query = select(*columns, revision.c.number, chunk.c.start, chunk.c.end)
        query = query.join(revision, revision.c.id == chunk.c.revision_id)
        query = query.join(document, document.c.id == revision.c.document_id)
        with self._database.read() as connection:
            found = query.where(_reach(connection, scope).chunks, chunk.c.id > after)
            return [
                {
                    "row": row.row,
                    "chunk_id": row.public_id,
                    "document_id": row.document,
                    "revision": row.number,
                    "start": row.start,
                    "end": row.end,
                }
                for row in connection.execute(found.order_by(chunk.c.id).limit(limit))
            ]

    def edges(self, scope: Scope, limit: int, after: int = 0) -> list[dict[str, Any]]:
        """Typed relations that it states (of an entity: that it is an end of), by row after `after`."""
        other = entity.alias()
        columns = (relation.c.id, entity.c.key, relation.c.predicate, other.c.key.label("object"), chunk.c.public_id)
        query = select(*columns, relation.c.start, relation.c.end)
        query = query.join(entity, entity.c.id == relation.c.subject_id).join(other, other.c.id == relation.c.object_id)
        query = query.join(chunk, chunk.c.id == relation.c.chunk_id)
        with self._database.read() as connection:
            found = query.where(_reach(connection, scope).edges, relation.c.id > after)
            return [
                {
                    "row": row.id,
                    "subject": row.key,
                    "predicate": row.predicate,
                    "object": row.object,
                    "chunk_id": row.public_id,
                    "start": row.start,
                    "end": row.end,
                }
                for row in connection.execute(found.order_by(relation.c.id).limit(limit))
            ]

    def snapshots(self, scope: Scope, limit: int, after: int = 0) -> list[int]:
        """Numbers of the snapshots that show it (of a prompt: that its answers are of), after `after`."""
        with self._database.read() as connection:
            ranges = _snapshots(connection, _reach(connection, scope))
        found: list[int] = []
        for begin, end in ranges:
            found += range(max(begin, after + 1), min(end, max(begin, after + 1) + limit - len(found)))
            if len(found) >= limit:
                break
        return found

    def answers(self, scope: Scope, limit: int, before: int | None = None) -> list[Affected]:
        """Answers whose context held something of it (of a prompt: that were made with it), newest first."""
        with self._database.read() as connection:
            reach = _reach(connection, scope)
            cited = _newest(connection, reach, limit, before)
            facts = answer_facts_of(connection, list(cited))
            return [Affected(facts[number], cited[number]) for number in sorted(cited, reverse=True)]

    def documents(self, scope: Scope) -> list[str]:
        """Public ids of the documents of a document's or a source's scope, by id. Raises InvalidInput for another."""
        if scope.of not in (Of.DOCUMENT, Of.SOURCE):
            raise InvalidInput(
                f"whole documents can be withdrawn and restored: name a document or a source, not a {scope.of.value}"
            )
        with self._database.read() as connection:
            reach = _reach(connection, scope)
            assert reach.revisions is not None  # noqa: S101  documents and sources have revisions
            query = select(document.c.public_id).join(revision, revision.c.document_id == document.c.id)
            found = connection.execute(query.where(revision.c.id.in_(reach.revisions)).distinct()).scalars()
            return sorted(found)

    def withdrawn(self, scope: Scope) -> int:
        """How many documents of the scope are withdrawn now."""
        query = select(func.count(func.distinct(withdrawal.c.document_id)))
        query = query.join(revision, revision.c.document_id == withdrawal.c.document_id)
        with self._database.read() as connection:
            reach = _reach(connection, scope)
            if reach.revisions is None:
                return 0
            held = query.where(withdrawal.c.died.is_(None), revision.c.id.in_(reach.revisions))
            return int(connection.execute(held).scalar_one())


def _reach(connection: Connection, scope: Scope) -> _Reach:
    if scope.of == Of.ENTITY:
        return _entity_reach(connection, scope.name)
    if scope.of == Of.PROMPT:
        return _prompt_reach(connection, scope.name)
    revisions = _revisions(connection, scope)
    mine = chunk.c.revision_id.in_(revisions)
    edges = relation.c.chunk_id.in_(select(chunk.c.id).where(mine))
    if scope.of == Of.SOURCE:
        return _Reach(mine, edges, revisions, answer_evidence.c.revision_id.in_(revisions))
    rows = tuple(connection.execute(revisions).scalars())
    evidence = answer_evidence.c.revision_id
    return _Reach(mine, edges, revisions, evidence == rows[0] if len(rows) == 1 else evidence.in_(rows), rows=rows)


def _revisions(connection: Connection, scope: Scope) -> Select[Any]:
    if scope.of == Of.SOURCE:
        row = connection.execute(select(source.c.id).where(source.c.name == scope.name)).scalar()
        if row is None:
            raise NotFound(f"no source {scope.name!r}; `vouch sources list` names them")
        return (
            select(revision.c.id)
            .join(document, document.c.id == revision.c.document_id)
            .where(document.c.source_id == row)
        )
    name, _, number = scope.name.partition(":") if scope.of == Of.REVISION else (scope.name, "", "")
    row = connection.execute(select(document.c.id).where(document.c.public_id == name)).scalar()
    if row is None:
        raise NotFound(f"no document {name}")
    query = select(revision.c.id).where(revision.c.document_id == row)
    if scope.of == Of.DOCUMENT:
        return query
    if not number.isdecimal() or len(number) > 9:
        raise InvalidInput(f"a revision is named DOCUMENT:NUMBER, such as {name}:1, not {scope.name!r}")
    query = query.where(revision.c.number == int(number))
    if connection.execute(query).first() is None:
        raise NotFound(f"no revision {number} of document {name}")
    return query


def _entity_reach(connection: Connection, key: str) -> _Reach:
    row = connection.execute(select(entity.c.id).where(entity.c.key == key)).scalar()
    if row is None:
        raise NotFound(f"no document names {key!r}; `vouch entities list` names what they do")
    edges = or_(relation.c.subject_id == row, relation.c.object_id == row)
    named = union(
        select(mention.c.chunk_id).where(mention.c.entity_id == row),
        select(relation.c.chunk_id).where(relation.c.subject_id == row),
        select(relation.c.chunk_id).where(relation.c.object_id == row),
    )
    chunks = select(named.subquery().c.chunk_id)
    revisions = select(chunk.c.revision_id).where(chunk.c.id.in_(chunks))
    return _Reach(chunk.c.id.in_(chunks), edges, revisions, answer_evidence.c.chunk_id.in_(chunks))


def _prompt_reach(connection: Connection, name: str) -> _Reach:
    digests = prompt_digests(connection, name)
    return _Reach(false(), false(), None, None, answer.c.prompt_sha256.in_(digests))


def prompt_digests(connection: Connection, reference: str) -> list[str]:
    """SHA-256 of the templates of `NAME` or `NAME@VERSION` that answers were made with. Raises NotFound for none."""
    name, _, version = reference.partition("@")
    query = select(prompt_version.c.sha256).where(prompt_version.c.name == name)
    if version:
        if not version.isdecimal() or len(version) > 9:
            raise InvalidInput(f"a prompt is named NAME or NAME@VERSION, such as grounded-answer@1, not {reference!r}")
        query = query.where(prompt_version.c.version == int(version))
    found = list(connection.execute(query).scalars())
    if not found:
        raise NotFound(f"no answer was made with a prompt {reference}")
    return found


def answers_condition(connection: Connection, scope: Scope) -> ColumnElement[bool]:
    """The rule, on `answer`, that it depends on a scope. Raises NotFound where there is no such thing."""
    reach = _reach(connection, scope)
    if reach.evidence is None:
        return answer.c.prompt_sha256.in_(prompt_digests(connection, scope.name))
    return answer.c.number.in_(select(answer_evidence.c.answer_number).where(reach.evidence))


def _answer_count(reach: _Reach) -> Any:
    if reach.evidence is None:
        return select(func.count(), func.count()).select_from(answer).where(reach.answers)
    each = _per_answer().where(reach.evidence).subquery()
    return select(func.count(), func.sum(each.c.cited)).select_from(each)


def _per_answer() -> Select[Any]:
    cited = func.max(cast(answer_evidence.c.cited, Integer)).label("cited")
    return select(answer_evidence.c.answer_number, cited).group_by(answer_evidence.c.answer_number)


def _newest(connection: Connection, reach: _Reach, limit: int, before: int | None) -> dict[int, bool | None]:
    """Indexes of the newest answers, and whether each cites. Of a few revisions each is looked through by itself, in
    the order of an index, which ends with the page; the newest of all are among the newest of each.
    """
    if not 1 < len(reach.rows) <= FEW:
        rows = connection.execute(_numbered(reach, before).limit(limit))
        return {row[0]: None if row[1] is None else bool(row[1]) for row in rows}
    found: dict[int, bool] = {}
    for revision_id in reach.rows:
        one = replace(reach, evidence=answer_evidence.c.revision_id == revision_id)
        for number, cited in connection.execute(_numbered(one, before).limit(limit)):
            found[number] = found.get(number, False) or bool(cited)
    return {number: found[number] for number in sorted(found, reverse=True)[:limit]}


def _numbered(reach: _Reach, before: int | None) -> Select[Any]:
    """Indexes of answers, newest first, each with 1 where it cites, 0 where not."""
    if reach.evidence is None:
        query = select(answer.c.number, cast(None, Integer)).where(reach.answers).order_by(answer.c.number.desc())
        return query if before is None else query.where(answer.c.number < before)
    query = _per_answer().where(reach.evidence).order_by(answer_evidence.c.answer_number.desc())
    return query if before is None else query.where(answer_evidence.c.answer_number < before)


def _snapshots(connection: Connection, reach: _Reach) -> list[tuple[int, int]]:
    """The snapshots that show any of it, as ranges `[begin, end)` in order that do not touch."""
    newest = int(connection.execute(select(func.coalesce(func.max(snapshot.c.number), 0))).scalar_one())
    if reach.revisions is None:
        shown = connection.execute(select(answer.c.snapshot).where(reach.answers).distinct()).scalars()
        spans = [(number, number + 1) for number in shown]
    else:
        query = select(visibility.c.born, visibility.c.died).where(visibility.c.revision_id.in_(reach.revisions))
        spans = [(row.born, row.died or newest + 1) for row in connection.execute(query.distinct())]
    return merged(spans)


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges `[begin, end)` in order, those that meet made one."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found
