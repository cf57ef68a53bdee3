"""Runs of prompts on both databases: recorded whole, seen by who may see them, checked, and erased."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_model_server import FakeModelServer
from fast_parts import FastWorkspace
from prompt_parts import ADMIN, APP, EDITOR, REVIEWER, ingest, prompt_text, release, saying, with_model, workspace_at
from small_model import serving_small_model
from sqlalchemy import select, update

from kernel.errors import Conflict, InvalidInput, NoModel, NotFound
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.retention import RetentionRules
from kernel.storage.schema import ledger_payload, prompt_event, prompt_favourite, prompt_run
from pipeline.prompts.runs import RunRequest, run_shown

TESTS = "- name: one\n  inputs: {text: long words}\n  expect:\n    - contains: short"
SCHEMA = "output:\n  schema: {type: object, required: [kind], properties: {kind: {enum: [bill, order]}}}\n"


@pytest.fixture
def model() -> Iterator[FakeModelServer]:
    server = saying("Short words.")
    yield server
    server.close()


@pytest.fixture
def made(database_url: str, tmp_path: Path, model: FakeModelServer) -> Iterator[FastWorkspace]:
    with workspace_at(tmp_path, database_url, **with_model(model)) as workspace:
        release(workspace, prompt_text("shorten", tests=TESTS))
        yield workspace


def run(made: FastWorkspace, text: str = "Many long words", who: Principal = APP, prompt: str = "shorten") -> dict:
    return made.prompt_runner.run(RunRequest(prompt, {"text": text}, who))


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def test_a_run_is_recorded_with_all_that_it_stood_on(made: FastWorkspace, model: FakeModelServer) -> None:
    body = run(made)
    assert (body["status"], body["output"], body["json"], body["tries"]) == ("done", "Short words.", None, 1)
    assert (body["prompt"]["name"], body["prompt"]["version"], body["prompt"]["label"]) == ("shorten", 1, "production")
    assert body["model"]["name"] == "toy-1"
    assert model.seen[-1].body["messages"][-1]["content"].count("Many long words") == 1
    stored = made.prompt_runner.stored.get(body["id"], APP)
    assert {**stored.body, "timings_ms": {}} == {**body, "timings_ms": {}}
    assert stored.run["inputs"] == {"text": "Many long words"}
    assert stored.run["replies"] == ["Short words."]
    assert [one["role"] for one in stored.run["messages"]] == ["system", "user"]
    leaf = made.ledger.leaf(body["ledger"]["index"])
    assert (leaf.kind, leaf.subject, leaf.sha256) == ("prompt.run", body["id"], body["ledger"]["leaf_sha256"])
    assert "long words" not in leaf.text
    assert APP.id not in leaf.text
    assert faults(made) == []


def test_a_failed_model_is_a_run_too(made: FastWorkspace, model: FakeModelServer) -> None:
    release(made, prompt_text("kind", header=SCHEMA, tests=TESTS))
    body = run(made, prompt="kind")
    assert (body["status"], body["output"], body["tries"]) == ("failed", "", 2)
    assert "not JSON" in body["reason"]
    assert made.prompt_runner.stored.get(body["id"], APP).run["replies"] == ["Short words."] * 2
    model.close()
    body = run(made)
    assert body["status"] == "failed"
    assert faults(made) == []


def test_a_reply_is_repaired_once_and_read(database_url: str, tmp_path: Path) -> None:
    server = saying("a bill", '{"kind": "bill"}')
    with workspace_at(tmp_path, database_url, **with_model(server)) as made:
        release(made, prompt_text("kind", header=SCHEMA, tests=TESTS))
        body = run(made, prompt="kind")
    server.close()
    assert (body["status"], body["json"], body["tries"]) == ("done", {"kind": "bill"}, 2)


def test_who_sees_a_run(made: FastWorkspace) -> None:
    first, second = run(made), run(made, who=EDITOR)
    runs = made.prompt_runner.stored
    other = Principal("key_other", Role.APP)
    assert [one.id for one in runs.items(APP, limit=9)] == [first["id"]]
    assert [one.id for one in runs.items(REVIEWER, limit=9)] == [second["id"], first["id"]]
    assert [one.id for one in runs.items(REVIEWER, limit=9, before=second["ledger"]["index"])] == [first["id"]]
    assert runs.items(other, limit=9) == []
    with pytest.raises(NotFound):
        runs.get(first["id"], other)
    assert "run" not in run_shown(runs.get(first["id"], APP), APP)
    assert run_shown(runs.get(first["id"], ADMIN), ADMIN)["run"]["messages"]


def test_what_cannot_be_run_says_so(made: FastWorkspace, database_url: str, tmp_path: Path) -> None:
    draft = made.prompts.save(prompt_text("shorten", task="Cut: {{text}}"), EDITOR.id, "shorter")
    with pytest.raises(NotFound, match="no prompt shorten@2"):
        run(made, prompt=f"shorten@{draft.version}")
    with pytest.raises(InvalidInput, match="vouch ask --prompt grounded-answer"):
        run(made, prompt="grounded-answer")
    with pytest.raises(NotFound):
        run(made, prompt="nothing")
    with pytest.raises(InvalidInput, match="needs the input 'text'"):
        made.prompt_runner.run(RunRequest("shorten", {}, APP))
    with pytest.raises(InvalidInput, match="no input 'words'"):
        made.prompt_runner.run(RunRequest("shorten", {"text": "a", "words": "b"}, APP))
    assert made.prompt_runner.stored.items(ADMIN, limit=9) == []
    with workspace_at(tmp_path, database_url) as plain:
        release(plain, prompt_text("shorten", tests=TESTS))
        with pytest.raises(NoModel, match="needs a model: set generator = openai"):
            run(plain)


def test_the_policy_judges_runs(made: FastWorkspace, model: FakeModelServer) -> None:
    rules = """format: 1
name: strict
input:
  - rule: no-secrets
    phrases: [launch code]
    then: refuse
    message: Not that.
  - rule: look
    phrases: [lawsuit]
    then: review
output:
  - rule: no-words
    phrases: [short words]
    then: abstain
"""
    made.policies.release(made.policies.add(rules, "key_admin", "strict").number, "key_admin")
    asked = len(model.seen)
    refused, waits = run(made, "What is the launch code?"), run(made, "Shorten the lawsuit")
    assert (refused["status"], refused["reason"], refused["output"]) == ("refused", "Not that.", "")
    assert (waits["status"], waits["output"]) == ("refused", "")
    assert len(model.seen) == asked
    withheld = run(made)
    assert (withheld["status"], withheld["output"]) == ("withheld", "")
    stored = made.prompt_runner.stored.get(withheld["id"], APP)
    assert "Short words" not in json.dumps(run_shown(stored, APP))
    assert "Short words" in json.dumps(run_shown(stored, REVIEWER))
    assert faults(made) == []


def test_uses_are_counted_by_version_and_user(made: FastWorkspace, tmp_path: Path) -> None:
    ingest(made, tmp_path / "pages", canteen="# Canteen\n\nThe canteen opens at eleven.\n")
    for _ in range(2):
        run(made)
    run(made, who=EDITOR)
    answer = made.answering.ask(Question("When does the canteen open?", APP))
    digests = [made.prompts.find("shorten").sha256, answer["prompt"]["sha256"]]
    seen = {
        (one.prompt_sha256, one.principal): (one.answers, one.runs)
        for one in made.prompt_runner.stored.uses(digests, ADMIN)
    }
    assert seen == {
        (digests[0], APP.id): (0, 2),
        (digests[0], EDITOR.id): (0, 1),
        (digests[1], APP.id): (1, 0),
    }
    mine = made.prompt_runner.stored.uses(digests, EDITOR)
    assert [(one.principal, one.runs) for one in mine] == [(EDITOR.id, 1)]


def test_a_person_is_erased_from_runs_and_the_journal(made: FastWorkspace) -> None:
    key, _ = made.keys.create(Role.EDITOR)
    who = Principal(key.id, Role.EDITOR)
    body = run(made, "a private matter", who)
    made.prompts.comment("shorten", 1, who, "a private remark")
    with made.database.write() as connection:
        connection.execute(prompt_favourite.insert(), {"principal": key.id, "name": "shorten"})
    made.eraser.erase(ErasureRequest(principals=(key.id,)), "a request", LOCAL_OWNER.id)
    with made.database.read() as connection:
        texts = " ".join(connection.execute(select(ledger_payload.c.payload)).scalars())
        assert connection.execute(select(prompt_favourite)).all() == []
        for table, column in ((prompt_run, "principal"), (prompt_event, "actor")):
            assert key.id not in connection.execute(select(table.c[column])).scalars().all()
    assert "a private" not in texts
    left = made.prompt_runner.stored.get(body["id"], ADMIN)
    assert (left.erased, left.body["status"], left.body["output"], left.principal) == (True, "erased", "", "")
    assert faults(made) == []
    with made.database.write() as connection:  # who is said to have run it, where that is erased, is a change too
        connection.execute(update(prompt_run).where(prompt_run.c.id == body["id"]).values(principal="key_x"))
    assert any(body["id"] in fault for fault in faults(made))


def a_key(made: FastWorkspace) -> Principal:
    return Principal(made.keys.create(Role.APP)[0].id, Role.APP)


def test_one_run_is_found_and_erased_by_its_id(made: FastWorkspace) -> None:
    who = a_key(made)
    first, second = run(made, "a private matter", who), run(made, who=who)
    (found,) = [one for one in made.occurrences.find("private matter") if one.kind == "prompt.run"]
    assert found.erase == f"--answer {first['id']}"
    hold = made.holds.place("principal", who.id, "a case", LOCAL_OWNER.id)
    with pytest.raises(Conflict, match="hold"):
        made.erasures.erase(ErasureRequest(answers=(first["id"],)), "a request", LOCAL_OWNER.id)
    made.holds.release(hold.id, "settled", LOCAL_OWNER.id)
    made.eraser.erase(ErasureRequest(answers=(first["id"],)), "a request", LOCAL_OWNER.id)
    assert made.occurrences.find("private matter") == []
    assert made.prompt_runner.stored.get(first["id"], ADMIN).erased
    assert not made.prompt_runner.stored.get(second["id"], who).erased
    assert faults(made) == []


def test_runs_expire_with_answers(made: FastWorkspace) -> None:
    who = a_key(made)
    body = run(made, "a private matter", who)
    later = datetime.now(UTC) + timedelta(days=9)
    assert made.retention.expire(RetentionRules(30), LOCAL_OWNER.id, later) is None
    hold = made.holds.place("principal", who.id, "a case", LOCAL_OWNER.id)
    assert made.retention.expire(RetentionRules(5), LOCAL_OWNER.id, later) is None
    made.holds.release(hold.id, "settled", LOCAL_OWNER.id)
    assert made.retention.expire(RetentionRules(5), LOCAL_OWNER.id, later) is not None
    left = made.prompt_runner.stored.get(body["id"], ADMIN)
    assert (left.erased, left.principal) == (True, "")
    assert faults(made) == []


def test_inputs_of_a_grounded_prompt_are_recorded_and_replayed(made: FastWorkspace, tmp_path: Path) -> None:
    ingest(made, tmp_path / "pages", canteen="# Canteen\n\nThe canteen opens at eleven.\n")
    header = "inputs:\n  reader: {schema: {type: string}, default: anybody}\n"
    release(made, prompt_text("for-reader", question="For {{reader}}: {{question}}", header=header))
    asked = Question("When does the canteen open?", APP, prompt="for-reader", inputs={"reader": "a cook"})
    body = made.answering.ask(asked)
    record = made.answers.get(body["id"], APP)
    assert record.run["inputs"] == {"reader": "a cook"}
    assert "a cook" in record.run["messages"][-1]["content"]
    assert made.replayer.replay(body["id"], APP, ask_again=False)["identical"]
    other = made.answering.ask(Question("When does the canteen open?", APP, prompt="for-reader"))
    assert made.answers.get(other["id"], APP).run["inputs"] == {"reader": "anybody"}
    assert made.today.compare(body["id"], APP)["changes"] == []
    with pytest.raises(InvalidInput, match="no input 'colour'"):
        made.answering.ask(Question("When?", APP, prompt="for-reader", inputs={"colour": "red"}))


@pytest.mark.slow
def test_a_real_model_runs_a_prompt(tmp_path: Path) -> None:
    """A small language model on loopback: a free reply is done; one that must be JSON is, or the run has failed."""
    with serving_small_model() as url:
        flags = {"generator": "openai", "openai_base_url": url, "openai_model": "smollm2", "openai_max_tokens": 48}
        with workspace_at(tmp_path, None, **flags) as made:
            release(made, prompt_text("shorten", task="Repeat in one short sentence: {{text}}", tests=TESTS))
            release(made, prompt_text("kind", header=SCHEMA, tests=TESTS))
            free = run(made, "The canteen opens at eleven and serves soup on Fridays.")
            strict = run(made, "an invoice over 20 euros", prompt="kind")
            assert (free["status"], free["tries"], bool(free["output"].strip())) == ("done", 1, True)
            assert free["usage"]["completion_tokens"] > 0
            if strict["status"] == "done":
                assert strict["json"]["kind"] in ("bill", "order")
            else:  # its replies were cut off, or no JSON twice
                assert (strict["status"], strict["output"], bool(strict["reason"])) == ("failed", "", True)
            assert faults(made) == []
