"""What an erasure takes out of each table, within one transaction; what stays is bound to the erasure's entry."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, func, select, update

from kernel.errors import Unauthenticated
from kernel.ids import sha256
from kernel.storage.rows import dumps, insert_new, parts
from kernel.storage.schema import (
    answer,
    api_key,
    chunk,
    document,
    entity,
    feedback,
    idempotency,
    job,
    ledger_leaf,
    ledger_payload,
    mention,
    prompt_event,
    prompt_favourite,
    prompt_run,
    relation,
    review,
    review_event,
    revision,
    revision_group,
    revision_text,
    run,
    run_event,
    setting,
    snapshot,
    source,
    withdrawal,
    workflow_event,
)

EXPIRED = "retention.expired"
ERASED = "erasure"
"""Kinds of the entries that empty others."""
CHUNK_FLOOR = "chunk_floor"
"""Setting: new passages get row numbers above this one, so that none of an erased passage is used again."""
GONE = "erased"
"""Status of a revision, and what stands in the place of a name that was erased."""
COPIED = re.compile(r"(?:doc|chk)_[a-z2-7]{26}|ans_[0-9a-v]{30}")
"""Ids of documents, passages and answers, as they stand in what was made of them."""
KEY_BLANK = {"name": "", "groups": "[]", "expires_at": None}


def erased_documents(connection: Connection) -> dict[str, int]:
    """Documents of which nothing is left and that may not be read in again: their rows by public id."""
    left = select(revision.c.document_id).where(revision.c.status != GONE)
    query = (
        select(document.c.public_id, document.c.id)
        .join(revision, revision.c.document_id == document.c.id)
        .join(withdrawal, withdrawal.c.document_id == document.c.id)
        .where(revision.c.status == GONE, withdrawal.c.died.is_(None), document.c.id.not_in(left))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def numbers_digest(numbers: Sequence[int]) -> str:
    """How an erasure's entry names, in its facts, the entries or revisions that it emptied: SHA-256 of the list."""
    return sha256(dumps(sorted(numbers)))


def blank_revision(revision_id: int) -> dict[str, Any]:
    """The columns of a revision whose text and names are gone."""
    return {
        "content_sha256": f"{GONE} {revision_id}",
        "text_sha256": "",
        "media_type": "",
        "title": "",
        "uri": "",
        "status": GONE,
        "reason": None,
        "length": 0,
        "details": "{}",
    }


def blank_source(row: int) -> dict[str, str]:
    """What a source is called once nothing is left of it."""
    return {"name": f"{GONE} source {row}", "location": ""}


def blank_path(public_id: str) -> str:
    """What a document is called once its path is gone."""
    return f"{GONE} {public_id}"


def blank_secret(key_id: str) -> str:
    """What stands for the hash of a key's secret once its owner was erased: the hash of nothing that is a key."""
    return sha256(f"{GONE} {key_id}")


def refuse_erased_person(connection: Connection, key_id: str) -> None:
    """Raises Unauthenticated where the owner of a key was erased: what they still had under way is not recorded."""
    if is_erased_person(connection, key_id):
        raise Unauthenticated("the API key is unknown, expired or revoked")


def is_erased_person(connection: Connection, key_id: str) -> bool:
    """Whether the owner of a key was erased."""
    gone = (api_key.c.id == key_id) & (api_key.c.sha256 == blank_secret(key_id))
    return connection.execute(select(api_key.c.id).where(gone)).first() is not None


def remove(connection: Connection, table: Table, column: Column[Any], values: Collection[Any]) -> int:
    """Delete the rows whose `column` is among `values`; how many there were."""
    return sum(
        int(connection.execute(delete(table).where(column.in_(some))).rowcount) for some in parts(sorted(values))
    )


def remove_documents(connection: Connection, documents: Sequence[int], revisions: Sequence[int]) -> dict[str, int]:
    """Take every text, passage and name of these documents out; how many rows of each table."""
    chunks = rows_of(connection, chunk.c.id, chunk.c.revision_id, revisions)
    named = _entities(connection, chunks)
    _raise_floor(connection)
    counts = {
        "relation": remove(connection, relation, relation.c.chunk_id, chunks),
        "mention": remove(connection, mention, mention.c.chunk_id, chunks),
        "chunk": remove(connection, chunk, chunk.c.id, chunks),
        "revision_text": remove(connection, revision_text, revision_text.c.revision_id, revisions),
        "entity": remove(connection, entity, entity.c.id, named - _still_named(connection, named)),
    }
    for revision_id in revisions:
        connection.execute(update(revision).where(revision.c.id == revision_id).values(blank_revision(revision_id)))
    names = dict(connection.execute(select(document.c.id, document.c.public_id)).all()) if documents else {}
    for row in documents:
        values = {"path": blank_path(names[row]), "external_id": None}
        connection.execute(update(document).where(document.c.id == row).values(values))
    return counts | {"revision": len(revisions), "document": len(documents)}


def rows_of(connection: Connection, wanted: Column[Any], by: Column[Any], values: Collection[Any]) -> list[Any]:
    """`wanted` of the rows whose column `by` is among `values`, ascending."""
    found: list[Any] = []
    for some in parts(sorted(values)):
        found += connection.execute(select(wanted).where(by.in_(some))).scalars()
    return sorted(found)


def _entities(connection: Connection, chunks: Collection[int]) -> set[int]:
    columns = (
        (mention.c.entity_id, mention.c.chunk_id),
        (relation.c.subject_id, relation.c.chunk_id),
        (relation.c.object_id, relation.c.chunk_id),
    )
    return {row for wanted, by in columns for row in rows_of(connection, wanted, by, chunks)}


def _still_named(connection: Connection, entities: Collection[int]) -> set[int]:
    columns = (mention.c.entity_id, relation.c.subject_id, relation.c.object_id)
    return {row for column in columns for row in rows_of(connection, column, column, entities)}


def _raise_floor(connection: Connection) -> None:
    last = connection.execute(select(func.coalesce(func.max(chunk.c.id), 0))).scalar_one()
    insert_new(connection, setting, [{"name": CHUNK_FLOOR, "value": "0"}])
    known = connection.execute(select(setting.c.value).where(setting.c.name == CHUNK_FLOOR)).scalar_one()
    if last > int(known):
        connection.execute(update(setting).where(setting.c.name == CHUNK_FLOOR).values(value=str(last)))


def chunk_floor(connection: Connection) -> int:
    """The row number that the next passage must lie above, where the highest ones were erased; 0 where it need not."""
    floor = int(connection.execute(select(setting.c.value).where(setting.c.name == CHUNK_FLOOR)).scalar() or 0)
    if not floor:
        return 0
    last = connection.execute(select(func.coalesce(func.max(chunk.c.id), 0))).scalar_one()
    return floor if last < floor else 0


def remove_sources(connection: Connection, sources: Sequence[int]) -> None:
    """Forget name and place of sources of which nothing is left."""
    for row in sources:
        connection.execute(update(source).where(source.c.id == row).values(blank_source(row)))


def forget_reasons(connection: Connection, entries: Sequence[int]) -> None:
    """Take out what snapshots say of why they were made, where the entry that says so too is emptied."""
    for some in parts(entries):
        mine = select(ledger_leaf.c.subject).where(
            ledger_leaf.c.number.in_(some), ledger_leaf.c.kind == "snapshot.published"
        )
        numbers = [int(subject.rpartition(" ")[2]) for subject in connection.execute(mine).scalars()]
        connection.execute(update(snapshot).where(snapshot.c.number.in_(numbers)).values(reason=GONE))


def remove_payloads(connection: Connection, numbers: Sequence[int]) -> int:
    """Delete what these entries commit to, with the salts; feedback among them names nobody any more."""
    for some in parts(sorted(numbers)):
        connection.execute(update(feedback).where(feedback.c.leaf.in_(some)).values(actor=""))
    return remove(connection, ledger_payload, ledger_payload.c.number, numbers)


def scrub_jobs(connection: Connection, needles: Sequence[str]) -> int:
    """Replace, in what jobs say, every value that holds one of the needles; how many jobs that changed."""
    changed = 0
    for row in connection.execute(select(job)).all():
        values: dict[str, Any] = {}
        for name in ("input", "progress", "result"):
            text = row._mapping[name]
            if text is not None and (scrubbed := dumps(_scrubbed(json.loads(text), needles))) != text:
                values[name] = scrubbed
        if row.error is not None and any(needle in row.error for needle in needles):
            values["error"] = GONE
        if values:
            changed += 1
            connection.execute(update(job).where(job.c.id == row.id).values(values))
    return changed


def _scrubbed(value: Any, needles: Sequence[str]) -> Any:
    if isinstance(value, str):
        return GONE if any(needle in value for needle in needles) else value
    if isinstance(value, list):
        return [_scrubbed(one, needles) for one in value]
    if isinstance(value, dict):
        return {name: _scrubbed(one, needles) for name, one in value.items()}
    return value


def remove_requests(connection: Connection, needles: Collection[str], principals: Collection[str]) -> int:
    """Delete remembered responses that hold a needle, and those of these people; how many."""
    rows = connection.execute(select(idempotency.c.principal, idempotency.c.key, idempotency.c.response)).all()
    found = [row for row in rows if row.principal in principals or any(needle in row.response for needle in needles)]
    for row in found:
        mine = (idempotency.c.principal == row.principal) & (idempotency.c.key == row.key)
        connection.execute(delete(idempotency).where(mine))
    return len(found)


def remove_people(connection: Connection, principals: Sequence[str], moment: str) -> dict[str, int]:
    """Take people's names out of keys, answers and reviews; their keys end. How many rows of each table."""
    counts = {"answer": 0, "api_key": 0, "review": 0, "review_event": 0}
    for person in principals:
        blank = KEY_BLANK | {"sha256": blank_secret(person)}
        done = {
            "answer": update(answer).where(answer.c.principal == person).values(principal=""),
            "review": update(review).where(review.c.assignee == person).values(assignee=None),
            "review_event": update(review_event).where(review_event.c.actor == person).values(actor=""),
            "api_key": update(api_key).where(api_key.c.id == person).values(blank),
        }
        open_key = (api_key.c.id == person) & api_key.c.revoked_at.is_(None)
        connection.execute(update(api_key).where(open_key).values(revoked_at=moment))
        for name, statement in done.items():
            counts[name] += int(connection.execute(statement).rowcount)
    return counts


JOURNALS = (prompt_event, workflow_event)
"""Tables of what people did with prompts and workflows, an entry of the ledger each."""


def forget_library_users(connection: Connection, entries: Collection[int], people: Collection[str]) -> dict[str, int]:
    """Take out who did what with prompts and workflows where the entry that says so is emptied, and what these people
    marked for themselves; how many rows of each table.
    """
    counts = {"prompt_run": 0, "run": 0, "run_event": 0} | {table.name: 0 for table in JOURNALS}
    for some in parts(sorted(entries)):
        for table in JOURNALS:
            event = (table.c.leaf.in_(some)) & (table.c.actor != "")
            counts[table.name] += int(connection.execute(update(table).where(event).values(actor="")).rowcount)
        used = (prompt_run.c.number.in_(some)) & (prompt_run.c.principal != "")
        done = connection.execute(update(prompt_run).where(used).values(principal=""))
        counts["prompt_run"] += int(done.rowcount)
        started = (run.c.number.in_(some)) & (run.c.principal != "")
        done = connection.execute(update(run).where(started).values(principal=""))
        counts["run"] += int(done.rowcount)
        told = (run_event.c.leaf.in_(some)) & (run_event.c.actor != "")
        done = connection.execute(update(run_event).where(told).values(actor=""))
        counts["run_event"] += int(done.rowcount)
    return counts | {"prompt_favourite": remove(connection, prompt_favourite, prompt_favourite.c.principal, people)}


def run_entries(connection: Connection, entries: Collection[int], people: Collection[str]) -> set[int]:
    """Entries of runs of workflows: all of those that people started, and of a run of which an entry is emptied all, as
    what later steps put out may follow from it.
    """
    ids = set(rows_of(connection, run_event.c.run_id, run_event.c.leaf, entries))
    ids |= set(rows_of(connection, run.c.id, run.c.number, entries))
    ids |= set(rows_of(connection, run.c.id, run.c.principal, people))
    events = rows_of(connection, run_event.c.leaf, run_event.c.run_id, ids)
    return {*events, *rows_of(connection, run.c.number, run.c.id, ids)}


def review_entries(connection: Connection, answers: Collection[int]) -> set[int]:
    """Entries about answers other than their own: reviews, comments, decisions, releases."""
    ids = rows_of(connection, answer.c.id, answer.c.number, answers)
    reviews = rows_of(connection, review.c.id, review.c.answer_number, answers)
    subjects = rows_of(connection, ledger_leaf.c.number, ledger_leaf.c.subject, [*ids, *reviews])
    events = rows_of(connection, review_event.c.leaf, review_event.c.review_id, reviews)
    return {*subjects, *events} - set(answers)


def remains_digest(connection: Connection, revisions: Iterable[int]) -> str:
    """What binds that which is left of emptied revisions: SHA-256 over their rows, those of their
    documents that never change, and their first groups.
    """
    lines = []
    for some in parts(sorted(revisions)):
        query = select(revision, document.c.public_id, document.c.created_at).outerjoin(
            document, document.c.id == revision.c.document_id
        )
        rows = connection.execute(query.where(revision.c.id.in_(some)).order_by(revision.c.id))
        lines += [dumps(list(row)) for row in rows]
        groups = select(revision_group.c.revision_id, revision_group.c.name).where(
            revision_group.c.revision_id.in_(some), revision_group.c.born == 0
        )
        lines += [dumps(pair) for pair in sorted([row[0], row[1]] for row in connection.execute(groups))]
    return sha256("\n".join(lines))
