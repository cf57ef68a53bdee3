"""What an attacker, or bad luck, would try on runs of a workspace put together as in earnest."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace
from workflow_site import REVIEWER, Site

from api.flows import Flows
from kernel.errors import Forbidden
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.runs import NewEvent, NewRun, Run, RunEvent
from pipeline.workflows.contract_effects import effect_faults
from pipeline.workflows.journal import RunState
from pipeline.workflows.spec import Workflow
from pipeline.workflows.starting import Wanted
from pipeline.workflows.steps.base import Done
from pipeline.workflows.sweeping import Sweeper

STARTER = Principal("key_starter", Role.APP)
WRITER = Principal("key_writer", Role.REVIEWER)
GUARDED = """\
name: guarded
owner: key_writer
stakes: medium
steps:
  - id: look
    kind: review
    with: {about: Send it?, effects: [send]}
  - id: send
    kind: deliver
    needs: [look]
    with: {to: file, path: out.txt, text: hello}
"""
LOOK = {"id": "look", "kind": "review", "with": {"about": "Send it?", "effects": ["send"]}}
SEND = {"id": "send", "kind": "deliver", "needs": ["look"], "with": {"to": "file", "path": "out.txt", "text": "hello"}}


class Still(Flows):
    """The workflows of a workspace whose turns are done by the test."""

    def submit(self, run: Run, seconds: float) -> None:
        """Nobody does it."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        yield workspace


@pytest.fixture
def site(made: FastWorkspace) -> Site:
    return Site(made)


def test_who_wrote_a_workflow_does_not_approve_what_it_does(made: FastWorkspace) -> None:
    """The starter is another person: it is the author alone who is refused here."""
    flows = Still(made)
    version = flows.library.save(GUARDED, WRITER.id, "first", 0)
    flows.library.pilot("guarded", version.version, LOCAL_OWNER)
    run = flows.desk.start(Wanted("guarded@pilot", {}, LOCAL_OWNER))
    flows.runner.advance(run.id, run.turn)
    (task,) = flows.people.items(WRITER, limit=5, run_id=run.id)
    seen = flows.people.show(task["id"], WRITER)
    assert not seen["may_decide"]
    with pytest.raises(Forbidden, match="who wrote a workflow"):
        flows.people.approve(task["id"], WRITER, seen["payload_sha256"])
    assert flows.people.show(task["id"], REVIEWER)["may_decide"]


def test_what_was_approved_once_is_not_sent_again_by_a_fork(site: Site) -> None:
    run = site.go(site.start({"stakes": "medium", "steps": [LOOK, SEND]}, who=STARTER).id)
    assert site.approve(run).status == "done"
    again = site.go(site.desk.fork(run.id, "send", STARTER).id)
    assert again.status == "waiting"
    assert list(site.delivered()) == ["out.txt"]
    assert site.approve(again).status == "done"


def test_who_forks_a_run_does_not_approve_what_it_does(site: Site) -> None:
    run = site.go(site.start({"stakes": "medium", "steps": [LOOK, SEND]}, who=STARTER).id)
    assert site.approve(run).status == "done"
    again = site.go(site.desk.fork(run.id, "look", REVIEWER).id)
    (task,) = site.people.items(REVIEWER, limit=5, state="open", run_id=again.id)
    assert not site.people.show(task["id"], REVIEWER)["may_decide"]


def test_runs_that_steps_started_end_with_the_run(site: Site) -> None:
    """A loop starts several; the first fails, so the run does: the others do not go on by themselves."""
    child = {"name": "child", "inputs": {"type": "object"}, "stakes": "low"}
    child["steps"] = [
        {"id": "bad", "kind": "echo", "when": "input.n == 1", "with": {"fail": 9, "retryable": False}},
        {"id": "wait", "kind": "question", "with": {"question": "Really?"}},
    ]
    site.know(Workflow.model_validate(child))
    step = {"id": "all", "kind": "workflow", "with": {"name": "child", "input": {"n": "{{ item }}"}}}
    run = site.start({"steps": [step | {"each": {"in": "[0, 1]", "limit": 5}}]})
    run = site.go(run.id)
    assert run.status == "failed"
    for one in site.runs.children(run.id):
        site.go(one.id)
    assert sorted(one.status for one in site.runs.children(run.id)) == ["cancelled", "failed"]


def test_a_chain_shows_only_runs_that_may_be_seen(site: Site) -> None:
    run = site.go(site.start({"steps": [{"id": "a", "kind": "echo"}]}, who=STARTER).id)
    other = NewRun("test", 1, run.spec_sha256, "live", "after", "workflow:secret", {"input": {}}, parent=run.id)
    made, _ = site.runs.start(other)
    assert [one["run"]["id"] for one in site.reader.chain(run.id, REVIEWER)["runs"]] == [made.id]
    assert site.reader.chain(run.id, STARTER)["runs"] == []


def test_cancelled_and_forked_runs_are_no_proof(site: Site) -> None:
    for status, trigger in (("done", "hand"), ("cancelled", "hand"), ("cancelled", "hand"), ("done", "fork")):
        run, _ = site.runs.start(NewRun("way", 1, "a" * 64, "pilot", trigger, "key_x", {"input": {}}))
        taken = site.runs.take(run.id, run.turn)
        assert taken is not None
        site.runs.finish(run.id, taken.epoch, NewEvent("finished", data={"status": status}))
    assert site.runs.green("a" * 64) == 1


@pytest.mark.parametrize(
    "value", ["\ud800", float("nan"), {"sentences": [{}]}, {"sentences": 5}, {"sentences": [], "citations": None}]
)
def test_an_output_that_cannot_be_kept_or_judged_fails_the_run_and_does_not_wedge_it(
    site: Site, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [{"name": "stands", "evidence": {"supported": 0.5}}]
    monkeypatch.setattr(site.echo, "run", lambda _given, _call: Done(value))
    run = site.go(site.start({"steps": [{"id": "a", "kind": "echo", "checks": checks}]}).id)
    assert run.status == "failed"


def test_an_old_turn_that_still_waits_does_not_hide_that_the_next_one_is_lost(site: Site) -> None:
    """The process died between a decision and its turn; the turn before still waits for the deadline, in two weeks."""
    run = site.go(site.start({"stakes": "medium", "steps": [LOOK, SEND]}, who=STARTER).id)
    waiting = {f"{run.id}:{run.turn}"}
    task = site.task(run)
    site.people.approve(task["id"], REVIEWER, task["payload_sha256"])
    submitted: list[tuple[str, int]] = []

    def known(names: Collection[str]) -> set[str]:
        return (waiting | {run.id}) & set(names)

    Sweeper(site.runs, known, lambda one, _: submitted.append((one.id, one.turn))).lost()
    assert submitted == [(run.id, run.turn + 1)]


def test_a_run_that_is_resumed_takes_the_runs_of_its_steps_along(site: Site) -> None:
    """A step starts its run once: were that not resumed, the run could only fail again."""
    child = {"name": "child", "stakes": "low", "steps": [{"id": "wait", "kind": "question", "with": {"question": "?"}}]}
    site.know(Workflow.model_validate(child))
    run = site.go(site.start({"steps": [{"id": "all", "kind": "workflow", "with": {"name": "child"}}]}).id)
    site.desk.cancel(run.id, LOCAL_OWNER)
    assert site.go(run.id).status == "cancelled"
    site.desk.resume(run.id, LOCAL_OWNER)
    assert site.go(run.id).status == "waiting"
    (part,) = site.runs.children(run.id)
    (task,) = site.people.items(LOCAL_OWNER, limit=5, state="open", run_id=part.id)
    site.people.answer(task["id"], {"answer": "yes"}, LOCAL_OWNER)
    site.go(part.id)
    assert site.go(run.id).status == "done"


def test_a_run_whose_starter_has_no_key_any_more_does_nothing_more(made: FastWorkspace, site: Site) -> None:
    key, secret = made.keys.create(Role.APP, None)
    run = site.go(site.start({"stakes": "medium", "steps": [LOOK, SEND]}, who=made.keys.authenticate(secret)).id)
    made.keys.revoke(key.id)
    ended = site.approve(run)
    assert (ended.status, site.reader.whole(run.id, REVIEWER)["why"]["slug"]) == ("failed", "revoked")
    assert site.delivered() == {}


def test_a_cancellation_that_comes_with_the_last_row_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"steps": [{"id": "a", "kind": "echo", "undo": {"kind": "echo", "with": {"acts": True}}}]}
    run = site.start(spec)
    finish = site.runs.finish

    def late(*given: Any) -> Run | None:
        monkeypatch.setattr(site.runs, "finish", finish)
        site.desk.cancel(run.id, LOCAL_OWNER)
        return finish(*given)

    monkeypatch.setattr(site.runs, "finish", late)
    assert site.go(run.id).status == "cancelled"
    assert [one.kind for one in site.runs.events(run.id)] == ["done", "cancelled", "undone", "finished"]


def test_one_approval_is_of_one_act(site: Site) -> None:
    loop = SEND | {"each": {"in": "[1, 2, 3]"}}
    spec = {"stakes": "medium", "steps": [LOOK, loop], "inputs": {"type": "object"}, "name": "test"}
    ended = site.approve(site.go(site.start(spec).id))
    assert site.error(ended)["slug"] == "not-approved"
    assert site.delivered() == {}
    faults = [what for _, what in effect_faults(Workflow.model_validate(spec), site.kinds)]
    assert any("once an item" in one for one in faults)


def test_what_is_at_stake_in_a_run_is_at_stake_in_those_that_its_steps_start(site: Site) -> None:
    """Else an effect would need nobody where it lies in a workflow of its own whose author says that little is."""
    child = {"name": "child", "stakes": "low", "steps": [SEND | {"needs": []}]}
    site.know(Workflow.model_validate(child))
    steps = [{"id": "all", "kind": "workflow", "with": {"name": "child"}}]
    run = site.go(site.start({"stakes": "high", "steps": steps}).id)
    (part,) = site.runs.children(run.id)
    assert (run.status, site.error(part)["slug"]) == ("failed", "not-approved")
    assert site.delivered() == {}
    assert site.go(site.start({"stakes": "low", "steps": steps}).id).status == "done"


def test_what_was_taken_back_is_done_again_under_another_key(site: Site) -> None:
    """Under the same one, whoever keeps to keys would do nothing, and the run would end well without its effect."""
    back = {"kind": "echo", "with": {"acts": True}}
    act = {"id": "act", "kind": "echo", "with": {"acts": True}, "undo": back}
    bad = {"id": "bad", "kind": "echo", "needs": ["act"], "with": {"fail": 1, "retryable": False, "value": "x"}}
    run = site.go(site.start({"steps": [act, bad]}).id)
    site.desk.resume(run.id, LOCAL_OWNER)
    assert site.go(run.id).status == "failed"
    acts = [f"{run.id}:act::r1", f"{run.id}:act:"]
    assert {key: site.echo.calls[key] for key in acts} == dict.fromkeys(acts, 1)
    assert site.echo.calls[f"{run.id}:act::undo"] == site.echo.calls[f"{run.id}:act::r1:undo"] == 1


def test_what_could_not_be_taken_back_is_not_done_twice(site: Site) -> None:
    back = {"kind": "echo", "with": {"acts": True, "fail": 9, "retryable": False}}
    act = {"id": "act", "kind": "echo", "with": {"acts": True}, "undo": back}
    bad = {"id": "bad", "kind": "echo", "needs": ["act"], "with": {"fail": 9, "retryable": False}}
    run = site.go(site.start({"steps": [act, bad]}).id)
    site.desk.resume(run.id, LOCAL_OWNER)
    assert site.go(run.id).status == "failed"
    assert [key for key in site.echo.order if ":act:" in key and "undo" not in key] == [f"{run.id}:act:"]


def test_a_step_starts_the_very_workflow_that_was_chosen_or_none(site: Site) -> None:
    """A text that comes with the program may be another one, of the same number, once the program is a newer one."""
    child = {"name": "child", "stakes": "low", "steps": [{"id": "a", "kind": "echo"}]}
    site.know(Workflow.model_validate(child))
    run = site.start({"steps": [{"id": "all", "kind": "workflow", "with": {"name": "child"}}]})
    site.know(Workflow.model_validate(child | {"title": "Another"}))
    assert site.error(site.go(run.id))["slug"] == "invalid-input"
    assert site.runs.children(run.id) == []


def test_what_was_taken_back_remembers_nothing_of_it_and_what_failed_does() -> None:
    rows = [
        ("note", "a"),
        ("note", "b"),
        ("done", "a"),
        ("failed", "b"),
        ("stopped", "b"),
        ("undone", "a"),
        ("resumed", ""),
    ]
    events = [RunEvent(place, "r", kind, step, None, 1, {}, "", "", {}) for place, (kind, step) in enumerate(rows)]
    state = RunState().after(events)
    assert [(state.of(one).status, len(state.of(one).notes), state.of(one).round) for one in "ab"] == [
        ("pending", 0, 1),
        ("pending", 1, 0),
    ]
