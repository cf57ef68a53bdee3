"""Whether the store still says what the ledger says: each thing that has an entry, against its entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.access import access_digest
from kernel.storage.answers import ANSWER, answer_facts, answer_row
from kernel.storage.database import Database
from kernel.storage.keys import KEY_FACTS
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.review_checks import policy_faults, review_faults
from kernel.storage.rows import dumps, parts, revision_digests
from kernel.storage.schema import (
    answer,
    answer_evidence,
    api_key,
    chunk,
    erased_leaf,
    erased_revision,
    prompt_version,
    publication,
    revision,
    revision_group,
    snapshot,
    withdrawal,
)
from kernel.storage.snapshots import snapshot_digest
from kernel.storage.stale import WITHDRAWN, stale_faults

EXPIRED = "retention.expired"
ERASED = "erasure"


def numbers_digest(numbers: list[int]) -> str:
    """How an erasure's entry names, in its facts, the entries or revisions that it emptied: SHA-256 of the list."""
    return sha256(dumps(sorted(numbers)))


def store_faults(database: Database, ledger: Ledger) -> Iterator[Fault]:
    """Rows that their entries contradict, or that have none; of every kind of thing that the ledger records."""
    by_kind: dict[str, list[Leaf]] = {}
    answers: dict[int, tuple[Leaf, str | None]] = {}
    keys: dict[str, Mapping[str, Any]] = {}
    for leaf, _, payload in ledger.rows():
        if leaf.kind == ANSWER:
            answers[leaf.number] = (leaf, sha256(payload) if payload else None)
        else:
            by_kind.setdefault(leaf.kind, []).append(leaf)
        if leaf.kind == "key.created" and payload is not None:
            keys[leaf.subject] = json.loads(payload)
    with database.read() as connection:
        gone = dict(connection.execute(select(erased_leaf.c.number, erased_leaf.c.leaf)).all())
        yield from _erasure_faults(connection, [*by_kind.get(ERASED, ()), *by_kind.get(EXPIRED, ())])
        yield from _answer_faults(connection, ledger, answers, gone)
        yield from _snapshot_faults(connection, by_kind)
        yield from _access_faults(connection, by_kind)
        yield from stale_faults(connection, {leaf.number: leaf.facts for leaf in by_kind.get(WITHDRAWN, ())})
        yield from _key_faults(connection, by_kind, keys, gone)
        yield from _prompt_faults(connection, by_kind)
        yield from policy_faults(connection, ledger, by_kind, gone)
        yield from review_faults(connection, ledger, by_kind, gone)
        yield from _revision_faults(connection)


def _erasure_faults(connection: Connection, leaves: list[Leaf]) -> Iterator[Fault]:
    """Rows that say something was erased, where no entry says so."""
    facts = {leaf.number: leaf.facts for leaf in leaves}
    for table, column, fact in (
        (erased_leaf, erased_leaf.c.number, "entries_sha256"),
        (erased_revision, erased_revision.c.revision_id, "revisions_sha256"),
    ):
        listed: dict[int, list[int]] = {}
        for leaf, number in connection.execute(select(table.c.leaf, column)):
            listed.setdefault(leaf, []).append(number)
        for leaf in sorted({*listed, *facts}):
            if facts.get(leaf, {}).get(fact) != numbers_digest(listed.get(leaf, [])):
                yield Fault(f"ledger entry {leaf}", f"does not name what {table.name} says it emptied")


def _answer_faults(
    connection: Connection, ledger: Ledger, leaves: Mapping[int, tuple[Leaf, str | None]], gone: Mapping[int, int]
) -> Iterator[Fault]:
    rows = {row.number: row for row in connection.execute(select(answer))}
    for number in sorted({*rows, *leaves}):
        if number not in leaves:
            yield Fault(f"answer {rows[number].id}", f"entry {number} of the ledger is not an answer's")
        elif number not in rows:
            yield Fault(f"answer {leaves[number][0].subject}", "a record is missing: only its ledger entry is left")
        else:
            yield from _one_answer(connection, ledger, leaves[number][0], rows[number], erased=number in gone)


def _one_answer(connection: Connection, ledger: Ledger, leaf: Leaf, row: Any, *, erased: bool) -> Iterator[Fault]:
    name, columns = f"answer {row.id}", dict(row._mapping)
    facts = answer_facts(columns)
    stored = None if erased else ledger.payload(leaf.number)
    if (row.id, facts, row.created_at) != (leaf.subject, leaf.facts, leaf.created_at):
        yield Fault(name, "its columns do not say what its ledger entry says")
    if stored is None:
        return
    try:
        record = json.loads(stored[1])
        expected = answer_row(record["body"], record["run"]) | {"number": row.number}
        context = [(item["chunk_id"], item["cited"]) for item in _context(record)]
    except (ValueError, KeyError, TypeError):
        yield Fault(name, "its record cannot be read")
        return
    if expected != columns:
        yield Fault(name, "its columns do not say what its record says")
    query = select(chunk.c.public_id, answer_evidence.c.cited, chunk.c.revision_id, answer_evidence.c.revision_id)
    query = query.outerjoin_from(answer_evidence, chunk, chunk.c.id == answer_evidence.c.chunk_id)
    found = connection.execute(
        query.where(answer_evidence.c.answer_number == row.number).order_by(answer_evidence.c.position)
    ).all()
    if [(one[0], one[1]) for one in found] != context or any(one[2] != one[3] for one in found):
        yield Fault(name, "its passages are not those that its record names")


def _context(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cited = {citation["chunk_id"] for citation in record["body"].get("citations", ())}
    for item in record["run"].get("context", ()):
        yield {"chunk_id": item["chunk_id"], "cited": item["chunk_id"] in cited}


def _snapshot_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    moves = sorted(
        [*by_kind.get("snapshot.published", ()), *by_kind.get("snapshot.rolled_back", ())], key=lambda leaf: leaf.number
    )
    said = [
        (leaf.facts.get("number", leaf.facts.get("snapshot")), leaf.kind.partition(".")[2], leaf.created_at)
        for leaf in moves
    ]
    actions = {"publish": "published", "rollback": "rolled_back"}
    stored = [
        (row.snapshot, actions.get(row.action, row.action), row.created_at)
        for row in connection.execute(select(publication).order_by(publication.c.id))
    ]
    if said != stored:
        first = next((i for i, pair in enumerate(zip(said, stored, strict=False)) if pair[0] != pair[1]), None)
        place = min(len(said), len(stored)) if first is None else first
        yield Fault("snapshots", f"move {place + 1} of the live pointer is not the one that the ledger names")
    facts = {leaf.facts["number"]: leaf for leaf in by_kind.get("snapshot.published", ())}
    for row in connection.execute(select(snapshot).order_by(snapshot.c.number)).all():
        values = {"number": row.number, "parent": row.parent, "documents": row.documents}
        values["changes_sha256"] = snapshot_digest(connection, row.number)
        leaf = facts.get(row.number)
        if leaf is None or (values, row.created_at) != (leaf.facts, leaf.created_at):
            yield Fault(f"snapshot {row.number}", "it, or a revision that it shows, is not what its ledger entry says")


def _access_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    kinds = ("access.changed", "document.withdrawn", "document.restored")
    said = {leaf.facts["version"]: leaf.facts["rules_sha256"] for kind in kinds for leaf in by_kind.get(kind, ())}
    versions: set[int] = set()
    for column in (revision_group.c.born, revision_group.c.died, withdrawal.c.born, withdrawal.c.died):
        versions |= {found for found in connection.execute(select(column).distinct()).scalars() if found}
    for version in sorted({*versions, *said}):
        if said.get(version) != access_digest(connection, version):
            yield Fault(f"access rules {version}", "are not those that the ledger names")


def _key_faults(
    connection: Connection,
    by_kind: Mapping[str, list[Leaf]],
    made: Mapping[str, Mapping[str, Any]],
    gone: Mapping[int, int],
) -> Iterator[Fault]:
    rows = {row.id: row for row in connection.execute(select(api_key))}
    created = {leaf.subject: leaf for leaf in by_kind.get("key.created", ())}
    ended = {leaf.subject: leaf.created_at for leaf in by_kind.get("key.revoked", ())}
    for key_id in sorted({*rows, *created}):
        row, leaf = rows.get(key_id), created.get(key_id)
        if row is None or leaf is None:
            yield Fault(f"key {key_id}", "is missing" if row is None else "has no entry in the ledger")
            continue
        values = {name: row._mapping[name] for name in KEY_FACTS}
        facts = {"role": row.role, "all_groups": row.all_groups}
        moments = (row.created_at, row.revoked_at)
        wrong = leaf.number not in gone and values != made.get(key_id)
        if wrong or facts != leaf.facts or moments != (leaf.created_at, ended.get(key_id)):
            yield Fault(f"key {key_id}", "is not what its ledger entries say")


def _prompt_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    said = {leaf.facts["sha256"]: leaf.facts for leaf in by_kind.get("prompt.first_used", ())}
    rows = {row.sha256: row for row in connection.execute(select(prompt_version))}
    for digest in sorted({*rows, *said}):
        row = rows.get(digest)
        values = row and {"sha256": sha256(row.template), "name": row.name, "version": row.version}
        if row is None or values != said.get(digest):
            yield Fault(f"prompt {digest}", "is not the one that the ledger names")


def _revision_faults(connection: Connection) -> Iterator[Fault]:
    """Revisions whose rows, in any table, are not those that were stored."""
    gone = set(connection.execute(select(erased_revision.c.revision_id)).scalars())
    known = dict(connection.execute(select(revision.c.id, revision.c.sha256)).all())
    for some in parts(sorted(known.keys() - gone), 200):
        for revision_id, digest in revision_digests(connection, some).items():
            if digest != known[revision_id]:
                yield Fault(
                    f"revision {revision_id}", "is not what was stored: a row of it or of its chunks was changed"
                )
