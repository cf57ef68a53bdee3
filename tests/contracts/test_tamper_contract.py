"""`verify` names whatever was changed behind the program's back, on both databases; and nothing where all is well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from copies import CopyOf
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import Connection, Table, delete, select, update

from kernel.records import Principal, Question, Role
from kernel.storage.schema import (
    answer,
    answer_evidence,
    chunk,
    publication,
    revision,
    revision_text,
    snapshot,
    visibility,
)

ASKER = Principal("key_asker", Role.APP)


def build(made: FastWorkspace, folder: Path) -> None:
    (folder / "folder").mkdir()
    for n in range(2):
        (folder / "folder" / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in Lisbon.\n")
        made.indexer.ingest(InlineParser(), [folder / "folder"], "folder")
    for question in ("Who keeps register 0?", "Where is register 1?", "Who is Alpha Team?"):
        made.answering.ask(Question(question, ASKER))


@pytest.fixture
def made(copy_of: CopyOf) -> Iterator[FastWorkspace]:
    """A workspace with two snapshots of two documents and three answers."""
    with copy_of(build, chunk_tokens=48) as workspace:
        yield workspace


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def flip(value: Any) -> Any:
    """The value with one thing changed: a letter, a bit, or by one."""
    if isinstance(value, str):
        if not value:
            return "x"
        middle = len(value) // 2
        return value[:middle] + ("x" if value[middle] != "x" else "y") + value[middle + 1 :]
    return value + 1


def tamper(connection: Connection, table: Table, column: str) -> Any:
    """Change one value of the table's last row; the key of that row."""
    key = next(iter(table.primary_key))
    row = connection.execute(select(table).order_by(key.desc()).limit(1)).one()
    values = {column: flip(row._mapping[column])}
    connection.execute(update(table).where(key == row._mapping[key.name]).values(values))
    return row


def test_what_nobody_touched_has_no_faults(made: FastWorkspace) -> None:
    assert faults(made) == []


@pytest.mark.parametrize("column", ["text", "start", "end"])
def test_a_changed_chunk_is_named(made: FastWorkspace, column: str) -> None:
    with made.database.write() as connection:
        row = tamper(connection, chunk, column)
    assert any(row.public_id in fault for fault in faults(made))


def test_a_changed_text_is_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        row = tamper(connection, revision_text, "text")
    assert f"revision {row.revision_id}: its text does not match its SHA-256" in faults(made)


def test_a_changed_hash_or_a_lost_text_is_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        row = tamper(connection, revision, "text_sha256")
        connection.execute(delete(revision_text).where(revision_text.c.revision_id == row.id - 1))
    assert {fault.split(":")[0] for fault in faults(made)} >= {f"revision {row.id}", f"revision {row.id - 1}"}


@pytest.mark.parametrize("column", [column.name for column in answer.columns if column.name != "number"])
def test_a_changed_answer_is_named(made: FastWorkspace, column: str) -> None:
    with made.database.write() as connection:
        row = tamper(connection, answer, column)
    assert any(row.id in fault for fault in faults(made))


def test_a_missing_answer_is_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        number = connection.execute(select(answer.c.number).order_by(answer.c.number).limit(1)).scalar_one()
        connection.execute(delete(answer_evidence).where(answer_evidence.c.answer_number == number))
        connection.execute(delete(answer).where(answer.c.number == number))
    assert any("a record is missing" in fault for fault in faults(made))


@pytest.mark.parametrize("name", ["columns/vectors", "runs/*/terms.3.npy", "manifest.json"])
def test_a_changed_index_file_is_named(made: FastWorkspace, name: str) -> None:
    path = sorted((made.settings.workspace_folder / "index").glob(f"*/{name}"))[-1]
    data = bytearray(path.read_bytes())
    data[len(data) - 40] ^= 1
    path.write_bytes(bytes(data))
    assert [fault for fault in faults(made) if volume(made) in fault]


def test_a_missing_index_file_is_named(made: FastWorkspace) -> None:
    path = sorted((made.settings.workspace_folder / "index").glob("*/columns/vectors"))[-1]
    path.unlink()
    assert [fault for fault in faults(made) if volume(made) in fault]


def volume(made: FastWorkspace) -> str:
    return (made.settings.workspace_folder / "index" / "current").read_text()


@pytest.mark.parametrize("column", ["documents", "parent", "number"])
def test_a_changed_snapshot_is_named(made: FastWorkspace, column: str) -> None:
    with made.database.write() as connection:
        tamper(connection, snapshot, column)
    assert any("snapshot" in fault for fault in faults(made))


def test_a_snapshot_that_ends_too_early_is_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        connection.execute(update(snapshot).where(snapshot.c.number == 2).values(last_chunk=snapshot.c.last_chunk - 1))
    assert "snapshot 2: ends before a chunk that it shows" in faults(made)


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_snapshot_is_named(made: FastWorkspace, number: int) -> None:
    with made.database.write() as connection:
        connection.execute(delete(snapshot).where(snapshot.c.number == number))
    assert any("snapshot" in fault for fault in faults(made))


def test_a_live_snapshot_that_is_not_there_is_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        tamper(connection, publication, "snapshot")
    assert "snapshots: the live one, 3, is not there" in faults(made)


@pytest.mark.parametrize("values", [{"born": 0}, {"born": 3}, {"died": 1}, {"died": 9}])
def test_a_changed_visibility_is_named(made: FastWorkspace, values: dict[str, int]) -> None:
    with made.database.write() as connection:
        row = connection.execute(select(visibility).order_by(visibility.c.revision_id).limit(1)).one()
        connection.execute(update(visibility).where(visibility.c.revision_id == row.revision_id).values(values))
    assert any(f"revision {row.revision_id}:" in fault for fault in faults(made))


def test_two_visible_revisions_of_a_document_are_named(made: FastWorkspace) -> None:
    with made.database.write() as connection:
        row = connection.execute(select(revision).order_by(revision.c.id).limit(1)).one()
        connection.execute(
            update(revision).where(revision.c.id != row.id).values(document_id=row.document_id, number=2)
        )
    assert any(fault.startswith(f"document {row.document_id}:") for fault in faults(made))


@pytest.mark.parametrize("column", ["vector", "sentence_vectors", "sentences", "signature"])
def test_a_changed_vector_is_named(made: FastWorkspace, column: str) -> None:
    with made.database.write() as connection:
        row = connection.execute(select(chunk).order_by(chunk.c.id.desc()).limit(1)).one()
        data = bytearray(row._mapping[column])
        data[-3] ^= 1
        connection.execute(update(chunk).where(chunk.c.id == row.id).values({column: bytes(data)}))
    assert any(row.public_id in fault for fault in faults(made))
