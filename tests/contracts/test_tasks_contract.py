"""What tasks promise, on both databases: one opening, one decision, four eyes, what was seen, clocks, and erasure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from copies import CopyOf
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import select
from task_parts import AUTHOR, BOSS, ONE, STARTER, STEPS, TWO, Office, Site, call_of, fill_tasks, send

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionRequired, Unauthenticated
from kernel.ids import canonical_json, sha256
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.retention import Retention, RetentionRules
from kernel.storage.runs import NewEvent
from kernel.storage.schema import ledger_leaf, task, task_event
from kernel.storage.task_journal import STATES, effect_sha256
from pipeline.workflows.asking import covered
from pipeline.workflows.running import Runner
from pipeline.workflows.steps.base import Done, StepFailed, Waits
from pipeline.workflows.sweeping import Sweeper

EDIT = {"reply": "Dear Ann, it is late."}


def build(made: FastWorkspace, folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder" / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
    made.indexer.ingest(InlineParser(), [folder / "folder"], "folder")


@pytest.fixture
def made(copy_of: CopyOf) -> Iterator[FastWorkspace]:
    with copy_of(build, chunk_tokens=48) as workspace:
        yield workspace


@pytest.fixture
def office(made: FastWorkspace) -> Office:
    return Office(made)


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def later(moment: str, hours: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(hours=hours)).isoformat(timespec="microseconds")


def failed(office: Office, ref: str, step: str = "look") -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        office.resume(ref, call_of(step=step))
    return caught.value


def test_opening_twice_is_opening_once(made: FastWorkspace, office: Office) -> None:
    first = office.put()
    assert office.put() == first
    assert office.told.said == [("role:reviewer", "A review of triage, step look, waits for you")]
    assert office.put(call_of("run_2")) != first
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: office.put(call_of("run_3")), range(8)))
    assert len(ids) == 1
    assert office.tasks.counts()["open"] == 3
    assert faults(made) == []


def test_an_approval_is_bound_to_what_was_seen(made: FastWorkspace, office: Office) -> None:
    ref = office.put()
    shown = office.desk.show(ref, ONE)
    will = send("", "", {"values": {"reply": "Dear Ann,\nall is well."}})["send"]
    assert shown["effects"] == [{"step": "send", "sha256": sha256(canonical_json(will)), "with": will}]
    with pytest.raises(PreconditionRequired, match="payload_sha256"):
        office.desk.approve(ref, ONE, None)
    for wrong in ("0" * 64, shown["payload_sha256"][:11], shown["payload_sha256"][1:]):
        with pytest.raises(Conflict, match="read it again"):
            office.desk.approve(ref, ONE, wrong)
    office.preview = lambda run, step, output: {"send": {"to": "eve@example.org", "text": output["values"]["reply"]}}
    with pytest.raises(Conflict, match="not what is shown"):
        office.desk.approve(ref, ONE, shown["payload_sha256"])
    office.preview = send
    assert isinstance(office.resume(ref), Waits)
    assert office.desk.approve(ref, ONE, shown["payload_sha256"][:12], comment="good")["state"] == "approved"
    done = office.resume(ref)
    assert isinstance(done, Done)
    assert {name: done.output[name] for name in ("decision", "comment", "by", "task")} == {
        "decision": "approved",
        "comment": "good",
        "by": ONE.id,
        "task": ref,
    }
    assert covered(done.output, "send", will)
    assert not covered(done.output, "send", will | {"to": "eve@example.org"})
    assert not covered(done.output, "other", will)
    with pytest.raises(Conflict, match="is approved"):
        office.desk.reject(ref, "late", TWO)
    assert faults(made) == []


def test_an_edit_is_approved_with_what_it_makes_happen(made: FastWorkspace, office: Office) -> None:
    ref = office.put()
    for wrong in ({"reply": "no"}, {"reply": 7}, {"other": "x"}):
        with pytest.raises(InvalidInput, match="form"):
            office.desk.approve(ref, ONE, office.seen(ref), wrong)
    told = office.desk.preview(ref, EDIT, ONE)
    assert office.desk.approve(ref, ONE, told["payload_sha256"], EDIT)["state"] == "approved"
    done = office.resume(ref)
    assert isinstance(done, Done)
    assert done.output["values"] == EDIT
    assert covered(done.output, "send", send("", "", {"values": EDIT})["send"])
    shown = office.desk.show(ref, TWO)
    assert shown["effects"][0]["with"]["text"] == EDIT["reply"]
    assert sorted(shown["differences"]["reply (edited)"]) == [
        "+ Dear Ann, it is late.",
        "- Dear Ann,",
        "- all is well.",
    ]
    with made.database.read() as connection:
        leaf = connection.execute(select(ledger_leaf.c.leaf).where(ledger_leaf.c.kind == "task.approved")).scalar_one()
    assert told["payload_sha256"] in leaf
    assert ONE.id not in leaf
    assert "Dear" not in leaf


def test_what_depends_on_who_decides_is_recorded_with_the_decision(office: Office) -> None:
    def signed(_run: str, _step: str, output: Mapping[str, Any]) -> dict[str, Any]:
        return {"send": {"text": f"{output['values']['reply']} ({output['by']}, {output['at']}, {output['comment']})"}}

    office.preview = signed
    ref = office.put(call_of(preview=signed))
    assert office.desk.show(ref, ONE)["effects"][0]["with"]["text"].endswith("(, , )")
    office.desk.approve(ref, ONE, office.seen(ref), comment="fine")
    done = office.resume(ref)
    assert isinstance(done, Done)
    will = signed("", "", done.output)["send"]
    assert ONE.id in will["text"]
    assert covered(done.output, "send", will)
    assert done.output["effects"] == {"send": effect_sha256(will)}


def test_four_eyes(office: Office) -> None:
    ref, seen = office.put(), office.seen(office.put())
    for who, words in ((AUTHOR, "wrote a workflow"), (Principal("key_x", Role.APP), "other people")):
        with pytest.raises(Forbidden, match=words):
            office.desk.approve(ref, who, seen)
        with pytest.raises(Forbidden, match=words):
            office.desk.reject(ref, "no", who)
    own = office.put(call_of("run_2", starter=ONE))
    with pytest.raises(Forbidden, match="started a run"):
        office.desk.approve(own, ONE, office.seen(own))
    with pytest.raises(Forbidden, match="started a run"):
        office.desk.delegate(own, TWO.id, ONE)
    assert office.desk.show(own, ONE)["may_decide"] is False
    assert office.desk.approve(own, TWO, office.seen(own))["state"] == "approved"
    mine = office.put(call_of("run_3", starter=LOCAL_OWNER))
    with pytest.raises(Forbidden, match="started a run"):
        office.desk.approve(mine, LOCAL_OWNER, office.seen(mine))
    admins = office.put(call_of("run_4"), role="admin")
    with pytest.raises(Forbidden, match="any admin"):
        office.desk.approve(admins, ONE, office.seen(admins))
    assert office.desk.approve(admins, BOSS, office.seen(admins))["state"] == "approved"
    with pytest.raises(NotFound):
        office.desk.show("tsk_none", ONE)


def test_of_two_who_decide_at_once_one_does(made: FastWorkspace, office: Office) -> None:
    ref, seen = office.put(), office.seen(office.put())

    def decide(who: Principal) -> str:
        try:
            return str(office.desk.approve(ref, who, seen, {"reply": f"by {who.id}"})["state"])
        except Conflict:
            return "too late"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(decide, (ONE, TWO))) == ["approved", "too late"]
    ends = [one for one in office.tasks.events(ref) if one.kind == "approved"]
    assert len(ends) == 1
    assert faults(made) == []


def test_a_rejection_fails_the_step_with_its_reason(office: Office) -> None:
    ref = office.put()
    with pytest.raises(InvalidInput, match="reason"):
        office.desk.reject(ref, "  ", ONE)
    office.desk.reject(ref, "wrong tone", ONE)
    error = failed(office, ref)
    assert (error.slug, error.retryable, str(error)) == (
        "rejected",
        False,
        "step look: the task was rejected: wrong tone",
    )
    assert (error.output["by"], error.output["decision"]) == (ONE.id, "rejected")
    assert not covered(error.output, "send", {})


def test_a_time_out_rejects_and_is_a_breach(made: FastWorkspace, office: Office) -> None:
    ref = office.put(deadline="1h")
    found = office.tasks.get(ref)
    assert office.watch.sweep(later(found.deadline, -0.1)) == {}
    assert office.watch.sweep(found.deadline) == {"expired": 1}
    assert office.watch.sweep(later(found.deadline, 1)) == {}
    assert failed(office, ref).slug == "expired"
    with pytest.raises(Conflict, match="expired"):
        office.desk.approve(ref, ONE, found.payload_sha256)
    assert [one["id"] for one in office.desk.breaches(ONE, limit=9)] == [ref]
    # one whose deadline passed while nobody swept: nothing can be decided, and the step says so when it looks again
    short = office.put(call_of("run_2"), deadline="1ms")
    with pytest.raises(Conflict, match="expired"):
        office.desk.approve(short, ONE, office.seen(short))
    assert office.desk.items(ONE, limit=9, state="expired")[0]["id"] == short
    assert failed(office, short).slug == "expired"
    assert faults(made) == []


def test_reminders_and_escalation_happen_once(office: Office) -> None:
    ref = office.put(deadline="10h", remind=["4h", "2h"], escalate="1h", escalate_to="admin")
    deadline = office.tasks.get(ref).deadline
    assert office.tasks.get(ref).next_at == later(deadline, -4)
    office.told.said.clear()
    for _ in range(2):
        office.watch.sweep(later(deadline, -3.9))
    assert office.told.said == [("role:reviewer", f"A review of triage, step look, waits for you until {deadline}")]
    assert office.asks.until(ref) == later(deadline, -2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: office.watch.sweep(later(deadline, -0.9)), range(4)))
    assert sorted(to for to, _ in office.told.said) == ["role:admin", "role:reviewer", "role:reviewer"]
    assert [one.kind for one in office.tasks.events(ref)] == ["opened", "reminded", "reminded", "escalated"]
    assert office.tasks.get(ref).next_at == deadline
    assert office.desk.approve(ref, ONE, office.seen(ref))["state"] == "approved"
    assert office.watch.sweep(later(deadline, 1)) == {}


def test_late_reminders_are_one(office: Office) -> None:
    ref = office.put(deadline="10h", remind=["6h", "4h", "2h"])
    office.watch.sweep(later(office.tasks.get(ref).deadline, -1))
    assert [one.kind for one in office.tasks.events(ref)] == ["opened", "reminded"]


def test_delegation_goes_to_holders_of_the_role_and_never_to_who_may_not(made: FastWorkspace, office: Office) -> None:
    holder, _ = made.keys.create(Role.REVIEWER, None, "holder")
    asker, asker_secret = made.keys.create(Role.REVIEWER, None, "asker")
    app, _ = made.keys.create(Role.APP, None, "app")
    starter = made.keys.authenticate(asker_secret)
    ref = office.put(call_of(starter=starter))
    for key, words in ((asker.id, "started the run"), (AUTHOR.id, "wrote the workflow"), (app.id, "no key of role")):
        for act in (office.desk.delegate, office.desk.assign):
            with pytest.raises(InvalidInput, match=words):
                act(ref, key, ONE)
    assert office.desk.delegate(ref, holder.id, ONE)["assignee"] == holder.id
    person = Principal(holder.id, Role.REVIEWER)
    assert [one["id"] for one in office.desk.items(person, limit=9, mine=True)] == [ref]
    made.keys.revoke(holder.id)
    with pytest.raises(InvalidInput, match="no key of role"):
        office.desk.delegate(ref, holder.id, ONE)
    named = office.put(call_of("run_2"), person=ONE.id)
    with pytest.raises(Forbidden, match=f"this is for {ONE.id}"):
        office.desk.approve(named, TWO, office.seen(named))
    with pytest.raises(Forbidden, match="role admin"):
        office.desk.assign(named, "local", TWO)
    fixed = office.put(call_of("run_3"), delegate=False)
    with pytest.raises(Conflict, match="does not let"):
        office.desk.delegate(fixed, "local", ONE)
    office.desk.assign(named, "local", BOSS)
    assert office.desk.approve(named, LOCAL_OWNER, office.seen(named))["state"] == "approved"


def test_a_question_is_answered_by_who_started_the_run(office: Office) -> None:
    form = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    call = call_of(step="ask")
    ref = office.asks.open(call, "Which parcel?", form, {"ticket": "Where is it?"})
    assert office.asks.open(call, "Which parcel?", form, {"ticket": "Where is it?"}) == ref
    assert office.asks.open(call_of(step="ask", notes=1), "Which parcel?", form, {}) != ref
    assert office.asks.decision(ref) is None
    assert [one["id"] for one in office.desk.items(STARTER, limit=9, mine=True, state="open")][-1] == ref
    with pytest.raises(Forbidden, match="other people"):
        office.desk.answer(ref, {"number": 1}, Principal("key_x", Role.APP))
    with pytest.raises(Conflict, match="answer it"):
        office.desk.approve(ref, STARTER, "x")
    with pytest.raises(InvalidInput, match="number"):
        office.desk.answer(ref, {}, STARTER)
    office.desk.answer(ref, {"number": 7}, STARTER)
    made = office.asks.decision(ref)
    assert made is not None
    assert (made["state"], made["values"], made["by"]) == ("answered", {"number": 7}, STARTER.id)
    nobody = office.asks.open(call_of("run_2", starter=Principal("workflow:triage", Role.APP)), "Which?", form, {})
    assert office.desk.answer(nobody, {"number": 1}, ONE)["state"] == "answered"


def test_marks_comments_figures(office: Office) -> None:
    one, two = office.put(), office.put(call_of("run_2"))
    office.desk.show(one, ONE)
    office.desk.show(one, ONE)
    office.desk.show(one, TWO)
    assert [event.actor for event in office.tasks.events(one) if event.kind == "viewed"] == [ONE.id, TWO.id]
    for ref in (one, two):
        office.desk.mark(ref, "needs-action", ONE)
    office.desk.mark(two, "needs-action", TWO, off=True)
    with pytest.raises(InvalidInput, match="label"):
        office.desk.mark(one, "Needs action", ONE)
    office.desk.approve(one, ONE, office.seen(one))
    office.desk.comment(one, "done well", TWO)
    figures = office.desk.figures(ONE)
    assert figures["labels"] == {"needs-action": 1}
    assert {name: count for name, count in figures["states"].items() if count} == {"open": 1, "approved": 1}
    (step,) = figures["steps"]
    assert (step["workflow"], step["step"], step["decided"], step["approved"]) == ("triage", "look", 1, 1)
    assert 0 <= step["active_minutes"]["median"] <= step["queue_minutes"]["median"] < 1
    assert office.desk.show(one, TWO)["labels"] == ["needs-action"]
    with pytest.raises(Forbidden):
        office.desk.figures(STARTER)


def test_a_cancelled_run_closes_its_tasks(office: Office) -> None:
    one, two = office.put(), office.put(call_of(step="more"))
    office.desk.approve(one, ONE, office.seen(one))
    assert office.tasks.cancel_run("run_1") == [two]
    assert office.tasks.cancel_run("run_1") == []
    with pytest.raises(Conflict, match="cancelled"):
        office.desk.approve(two, ONE, office.seen(two))
    assert failed(office, two, "more").slug == "cancelled"


CHILD = """
import os, sys
from fast_parts import FastWorkspace
from kernel.settings import Settings
from task_parts import ONE, STEPS, Site
settings = Settings.load(home=sys.argv[1], workspace=sys.argv[2], database_url=sys.argv[3] or None)
with FastWorkspace(settings) as made:
    site = Site(made)
    site.know(STEPS)
    site.office.desk._submit = lambda run, seconds: os.kill(os.getpid(), 9)
    desk, ref = site.office.desk, sys.argv[4]
    desk.approve(ref, ONE, site.office.seen(ref))
"""


def test_a_run_waits_for_the_decision_and_does_exactly_what_was_approved(made: FastWorkspace) -> None:
    site = Site(made)
    run_id = site.start(STEPS)
    assert site.drain(run_id).status == "waiting"
    ref, desk = site.open_task(run_id), site.office.desk
    assert site.bench.echo.calls[f"{run_id}:send:"] == 0
    told = desk.preview(ref, {"reply": "Dear Ann, sorry"}, ONE)
    desk.approve(ref, ONE, told["payload_sha256"], {"reply": "Dear Ann, sorry"})
    assert site.office.told.runs == [run_id]
    assert made.runs.get(run_id).status == "queued"
    assert site.drain(run_id).status == "done"
    assert site.bench.echo.calls[f"{run_id}:send:"] == 1
    outputs = {event.step: (event.words or {}).get("output") for event in made.runs.events(run_id)}
    assert outputs["send"] == f"Dear Ann, sorry ({ONE.id})"
    assert ("decided", "look", None) in site.bench.journal(run_id)
    assert faults(made) == []


def test_a_decision_survives_the_death_of_the_process_before_the_run_was_told(made: FastWorkspace) -> None:
    site, settings = Site(made), made.settings
    run_id = site.start(STEPS)
    site.drain(run_id)
    ref = site.open_task(run_id)
    url = made.database.url.render_as_string(hide_password=False) if not made.database.is_sqlite else ""
    command = [sys.executable, "-c", CHILD, str(settings.home), settings.workspace, url, ref]
    tests = Path(__file__).parents[1]
    ended = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"}, capture_output=True, check=False
    )
    assert ended.returncode == -9, ended.stderr.decode()[-2000:]
    assert site.office.tasks.get(ref).state == "approved"
    submitted: list[str] = []
    Sweeper(made.runs, lambda _ids: set(), lambda run, _seconds: submitted.append(run.id)).lost()
    assert submitted == [run_id]
    assert site.drain(run_id).status == "done"
    assert site.bench.echo.calls[f"{run_id}:send:"] == 1


def test_a_decision_while_the_turn_is_under_way_is_not_missed(made: FastWorkspace) -> None:
    site = Site(made)
    run_id = site.start(STEPS)
    release = site.bench.runs.release

    def decided_just_before(*given: Any) -> Any:
        site.bench.runs.release = release
        ref = site.open_task(run_id)
        site.office.desk.approve(ref, ONE, site.office.seen(ref))
        return release(*given)

    site.bench.runs.release = decided_just_before  # type: ignore[method-assign]
    site.runner.advance(run_id, 0)
    assert made.runs.get(run_id).status == "done"
    assert site.office.told.runs == []


def test_a_time_out_wakes_the_run_and_rejects(made: FastWorkspace) -> None:
    site = Site(made)
    run_id = site.start(STEPS)
    site.runner.advance(run_id, 0)
    deadline = site.office.tasks.get(site.open_task(run_id)).deadline
    assert made.runs.get(run_id).wake_at == deadline
    assert site.office.watch.sweep(deadline) == {"expired": 1}
    assert site.office.told.runs == [run_id]
    assert site.drain(run_id).status == "failed"
    assert site.bench.echo.calls[f"{run_id}:send:"] == 0
    assert made.runs.events(run_id)[-1].data["slug"] == "expired"
    assert faults(made) == []


def test_a_cancelled_run_closes_its_tasks_and_a_resumed_one_asks_anew(made: FastWorkspace) -> None:
    site = Site(made)
    run_id = site.start(STEPS)
    site.runner.advance(run_id, 0)
    ref = site.open_task(run_id)
    made.runs.interrupt(run_id, NewEvent("cancelled"), ONE.id)
    assert site.drain(run_id).status == "cancelled"
    assert site.office.tasks.get(ref).state == "cancelled"
    with pytest.raises(Conflict, match="cancelled"):
        site.office.desk.approve(ref, ONE, site.office.seen(ref))
    made.runs.reopen(run_id, NewEvent("resumed"), ONE.id)
    site.runner.advance(run_id, made.runs.get(run_id).turn)
    again = site.open_task(run_id)
    assert again != ref
    site.office.desk.reject(again, "no", ONE)
    assert site.drain(run_id).status == "failed"
    made.runs.reopen(run_id, NewEvent("resumed"), ONE.id)
    site.runner.advance(run_id, made.runs.get(run_id).turn)
    third = site.open_task(run_id)
    site.office.desk.approve(third, ONE, site.office.seen(third))
    assert site.drain(run_id).status == "done"
    assert faults(made) == []


def test_tasks_of_a_run_that_ended_while_the_process_died_are_closed_by_a_sweep(made: FastWorkspace) -> None:
    site = Site(made)
    site.runner = site.bench.runner = Runner(replace(site.bench.runner._parts, ended=lambda _run: None))
    run_id = site.start(STEPS)
    site.runner.advance(run_id, 0)
    ref = site.open_task(run_id)
    made.runs.interrupt(run_id, NewEvent("cancelled"), ONE.id)
    assert site.drain(run_id).status == "cancelled"
    with pytest.raises(Conflict, match="finished"):
        site.office.desk.approve(ref, ONE, site.office.seen(ref))
    assert site.office.watch.sweep() == {"cancelled": 1}
    assert site.office.tasks.get(ref).state == "cancelled"


def test_a_check_that_does_not_hold_is_put_to_a_person(made: FastWorkspace) -> None:
    site = Site(made)
    check = {"name": "long", "that": "output | length > 20", "otherwise": "review"}
    run_id = site.start([{"id": "draft", "kind": "echo", "with": {"value": "short"}, "checks": [check]}])
    assert site.drain(run_id).status == "waiting"
    ref, desk = site.open_task(run_id), site.office.desk
    shown = desk.show(ref, ONE)
    assert shown["shown"]["output"] == "short"
    desk.approve(ref, ONE, shown["payload_sha256"])
    assert site.drain(run_id).status == "done"


def test_erasing_people_leaves_tasks_whose_record_holds(made: FastWorkspace, office: Office) -> None:
    person, secret = made.keys.create(Role.REVIEWER, None, "Robin")
    who = made.keys.authenticate(secret)
    own = office.put(call_of("run_1", starter=who))
    theirs, given = office.put(call_of("run_2")), office.put(call_of("run_3"))
    office.desk.mark(theirs, "odd", who)
    office.desk.approve(theirs, who, office.seen(theirs), EDIT, "Robin says so")
    office.desk.delegate(given, who.id, ONE)
    office.desk.comment(own, "what is this?", ONE)
    made.eraser.erase(ErasureRequest((), (person.id,)), "asked for it", "local")
    assert faults(made) == []
    with made.database.read() as connection:
        rows = [str(dict(row._mapping)) for table in (task, task_event) for row in connection.execute(select(table))]
    assert not any(person.id in row or "Robin" in row for row in rows)
    assert office.tasks.get(own).content == {}
    assert [one.payload for one in office.tasks.events(own)] == [{}, {}]
    assert office.tasks.get(given).assignee is None
    assert office.tasks.get(theirs).state == "approved"
    assert office.desk.show(theirs, ONE)["labels"] == []
    with pytest.raises(Conflict, match="erased"):
        office.desk.approve(own, ONE, office.seen(own))
    with pytest.raises(Unauthenticated):
        office.desk.comment(given, "more", who)
    assert office.desk.reject(own, "nothing is left", ONE)["state"] == "rejected"
    assert faults(made) == []


def test_erasing_an_answer_empties_the_tasks_that_show_it(made: FastWorkspace, office: Office) -> None:
    body = made.answering.ask(Question("Who keeps register 0?", STARTER))
    ref = office.put(show={"answer": {"id": body["id"], "text": body["answer"]}})
    other = office.put(call_of("run_2"))
    made.eraser.erase(ErasureRequest(answers=(body["id"],)), "asked for it", "local")
    assert office.tasks.get(ref).content == {}
    assert office.tasks.get(other).content
    assert faults(made) == []


def test_answers_that_expire_take_along_what_runs_and_tasks_show_of_them(made: FastWorkspace) -> None:
    site = Site(made)
    body = made.answering.ask(Question("Who keeps register 0?", STARTER))
    steps = [STEPS[0] | {"with": {"value": f"As {body['id']} says: Lisbon."}}, *STEPS[1:]]
    run_id, other = site.start(steps), site.start(STEPS)
    site.drain(run_id)
    site.drain(other)
    ref = site.open_task(run_id)
    later_on = datetime.now(UTC) + timedelta(days=3)
    Retention(made.database).expire(RetentionRules(answers_days=1), "local", later_on)
    assert faults(made) == []
    assert site.office.tasks.get(ref).content == {}
    assert made.runs.get(run_id).erased
    assert site.office.tasks.get(site.open_task(other)).content
    with pytest.raises(Conflict, match="erased"):
        site.office.desk.approve(ref, ONE, site.office.seen(ref))
    site.office.desk.reject(ref, "nothing is left", ONE)
    assert site.drain(run_id).status == "failed"
    assert faults(made) == []


def test_tasks_of_every_state_are_as_the_ledger_says(made: FastWorkspace) -> None:
    fill_tasks(made)
    counts = Office(made).tasks.counts()
    assert all(counts[state] for state in STATES)
    assert faults(made) == []
