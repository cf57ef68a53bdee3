"""The ledger, and what stands on it: access rules by version, policies, reviews, prompts, holds, erasures.

Tables that change their keys are made anew: their rows are set aside, and put back in the new form. What was recorded
before there was a ledger becomes its first entries, in the order in which it happened.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from kernel.storage import schema
from kernel.storage.answers import answer_facts, answer_payload, answer_row
from kernel.storage.catalog import SOURCE_ADDED, seal_revisions
from kernel.storage.database import Database
from kernel.storage.keys import KEY_FACTS
from kernel.storage.ledger import append
from kernel.storage.rows import dumps
from kernel.storage.snapshots import snapshot_digest

Row = dict[str, Any]
Evidence = dict[int, list[Row]]
Record = Callable[[Database, sa.Connection, Evidence], None]

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REPLACED = ("answer_evidence", "answer", "revision_group")
NEW = (
    "ledger_leaf",
    "ledger_payload",
    "ledger_node",
    "policy_version",
    "policy_release",
    "withdrawal",
    "revision_group",
    "answer",
    "answer_evidence",
    "stale",
    "review",
    "review_event",
    "hold",
    "erasure",
    "erased_leaf",
    "erased_revision",
    "prompt_event",
    "prompt_run",
    "prompt_favourite",
    "release",
    "release_move",
    "feedback",
)


def upgrade() -> None:
    connection = op.get_bind()
    database = context.config.attributes["database"]
    kept = {name: [dict(row._mapping) for row in connection.execute(sa.text(f"SELECT * FROM {name}"))] for name in REPLACED}
    for name in REPLACED:
        op.drop_table(name)
    op.add_column("revision", sa.Column("sha256", sa.String(length=64), nullable=False, server_default=sa.text("''")))
    for name, kind in (("author", sa.String(length=40)), ("message", sa.Text())):
        op.add_column("prompt_version", sa.Column(name, kind, nullable=False, server_default=sa.text("''")))
    op.create_index("ix_prompt_version_name", "prompt_version", ["name", "version"], unique=True)
    if not database.is_sqlite:
        op.create_table_comment("revision", schema.revision.comment)
        op.create_table_comment("prompt_version", schema.prompt_version.comment)
    for name in NEW:
        schema.metadata.tables[name].create(connection)
    if kept["revision_group"]:
        connection.execute(schema.revision_group.insert(), [row | {"born": 0} for row in kept["revision_group"]])
    ids = list(connection.execute(sa.select(schema.revision.c.id).order_by(schema.revision.c.id)).scalars())
    for start in range(0, len(ids), 500):
        seal_revisions(connection, ids[start : start + 500])
    evidence: dict[int, list[Row]] = {}
    for one in kept["answer_evidence"]:
        evidence.setdefault(one["answer_number"], []).append(one)
    for _, record in sorted(_events(connection, kept["answer"]), key=lambda event: event[0]):
        record(database, connection, evidence)


def _events(connection: sa.Connection, answers: Sequence[Row]) -> Iterator[tuple[tuple[str, int, str], Record]]:
    for made in connection.execute(sa.select(schema.api_key)).mappings().all():
        row = dict(made)
        yield (row["created_at"], 0, row["id"]), _key(row)
        if row["revoked_at"]:
            yield (row["revoked_at"], 1, row["id"]), _revoked(row)
    for made in connection.execute(sa.select(schema.source)).mappings().all():
        yield (made["created_at"], 4, str(made["id"]).zfill(12)), _source(dict(made))
    for made in connection.execute(sa.select(schema.prompt_version)).mappings().all():
        yield (made["created_at"], 5, made["sha256"]), _prompt(dict(made))
    published = {row.number: row for row in connection.execute(sa.select(schema.snapshot))}
    for move in connection.execute(sa.select(schema.publication).order_by(schema.publication.c.id)).all():
        yield (move.created_at, 2, str(move.id).zfill(12)), _move(move, published.get(move.snapshot))
    for row in answers:
        yield (row["created_at"], 3, str(row["number"]).zfill(12)), _answer(row)


def _key(row: Row) -> Record:
    def record(database: Database, connection: sa.Connection, _: Evidence) -> None:
        facts = {"role": row["role"], "all_groups": bool(row["all_groups"])}
        payload = dumps({name: row[name] for name in KEY_FACTS})
        append(database, connection, "key.created", row["id"], facts, payload, row["created_at"])

    return record


def _source(row: Row) -> Record:
    def record(database: Database, connection: sa.Connection, _: Evidence) -> None:
        facts, payload = {"source": row["id"]}, {name: row[name] for name in ("name", "location", "created_at")}
        append(database, connection, SOURCE_ADDED, f"source {row['id']}", facts, dumps(payload), row["created_at"])

    return record


def _prompt(row: Row) -> Record:
    def record(database: Database, connection: sa.Connection, _: Evidence) -> None:
        facts = {name: row[name] for name in ("sha256", "name", "version")}
        append(database, connection, "prompt.first_used", f"{row['name']}@{row['version']}", facts, at=row["created_at"])

    return record


def _revoked(row: Row) -> Record:
    def record(database: Database, connection: sa.Connection, _: Evidence) -> None:
        append(database, connection, "key.revoked", row["id"], {}, at=row["revoked_at"])

    return record


def _move(row: Any, info: Any) -> Record:
    def record(database: Database, connection: sa.Connection, _: Evidence) -> None:
        subject = f"snapshot {row.snapshot}"
        if row.action == "rollback":
            facts = {"snapshot": row.snapshot, "move": row.id}
            append(database, connection, "snapshot.rolled_back", subject, facts, at=row.created_at)
            return
        facts = {name: getattr(info, name) for name in ("number", "parent", "documents", "last_chunk")}
        facts["move"] = row.id
        facts["changes_sha256"] = snapshot_digest(connection, info.number)
        payload = dumps({"reason": info.reason})
        append(database, connection, "snapshot.published", subject, facts, payload, row.created_at)

    return record


def _answer(row: Row) -> Record:
    def record(database: Database, connection: sa.Connection, evidence: Evidence) -> None:
        body, run = json.loads(row["body"]), json.loads(row["run"])
        mine = sorted(evidence.get(row["number"], ()), key=lambda one: int(one["position"]))
        query = sa.select(schema.chunk.c.id, schema.chunk.c.revision_id)
        query = query.where(schema.chunk.c.id.in_([one["chunk_id"] for one in mine]))
        revisions = {found.id: found.revision_id for found in connection.execute(query)}
        passages = [(one["chunk_id"], revisions[one["chunk_id"]], bool(one["cited"])) for one in mine]
        values = answer_row(body, run)
        facts, payload = answer_facts(values, passages), answer_payload(body, run)
        leaf = append(database, connection, "answer", body["id"], facts, payload, body["created_at"])
        connection.execute(schema.answer.insert(), values | {"number": leaf.number})
        names = ("chunk_id", "revision_id", "cited")
        if passages:
            rows = [dict(zip(names, one, strict=True)) for one in passages]
            numbered = [one | {"answer_number": leaf.number, "position": place} for place, one in enumerate(rows)]
            connection.execute(schema.answer_evidence.insert(), numbered)

    return record
