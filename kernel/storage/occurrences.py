"""Where a text occurs in the store: what to look at before something is erased, and whether all of it is gone after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from kernel.errors import InvalidInput
from kernel.storage.answers import ANSWER
from kernel.storage.database import Database
from kernel.storage.feedback import FEEDBACK
from kernel.storage.prompt_runs import RUN
from kernel.storage.schema import (
    answer,
    api_key,
    document,
    entity,
    idempotency,
    job,
    ledger_leaf,
    ledger_payload,
    metadata,
    prompt_version,
    revision,
    revision_text,
    source,
)

SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A thing that holds a text: its kind, its id, in which part, how often, and the owner to erase it by, if any."""

    kind: str
    id: str
    part: str
    count: int
    erase: str | None


class Occurrences:
    """Looks through every table that holds words. Letter case does not matter."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, text: str) -> list[Occurrence]:
        """Everything that holds `text`. Raises InvalidInput for fewer than three characters."""
        if len(text.strip()) < SHORTEST:
            raise InvalidInput(f"give at least {SHORTEST} characters to look for")
        needle = text.casefold()
        with self._database.read() as connection:
            return [*_documents(connection, needle), *_records(connection, needle), *_others(connection, needle)]


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    with connection.execution_options(yield_per=200).execute(query) as rows:
        yield from rows


def _documents(connection: Connection, needle: str) -> Iterator[Occurrence]:
    named = select(document.c.public_id, document.c.path, document.c.external_id)
    for row in _rows(connection, named.order_by(document.c.public_id)):
        for part in ("path", "external_id"):
            if count := (row._mapping[part] or "").casefold().count(needle):
                yield Occurrence("document", row.public_id, part, count, f"--document {row.public_id}")
    query = (
        select(document.c.public_id, revision.c.number, revision.c.title, revision.c.uri, revision.c.details)
        .add_columns(revision.c.reason, revision_text.c.text)
        .join(document, document.c.id == revision.c.document_id)
        .outerjoin(revision_text, revision_text.c.revision_id == revision.c.id)
    )
    for row in _rows(connection, query.order_by(revision.c.id)):
        for part in ("title", "uri", "details", "reason", "text"):
            if count := (row._mapping[part] or "").casefold().count(needle):
                name = f"{row.public_id}:{row.number}"
                yield Occurrence("revision", name, part, count, f"--document {row.public_id}")


def _records(connection: Connection, needle: str) -> Iterator[Occurrence]:
    """Payloads of the ledger: answers by their parts, and everything else that was recorded with words."""
    query = (
        select(ledger_leaf.c.number, ledger_leaf.c.kind, ledger_leaf.c.subject, ledger_payload.c.payload, answer.c.id)
        .join(ledger_payload, ledger_payload.c.number == ledger_leaf.c.number)
        .outerjoin(answer, answer.c.number == ledger_leaf.c.number)
    )
    for row in _rows(connection, query.order_by(ledger_leaf.c.number)):
        record = json.loads(row.payload)
        if row.kind != ANSWER:
            if count := _count(record, needle):
                erase = f"--answer {row.subject}" if row.kind in (FEEDBACK, RUN) else None
                yield Occurrence(row.kind, row.subject, f"ledger entry {row.number}", count, erase)
            continue
        body, run = record["body"], record["run"]
        prompt = {"messages": run.get("messages"), "reply": run.get("reply")}
        shown = {name: value for name, value in body.items() if name not in ("question", "answer")}
        rest = {name: value for name, value in run.items() if name not in prompt}
        said = {"question": body.get("question"), "answer": body.get("answer"), "citations": shown}
        for part, value in (said | {"prompt": prompt, "context": rest}).items():
            if count := _count(value, needle):
                yield Occurrence("answer", row.id or row.subject, part, count, f"--answer {row.subject}")


def _others(connection: Connection, needle: str) -> Iterator[Occurrence]:
    plain = (
        ("source", source, source.c.name, ("name", "location")),
        ("key", api_key, api_key.c.id, ("name",)),
        ("entity", entity, entity.c.key, ("key",)),
        ("job", job, job.c.id, ("input", "progress", "result", "error")),
        ("request", idempotency, idempotency.c.key, ("key", "response")),
        ("prompt", prompt_version, prompt_version.c.sha256, ("template", "message")),
    )
    for kind, table, named, parts in plain:
        for row in _rows(connection, select(table).order_by(named)):
            for part in parts:
                if count := (row._mapping[part] or "").casefold().count(needle):
                    erase = f"--principal {row.id}" if kind == "key" else None
                    yield Occurrence(kind, str(row._mapping[named.name]), part, count, erase)


def _count(value: Any, needle: str) -> int:
    """How often the needle is in the strings of a JSON value."""
    if isinstance(value, str):
        return value.casefold().count(needle)
    if isinstance(value, dict):
        return sum(_count(one, needle) for one in value.values())
    return sum(_count(one, needle) for one in value) if isinstance(value, list) else 0


def table_sizes(database: Database) -> dict[str, int]:
    """How many rows each table holds now: every one of them is looked at by an erasure."""
    with database.read() as connection:
        return {
            name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for name, table in sorted(metadata.tables.items())
        }
