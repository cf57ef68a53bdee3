"""Proofs that leave the machine: they hold with the public key alone, and nothing in them can be changed."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch

from kernel import merkle
from kernel.errors import Conflict, NotFound
from kernel.notes import Checkpoint, Signer
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage import schema
from pipeline.oversight.bundles import check_grown, export_head, write_bundle
from pipeline.oversight.offline import check_bundle
from pipeline.oversight.pack import FORM, HEAD, MANIFEST, SIGNED, Scope, check_pack, scope_of

ASKER = Principal("key_asker", Role.APP)


@pytest.fixture(scope="module")
def made() -> Iterator[FastWorkspace]:
    with scratch() as folder, fast_workspace(folder / "home") as workspace:
        for name, city in (("first", "Lisbon"), ("second", "Porto")):
            pages = folder / name
            pages.mkdir()
            for n in range(3):
                (pages / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in {city}.\n")
            workspace.indexer.ingest(InlineParser(), [pages], name)
        for n in range(4):
            workspace.answering.ask(Question(f"Where does Alpha Team keep register {n}?", ASKER))
        yield workspace


def answer_ids(made: FastWorkspace) -> list[str]:
    return [record.id for record in made.answers.records()]


def cited(made: FastWorkspace) -> str:
    return next(record.id for record in made.answers.records() if record.body["citations"])


def test_a_bundle_holds_with_the_key_alone(made: FastWorkspace) -> None:
    outcome = check_bundle(write_bundle(made.prover.bundle(cited(made), LOCAL_OWNER)), made.ledger.key)
    assert outcome.ok, outcome.fault
    assert len(outcome.proven) == 7


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every plain value in a JSON document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        yield from paths(inner, (*here, name))
    if not isinstance(value, dict | list):
        yield here


UNPROVEN = ("key", "size", "title", "uri", "source", "content_sha256", "text_sha256", "created_at", "number", "sha256")
"""Members that a bundle states without proof, or says twice."""


def test_no_value_of_a_bundle_can_be_changed(made: FastWorkspace) -> None:
    bundle = made.prover.bundle(cited(made), LOCAL_OWNER)
    tried = 0
    for path in paths(bundle):
        if path[-1] in UNPROVEN or (path[0] == "prompt" and path[-1] in ("name", "version")):
            continue
        changed = json.loads(json.dumps(bundle))
        place = changed
        for step in path[:-1]:
            place = place[step]
        old = place[path[-1]]
        place[path[-1]] = old[:-2] + ("x" if old[-2:-1] != "x" else "y") + old[-1:] if isinstance(old, str) else 7777
        if old is None:
            continue
        tried += 1
        assert not check_bundle(json.dumps(changed), made.ledger.key).ok, path
    assert tried > 15


def test_a_bundle_is_refused_under_another_key_and_in_other_forms(made: FastWorkspace, tmp_path: Path) -> None:
    text = write_bundle(made.prover.bundle(cited(made), LOCAL_OWNER))
    other = Signer(tmp_path / "key", "vouch-default").verifier
    outcome = check_bundle(text, other)
    assert outcome.fault is not None
    assert outcome.fault.where == "the checkpoint"
    for hostile in ("", "[]", "{}", "null", "{" * 100_000, '{"format": "vouch-bundle/1"}', text[:-20]):
        assert not check_bundle(hostile, made.ledger.key).ok


def test_a_forged_record_is_named(made: FastWorkspace) -> None:
    bundle = made.prover.bundle(cited(made), LOCAL_OWNER)
    forged = bundle | {"payload": bundle["payload"].replace("Lisbon", "London").replace("Porto", "London")}
    outcome = check_bundle(json.dumps(forged), made.ledger.key)
    assert outcome.fault is not None
    assert f"ledger entry {bundle['index']}" in outcome.fault.where
    assert len(outcome.proven) == 2


def test_only_those_who_may_read_an_answer_get_its_proof(made: FastWorkspace) -> None:
    first = answer_ids(made)[0]
    assert made.prover.proof(first, ASKER)["payload"] is not None
    with pytest.raises(NotFound):
        made.prover.proof(first, Principal("key_other", Role.APP))


def test_heads_grow_outside_and_show_a_rewritten_ledger(made: FastWorkspace, tmp_path: Path) -> None:
    file = tmp_path / "outside" / "heads"
    head, fresh = export_head(made.ledger, file)
    assert fresh
    assert export_head(made.ledger, file) == (head, False)
    made.answering.ask(Question("Who keeps register 1?", ASKER))
    later, fresh = export_head(made.ledger, file)
    assert (fresh, later.size) == (True, head.size + 1)
    assert [one.size for one in check_grown(made.ledger, file.read_text())] == [head.size, later.size]
    signer = made.database.signer
    beyond = Checkpoint(head.origin, later.size + 5, head.root)
    other = Checkpoint(head.origin, head.size, b"\1" * 32)
    for forged, words in ((beyond, "cut short"), (other, "rewritten")):
        note = signer.verifier.note(forged, signer.sign(forged.text))
        before = f"{file.read_text()}\n\n{note}"
        copy = tmp_path / "copy"
        copy.write_text(before)
        with pytest.raises(Conflict, match=words):
            export_head(made.ledger, copy)
        assert copy.read_text() == before
    with pytest.raises(Conflict, match="another ledger"):
        check_grown(made.ledger, file.read_text().replace(head.origin, "vouch-else"))


def test_a_pack_is_the_same_bytes_again_and_holds(made: FastWorkspace, tmp_path: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    manifest = made.packer.write(one, Scope())
    made.packer.write(two, Scope())
    assert one.read_bytes() == two.read_bytes()
    outcome = check_pack(one, made.ledger.key)
    assert outcome.ok, outcome.fault
    assert manifest["answers"] == [record.number for record in made.answers.records()]
    with zipfile.ZipFile(one) as file:
        names = set(file.namelist())
    first = answer_ids(made)[0]
    wanted = {f"answers/{first}.json", f"lineage/{first}.ttl", f"lineage/{first}.jsonld", "leaves.jsonl", "keys.json"}
    assert wanted | {"proofs.jsonl", "report.html", "report.md", MANIFEST, HEAD, "checkpoints.txt"} <= names


def test_a_pack_of_a_period_or_a_source_holds_its_answers(made: FastWorkspace, tmp_path: Path) -> None:
    rows = list(made.answers.records())
    middle = rows[2].body["created_at"]
    early = made.packer.write(tmp_path / "early.zip", scope_of(None, middle, None))
    late = made.packer.write(tmp_path / "late.zip", scope_of(middle, None, None))
    assert early["answers"] + late["answers"] == [row.number for row in rows]
    assert len(early["answers"]) == 2
    for name in ("early.zip", "late.zip"):
        assert check_pack(tmp_path / name, made.ledger.key).ok
    some = made.packer.write(tmp_path / "source.zip", scope_of(None, None, "first"))
    assert some["answers"]
    assert check_pack(tmp_path / "source.zip", made.ledger.key).ok
    with pytest.raises(NotFound):
        made.packer.write(tmp_path / "none.zip", scope_of(None, None, "nowhere"))


def rewritten(pack: Path, target: Path, name: str, data: bytes | None, more: dict[str, bytes] | None = None) -> Path:
    """The pack with one file changed (None: left out), and further files."""
    with zipfile.ZipFile(pack) as source, zipfile.ZipFile(target, "w") as file:
        for info in source.infolist():
            if info.filename != name:
                file.writestr(info.filename, source.read(info))
            elif data is not None:
                file.writestr(name, data)
        for extra, content in (more or {}).items():
            file.writestr(extra, content)
    return target


def test_any_changed_missing_or_added_file_of_a_pack_is_named(made: FastWorkspace, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    made.packer.write(pack, Scope())
    with zipfile.ZipFile(pack) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    for name, data in contents.items():
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        for other in (bytes(changed), None):
            outcome = check_pack(rewritten(pack, tmp_path / "bad.zip", name, other), made.ledger.key)
            assert outcome.fault is not None, name
            assert name in outcome.fault.where or name == HEAD, (name, outcome.fault)
    outcome = check_pack(rewritten(pack, tmp_path / "bad.zip", "", None, {"answers/x.json": b"{}"}), made.ledger.key)
    assert outcome.fault is not None
    assert outcome.fault.where == "answers/x.json"


def resigned(made: FastWorkspace, pack: Path, target: Path, changes: dict[str, bytes], answers: list[int]) -> Path:
    """A pack that a holder of the key made of another: with a manifest and head that fit the changed files."""
    with zipfile.ZipFile(pack) as source:
        contents = {name: source.read(name) for name in source.namelist()} | changes
    manifest = json.loads(contents[MANIFEST]) | {"answers": answers}
    kept = {name: data for name, data in contents.items() if name not in (MANIFEST, HEAD)}
    manifest["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in kept.items()}
    contents[MANIFEST] = json.dumps(manifest).encode()
    head = made.ledger.key.open(contents[HEAD].decode())
    signed = Checkpoint(head.origin, head.size, head.root, (SIGNED + hashlib.sha256(contents[MANIFEST]).hexdigest(),))
    note = made.ledger.key.note(signed, made.database.signer.sign(signed.text))
    contents[HEAD] = note.encode()
    with zipfile.ZipFile(target, "w") as file:
        for name, data in contents.items():
            file.writestr(name, data)
    return target


def test_even_the_workspace_cannot_leave_an_answer_out_or_forge_one(made: FastWorkspace, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    numbers = made.packer.write(pack, Scope())["answers"]
    with zipfile.ZipFile(pack) as file:
        lines = file.read("payloads.jsonl").splitlines(keepends=True)
        leaves = file.read("leaves.jsonl").splitlines(keepends=True)
    fewer = {"payloads.jsonl": b"".join(lines[:-1])}
    outcome = check_pack(resigned(made, pack, tmp_path / "a.zip", fewer, numbers[:-1]), made.ledger.key)
    assert outcome.fault is not None
    assert "leaves out" in outcome.fault.what
    forged = {"payloads.jsonl": b"".join([*lines[:-1], lines[-1].replace(b"Alpha Team", b"Omega Team")])}
    outcome = check_pack(resigned(made, pack, tmp_path / "b.zip", forged, numbers), made.ledger.key)
    assert outcome.fault is not None
    assert f"ledger entry {numbers[-1]}" in outcome.fault.where
    swapped = {"leaves.jsonl": b"".join([leaves[1], leaves[0], *leaves[2:]])}
    outcome = check_pack(resigned(made, pack, tmp_path / "c.zip", swapped, numbers), made.ledger.key)
    assert outcome.fault is not None
    assert outcome.fault.where == "leaves.jsonl"


def test_what_is_no_pack_is_refused_in_words(made: FastWorkspace, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for data in (b"", b"PK\5\6" + bytes(18), b"PK\3\4 nonsense"):
        path.write_bytes(data)
        assert not check_pack(path, made.ledger.key).ok
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"format": FORM}))
        file.writestr(HEAD, "nothing")
    assert not check_pack(path, made.ledger.key).ok


def test_openlineage_events_have_the_members_that_the_spec_requires(made: FastWorkspace) -> None:
    events = [json.loads(line) for line in made.openlineage.lines(None, None, None)]
    jobs = [event["job"]["name"] for event in events]
    assert jobs.count("snapshot") == 2
    assert jobs.count("answer") == len(answer_ids(made))
    for event in events:
        assert {"eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"} <= event.keys()
        assert set(event["job"]) >= {"namespace", "name"}
        assert len(event["run"]["runId"]) == 36
        for facet in event["run"]["facets"].values():
            assert {"_producer", "_schemaURL"} <= facet.keys()
        for dataset in (*event["inputs"], *event["outputs"]):
            assert {"namespace", "name"} <= dataset.keys()
    assert len({event["run"]["runId"] for event in events}) == len(events)
    assert list(made.openlineage.lines(None, None, None)) == list(made.openlineage.lines(None, None, None))


def test_the_report_counts_what_is_there_and_what_does_not_hold(made: FastWorkspace) -> None:
    report = made.reporter.report(timed=True)
    count = len(answer_ids(made))
    assert report["completeness"]["answers"] == report["completeness"]["with_valid_entry"] == count
    assert report["time_to_audit"]["answers"] == count
    assert set(report["time_to_audit"]["milliseconds"]) == {"proof", "lineage", "replay"}
    row = next(iter(made.answers.records()))
    with made.database.write() as connection:
        payload = schema.ledger_payload
        where = payload.c.number == row.number
        before = connection.execute(payload.select().where(where)).one()
        connection.execute(payload.update().where(where).values(payload=before.payload.replace("Alpha", "Omega")))
    assert made.reporter.report()["completeness"]["with_valid_entry"] == count - 1
    with made.database.write() as connection:
        connection.execute(payload.update().where(where).values(payload=before.payload))


@pytest.mark.slow
def test_a_hundred_thousand_leaves_are_checked_offline_in_ten_seconds(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "key", "vouch-test")
    frontier = merkle.Frontier()
    leaf = '{"at":"2026-01-01T00:00:00.000000+00:00","commitment":"%064d","facts":{},"kind":"x","number":%d}'
    lines = [leaf % (number, number) for number in range(100_000)]
    for line in lines:
        frontier.push(merkle.leaf_hash(line.encode()))
    files = {"leaves.jsonl": "".join(f"{line}\n" for line in lines), "payloads.jsonl": ""}
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    scope = {"since": None, "until": None, "source": None}
    manifest = json.dumps({"format": FORM, "scope": scope, "answers": [], "files": hashes})
    more = (SIGNED + hashlib.sha256(manifest.encode()).hexdigest(),)
    head = Checkpoint(signer.verifier.name, frontier.size, frontier.root(), more)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            file.writestr(name, text)
        file.writestr(MANIFEST, manifest)
        file.writestr(HEAD, signer.verifier.note(head, signer.sign(head.text)))
    begin = time.perf_counter()
    outcome = check_pack(tmp_path / "pack.zip", signer.verifier)
    assert outcome.ok, outcome.fault
    assert time.perf_counter() - begin <= 10
