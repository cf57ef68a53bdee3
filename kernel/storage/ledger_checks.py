"""Whether the store still says what the ledger says: each thing that has an entry, against its entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from kernel.ids import derived_id, sha256
from kernel.records import Fault
from kernel.storage.access import ACCESS_VERSION, access_digest
from kernel.storage.answers import ANSWER, answer_facts, answer_row
from kernel.storage.catalog import SOURCE_ADDED, SOURCE_MOVED
from kernel.storage.database import Database
from kernel.storage.deliveries import delivery_faults
from kernel.storage.erasure_checks import erasure_faults
from kernel.storage.erasure_rows import ERASED, EXPIRED, blank_path, numbers_digest
from kernel.storage.feedback import feedback_faults
from kernel.storage.keys import KEY_FACTS
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.prompt_checks import prompt_faults
from kernel.storage.release_checks import release_faults
from kernel.storage.review_checks import policy_faults, review_faults
from kernel.storage.rows import parts, revision_digests
from kernel.storage.run_checks import run_faults
from kernel.storage.schema import (
    answer,
    answer_evidence,
    api_key,
    chunk,
    document,
    erased_leaf,
    erased_revision,
    publication,
    revision,
    revision_group,
    setting,
    snapshot,
    source,
    visibility,
    withdrawal,
)
from kernel.storage.snapshots import snapshot_digest
from kernel.storage.stale import WITHDRAWN, stale_faults
from kernel.storage.task_checks import task_faults
from kernel.storage.workflow_checks import workflow_faults


def store_faults(database: Database, ledger: Ledger) -> Iterator[Fault]:
    """Rows that their entries contradict, or that have none; of every kind of thing that the ledger records."""
    by_kind: dict[str, list[Leaf]] = {}
    answers: dict[int, tuple[Leaf, str | None]] = {}
    keys: dict[str, Mapping[str, Any]] = {}
    places: dict[int, Mapping[str, Any]] = {}
    reasons: dict[int, str] = {}
    for leaf, _, payload in ledger.rows():
        if leaf.kind == ANSWER:
            answers[leaf.number] = (leaf, sha256(payload) if payload else None)
        else:
            by_kind.setdefault(leaf.kind, []).append(leaf)
        if leaf.kind == "key.created" and payload is not None:
            keys[leaf.subject] = json.loads(payload)
        elif leaf.kind in (SOURCE_ADDED, SOURCE_MOVED) and payload is not None:
            places[leaf.number] = json.loads(payload)
        elif leaf.kind == "snapshot.published" and payload is not None:
            reasons[leaf.number] = json.loads(payload)["reason"]
    with database.read() as connection:
        gone = dict(connection.execute(select(erased_leaf.c.number, erased_leaf.c.leaf)).all())
        yield from _erasure_faults(connection, [*by_kind.get(ERASED, ()), *by_kind.get(EXPIRED, ())])
        yield from _answer_faults(connection, ledger, answers, gone)
        yield from _snapshot_faults(connection, by_kind, reasons)
        yield from _access_faults(connection, by_kind)
        yield from stale_faults(connection, {leaf.number: leaf.facts for leaf in by_kind.get(WITHDRAWN, ())})
        yield from _key_faults(connection, by_kind, keys, gone)
        yield from prompt_faults(connection, ledger, by_kind, gone)
        yield from workflow_faults(connection, ledger, by_kind, gone)
        yield from feedback_faults(connection, ledger, by_kind, gone)
        yield from delivery_faults(connection, ledger, by_kind, gone)
        yield from release_faults(connection, ledger, by_kind, gone)
        yield from run_faults(connection, ledger, by_kind, gone)
        yield from policy_faults(connection, ledger, by_kind, gone)
        yield from review_faults(connection, ledger, by_kind, gone)
        yield from task_faults(connection, ledger, by_kind, gone)
        yield from _revision_faults(connection)
        yield from _place_faults(connection, by_kind, places, gone)
        yield from erasure_faults(connection, ledger, by_kind)


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
    name, columns = f"answer {leaf.subject}", dict(row._mapping)
    found = _evidence(connection, row.number)
    facts = answer_facts(columns, [(one.chunk_id, one.revision_id, one.cited) for one in found])
    stored = None if erased else ledger.payload(leaf.number)
    if facts["context_sha256"] != leaf.facts.get("context_sha256") or _positions(found) != list(range(len(found))):
        yield Fault(name, "its passages are not those that its ledger entry names")
    elif (row.id, facts, row.created_at) != (leaf.subject, leaf.facts, leaf.created_at):
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
    if len(found) != len(context) or not all(map(_same_passage, found, context)):
        yield Fault(name, "its passages are not those that its record names")


def _evidence(connection: Connection, number: int) -> Sequence[Any]:
    """The passages of an answer in order; of one that is there still, its chunk's id and revision too."""
    query = select(answer_evidence, chunk.c.public_id, chunk.c.revision_id.label("owner"))
    query = query.outerjoin_from(answer_evidence, chunk, chunk.c.id == answer_evidence.c.chunk_id)
    return connection.execute(
        query.where(answer_evidence.c.answer_number == number).order_by(answer_evidence.c.position)
    ).all()


def _positions(found: Sequence[Any]) -> list[int]:
    return [one.position for one in found]


def _same_passage(row: Any, said: tuple[str, bool]) -> bool:
    """Whether a passage is the one that the record names. One that was erased is known by its numbers alone."""
    gone = row.public_id is None
    return bool(row.cited == said[1] and (gone or (row.public_id, row.owner) == (said[0], row.revision_id)))


def _context(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cited = {citation["chunk_id"] for citation in record["body"].get("citations", ())}
    for item in record["run"].get("context", ()):
        yield {"chunk_id": item["chunk_id"], "cited": item["chunk_id"] in cited}


def _snapshot_faults(
    connection: Connection, by_kind: Mapping[str, list[Leaf]], reasons: Mapping[int, str]
) -> Iterator[Fault]:
    moves = sorted(
        [*by_kind.get("snapshot.published", ()), *by_kind.get("snapshot.rolled_back", ())], key=lambda leaf: leaf.number
    )
    said = [
        (
            leaf.facts["move"],
            leaf.facts.get("number", leaf.facts.get("snapshot")),
            leaf.kind.partition(".")[2],
            leaf.created_at,
        )
        for leaf in moves
    ]
    actions = {"publish": "published", "rollback": "rolled_back"}
    stored = [
        (row.id, row.snapshot, actions.get(row.action, row.action), row.created_at)
        for row in connection.execute(select(publication).order_by(publication.c.id))
    ]
    if said != stored:
        first = next((i for i, pair in enumerate(zip(said, stored, strict=False)) if pair[0] != pair[1]), None)
        place = min(len(said), len(stored)) if first is None else first
        yield Fault("snapshots", f"move {place + 1} of the live pointer is not the one that the ledger names")
    published = {leaf.facts["number"]: leaf for leaf in by_kind.get("snapshot.published", ())}
    rows = {row.number: row for row in connection.execute(select(snapshot))}
    names = ("number", "parent", "documents", "last_chunk")
    for number in sorted({*rows, *published}):
        row, leaf = rows.get(number), published.get(number)
        if row is None or leaf is None:
            yield Fault(f"snapshot {number}", "is missing" if row is None else "has no entry in the ledger")
            continue
        facts = {name: row._mapping[name] for name in names} | {"move": leaf.facts["move"]}
        facts["changes_sha256"] = snapshot_digest(connection, number)
        wrong = row.reason != reasons.get(leaf.number, row.reason)
        if wrong or (facts, row.created_at) != (leaf.facts, leaf.created_at):
            yield Fault(f"snapshot {number}", "it, or a revision that it shows, is not what its ledger entry says")


def _access_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    kinds = ("access.changed", "document.withdrawn", "document.restored")
    said = {leaf.facts["version"]: leaf.facts["rules_sha256"] for kind in kinds for leaf in by_kind.get(kind, ())}
    versions: set[int] = set()
    for column in (revision_group.c.born, revision_group.c.died, withdrawal.c.born, withdrawal.c.died):
        versions |= {found for found in connection.execute(select(column).distinct()).scalars() if found}
    for version in sorted({*versions, *said}):
        if said.get(version) != access_digest(connection, version):
            yield Fault(f"access rules {version}", "are not those that the ledger names")
    newest = connection.execute(select(setting.c.value).where(setting.c.name == ACCESS_VERSION)).scalar()
    if (newest or "0") != str(max(said, default=0)):
        yield Fault("access rules", f"the version in force is kept as {newest}, the ledger's last is another")


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


def _revision_faults(connection: Connection) -> Iterator[Fault]:
    """Revisions whose rows, in any table, are not those that were stored."""
    gone = set(connection.execute(select(erased_revision.c.revision_id)).scalars())
    known = dict(connection.execute(select(revision.c.id, revision.c.sha256)).all())
    shown = set(connection.execute(select(visibility.c.revision_id)).scalars())
    for revision_id in sorted(shown - known.keys()):
        yield Fault(f"revision {revision_id}", "is missing: a snapshot shows it")
    for some in parts(sorted(known.keys() - gone), 200):
        digests = revision_digests(connection, some)
        for revision_id in some:
            if digests.get(revision_id) != known[revision_id]:
                yield Fault(
                    f"revision {revision_id}", "is not what was stored: a row of it or of its chunks was changed"
                )


def _place_faults(
    connection: Connection,
    by_kind: Mapping[str, list[Leaf]],
    said: Mapping[int, Mapping[str, Any]],
    gone: Mapping[int, int],
) -> Iterator[Fault]:
    """Sources that are not what was last said of them, and documents that are not of their source."""
    leaves = sorted([*by_kind.get(SOURCE_ADDED, ()), *by_kind.get(SOURCE_MOVED, ())], key=lambda leaf: leaf.number)
    newest = {leaf.facts["source"]: leaf.number for leaf in leaves}
    rows = {row.id: row for row in connection.execute(select(source))}
    for source_id in sorted({*rows, *newest}):
        row, number = rows.get(source_id), newest.get(source_id)
        if row is None or number is None:
            yield Fault(f"source {source_id}", "is missing" if row is None else "has no entry in the ledger")
            continue
        values = {name: row._mapping[name] for name in ("name", "location", "created_at")}
        if number not in gone and values != said.get(number):
            yield Fault(f"source {source_id}", "is not what its ledger entries say")
    for row in connection.execute(select(document).order_by(document.c.id)):
        if row.path == blank_path(row.public_id):
            continue
        owner = rows.get(row.source_id)
        if owner is None or row.public_id != derived_id("doc", owner.name, row.path):
            yield Fault(f"document {row.public_id}", "its id does not follow from its source and path")
