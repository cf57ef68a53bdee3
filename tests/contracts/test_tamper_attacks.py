"""Attacks on a ledger of a thousand records: cut short, reordered, signed anew, rewritten whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from sqlalchemy import Connection, delete, select, update
from tamper_site import Saboteur

from kernel import merkle
from kernel.notes import Checkpoint, Signer
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.ledger import commitment
from kernel.storage.schema import answer, answer_evidence, ledger_leaf, ledger_node, ledger_payload
from pipeline.oversight.bundles import write_bundle
from pipeline.oversight.offline import check_bundle

RECORDS = 1000
ASKER = Principal("key_asker", Role.APP)


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """A home with a thousand answers, made once."""
    with scratch() as folder:
        (folder / "pages").mkdir()
        for n in range(3):
            (folder / "pages" / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in Lisbon.\n")
        with fast_workspace(folder / "home") as made:
            made.indexer.ingest(InlineParser(), [folder / "pages"], "pages")
            question = made.answering.pin(Question("Where is register 1?", ASKER))
            composed = made.answering.compose(question)
            run, evidence = made.answering.run_of(composed), composed.evidence.passages
            for _ in range(RECORDS):
                body = made.answering.body_of(composed)
                cited = {citation["chunk_id"] for citation in body["citations"]}
                passages = [(one.chunk_id, one.chunk_id in cited) for one in evidence]
                made.answers.record(body, run, principal=ASKER, prompt=question.prompt, evidence=passages)
        yield folder / "home"


@pytest.fixture
def made(built: Path) -> Iterator[FastWorkspace]:
    """A copy of it that a test may ruin."""
    with scratch() as folder:
        shutil.copytree(built, folder / "home")
        with fast_workspace(folder / "home") as workspace:
            yield workspace


@pytest.fixture
def write(made: FastWorkspace) -> Iterator[Callable[[Callable[[Connection], Any]], None]]:
    saboteur = Saboteur(made)

    def call(change: Callable[[Connection], Any]) -> None:
        with saboteur.write() as connection:
            change(connection)

    yield call
    saboteur.close()


Write = Callable[[Callable[[Connection], Any]], None]


def faults(made: FastWorkspace, *witnesses: str) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults(witnesses)]


def test_each_of_a_thousand_changed_records_is_named(made: FastWorkspace, write: Write) -> None:
    with made.database.read() as connection:
        ids = list(connection.execute(select(answer.c.id)).scalars())
    write(lambda connection: connection.execute(update(answer).values(confidence=answer.c.confidence + 0.25)))
    found = "\n".join(faults(made))
    assert len(ids) == RECORDS
    assert [one for one in ids if one not in found] == []


@pytest.mark.parametrize("place", [3, 500, RECORDS])
def test_a_forged_record_is_named_first(made: FastWorkspace, write: Write, place: int) -> None:
    payload = ledger_payload.c.payload

    def forge(connection: Connection) -> None:
        text = connection.execute(select(payload).where(ledger_payload.c.number == place)).scalar_one()
        forged = text.replace("Lisbon", "London") if "Lisbon" in text else f"{text} "
        connection.execute(update(ledger_payload).where(ledger_payload.c.number == place).values(payload=forged))

    write(forge)
    assert faults(made)[0].startswith(f"ledger entry {place}: ")


def test_an_answer_without_an_entry_is_named(made: FastWorkspace, write: Write) -> None:
    def add(connection: Connection) -> None:
        row = dict(connection.execute(select(answer).limit(1)).one()._mapping)
        connection.execute(answer.insert(), row | {"number": 5000, "id": "ans_forged"})

    write(add)
    assert any("answer ans_forged" in fault for fault in faults(made))


def cut(connection: Connection, size: int) -> None:
    """Drop every entry from `size` on with all that follows from it, nodes too."""
    for table, column in ((answer_evidence, answer_evidence.c.answer_number), (answer, answer.c.number)):
        connection.execute(delete(table).where(column >= size))
    for table in (ledger_payload, ledger_leaf):
        connection.execute(delete(table).where(table.c.number >= size))
    for row in connection.execute(select(ledger_node)).all():
        if (row.position + 1) << row.level > size:
            here = (ledger_node.c.level == row.level) & (ledger_node.c.position == row.position)
            connection.execute(delete(ledger_node).where(here))


@pytest.mark.parametrize("lost", [1, 400])
def test_a_ledger_cut_short_is_found(made: FastWorkspace, write: Write, lost: int) -> None:
    size = made.ledger.size()
    outside = made.ledger.checkpoint()
    write(lambda connection: cut(connection, size - lost))
    assert faults(made)[0].startswith(f"ledger entry {size - lost}: is missing")
    made.database.head_file.unlink()
    assert faults(made)[0].startswith("the head file: ")
    # whoever also puts an older signed head in its place leaves nothing behind here: a head kept elsewhere tells
    made.database.head_file.write_text(made.ledger.checkpoint())
    assert faults(made) == []
    assert faults(made, outside)[0].startswith(f"ledger entry {size - lost}: is missing")


def exchange(connection: Connection, table: Any, columns: Sequence[str], one: int, other: int) -> None:
    """Exchange values of two rows."""
    rows = [connection.execute(select(table).where(table.c.number == n)).one()._mapping for n in (one, other)]
    for number, row in ((one, rows[1]), (other, rows[0])):
        connection.execute(update(table).where(table.c.number == number).values({name: row[name] for name in columns}))


def test_exchanged_entries_and_payloads_are_found(made: FastWorkspace, write: Write) -> None:
    columns = [column.name for column in ledger_leaf.columns if column.name != "number"]
    write(lambda connection: exchange(connection, ledger_leaf, columns, 100, 101))
    assert any(fault.startswith("ledger entry 100: ") for fault in faults(made)[:2])
    write(lambda connection: exchange(connection, ledger_leaf, columns, 100, 101))
    write(lambda connection: exchange(connection, ledger_payload, ["salt", "payload"], 200, 300))
    assert [fault.partition(" (")[0] for fault in faults(made)[:2]] == ["ledger entry 200:", "ledger entry 300:"]


def rewrite(made: FastWorkspace, write: Write, signer: Signer, edit: Callable[[dict[str, Any], str], str]) -> None:
    """Make the whole ledger anew under another key: entries, commitments, tree, signatures. `edit` changes payloads."""
    key, frontier = signer.verifier, merkle.Frontier()
    rows = list(made.ledger.rows())
    values: list[tuple[dict[str, Any], str]] = []
    nodes: list[dict[str, Any]] = []
    for leaf, salt, payload in rows:
        said = json.loads(leaf.text)
        assert salt is not None
        assert payload is not None
        changed = edit(said, payload)
        said["commitment"] = commitment(salt, changed)
        text = rfc8785.dumps(said).decode()
        digest = merkle.leaf_hash(text.encode())
        nodes += [{"level": n[0], "position": n[1], "sha256": h.hex()} for n, h in frontier.push(digest)]
        head = Checkpoint(key.name, frontier.size, frontier.root())
        row = {"leaf": text, "subject": said["subject"], "sha256": digest.hex(), "signature": signer.sign(head.text)}
        values.append((row, changed))

    def put(connection: Connection) -> None:
        connection.execute(delete(ledger_node))
        connection.execute(ledger_node.insert(), nodes)
        for number, (row, payload) in enumerate(values):
            connection.execute(update(ledger_leaf).where(ledger_leaf.c.number == number).values(row))
            where = ledger_payload.c.number == number
            connection.execute(update(ledger_payload).where(where).values(payload=payload))

    write(put)
    made.database.head_file.write_text(key.note(head, values[-1][0]["signature"]))


def reopened(made: FastWorkspace, *witnesses: str) -> list[str]:
    """The faults that a new process sees."""
    with FastWorkspace(made.settings) as again:
        return faults(again, *witnesses)


def test_entries_signed_by_another_key_are_found(made: FastWorkspace, write: Write, tmp_path: Path) -> None:
    signer = Signer(tmp_path / "other.key", "vouch-default")
    rewrite(made, write, signer, lambda _, payload: payload)
    assert reopened(made)[0].startswith(("ledger entry 0: ", "the head file: "))
    shutil.copy(signer.path, made.settings.ledger_key_file)
    assert reopened(made)[0].startswith("ledger entry 0: does not name the key")


def test_a_ledger_rewritten_whole_is_caught_by_what_lies_outside(
    made: FastWorkspace, write: Write, tmp_path: Path
) -> None:
    outside, known = made.ledger.checkpoint(), made.ledger.key
    last = made.answers.records([made.ledger.size() - 1])
    answer_id = next(last).id
    signer = Signer(tmp_path / "other.key", "vouch-default")

    def forge(said: dict[str, Any], payload: str) -> str:
        if said["kind"] == "ledger.opened":
            said["subject"], said["facts"] = signer.verifier.name, {"key": str(signer.verifier)}
        return payload.replace("Lisbon", "London") if said["subject"] == answer_id else payload

    rewrite(made, write, signer, forge)
    shutil.copy(signer.path, made.settings.ledger_key_file)
    assert reopened(made) == [], "here nothing is left to tell: that is what a head or key kept elsewhere is for"
    assert reopened(made, outside)[0].startswith("checkpoint 1: ")
    with FastWorkspace(made.settings) as again:
        bundle = write_bundle(again.prover.bundle(answer_id, LOCAL_OWNER))
    outcome = check_bundle(bundle, known)
    assert outcome.fault is not None
    assert outcome.fault.where == "the checkpoint"
