"""What an auditor reads besides answers and leaves: prompts, policies, reviews, erasures, holds, documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, func, select

from kernel.errors import NotFound
from kernel.storage.database import Database
from kernel.storage.rows import parts, stream
from kernel.storage.schema import (
    answer,
    answer_evidence,
    api_key,
    document,
    erased_leaf,
    erasure,
    hold,
    policy_version,
    prompt_event,
    prompt_run,
    prompt_version,
    publication,
    release,
    release_move,
    review,
    review_event,
    revision,
    run,
    run_event,
    snapshot,
    source,
    task,
    task_event,
    visibility,
    workflow_event,
    workflow_version,
)

Row = dict[str, Any]


class AuditRecords:
    """Reads records for proofs, packs and reports; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def answer_numbers(self, since: str | None, until: str | None, source_name: str | None) -> list[int]:
        """Indexes of the answers given in `[since, until)` (moments as they are stored) whose context had a passage
        of the source. Raises NotFound for a source that is not there.
        """
        query = select(answer.c.number).order_by(answer.c.number)
        query = query if since is None else query.where(answer.c.created_at >= since)
        query = query if until is None else query.where(answer.c.created_at < until)
        with self._database.read() as connection:
            if source_name is not None:
                found = connection.execute(select(source.c.id).where(source.c.name == source_name)).scalar()
                if found is None:
                    raise NotFound(f"no source {source_name}; `vouch sources list` names them")
                owned = (
                    select(answer_evidence.c.answer_number)
                    .join(revision, revision.c.id == answer_evidence.c.revision_id)
                    .join(document, document.c.id == revision.c.document_id)
                    .where(document.c.source_id == found)
                )
                query = query.where(answer.c.number.in_(owned))
            return list(connection.execute(query).scalars())

    def answer_facts(self, numbers: Sequence[int]) -> Iterator[Row]:
        """Rows of answers, by index, some at a time."""
        for some in parts(numbers):
            with self._database.read() as connection:
                found = connection.execute(select(answer).where(answer.c.number.in_(some)).order_by(answer.c.number))
                rows = [dict(row._mapping) for row in found]
            yield from rows

    def prompt(self, sha256: str) -> Row | None:
        """A prompt that answers were made with, with its template."""
        return self._one(prompt_version, {"sha256": sha256})

    def policy(self, sha256: str) -> Row | None:
        """A policy that was in force, with its text."""
        return self._one(policy_version, {"sha256": sha256})

    def policies(self) -> list[Row]:
        """Every version of the policy, with its text."""
        return self._all(policy_version)

    def keys(self) -> list[Row]:
        """What may be told of API keys: neither names nor hashes."""
        names = ("id", "role", "all_groups", "created_at", "expires_at", "revoked_at")
        return [{name: row[name] for name in names} for row in self._all(api_key)]

    def prompt_events(self) -> list[Row]:
        """What was done with prompts, oldest first."""
        return self._all(prompt_event)

    def workflow_events(self) -> list[Row]:
        """What was done with workflows, oldest first."""
        return self._all(workflow_event)

    def workflow_versions(self) -> list[Row]:
        """Every version of a workflow, with its text."""
        return self._all(workflow_version)

    def prompt_runs(self) -> list[Row]:
        """Facts of runs of prompts, oldest first."""
        return self._all(prompt_run)

    def releases(self) -> list[Row]:
        """Sets of versions that went live together."""
        return self._all(release)

    def release_moves(self) -> list[Row]:
        """Every move to such a set, and what it replaced."""
        return self._all(release_move)

    def workflow_tables(self) -> dict[str, list[Row]]:
        """Versions of workflows and what was done with them, runs with their journals, and what runs asked of people;
        by what a pack calls each.
        """
        tables = (workflow_version, workflow_event, run, run_event, task, task_event)
        return {table.name.replace("_", "-"): self._all(table) for table in tables}

    def holds(self) -> list[Row]:
        """Legal holds, with the entries that placed and released them."""
        return self._all(hold)

    def erasures(self) -> list[Row]:
        """Erasures with their certificates."""
        return self._all(erasure)

    def erased(self) -> dict[int, int]:
        """Entries without payload, and the entry that erased each."""
        return {row["number"]: row["leaf"] for row in self._all(erased_leaf)}

    def reviews(self, numbers: Sequence[int] | None = None) -> list[Row]:
        """Reviews (of the answers of those indexes), each with its events in order."""
        wanted = None if numbers is None else set(numbers)
        events: dict[str, list[Row]] = {}
        for event in self._all(review_event):
            events.setdefault(event["review_id"], []).append(event)
        rows = self._all(review)
        return [
            row | {"events": events.get(row["id"], [])}
            for row in rows
            if wanted is None or row["answer_number"] in wanted
        ]

    def askers(self, numbers: Sequence[int]) -> dict[int, str]:
        """Who asked, by index of the answer."""
        return {row["number"]: row["principal"] for row in self.answer_facts(numbers)}

    def revisions(self, names: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Row]:
        """Facts of revisions, by id of the document and number."""
        query = select(
            document.c.public_id,
            revision.c.number,
            revision.c.title,
            revision.c.uri,
            revision.c.content_sha256,
            revision.c.text_sha256,
            revision.c.created_at,
            source.c.name.label("source"),
        )
        query = query.join(document, document.c.id == revision.c.document_id)
        query = query.join(source, source.c.id == document.c.source_id)
        found: dict[tuple[str, int], Row] = {}
        for some in parts(sorted({name for name, _ in names})):
            with self._database.read() as connection:
                for row in connection.execute(query.where(document.c.public_id.in_(some))):
                    found[(row.public_id, row.number)] = dict(row._mapping)
        return {name: found[name] for name in names if name in found}

    def publications(self) -> list[Row]:
        """Every move of the live pointer, with what its snapshot shows anew, by source."""
        query = select(publication, snapshot.c.reason, snapshot.c.documents, snapshot.c.parent)
        query = query.outerjoin(snapshot, snapshot.c.number == publication.c.snapshot).order_by(publication.c.id)
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def born(self, number: int) -> Iterator[Row]:
        """The revisions that a snapshot showed anew, by document."""
        query = (
            select(
                document.c.public_id,
                revision.c.number,
                revision.c.content_sha256,
                revision.c.text_sha256,
                revision.c.status,
                source.c.name.label("source"),
            )
            .join(document, document.c.id == revision.c.document_id)
            .join(source, source.c.id == document.c.source_id)
            .join(visibility, visibility.c.revision_id == revision.c.id)
            .where(visibility.c.born == number)
            .order_by(document.c.public_id, revision.c.number)
        )
        for row in stream(self._database, query, 500):
            yield dict(row._mapping)

    def count(self, table: Table) -> int:
        """How many rows a table has."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def _one(self, table: Table, key: Mapping[str, Any]) -> Row | None:
        query = select(table).where(*(table.c[name] == value for name, value in key.items()))
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else dict(row._mapping)

    def _all(self, table: Table) -> list[Row]:
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
