"""Whether what erasures, expiries and holds left in the store is what their entries say, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.answers import ERASED_ACCESS
from kernel.storage.erasure_rows import (
    CHUNK_FLOOR,
    GONE,
    KEY_BLANK,
    blank_path,
    blank_revision,
    blank_secret,
    blank_source,
    remains_digest,
)
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.schema import (
    answer,
    api_key,
    chunk,
    document,
    erased_leaf,
    erased_revision,
    erasure,
    hold,
    mention,
    relation,
    revision,
    revision_text,
    setting,
    snapshot,
    source,
)

_KINDS = ("erasure", "retention.expired")


def erasure_faults(connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    """What is wrong with the rows of erasures and holds, and with what is left of erased things."""
    leaves = sorted((leaf for kind in _KINDS for leaf in by_kind.get(kind, ())), key=lambda leaf: leaf.number)
    yield from _certificate_faults(connection, leaves, by_kind.get("erasure.certified", ()))
    yield from _hold_faults(connection, by_kind)
    if leaves:
        yield from _remains_faults(connection, leaves)
        yield from _carried_faults(connection, ledger, leaves)
        yield from _key_faults(connection, by_kind.get("key.created", ()))
        yield from _name_faults(connection, by_kind)
        yield from _setting_faults(connection, leaves)


def _certificate_faults(connection: Connection, leaves: Sequence[Leaf], certified: Sequence[Leaf]) -> Iterator[Fault]:
    rows = {row.id: row for row in connection.execute(select(erasure))}
    final = {leaf.subject: leaf.facts["certificate_sha256"] for leaf in certified}
    made = {leaf.subject: leaf for leaf in leaves}
    for erasure_id in sorted({*rows, *made}):
        row, leaf = rows.get(erasure_id), made.get(erasure_id)
        if row is None or leaf is None:
            yield Fault(f"erasure {erasure_id}", "is missing" if row is None else "has no entry in the ledger")
            continue
        expected = final.get(erasure_id, leaf.facts.get("draft_sha256"))
        if (row.leaf, row.created_at, sha256(row.certificate)) != (leaf.number, leaf.created_at, expected):
            yield Fault(f"erasure {erasure_id}", "its certificate is not the one that the ledger names")


def _hold_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    rows = {row.id: row for row in connection.execute(select(hold))}
    placed = {leaf.subject: leaf for leaf in by_kind.get("hold.placed", ())}
    ended = {leaf.subject: leaf.number for leaf in by_kind.get("hold.released", ())}
    for hold_id in sorted({*rows, *placed, *ended}):
        row, leaf = rows.get(hold_id), placed.get(hold_id)
        if row is None or leaf is None:
            yield Fault(f"hold {hold_id}", "is missing" if row is None else "has no entry in the ledger")
            continue
        said = ({"scope": row.scope, "value": row.value}, row.placed, row.created_at, row.released)
        if said != (leaf.facts, leaf.number, leaf.created_at, ended.get(hold_id)):
            yield Fault(f"hold {hold_id}", "is not what its ledger entries say")


def _remains_faults(connection: Connection, leaves: Sequence[Leaf]) -> Iterator[Fault]:
    gone: dict[int, list[int]] = {}
    for row in connection.execute(select(erased_revision)):
        gone.setdefault(row.leaf, []).append(row.revision_id)
    for leaf in leaves:
        if remains_digest(connection, gone.get(leaf.number, ())) != leaf.facts.get("remains_sha256"):
            yield Fault(f"ledger entry {leaf.number}", "what is left of a revision that it emptied was changed")
    ids = {row for rows in gone.values() for row in rows}
    for row in connection.execute(select(revision).order_by(revision.c.id)):
        blank = all(row._mapping[name] == value for name, value in blank_revision(row.id).items())
        if blank != (row.id in ids):
            yield Fault(
                f"revision {row.id}", "says that it was erased, and no erasure names it" if blank else "is back"
            )
    for table, column in ((revision_text, revision_text.c.revision_id), (chunk, chunk.c.revision_id)):
        for row_id in connection.execute(
            select(column).where(column.in_(select(erased_revision.c.revision_id))).distinct()
        ).scalars():
            yield Fault(f"revision {row_id}", f"was erased, yet has a row of {table.name} again")
    yield from _orphan_faults(connection)


def _orphan_faults(connection: Connection) -> Iterator[Fault]:
    """Mentions and relations of passages that are gone."""
    for table in (mention, relation):
        lost = select(table.c.chunk_id).where(table.c.chunk_id.not_in(select(chunk.c.id))).distinct()
        for chunk_id in connection.execute(lost).scalars():
            yield Fault(f"{table.name} of passage {chunk_id}", "is of a passage that is not there")


def _carried_faults(connection: Connection, ledger: Ledger, leaves: Sequence[Leaf]) -> Iterator[Fault]:
    """Who asked an emptied answer, and whose an emptied document is: as payloads of erasures still say; else nobody."""
    askers: dict[str, str] = {}
    owners: dict[str, int] = {}
    for leaf in leaves:
        stored = ledger.payload(leaf.number)
        said = json.loads(stored[1]) if stored is not None else {}
        askers |= said.get("askers", {})
        owners |= said.get("owners", {})
    query = select(answer.c.id, answer.c.number, answer.c.principal)
    for row in connection.execute(query.join(erased_leaf, erased_leaf.c.number == answer.c.number)):
        if row.principal != askers.get(str(row.number), ""):
            yield Fault(f"answer {row.id}", "does not name who asked it, as the erasure that emptied it says")
    left = select(revision.c.document_id).where(revision.c.status != GONE)
    had = select(revision.c.document_id).where(revision.c.status == GONE)
    wholly = select(document).where(document.c.id.in_(had), document.c.id.not_in(left)).order_by(document.c.id)
    for row in connection.execute(wholly):
        expected = (blank_path(row.public_id), None, owners.get(row.public_id))
        if (row.path, row.external_id, row.source_id) != expected:
            yield Fault(f"document {row.public_id}", "was erased, yet has a name again, or another source")


def _key_faults(connection: Connection, created: Sequence[Leaf]) -> Iterator[Fault]:
    gone = set(connection.execute(select(erased_leaf.c.number)).scalars())
    rows = {row.id: row for row in connection.execute(select(api_key))}
    for leaf in created:
        row = rows.get(leaf.subject)
        if leaf.number not in gone or row is None:
            continue
        expected: dict[str, Any] = KEY_BLANK | {"sha256": blank_secret(leaf.subject)}
        if any(row._mapping[name] != value for name, value in expected.items()) or row.revoked_at is None:
            yield Fault(f"key {leaf.subject}", "its owner was erased, yet it is not blank")


def _name_faults(connection: Connection, by_kind: Mapping[str, list[Leaf]]) -> Iterator[Fault]:
    """Names of sources, and reasons of snapshots, whose entries were emptied: they must be gone too."""
    gone = set(connection.execute(select(erased_leaf.c.number)).scalars())
    sources = {row.id: row for row in connection.execute(select(source))}
    for leaf in by_kind.get("source.added", ()):
        row = sources.get(leaf.facts["source"])
        expected = blank_source(leaf.facts["source"]) | {"created_at": leaf.created_at}
        if leaf.number in gone and (row is None or any(row._mapping[name] != expected[name] for name in expected)):
            yield Fault(f"source {leaf.facts['source']}", "was erased, yet has a name or place again")
    reasons = dict(connection.execute(select(snapshot.c.number, snapshot.c.reason)).all())
    for leaf in by_kind.get("snapshot.published", ()):
        if leaf.number in gone and reasons.get(leaf.facts["number"]) != GONE:
            yield Fault(f"snapshot {leaf.facts['number']}", "says again why it was made, which was erased")


def _setting_faults(connection: Connection, leaves: Sequence[Leaf]) -> Iterator[Fault]:
    """Below the row numbers of erased passages none may be given again, and no answer made before may be recorded."""
    for name in (CHUNK_FLOOR, ERASED_ACCESS):
        expected = max(leaf.facts.get(name, 0) for leaf in leaves)
        value = connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar()
        if (value or "0") != str(expected):
            yield Fault(f"setting {name}", "is not what the newest erasure made it")
