"""Lineage as one graph: answers, people, prompts, policies, documents, entities and reviews, in fixed queries.

The nodes are rows and the edges are what ties them, so the graph needs no copy of its own. A query takes parameters as
values, never as SQL; a listing goes on after the place that its last page ended at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, literal, or_, select

from kernel.errors import InvalidInput, NotFound
from kernel.storage.answers import AnswerFacts, answer_facts_of
from kernel.storage.database import Database
from kernel.storage.impact import Of, Scope, answers_condition, prompt_digests
from kernel.storage.rows import seen_by
from kernel.storage.schema import (
    answer,
    answer_evidence,
    api_key,
    chunk,
    document,
    entity,
    job,
    mention,
    policy_version,
    prompt_version,
    relation,
    review,
    review_event,
    revision,
    snapshot,
    source,
    visibility,
    withdrawal,
)

APPROVALS = ("approved", "edited")
"""Kinds of events by which a reviewer lets an answer out."""


@dataclass(frozen=True, slots=True)
class AnswersWanted:
    """Which answers to list: all that is given must hold. Moments are ISO 8601 in UTC, `since` <= t < `until`."""

    scopes: tuple[Scope, ...] = ()
    principal: str | None = None
    model: str | None = None
    status: str | None = None
    policy: str | None = None
    snapshot: int | None = None
    approved_by: str | None = None
    reask_of: str | None = None
    stale: bool = False
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node one hop away: `relation` is how it is tied. `key` is its place among those of the relation."""

    relation: str
    kind: str
    id: str
    label: str
    key: int | str


Hop = tuple[str, str, Callable[[Connection, str], Select[Any]]]
"""A relation, the kind of node at its other end, and the query of `(key, id, label)` of those nodes."""


class LineageQueries:
    """Reads the graph. Who may is for the caller to say: it shows what everybody asked, and was told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def answers(self, wanted: AnswersWanted, limit: int, before: int | None = None) -> list[AnswerFacts]:
        """Answers, newest first, those before index `before`. Raises NotFound for a thing that is not there."""
        with self._database.read() as connection:
            query = select(answer.c.number)
            for condition in _conditions(connection, wanted):
                query = query.where(condition)
            if before is not None:
                query = query.where(answer.c.number < before)
            numbers = list(connection.execute(query.order_by(answer.c.number.desc()).limit(limit)).scalars())
            facts = answer_facts_of(connection, numbers)
            return [facts[number] for number in numbers]

    def approvals(self, actor: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """What a person let out by review, newest first: the answer, the review, how and when."""
        query = (
            select(review_event, answer.c.id.label("answer_id"), review.c.state, review.c.reason)
            .join(review, review.c.id == review_event.c.review_id)
            .join(answer, answer.c.number == review.c.answer_number)
            .where(review_event.c.actor == actor, review_event.c.kind.in_(APPROVALS))
        )
        if before is not None:
            query = query.where(review_event.c.leaf < before)
        with self._database.read() as connection:
            return [
                {
                    "index": row.leaf,
                    "answer_id": row.answer_id,
                    "review_id": row.review_id,
                    "event": row.kind,
                    "reason": row.reason,
                    "state": row.state,
                    "created_at": row.created_at,
                }
                for row in connection.execute(query.order_by(review_event.c.leaf.desc()).limit(limit))
            ]

    def withdrawn(self, limit: int, after: str = "") -> list[dict[str, Any]]:
        """Documents that are withdrawn now, by id after `after`."""
        query = select(document.c.public_id, document.c.path, source.c.name, withdrawal.c.born)
        query = query.join(document, document.c.id == withdrawal.c.document_id)
        query = query.join(source, source.c.id == document.c.source_id)
        query = query.where(withdrawal.c.died.is_(None), document.c.public_id > after)
        with self._database.read() as connection:
            return [
                {"document_id": row.public_id, "source": row.name, "path": row.path, "access_version": row.born}
                for row in connection.execute(query.order_by(document.c.public_id).limit(limit))
            ]

    def facts(self, number: int) -> AnswerFacts:
        """What is known of the answer of an index, also where its record was erased."""
        with self._database.read() as connection:
            return answer_facts_of(connection, [number])[number]

    def number(self, answer_id: str) -> int:
        """The index of an answer. Raises NotFound."""
        with self._database.read() as connection:
            _check_node(connection, "answer", answer_id)
            return _answer_number(connection, answer_id)

    def neighbours(
        self, kind: str, node: str, limit: int, after: tuple[int, int | str] | None = None, only: str | None = None
    ) -> list[tuple[int, Neighbour]]:
        """Nodes one hop from a node, relation by relation, each with its relation's number, after that place; of one
        kind alone where that is given.

        Raises InvalidInput for an unknown kind of node, and NotFound where there is no such node.
        """
        hops = HOPS.get(kind)
        if hops is None:
            raise InvalidInput(f"no kind of node {kind!r}; there are {', '.join(HOPS)}")
        found: list[tuple[int, Neighbour]] = []
        with self._database.read() as connection:
            _check_node(connection, kind, node)
            begin, key = after if after is not None else (0, None)
            for number in range(begin, len(hops)):
                relation_name, other, make = hops[number]
                if only is not None and other != only:
                    continue
                inner = make(connection, node).subquery()
                query = select(inner).order_by(inner.c.key).limit(limit - len(found))
                if key is not None and number == begin:
                    query = query.where(inner.c.key > key)
                found += [
                    (number, Neighbour(relation_name, other, str(row.id), _label(row.label), row.key))
                    for row in connection.execute(query)
                ]
                if len(found) >= limit:
                    break
        return found

    def reviews_of(self, number: int) -> list[dict[str, Any]]:
        """Everything that was done in reviews of an answer (by index), oldest first."""
        query = (
            select(review_event)
            .join(review, review.c.id == review_event.c.review_id)
            .where(review.c.answer_number == number)
            .order_by(review_event.c.leaf)
        )
        with self._database.read() as connection:
            return [
                {
                    "review_id": row.review_id,
                    "kind": row.kind,
                    "actor": row.actor,
                    "created_at": row.created_at,
                    "index": row.leaf,
                }
                for row in connection.execute(query)
            ]

    def context_of(self, number: int) -> list[dict[str, Any]]:
        """The passages that an answer's context held, in order, as far as they are still there: chunk and text may
        have been erased, the revision, its document and its source stay named.
        """
        query = (
            select(
                answer_evidence.c.cited,
                chunk.c.public_id.label("chunk_id"),
                chunk.c.id.label("row"),
                chunk.c.start,
                chunk.c.end,
                revision.c.number,
                revision.c.content_sha256,
                revision.c.text_sha256,
                revision.c.created_at,
                revision.c.title,
                revision.c.uri,
                revision.c.status,
                document.c.public_id.label("document"),
                document.c.external_id,
                source.c.name.label("source"),
                source.c.location,
            )
            .join(revision, revision.c.id == answer_evidence.c.revision_id)
            .join(document, document.c.id == revision.c.document_id)
            .join(source, source.c.id == document.c.source_id)
            .outerjoin(chunk, chunk.c.id == answer_evidence.c.chunk_id)
            .where(answer_evidence.c.answer_number == number)
            .order_by(answer_evidence.c.position)
        )
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def _conditions(connection: Connection, wanted: AnswersWanted) -> list[ColumnElement[bool]]:
    found = [answers_condition(connection, scope) for scope in wanted.scopes]
    plain = (
        (answer.c.principal, wanted.principal),
        (answer.c.model, wanted.model),
        (answer.c.status, wanted.status),
        (answer.c.snapshot, wanted.snapshot),
        (answer.c.reask_of, wanted.reask_of),
    )
    found += [column == value for column, value in plain if value is not None]
    if wanted.policy is not None:
        found.append(answer.c.policy_sha256.in_(_policy_digests(connection, wanted.policy)))
    if wanted.approved_by is not None:
        let_out = select(review.c.answer_number).join(review_event, review_event.c.review_id == review.c.id)
        by = and_(review_event.c.actor == wanted.approved_by, review_event.c.kind.in_(APPROVALS))
        found.append(answer.c.number.in_(let_out.where(by)))
    if wanted.stale:
        gone = select(answer_evidence.c.answer_number).join(revision, revision.c.id == answer_evidence.c.revision_id)
        gone = gone.join(withdrawal, withdrawal.c.document_id == revision.c.document_id)
        found.append(answer.c.number.in_(gone.where(withdrawal.c.died.is_(None))))
    if wanted.since is not None:
        found.append(answer.c.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(answer.c.created_at < wanted.until)
    return found


def _policy_digests(connection: Connection, name: str) -> list[str]:
    """SHA-256 of the policy of this number or (beginning of a) hash. Raises NotFound for none."""
    by_number = name.isdecimal() and len(name) < 10
    which = policy_version.c.number == int(name) if by_number else policy_version.c.sha256 == name
    found = list(connection.execute(select(policy_version.c.sha256).where(which)).scalars())
    if not found:
        raise NotFound(f"no policy {name}")
    return found


def _label(text: Any) -> str:
    return "" if text is None else str(text)


# --- The hops from each kind of node ---------------------------------------------------------------------------------


def _answer_number(connection: Connection, node: str) -> int:
    return int(connection.execute(select(answer.c.number).where(answer.c.id == node)).scalar_one())


def _row(connection: Connection, column: Any, wanted: Any, node: Any) -> Any:
    return connection.execute(select(column).where(wanted == node)).scalar_one()


def _revision_row(connection: Connection, node: str) -> int:
    name, _, number = node.partition(":")
    query = select(revision.c.id).join(document, document.c.id == revision.c.document_id)
    query = query.where(document.c.public_id == name, revision.c.number == int(number or -1))
    return int(connection.execute(query).scalar_one())


def _listed(key: Any, public: Any, label: Any) -> Select[Any]:
    return select(key.label("key"), public.label("id"), label.label("label")).distinct()


_SPAN = cast(chunk.c.start, String) + "-" + cast(chunk.c.end, String)
_REVISION_ID = document.c.public_id + ":" + cast(revision.c.number, String)
_PROMPT_ID = prompt_version.c.name + "@" + cast(prompt_version.c.version, String)


def _answers(condition: Callable[[Connection, str], ColumnElement[bool]]) -> Callable[[Connection, str], Select[Any]]:
    def made(connection: Connection, node: str) -> Select[Any]:
        return _listed(answer.c.number, answer.c.id, answer.c.status).where(condition(connection, node))

    return made


def _evidence(*, cited: bool | None = None) -> Select[Any]:
    query = select(answer_evidence.c.answer_number)
    return query if cited is None else query.where(answer_evidence.c.cited.is_(cited))


def _of_answer(column: Any, public: Any, label: Any) -> Callable[[Connection, str], Select[Any]]:
    """Nodes that an answer's row names by a column."""

    def made(_: Connection, node: str) -> Select[Any]:
        return _listed(column, public, label).where(answer.c.id == node, column != "")

    return made


def _answer_prompt(_: Connection, node: str) -> Select[Any]:
    query = _listed(_PROMPT_ID, _PROMPT_ID, prompt_version.c.sha256)
    return query.join(answer, answer.c.prompt_sha256 == prompt_version.c.sha256).where(answer.c.id == node)


def _answer_policy(_: Connection, node: str) -> Select[Any]:
    query = _listed(policy_version.c.number, policy_version.c.number, policy_version.c.sha256)
    return query.join(answer, answer.c.policy_sha256 == policy_version.c.sha256).where(answer.c.id == node)


def _answer_snapshot(_: Connection, node: str) -> Select[Any]:
    return _listed(answer.c.snapshot, answer.c.snapshot, literal("")).where(answer.c.id == node)


def _answer_chunks(connection: Connection, node: str) -> Select[Any]:
    number = _answer_number(connection, node)
    query = _listed(answer_evidence.c.position, chunk.c.public_id, _SPAN)
    query = query.join(chunk, chunk.c.id == answer_evidence.c.chunk_id)
    return query.where(answer_evidence.c.answer_number == number)


def _answer_revisions(connection: Connection, node: str) -> Select[Any]:
    number = _answer_number(connection, node)
    query = _listed(revision.c.id, _REVISION_ID, revision.c.title)
    query = query.join(document, document.c.id == revision.c.document_id)
    query = query.join(answer_evidence, answer_evidence.c.revision_id == revision.c.id)
    return query.where(answer_evidence.c.answer_number == number)


def _answer_entities(connection: Connection, node: str) -> Select[Any]:
    number = _answer_number(connection, node)
    query = _listed(entity.c.key, entity.c.key, entity.c.key).join(mention, mention.c.entity_id == entity.c.id)
    query = query.join(answer_evidence, answer_evidence.c.chunk_id == mention.c.chunk_id)
    return query.where(answer_evidence.c.answer_number == number)


def _answer_reviews(connection: Connection, node: str) -> Select[Any]:
    number = _answer_number(connection, node)
    return _listed(review.c.id, review.c.id, review.c.state).where(review.c.answer_number == number)


def _person_reviews(_: Connection, node: str) -> Select[Any]:
    query = _listed(review.c.id, review.c.id, review.c.state)
    return query.join(review_event, review_event.c.review_id == review.c.id).where(review_event.c.actor == node)


def _review_people(_: Connection, node: str) -> Select[Any]:
    query = _listed(review_event.c.actor, review_event.c.actor, literal("").label("none"))
    return query.where(review_event.c.review_id == node)


def _document_source(_: Connection, node: str) -> Select[Any]:
    query = _listed(source.c.name, source.c.name, source.c.location)
    return query.join(document, document.c.source_id == source.c.id).where(document.c.public_id == node)


def _document_revisions(_: Connection, node: str) -> Select[Any]:
    query = _listed(revision.c.number, _REVISION_ID, revision.c.title)
    return query.join(document, document.c.id == revision.c.document_id).where(document.c.public_id == node)


def _revision_document(connection: Connection, node: str) -> Select[Any]:
    row = _revision_row(connection, node)
    query = _listed(document.c.public_id, document.c.public_id, document.c.path)
    return query.join(revision, revision.c.document_id == document.c.id).where(revision.c.id == row)


def _revision_chunks(connection: Connection, node: str) -> Select[Any]:
    row = _revision_row(connection, node)
    return _listed(chunk.c.id, chunk.c.public_id, _SPAN).where(chunk.c.revision_id == row)


def _revision_snapshots(connection: Connection, node: str) -> Select[Any]:
    row = _revision_row(connection, node)
    query = _listed(snapshot.c.number, snapshot.c.number, snapshot.c.reason)
    seen = and_(
        visibility.c.born <= snapshot.c.number,
        or_(visibility.c.died.is_(None), visibility.c.died > snapshot.c.number),
    )
    return query.join(visibility, seen).where(visibility.c.revision_id == row)


def _chunk_revision(_: Connection, node: str) -> Select[Any]:
    query = _listed(revision.c.id, _REVISION_ID, revision.c.title)
    query = query.join(document, document.c.id == revision.c.document_id)
    return query.join(chunk, chunk.c.revision_id == revision.c.id).where(chunk.c.public_id == node)


def _chunk_entities(_: Connection, node: str) -> Select[Any]:
    query = _listed(entity.c.key, entity.c.key, mention.c.kind).join(mention, mention.c.entity_id == entity.c.id)
    return query.join(chunk, chunk.c.id == mention.c.chunk_id).where(chunk.c.public_id == node)


def _entity_chunks(connection: Connection, node: str) -> Select[Any]:
    row = _row(connection, entity.c.id, entity.c.key, node)
    query = _listed(chunk.c.id, chunk.c.public_id, _SPAN).join(mention, mention.c.chunk_id == chunk.c.id)
    return query.where(mention.c.entity_id == row)


def _entity_relations(*, forward: bool) -> Callable[[Connection, str], Select[Any]]:
    here, there = relation.c.subject_id, relation.c.object_id
    here, there = (here, there) if forward else (there, here)

    def made(connection: Connection, node: str) -> Select[Any]:
        row = _row(connection, entity.c.id, entity.c.key, node)
        key = entity.c.key + " " + relation.c.predicate
        query = _listed(key, entity.c.key, relation.c.predicate).join(relation, there == entity.c.id)
        return query.where(here == row)

    return made


def _source_documents(_: Connection, node: str) -> Select[Any]:
    query = _listed(document.c.public_id, document.c.public_id, document.c.path)
    return query.join(source, source.c.id == document.c.source_id).where(source.c.name == node)


def _source_jobs(_: Connection, node: str) -> Select[Any]:
    wanted = json.dumps(node, ensure_ascii=False)
    return _listed(job.c.id, job.c.id, job.c.state).where(job.c.input.contains(f'"source":{wanted}', autoescape=True))


def _snapshot_revisions(_: Connection, node: str) -> Select[Any]:
    query = _listed(revision.c.id, _REVISION_ID, revision.c.title)
    query = query.join(document, document.c.id == revision.c.document_id)
    return query.join(visibility, visibility.c.revision_id == revision.c.id).where(seen_by(int(node)))


def _snapshot_parent(_: Connection, node: str) -> Select[Any]:
    other = snapshot.alias()
    query = _listed(other.c.number, other.c.number, other.c.reason)
    return query.join(snapshot, snapshot.c.parent == other.c.number).where(snapshot.c.number == int(node))


def _review_answer(_: Connection, node: str) -> Select[Any]:
    query = _listed(answer.c.number, answer.c.id, answer.c.status)
    return query.join(review, review.c.answer_number == answer.c.number).where(review.c.id == node)


def _job_sources(connection: Connection, node: str) -> Select[Any]:
    given = json.loads(_row(connection, job.c.input, job.c.id, node)).get("source")
    return _listed(source.c.name, source.c.name, source.c.location).where(source.c.name == str(given))


HOPS: dict[str, tuple[Hop, ...]] = {
    "answer": (
        ("asked by", "principal", _of_answer(answer.c.principal, answer.c.principal, literal(""))),
        ("made with", "prompt", _answer_prompt),
        ("made under", "policy", _answer_policy),
        ("made by", "model", _of_answer(answer.c.model, answer.c.model, literal(""))),
        ("asked of", "snapshot", _answer_snapshot),
        ("read", "chunk", _answer_chunks),
        ("read", "revision", _answer_revisions),
        ("read of", "entity", _answer_entities),
        ("reviewed in", "review", _answer_reviews),
        ("asked again for", "answer", _of_answer(answer.c.reask_of, answer.c.reask_of, literal(""))),
        ("asked again as", "answer", _answers(lambda _, n: answer.c.reask_of == n)),
    ),
    "principal": (
        ("asked", "answer", _answers(lambda _, n: answer.c.principal == n)),
        ("acted in", "review", _person_reviews),
    ),
    "prompt": (("used for", "answer", _answers(lambda c, n: answer.c.prompt_sha256.in_(prompt_digests(c, n)))),),
    "policy": (("in force for", "answer", _answers(lambda c, n: answer.c.policy_sha256.in_(_policy_digests(c, n)))),),
    "model": (("made", "answer", _answers(lambda _, n: answer.c.model == n)),),
    "document": (
        ("from", "source", _document_source),
        ("has", "revision", _document_revisions),
        ("read for", "answer", _answers(lambda c, n: answers_condition(c, Scope(Of.DOCUMENT, n)))),
    ),
    "revision": (
        ("of", "document", _revision_document),
        ("has", "chunk", _revision_chunks),
        ("shown by", "snapshot", _revision_snapshots),
        ("read for", "answer", _answers(lambda c, n: answers_condition(c, Scope(Of.REVISION, n)))),
    ),
    "chunk": (
        ("of", "revision", _chunk_revision),
        ("names", "entity", _chunk_entities),
        (
            "read for",
            "answer",
            _answers(
                lambda c, n: answer.c.number.in_(
                    _evidence().where(answer_evidence.c.chunk_id == _row(c, chunk.c.id, chunk.c.public_id, n))
                )
            ),
        ),
    ),
    "entity": (
        ("named in", "chunk", _entity_chunks),
        ("is tied to", "entity", _entity_relations(forward=True)),
        ("is tied from", "entity", _entity_relations(forward=False)),
        ("read of for", "answer", _answers(lambda c, n: answers_condition(c, Scope(Of.ENTITY, n)))),
    ),
    "source": (
        ("has", "document", _source_documents),
        ("brought in by", "job", _source_jobs),
    ),
    "snapshot": (
        ("made from", "snapshot", _snapshot_parent),
        ("shows", "revision", _snapshot_revisions),
        ("asked for", "answer", _answers(lambda _, n: answer.c.snapshot == int(n))),
    ),
    "review": (
        ("of", "answer", _review_answer),
        ("acted in by", "principal", _review_people),
    ),
    "job": (("brought in", "source", _job_sources),),
}
"""Of each kind of node, the relations that lead from it."""


def _check_node(connection: Connection, kind: str, node: str) -> None:
    """Raises NotFound where there is no such node."""
    number = int(node) if node.isdecimal() and len(node) < 10 else -1
    queries: dict[str, Callable[[], Select[Any]]] = {
        "answer": lambda: select(answer.c.number).where(answer.c.id == node),
        "document": lambda: select(document.c.id).where(document.c.public_id == node),
        "chunk": lambda: select(chunk.c.id).where(chunk.c.public_id == node),
        "entity": lambda: select(entity.c.id).where(entity.c.key == node),
        "source": lambda: select(source.c.id).where(source.c.name == node),
        "snapshot": lambda: select(snapshot.c.number).where(snapshot.c.number == number),
        "review": lambda: select(review.c.id).where(review.c.id == node),
        "job": lambda: select(job.c.id).where(job.c.id == node),
        "model": lambda: select(answer.c.number).where(answer.c.model == node).limit(1),
    }
    if kind == "prompt":
        prompt_digests(connection, node)
    elif kind == "policy":
        _policy_digests(connection, node)
    elif kind == "principal":
        asked = select(answer.c.number).where(answer.c.principal == node).limit(1)
        acted = select(review_event.c.leaf).where(review_event.c.actor == node).limit(1)
        known = select(api_key.c.id).where(api_key.c.id == node)
        if not any(connection.execute(query).first() for query in (asked, acted, known)):
            raise NotFound(f"no principal {node}")
    elif kind == "revision":
        name, _, ordinal = node.partition(":")
        if not ordinal.isdecimal() or len(ordinal) > 9:
            raise InvalidInput(f"a revision is named DOCUMENT:NUMBER, not {node!r}")
        query = select(revision.c.id).join(document, document.c.id == revision.c.document_id)
        if not connection.execute(query.where(document.c.public_id == name, revision.c.number == int(ordinal))).first():
            raise NotFound(f"no revision {node}")
    elif connection.execute(queries[kind]()).first() is None:
        raise NotFound(f"no {kind} {node}")


def kinds() -> Sequence[str]:
    """The kinds of nodes."""
    return tuple(HOPS)
