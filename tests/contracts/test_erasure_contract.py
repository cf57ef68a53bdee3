"""Erasure, holds, retention and backups on both databases; and that whatever they left is found when it is changed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from erased_search import found_in
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import Table, delete, select, text, update

from kernel.errors import Conflict, IntegrityFailure, NotFound, Unavailable
from kernel.ids import derived_id
from kernel.notes import parse_checkpoint
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.settings import Settings
from kernel.storage import compaction, schema
from kernel.storage.answers import OvertakenError
from kernel.storage.erasure import ErasureRequest
from kernel.storage.erasure_rows import CHUNK_FLOOR
from kernel.storage.ledger import append
from kernel.storage.retention import RetentionRules
from kernel.storage.reviews import opened_facts
from kernel.storage.rows import dumps, now
from kernel.storage.schema import metadata
from pipeline.oversight.backup import Target, restore

SECRET = "Quandelbrock"
PAGE = f"# Dossier\n\nOttilie {SECRET} keeps her savings of 481516234210 euros in the Zwirbelbank of Murnau.\n"
ASKER = Principal("key_asker", Role.APP)


def flags_of(tmp_path: Path, url: str, home: str = "home") -> dict[str, Any]:
    shared = None if url.startswith("sqlite") else url
    return {
        "home": tmp_path / home,
        "workspace": f"t{secrets.token_hex(8)}",
        "database_url": shared,
        "chunk_tokens": 48,
    }


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[FastWorkspace]:
    """A workspace with two documents and three answers."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with FastWorkspace(Settings.load(**flags_of(tmp_path, database_url))) as workspace:
        (folder / "canteen.md").write_text("# Canteen\n\nThe canteen opens at eleven and serves soup.\n")
        (folder / f"{SECRET}.md").write_text(PAGE)
        workspace.indexer.ingest(InlineParser(), [folder], "folder")
        workspace.answering.ask(Question(f"Where does {SECRET} keep her savings?", ASKER))
        workspace.answering.ask(Question("When does the canteen open?", ASKER))
        workspace.answering.ask(Question("Who serves soup?"))
        yield workspace


def document(name: str = SECRET) -> str:
    return derived_id("doc", "folder", f"{name}.md")


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def tables_with(made: FastWorkspace, needle: str) -> set[str]:
    """Tables of which a row holds the text, and the statistics that the database keeps of them."""
    found = set()
    with made.database.read() as connection:
        for name, table in metadata.tables.items():
            rows = connection.execute(select(table)).all()
            found |= {name for row in rows if needle.casefold() in str(tuple(row)).casefold()}
        if not made.database.is_sqlite:
            query = text("SELECT * FROM pg_stats WHERE schemaname = :name")
            rows = connection.execute(query, {"name": made.database.schema}).all()
            found |= {"pg_stats" for row in rows if needle.casefold() in str(tuple(row)).casefold()}
    return found


def test_no_table_holds_what_was_erased(made: FastWorkspace) -> None:
    assert tables_with(made, SECRET) >= {"document", "revision_text", "chunk", "ledger_payload", "entity"}
    done = made.eraser.erase(ErasureRequest(documents=(document(),)), "a request", "local")
    assert [tables_with(made, needle) for needle in (SECRET, "Zwirbelbank", "481516234210")] == [set()] * 3
    assert found_in(made.settings.home, [SECRET, "Zwirbelbank", "481516234210"]) == []
    assert faults(made) == []
    assert made.ledger.payload(done.leaf) is not None
    if not made.database.is_sqlite:
        with made.database.read() as connection:
            connection.exec_driver_sql("CHECKPOINT")
        base = Path(unquote(str(made.database.url.query["host"]))) / "data" / "base"
        assert found_in(base, ["Zwirbelbank"]) == []
    with pytest.raises(Conflict, match="erased before"):
        made.eraser.erase(ErasureRequest(documents=(document(),)), "again", "local")


def test_erasing_an_answer_leaves_the_documents(made: FastWorkspace) -> None:
    one = made.answers.items(ASKER, limit=9)[-1][1]
    made.eraser.erase(ErasureRequest(answers=(one.id,)), "a request", "local")
    assert made.answers.get(one.id, LOCAL_OWNER).erased
    assert made.answers.get(one.id, ASKER).body["status"] == "erased"
    assert made.ledger.payload(one.number) is None
    assert "revision_text" in tables_with(made, "Zwirbelbank")
    assert faults(made) == []
    for request in (ErasureRequest(answers=("ans_x",)), ErasureRequest(("doc_x",)), ErasureRequest((), ("key_x",))):
        with pytest.raises(NotFound):
            made.eraser.preview(request)


def test_where_a_text_is_can_be_found_and_then_nowhere(made: FastWorkspace) -> None:
    found = made.occurrences.find(SECRET.upper())
    parts = {(one.kind, one.part) for one in found}
    assert {("document", "path"), ("revision", "text"), ("answer", "question"), ("answer", "prompt")} <= parts
    assert {"--document " + document()} <= {one.erase for one in found}
    made.eraser.erase(ErasureRequest(documents=(document(),)), "a request", "local")
    assert made.occurrences.find(SECRET) == []


def test_nothing_that_was_made_before_an_erasure_is_recorded_after_it(made: FastWorkspace) -> None:
    """Not even where its context names no passage that is gone: a notice could quote one."""
    composed = made.answering.compose(made.answering.pin(Question("Who serves soup?")))
    body, run = made.answering.body_of(composed), made.answering.run_of(composed)
    made.eraser.erase(ErasureRequest(documents=(document(),)), "a request", "local")
    with pytest.raises(OvertakenError):
        made.answers.record(body, run, principal=LOCAL_OWNER, prompt=composed.pinned.prompt, evidence=[])
    assert faults(made) == []


def reviewed(made: FastWorkspace) -> list[int]:
    """A review of the answer from the document, opened and commented on by a reviewer; the entries of both acts."""
    one, moment = made.answers.items(ASKER, limit=9)[-1][1], now()
    row = {"id": "rev_1", "answer_number": one.number, "reason": "policy", "approvals": 1, "deadline": moment}
    steps = (
        ("opened", opened_facts(row, one.id), {"by": "key_r"}),
        ("assigned", {"state": "open"}, {"by": "key_r", "assignee": "key_r"}),
        ("commented", {"state": "open"}, {"by": "key_r", "comment": f"{SECRET} is known to me, says Wenzel"}),
    )
    entries = []
    with made.database.write() as connection:
        values = row | {"state": "open", "assignee": "key_r", "created_at": moment}
        connection.execute(schema.review.insert(), values)
        for kind, facts, payload in steps:
            leaf = append(made.database, connection, f"review.{kind}", "rev_1", facts, dumps(payload), moment)
            event = {"leaf": leaf.number, "review_id": "rev_1", "kind": kind, "actor": "key_r", "created_at": moment}
            connection.execute(schema.review_event.insert(), event)
            entries.append(leaf.number)
    assert faults(made) == []
    return entries


@pytest.mark.parametrize("request_of", ["document", "answer", "principal"])
def test_what_reviewers_wrote_goes_too(made: FastWorkspace, request_of: str) -> None:
    entries = reviewed(made)
    answer = made.answers.items(ASKER, limit=9)[-1][1].id
    request = {
        "document": ErasureRequest(documents=(document(),)),
        "answer": ErasureRequest(answers=(answer,)),
        "principal": ErasureRequest(principals=("key_r",)),
    }[request_of]
    if request_of == "principal":
        made.answering.ask(Question("Who serves soup?", Principal("key_r", Role.REVIEWER)))
    made.eraser.erase(request, "a request", "local")
    assert [made.ledger.payload(number) for number in entries] == [None, None, None]
    assert tables_with(made, "says Wenzel") == set()
    with made.database.read() as connection:
        actors = set(connection.execute(select(schema.review_event.c.actor)).scalars())
        assignees = set(connection.execute(select(schema.review.c.assignee)).scalars())
    assert (actors, assignees) == (({""}, {None}) if request_of == "principal" else ({"key_r"}, {"key_r"}))
    assert faults(made) == []


TAMPERED = [
    ("revision", "title"),
    ("revision", "status"),
    ("revision", "recipe"),
    ("revision", "number"),
    ("revision", "created_at"),
    ("document", "path"),
    ("document", "external_id"),
    ("answer", "principal"),
    ("answer", "status"),
    ("answer_evidence", "cited"),
    ("answer_evidence", "chunk_id"),
    ("erasure", "certificate"),
    ("erasure", "leaf"),
    ("erasure", "created_at"),
    ("erased_leaf", "leaf"),
    ("erased_revision", "leaf"),
    ("hold", "value"),
    ("hold", "scope"),
    ("hold", "released"),
    ("hold", "placed"),
    ("hold", "created_at"),
    ("setting", "value"),
    ("api_key", "sha256"),
    ("api_key", "groups"),
    ("api_key", "name"),
]


def prepared(made: FastWorkspace) -> dict[str, Any]:
    """A key, a hold, an erasure of a document and one of a person; the rows that those left, by table."""
    key, _ = made.keys.create(Role.APP, (), "laptop")
    made.eraser.erase(ErasureRequest((document(),), (key.id,)), "a request", "local")
    made.holds.place("document", document("canteen"), "a lawsuit", "local")
    number = next(one.number for _, one in made.answers.items(LOCAL_OWNER, limit=9) if one.erased)
    evidence = schema.answer_evidence.c.answer_number == number
    return {
        "revision": schema.revision.c.status == "erased",
        "document": schema.document.c.public_id == document(),
        "answer": schema.answer.c.number == number,
        "answer_evidence": evidence & (schema.answer_evidence.c.position == 0),
        "api_key": schema.api_key.c.id == key.id,
        "setting": schema.setting.c.name == CHUNK_FLOOR,
    }


def changed(value: Any, table: str) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1 if table in ("erased_leaf", "erased_revision", "hold") else value + 1
    return "x" if value is None else f"{value[:-1]}{'x' if value[-1:] != 'x' else 'y'}"


def test_whatever_is_left_is_bound(made: FastWorkspace) -> None:
    rows = prepared(made)
    assert faults(made) == []
    missed = []
    for name, column in TAMPERED:
        table: Table = metadata.tables[name]
        which = rows.get(name)
        query = select(table.c[column]) if which is None else select(table.c[column]).where(which)
        with made.database.read() as connection:
            before = connection.execute(query).scalars().first()
        value = made.ledger.size() - 1 if column == "released" else changed(before, name)
        change = update(table).values({column: value})
        with made.database.write() as connection:
            old = connection.execute(select(table)).all()
            connection.execute(change if which is None else change.where(which))
        if not faults(made):
            missed.append((name, column))
        restore_rows(made, table, column, old)
    assert missed == []
    assert faults(made) == []


def restore_rows(made: FastWorkspace, table: Table, column: str, old: Any) -> None:
    keys = list(table.primary_key)
    with made.database.write() as connection:
        for row in old:
            same = [key == row._mapping[key.name] for key in keys]
            connection.execute(update(table).where(*same).values({column: row._mapping[column]}))


@pytest.mark.parametrize("name", ["erasure", "erased_leaf", "erased_revision", "hold"])
def test_a_lost_row_is_named(made: FastWorkspace, name: str) -> None:
    prepared(made)
    with made.database.write() as connection:
        connection.execute(delete(metadata.tables[name]))
    assert faults(made)


def test_a_payload_that_no_erasure_names_is_missed(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        connection.execute(delete(schema.ledger_payload).where(schema.ledger_payload.c.number == 2))
    assert any("no erasure names it" in fault for fault in faults(made))


def test_answers_expire_unless_held(made: FastWorkspace) -> None:
    later = datetime.now(UTC) + timedelta(days=31)
    rules = RetentionRules(answers_days=30)
    assert made.retention.due(rules).answers == []
    assert made.retention.due(RetentionRules(), later).answers == []
    held = made.holds.place("document", document(), "a lawsuit", "local")
    due = made.retention.due(rules, later)
    assert list(due.held.values()) == [held.id] * len(due.held)
    assert len(due.held) + len(due.answers) == 3
    assert due.held
    if due.answers:
        done = made.retention.expire(rules, "local", later)
        assert done is not None
        assert faults(made) == []
        made.eraser.resume()
        certificate = made.erasures.get(done.id).certificate
        assert (certificate["kind"], certificate["ledger"]["verified"]) == ("retention.expired", True)
    made.holds.release(held.id, "settled", "local")
    assert made.retention.expire(rules, "local", later) is not None
    made.eraser.resume()
    assert made.retention.due(rules, later).answers == []
    assert all(one.erased for _, one in made.answers.items(LOCAL_OWNER, limit=9))
    assert {one.principal for _, one in made.answers.items(LOCAL_OWNER, limit=9)} == {ASKER.id, "local"}
    assert faults(made) == []


def backup_of(made: FastWorkspace, path: Path, **flags: Any) -> Any:
    return made.backups.make(path, "local", **flags)


def target_of(settings: Settings) -> Target:
    url = settings.database_url
    return Target(
        settings.workspace_folder,
        settings.workspace,
        url.get_secret_value() if url else None,
        settings.ledger_key_file,
    )


def restored(tmp_path: Path, url: str) -> Settings:
    return Settings.load(**flags_of(tmp_path, url, f"home-{secrets.token_hex(4)}"))


@pytest.mark.parametrize("cross", [False, True])
def test_a_backup_brings_everything_back(
    made: FastWorkspace, tmp_path: Path, database_url: str, cross: bool, request: pytest.FixtureRequest
) -> None:
    uploads = made.settings.workspace_folder / "uploads" / "desk"
    uploads.mkdir(parents=True)
    (uploads / "a.md").write_text("# A\n\nAn uploaded page.\n" * 100_000)
    path = tmp_path / "a.backup"
    before = made.ledger.checkpoint()
    backup = backup_of(made, path, with_key=True)
    assert oct(backup.key_file.stat().st_mode)[-3:] == "600"
    assert found_in(tmp_path, [SECRET]) == [one for one in found_in(tmp_path, [SECRET]) if "a.backup" not in one]
    assert faults(made) == []
    if cross:
        to_sqlite = not made.database.is_sqlite
        database_url = "sqlite://" if to_sqlite else str(request.getfixturevalue("postgres_url"))
    settings = restored(tmp_path, database_url)
    again = restore(path, target_of(settings), "local", backup.key_file)
    assert (again.size, again.lost) == (backup.size, 0)
    with FastWorkspace(settings) as other:
        assert [f"{fault.where}: {fault.what}" for fault in other.verifier.faults()] == []
        old = parse_checkpoint(before.partition("\n\n")[0] + "\n")
        assert other.ledger.key.open(other.ledger.checkpoint(old.size)) == old
        assert other.ledger.leaf(again.entry).kind == "backup.restored"
        assert [one.body for _, one in other.answers.items(LOCAL_OWNER, limit=9)] == [
            one.body for _, one in made.answers.items(LOCAL_OWNER, limit=9)
        ]
        assert other.answering.ask(Question("When does the canteen open?"))["retrieval"]["used"]
        (tmp_path / "folder" / "new.md").write_text("# New\n\nA page about pencils.\n")
        other.indexer.ingest(InlineParser(), [tmp_path / "folder"], "folder")
        assert [f"{fault.where}: {fault.what}" for fault in other.verifier.faults()] == []
        copied = settings.workspace_folder / "uploads" / "desk" / "a.md"
        assert copied.read_bytes() == (uploads / "a.md").read_bytes()
    with pytest.raises(Conflict):
        restore(path, target_of(settings), "local", backup.key_file)


def test_without_the_signing_key_it_must_be_given(made: FastWorkspace, tmp_path: Path, database_url: str) -> None:
    backup = backup_of(made, tmp_path / "a.backup")
    settings = restored(tmp_path, database_url)
    with pytest.raises(NotFound, match="--ledger-key"):
        restore(tmp_path / "a.backup", target_of(settings), "local", backup.key_file)
    assert not settings.workspace_folder.exists()
    restore(tmp_path / "a.backup", target_of(settings), "local", backup.key_file, made.settings.ledger_key_file)
    with FastWorkspace(settings) as other:
        assert list(other.verifier.faults()) == []


def test_an_erasure_makes_earlier_backups_unreadable(made: FastWorkspace, tmp_path: Path, database_url: str) -> None:
    old = backup_of(made, tmp_path / "old.backup", with_key=True)
    done = made.eraser.erase(ErasureRequest(documents=(document(),)), "a request", "local")
    assert done.certificate["backups"]["destroyed_keys"] == [old.id]
    assert not old.key_file.exists()
    settings = restored(tmp_path, database_url)
    with pytest.raises(NotFound, match=done.id):
        made.backup_keys.read(old.id)
    with pytest.raises((NotFound, IntegrityFailure)):
        restore(tmp_path / "old.backup", target_of(settings), "local")
    new = backup_of(made, tmp_path / "new.backup", with_key=True)
    restore(tmp_path / "new.backup", target_of(settings), "local", new.key_file)
    with FastWorkspace(settings) as other:
        assert list(other.verifier.faults()) == []
        assert tables_with(other, SECRET) == set()


def test_a_changed_or_cut_backup_is_refused(made: FastWorkspace, tmp_path: Path, database_url: str) -> None:
    backup = backup_of(made, tmp_path / "a.backup", with_key=True)
    data = (tmp_path / "a.backup").read_bytes()
    bad = [bytearray(data) for _ in range(4)]
    bad[0][len(data) // 2] ^= 1
    bad[1] = bad[1][:-40]
    bad[2][30] ^= 1
    bad[3] += b"more"
    for number, one in enumerate(bad):
        path = tmp_path / f"{number}.bad"
        path.write_bytes(bytes(one))
        settings = restored(tmp_path, database_url)
        with pytest.raises(IntegrityFailure):
            restore(path, target_of(settings), "local", backup.key_file)
        assert not settings.workspace_folder.exists()
    other = json.loads(backup.key_file.read_text()) | {"key": "A" * 43 + "="}
    (tmp_path / "other.key").write_text(json.dumps(other))
    with pytest.raises(IntegrityFailure):
        restore(tmp_path / "a.backup", target_of(settings), "local", tmp_path / "other.key")


def test_a_lost_later_state_shows(made: FastWorkspace, tmp_path: Path, database_url: str) -> None:
    """What was recorded after the backup is gone; a checkpoint that was kept elsewhere says so."""
    backup = backup_of(made, tmp_path / "a.backup", with_key=True)
    made.answering.ask(Question("Is there soup?"))
    kept = made.ledger.checkpoint()
    settings = restored(tmp_path, database_url)
    restore(tmp_path / "a.backup", target_of(settings), "local", backup.key_file)
    with FastWorkspace(settings) as other:
        assert [one for one in other.verifier.faults((kept,)) if "checkpoint" in f"{one.where} {one.what}"]


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def test_an_erasure_does_not_wait_for_ever_for_a_reader(made: FastWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that holds one table and reads another waits for the rewriting that waits for it."""
    if made.database.is_sqlite:
        pytest.skip("readers of SQLite wait for nobody")
    monkeypatch.setattr(compaction, "LOCK_SECONDS", 0.1)
    with made.database.read() as reader:
        reader.execute(select(schema.answer)).all()
        with pytest.raises(Unavailable, match="erasures resume"):
            made.eraser.erase(ErasureRequest(documents=(document(),)), "a request", "local")
    assert [one.done for one in made.eraser.resume()] == [True]
    assert faults(made) == []
