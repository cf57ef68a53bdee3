"""A store of the first release becomes one of this release: nothing is lost, and the ledger vouches for all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

import kernel.storage.migrations
from kernel.ids import derived_id, sha256
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.answers import Answers
from kernel.storage.database import Database
from kernel.storage.keys import Keys
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults
from kernel.storage.snapshots import Snapshots
from pipeline.oversight.tree_check import TreeCheck

WHEN = "2026-01-0{}T00:00:00.000000+00:00"
BODY = {
    "id": "ans_old",
    "status": "answered",
    "question": "Who?",
    "answer": "Alpha. [c1]",
    "confidence": 0.25,
    "retrieval": {"snapshot": 1},
    "prompt": {"sha256": sha256("template")},
    "model": {"provider": "extractive", "name": "sentences"},
    "citations": [{"chunk_id": "chk_a"}],
    "created_at": WHEN.format(4),
}
RUN = {"principal": {"id": "key_old", "role": "app", "groups": ["staff"]}, "context": [{"chunk_id": "chk_a"}]}
REVISION = ("1, 1, 1, 'c', :text, 'r', 'text/plain', 'T', 'file:///a', 'ok', NULL, 6, '{{}}', :day", "revision")
ROWS = (
    ("'access_version', '0'", "setting"),
    ("1, 'handbook', '/', :day", "source"),
    ("1, :document, 1, 'a', NULL, :day", "document"),
    REVISION,
    ("1, 'staff'", "revision_group"),
    ("1, 'Alpha.'", "revision_text"),
    ("1, 1, NULL", "visibility"),
    ("1, 'chk_a', 1, 0, 0, 6, 1, NULL, '[]', 'Alpha.', :blob, :blob, :blob, :blob, 'x'", "chunk"),
    ("1, 0, 'ingest', 1, 1, :day", "snapshot"),
    ("1, 1, 'publish', :day", "publication"),
    ("'key_old', '', 'hash', 'app', :no, '[\"staff\"]', NULL, :end, :start", "api_key"),
    (":template, 'test', 1, 'template', :day", "prompt_version"),
    ("0, 'ans_old', 'key_old', 'answered', 'Who?', 1, :template, 0.25, :body, :run, 'leaf', :answered", "answer"),
    ("0, 0, 1, :yes", "answer_evidence"),
)


def first_release(database: Database) -> None:
    """The schema of the first release with one of everything in it."""
    config = Config()
    config.set_main_option("script_location", str(Path(kernel.storage.migrations.__path__[0])))
    if not database.is_sqlite:
        with database.write() as connection:
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"'))
    values = {"day": WHEN.format(2), "start": WHEN.format(1), "end": WHEN.format(3), "answered": WHEN.format(4)}
    values |= {"text": sha256("Alpha."), "template": sha256("template"), "blob": b"", "no": False, "yes": True}
    values |= {"document": derived_id("doc", "handbook", "a"), "body": json.dumps(BODY), "run": json.dumps(RUN)}
    with database.write() as connection:
        config.attributes |= {"connection": connection, "database": database}
        command.upgrade(config, "0001")
        for columns, table in ROWS:
            used = {name: value for name, value in values.items() if f":{name}" in columns}
            connection.execute(text(f"INSERT INTO {table} VALUES ({columns.replace('{{}}', '{}')})"), used)  # noqa: S608


def test_what_the_first_release_stored_is_kept_and_vouched_for(connect: Callable[[], Database]) -> None:
    database = connect()
    first_release(database)
    database.migrate()
    ledger, answers = Ledger(database), Answers(database)
    assert [leaf.kind for leaf in ledger.leaves(0, 99)] == [
        "ledger.opened",
        "key.created",
        "snapshot.published",
        "source.added",
        "prompt.first_used",
        "key.revoked",
        "answer",
    ]
    assert list(TreeCheck(ledger.key).faults(ledger.rows())) == []
    assert list(store_faults(database, ledger)) == []
    record = answers.get("ans_old", Principal("key_old", Role.APP))
    assert record.body == BODY | {"ledger": {"index": 6, "leaf_sha256": ledger.leaf(6).sha256}}
    assert record.run == RUN
    assert [item.id for item in Keys(database).items()] == ["key_old"]
    staff = Principal("key_x", Role.APP, frozenset({"staff"}))
    assert (
        Snapshots(database).visible_revisions(1, staff) == Snapshots(database).visible_revisions(1, LOCAL_OWNER) == [1]
    )
    assert Snapshots(database).visible_revisions(1, Principal("key_y", Role.APP)) == []
