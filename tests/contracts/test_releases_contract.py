"""Releases on both databases: all of a set or nothing, one call back, four eyes, seen by every process at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace
from prompt_parts import ADMIN, APP, EDITOR, REVIEWER, ingest, prompt_text, release, workspace_at
from workflow_texts import workflow_text

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from kernel.ids import canonical_json, sha256
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.prompts import EXPERIMENT
from kernel.storage.runs import NewEvent, NewRun
from kernel.storage.versioned import Happening
from pipeline.prompts.declaration import read_declaration
from pipeline.prompts.library import DEFAULT, Chosen, shipped_prompt

CASES = "- name: one\n  question: When?\n  context: [{title: T, text: At eleven.}]\n  expect:\n    - answers: true"
OTHER = Principal("key_boss", Role.ADMIN, None)
POLICY = "format: 1\nname: strict\n"


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[FastWorkspace]:
    with workspace_at(tmp_path, database_url) as workspace:
        ingest(workspace, tmp_path / "pages", canteen="# Canteen\n\nThe canteen opens at eleven.\n")
        yield workspace


def version(made: FastWorkspace, name: str, words: str) -> int:
    """A version that may go live, with its label `ready`."""
    header = "owner: team\n"
    text = prompt_text(name, question="{{question}}", role=words, header=header, tests=CASES)
    return release(made, text, "ready").version


def in_force(made: FastWorkspace, *names: str) -> list[int | None]:
    return [made.prompts.labels(name).get("production") for name in names]


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def test_a_set_goes_live_and_back_whole(made: FastWorkspace) -> None:
    desk, first = made.release_desk, made.policies.in_force().version.number
    mine, other = version(made, DEFAULT, "Another role."), version(made, "second", "A role.")
    policy = made.policies.add(POLICY, ADMIN.id, "strict").number
    manifest = {"prompts": {DEFAULT: mine, "second": other}, "policy": policy}
    one = desk.add(manifest, ADMIN, "the first set")
    assert desk.missing(one.number) == []
    assert in_force(made, DEFAULT, "second") == [shipped_prompt().version, None]
    before = made.answering.ask(Question("When does the canteen open?", APP))
    moved = desk.activate(one.number, OTHER, "go")
    assert moved.changed == {DEFAULT: (1, mine), "second": (0, other)}
    assert in_force(made, DEFAULT, "second") == [mine, other]
    assert made.policies.in_force().version.number == policy
    after = made.answering.ask(Question("When does the canteen open?", APP))
    assert (before["prompt"]["version"], after["prompt"]["version"]) == (1, mine)
    assert (before["policy"]["version"], after["policy"]["version"]) == (first, policy)
    assert desk.in_force() == one.number
    with pytest.raises(Conflict, match="in force already"):
        desk.activate(one.number, OTHER)
    back = desk.rollback(OTHER, "too short")
    assert (back.left, back.move.release) == ((), None)
    assert in_force(made, DEFAULT, "second") == [1, None]
    assert made.policies.in_force().version.number == first
    assert made.answering.ask(Question("When does the canteen open?", APP))["prompt"]["version"] == 1
    assert made.replayer.replay(after["id"], APP, ask_again=False)["identical"]
    with pytest.raises(Conflict, match="nothing to go back"):
        desk.rollback(OTHER)
    assert faults(made) == []


def workflow(made: FastWorkspace, title: str, *, green: bool = True) -> int:
    """A version of a workflow that is approved by another person, and has run well as often as it must."""
    version = made.workflows.save(workflow_text(title=title, pilot_runs=1), EDITOR.id, "a version")
    made.workflows.submit("weekly", version.version, EDITOR)
    made.workflows.approve("weekly", version.version, REVIEWER)
    if green:
        wanted = NewRun("weekly", version.version, version.sha256, "pilot", "hand", "key_x", {"input": {}})
        run = made.runs.start(wanted)[0]
        made.runs.finish(run.id, made.runs.take(run.id, 0).epoch, NewEvent("finished", data={"status": "done"}))
    return version.version


def test_prompts_workflows_and_policy_switch_together_and_back(made: FastWorkspace) -> None:
    desk, library = made.release_desk, made.workflows
    mine, first, second = version(made, "mine", "A role."), workflow(made, "One"), workflow(made, "Two")
    policy = made.policies.add(POLICY, ADMIN.id, "strict").number
    one = desk.add({"prompts": {"mine": mine}, "workflows": {"weekly": first}, "policy": policy}, ADMIN, "all")
    two = desk.add({"workflows": {"weekly": second}}, ADMIN, "workflow alone")
    assert desk.missing(one.number) == desk.missing(two.number) == []
    assert desk.differences(two.number, one.number)["workflows"] == {"weekly": [first, second]}
    moved = desk.activate(one.number, OTHER, "go")
    assert (moved.changed, moved.workflows) == ({"mine": (0, mine)}, {"weekly": (0, first)})
    assert desk.activate(two.number, OTHER).workflows == {"weekly": (first, second)}
    assert library.choose("weekly", APP).version == second
    assert desk.rollback(OTHER).workflows == {"weekly": (second, first)}
    assert (library.labels("weekly"), in_force(made, "mine")) == ({"live": first}, [mine])
    library.release("weekly", second, ADMIN)
    back = desk.rollback(OTHER, "all of it")
    assert back.left == (f"live of workflow weekly was moved to version {second} since: it stays there",)
    assert (back.changed, back.workflows, in_force(made, "mine")) == ({"mine": (mine, 0)}, {}, [None])
    assert made.policies.in_force().version.number != policy
    assert faults(made) == []


def test_a_workflow_that_has_shown_nothing_keeps_its_set_out(made: FastWorkspace) -> None:
    desk, good, raw = made.release_desk, version(made, "mine", "A role."), workflow(made, "One", green=False)
    one = desk.add({"prompts": {"mine": good}, "workflows": {"weekly": raw}}, ADMIN, "both")
    assert [lack.partition(" (")[0] for lack in desk.missing(one.number)] == [
        "weekly@1: it has 0 of 1 green unattended runs"
    ]
    size = made.ledger.size()
    with pytest.raises(Conflict, match="version 1 of workflow weekly cannot go live"):
        desk.activate(one.number, OTHER)
    assert (in_force(made, "mine"), desk.in_force(), made.ledger.size()) == ([None], None, size)
    with pytest.raises(NotFound, match="no workflow other"):
        desk.add({"workflows": {"other": 1}}, ADMIN, "none")


def test_a_release_from_before_there_were_workflows_reads_as_one_without(made: FastWorkspace) -> None:
    one = made.release_desk.add({"prompts": {"mine": version(made, "mine", "A role.")}}, ADMIN, "mine")
    assert one.sha256 == sha256(canonical_json({"model": None, "policy": None, "prompts": {"mine": 1}}))
    assert made.release_desk.get(one.number).manifest["workflows"] == {}


def test_going_back_twice_leads_further_back(made: FastWorkspace) -> None:
    desk = made.release_desk
    numbers = []
    for words in ("One role.", "Two roles.", "Three roles."):
        number = version(made, "mine", words)
        numbers.append(number)
        desk.activate(desk.add({"prompts": {"mine": number}}, ADMIN, words).number, OTHER)
    trail = []
    for _ in range(3):
        desk.rollback(OTHER)
        trail.append((desk.in_force(), *in_force(made, "mine")))
    assert trail == [(2, numbers[1]), (1, numbers[0]), (None, None)]
    desk.activate(3, OTHER)
    assert (desk.in_force(), *in_force(made, "mine")) == (3, numbers[2])
    assert faults(made) == []


def test_a_set_that_lacks_something_changes_nothing(made: FastWorkspace) -> None:
    desk = made.release_desk
    good = version(made, "good", "A role.")
    draft = made.prompts.save(prompt_text("bad", question="{{question}}", tests=CASES), EDITOR.id, "draft")
    one = desk.add({"prompts": {"good": good, "bad": draft.version}, "policy": 0}, ADMIN, "both")
    assert [part.split(":")[0] for part in desk.missing(one.number)] == ["bad@1", "bad@1"]
    size = made.ledger.size()
    with pytest.raises(Conflict, match="version 1 of prompt bad cannot go live: it has 0 of 1 approvals"):
        desk.activate(one.number, OTHER)
    assert (in_force(made, "good", "bad"), desk.in_force(), made.ledger.size()) == ([None, None], None, size)


def test_four_eyes(made: FastWorkspace) -> None:
    desk = made.release_desk
    one = desk.add({"prompts": {"mine": version(made, "mine", "A role.")}}, ADMIN, "mine")
    with pytest.raises(Forbidden, match="another person must"):
        desk.activate(one.number, ADMIN)
    made.policies.release(made.policies.add(f"{POLICY}prompts: {{approvals: 0}}\n", ADMIN.id, "none").number, ADMIN.id)
    assert desk.activate(one.number, ADMIN).move.release == one.number


def test_what_is_no_release_is_refused(made: FastWorkspace) -> None:
    desk = made.release_desk
    for manifest, error in (
        ({"prompts": {}}, InvalidInput),
        ({"prompts": {DEFAULT: 7}}, NotFound),
        ({"prompts": {"nothing": 1}}, NotFound),
        ({"prompts": {DEFAULT: "1"}}, InvalidInput),
        ({"policy": 99}, NotFound),
        ({"prompts": {DEFAULT: 1}, "strange": 1}, InvalidInput),
    ):
        with pytest.raises(error):
            desk.add(manifest, ADMIN, "wrong")
    with pytest.raises(InvalidInput, match="message"):
        desk.add({"policy": 0}, ADMIN, " ")
    desk.add({"policy": 0}, ADMIN, "right")
    with pytest.raises(Conflict, match="release 1 already"):
        desk.add({"policy": 0}, ADMIN, "again")
    other = desk.add({"prompts": {DEFAULT: 1}, "model": {"provider": "openai", "name": "x"}}, ADMIN, "a model")
    with pytest.raises(Conflict, match="for the model openai/x, but extractive"):
        desk.activate(other.number, OTHER)
    with pytest.raises(NotFound):
        desk.activate(9, OTHER)


def test_what_was_moved_by_itself_stays_and_is_named(made: FastWorkspace) -> None:
    desk = made.release_desk
    one, two = version(made, "one", "A role."), version(made, "two", "A role.")
    desk.activate(desk.add({"prompts": {"one": one, "two": two}}, ADMIN, "both").number, OTHER)
    newer = version(made, "two", "A newer role.")
    made.prompts.label("two", newer, "production", ADMIN)
    back = desk.rollback(OTHER)
    assert back.changed == {"one": (one, 0)}
    assert back.left == (f"production of prompt two was moved to version {newer} since: it stays there",)
    assert in_force(made, "one", "two") == [None, newer]


def test_another_process_sees_it_at_its_next_question(made: FastWorkspace) -> None:
    number = version(made, DEFAULT, "Another role.")
    one = made.release_desk.add({"prompts": {DEFAULT: number}}, ADMIN, "mine")
    question = Question("When does the canteen open?", APP)
    with FastWorkspace(made.settings) as other:
        assert other.answering.ask(question)["prompt"]["version"] == 1
        made.release_desk.activate(one.number, OTHER)
        assert other.answering.ask(question)["prompt"]["version"] == number
        other.release_desk.rollback(OTHER)
        assert made.answering.ask(question)["prompt"]["version"] == 1


def test_a_question_gets_all_of_a_release_or_none_of_it(made: FastWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release goes live between the moment that a question has read the policy and that it reads the prompt."""
    number = version(made, DEFAULT, "Another role.")
    policy = made.policies.add(POLICY, ADMIN.id, "strict").number
    one = made.release_desk.add({"prompts": {DEFAULT: number}, "policy": policy}, ADMIN, "both")
    choose, moved = made.prompts.choose, []

    def later(*arguments: Any) -> Chosen:
        if not moved:
            moved.append(made.release_desk.activate(one.number, OTHER))
        return choose(*arguments)

    monkeypatch.setattr(made.prompts, "choose", later)
    pinned = made.answering.pin(Question("When does the canteen open?", APP))
    assert (pinned.policy.version.number, pinned.prompt.version) == (policy, number)


def test_differences(made: FastWorkspace) -> None:
    desk = made.release_desk
    mine = version(made, DEFAULT, "Another role.")
    policy = made.policies.add(POLICY, ADMIN.id, "strict").number
    shipped = made.policies.in_force().version.number
    one = desk.add({"prompts": {DEFAULT: mine}, "policy": policy}, ADMIN, "one").number
    two = desk.add({"prompts": {DEFAULT: 1}}, ADMIN, "two").number
    assert desk.differences(one) == {
        "prompts": {DEFAULT: [1, mine]},
        "workflows": {},
        "policy": [shipped, policy],
        "model": None,
    }
    assert desk.differences(two) == {"prompts": {}, "workflows": {}, "policy": None, "model": None}
    assert desk.differences(two, one)["prompts"] == {DEFAULT: [mine, 1]}
    assert [one.number for one in desk.containing(DEFAULT)] == [2, 1]


def test_an_experiment_that_runs_keeps_a_set_out(made: FastWorkspace) -> None:
    desk = made.release_desk
    mine = version(made, "mine", "A role.")
    one = desk.add({"prompts": {"mine": mine}}, ADMIN, "mine")
    spec = {"arms": [{"name": "a", "version": mine, "share": 1.0}], "unit": "user"}
    made.prompts.change(
        "mine",
        ADMIN.id,
        lambda _: [Happening("mine", 0, EXPERIMENT, "", {"id": "exp_1", "state": "running", "spec": spec})],
    )
    assert desk.missing(one.number) == ["experiment exp_1 runs on prompt mine"]
    with pytest.raises(Conflict, match="experiment exp_1 runs"):
        desk.activate(one.number, OTHER)


def test_versions_and_the_journal_survive_a_restart(made: FastWorkspace) -> None:
    """A prompt that was saved, approved and labelled is the same in a new process, with every row of its journal."""
    number = version(made, "mine", "A role.")
    made.prompts.label("mine", number, "production", ADMIN, "live now")
    with FastWorkspace(made.settings) as other:
        found = other.prompts.find("mine@production")
        assert (found.version, found.author, found.message) == (number, EDITOR.id, "a version")
        kinds = [one.kind for one in other.prompts.events("mine")]
        assert kinds == ["submitted", "approved", "tested", "labelled", "labelled"]
        assert other.prompts.state().of("mine").standing(number).approvers == (REVIEWER.id,)
        assert other.prompts.words(other.prompts.events("mine")[-1].leaf)["comment"] == "live now"
        with pytest.raises(Conflict, match="is at version 1 now"):
            other.prompts.save(prompt_text("mine", question="{{question}}", role="New."), LOCAL_OWNER.id, "", 0)
        assert (
            other.prompts.save(prompt_text("mine", question="{{question}}", role="New."), LOCAL_OWNER.id, "", 1).version
            == 2
        )


def test_going_back_ends_an_experiment_on_what_was_released(made: FastWorkspace) -> None:
    """Nobody is drawn any more to a version that was taken back."""
    desk, number = made.release_desk, version(made, DEFAULT, "Another role.")
    desk.activate(desk.add({"prompts": {DEFAULT: number}}, ADMIN, "the set").number, OTHER)
    declared = read_declaration({"arms": [{"version": number}, {"version": version(made, DEFAULT, "A third.")}]})
    trial = made.experiments.start(DEFAULT, declared, OTHER)["id"]
    desk.rollback(OTHER, "wrong")
    assert made.experiments.status(trial)["state"] == "stopped"
    asked = [made.answering.ask(Question("When?", APP, session=f"s{n}"))["prompt"] for n in range(8)]
    assert {(one["version"], one.get("arm")) for one in asked} == {(1, None)}
    assert faults(made) == []
