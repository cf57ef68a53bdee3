"""Runs of workflows on both databases: order, branches, loops, retries, people, taking back, and deaths in between."""

from __future__ import annotations

import random
from typing import Any

import pytest
from workflow_parts import PEOPLE, Bench

from kernel.errors import Conflict, NotFound, Unavailable
from kernel.ids import canonical_json, sha256
from kernel.storage.database import Database
from kernel.storage.runs import NewEvent, NewRun, Superseded


@pytest.fixture
def bench(database: Database) -> Bench:
    """Runs over a fresh database."""
    PEOPLE.clear()
    return Bench(database)


def step(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    """A step that echoes its own name."""
    return {"id": name, "kind": "echo", "needs": list(needs), "with": {"value": name}} | more


def says(value: str) -> dict[str, Any]:
    """What makes a step echo this."""
    return {"with": {"value": value}}


QUICK = {"attempts": 3, "wait": "1ms"}


def test_steps_run_after_what_they_need_and_see_only_that(bench: Bench) -> None:
    spec = {
        "steps": [
            step(
                "last", "first", "middle", **{"with": {"value": "{{ steps.first.output }}+{{ steps.middle.output }}"}}
            ),
            step("first", **{"with": {"value": "{{ input.word }}"}}),
            step("middle", "first", when="steps.first.output == 'hi'"),
            step("never", "first", when="steps.first.output == 'no'"),
            step("after_never", "never"),
            step("blind", "first", **{"with": {"value": "{{ steps.middle.output }}"}, "on_failure": "continue"}),
        ],
        "output": {"all": "{{ steps.last.output }}"},
    }
    run = bench.start(spec, {"word": "hi"})
    assert bench.drain(run.id).status == "done"
    events = bench.runs.events(run.id)
    told = {(one.kind, one.step): one for one in events}
    assert told["finished", ""].words == {"output": {"all": "hi+middle"}}
    assert told["skipped", "never"].data["why"] == "when"
    assert told["skipped", "after_never"].data["why"] == "needs"
    assert told["failed", "blind"].data["slug"] == "invalid-input"
    assert bench.ended == [run.id]


def test_a_failure_that_may_pass_is_tried_again_and_one_that_may_not_stops_the_run(bench: Bench) -> None:
    again = step("again", retry=QUICK, **{"with": {"value": 1, "fail": 2}})
    broken = step("broken", "again", retry=QUICK, **{"with": {"fail": 9, "retryable": False}})
    run = bench.start({"steps": [again, broken, step("unreached", "broken")]})
    assert bench.drain(run.id).status == "failed"
    assert bench.echo.calls == {f"{run.id}:again:": 3, f"{run.id}:broken:": 1}
    assert bench.journal(run.id)[-2:] == [("stopped", "broken", None), ("finished", "", None)]
    assert bench.runs.events(run.id)[-1].data["at"] == "broken"


def test_a_check_that_does_not_hold_stops_diverts_or_asks_but_never_passes(bench: Bench) -> None:
    bad = [{"name": "long", "that": "output|length > 9"}]
    stops = bench.start({"steps": [step("a", checks=bad), step("b", "a")]})
    assert bench.drain(stops.id).status == "failed"
    assert [one for one in bench.journal(stops.id) if one[1] == "b"] == []

    diverts = bench.start(
        {"steps": [step("a", checks=[bad[0] | {"otherwise": {"go_to": "c"}}]), step("b", "a"), step("c", "a")]}
    )
    assert bench.drain(diverts.id).status == "done"
    assert ("done", "c", None) in bench.journal(diverts.id)
    assert ("skipped", "b", None) in bench.journal(diverts.id)

    for decision, status in (("rejected", "failed"), ("approved", "done")):
        asks = bench.start({"steps": [step("a", checks=[bad[0] | {"otherwise": "review"}]), step("b", "a")]})
        assert bench.drain(asks.id).status == "waiting"
        (ref,) = [one for one in bench.inbox.opened if asks.id in one]
        assert bench.inbox.opened[ref]["output"] == "a"
        bench.inbox.decisions[ref] = {"decision": decision}
        bench.runs.interrupt(asks.id, NewEvent("decided"), "somebody")
        assert bench.drain(asks.id).status == status


def test_a_branch_chooses_and_what_comes_after_joins(bench: Bench) -> None:
    routes = [{"when": "input.way == 'left'", "to": "left"}, {"when": "input.way == 'right'", "to": "right"}]
    route = {"id": "route", "kind": "branch", "with": {"routes": routes}}
    spec = {"steps": [step("join", "left", "right"), step("left", "route"), step("right", "route"), route]}
    for way, other in (("left", "right"), ("right", "left")):
        run = bench.start(spec, {"way": way})
        assert bench.drain(run.id).status == "done"
        journal = bench.journal(run.id)
        assert ("skipped", other, None) in journal
        assert journal.index(("done", way, None)) < journal.index(("done", "join", None))
    lost = bench.start(spec, {"way": "up"})
    assert bench.drain(lost.id).status == "failed"
    assert bench.runs.events(lost.id)[-1].data["slug"] == "no-route"


def test_a_loop_keeps_order_and_may_skip_what_fails(bench: Bench) -> None:
    each = {"in": "input.words", "as": "word", "on_failure": "skip"}
    loop = step(
        "loop", each=each, retry=QUICK, **{"with": {"value": "{{ word }}!", "fail": "{{ 9 if word == 'b' else 0 }}"}}
    )
    run = bench.start({"steps": [loop], "output": {"all": "{{ steps.loop.output }}"}}, {"words": ["a", "b", "c"]})
    assert bench.drain(run.id).status == "done"
    assert bench.runs.events(run.id)[-1].words == {"output": {"all": ["a!", None, "c!"]}}
    assert next(one for one in bench.runs.events(run.id) if one.kind == "done" and one.item is None).data["failed"] == 1


def test_what_was_done_is_taken_back_last_first(bench: Bench) -> None:
    undo = {"kind": "echo", "with": {"value": "no {{ output }}"}}
    steps = [
        step("a", undo=undo),
        step("b", "a", undo=undo),
        step("c", "b", **{"with": {"fail": 1, "retryable": False}}),
    ]
    run = bench.start({"steps": steps})
    assert bench.drain(run.id).status == "failed"
    assert [one[1] for one in bench.journal(run.id) if one[0] == "undone"] == ["b", "a"]
    assert [one.words["output"] for one in bench.runs.events(run.id) if one.kind == "undone"] == ["no b", "no a"]


def test_an_effect_needs_an_approval_of_exactly_that(bench: Bench) -> None:
    review = {"id": "ok", "kind": "review", "with": {"wait": "ref", "effects": ["send"]}}
    send = step("send", "ok", **{"with": {"acts": True, "value": "to {{ input.who }}"}})

    bare = bench.start({"steps": [step("send", **{"with": {"acts": True}})]})
    assert bench.drain(bare.id).status == "failed"
    assert bench.runs.events(bare.id)[-1].data["slug"] == "not-approved"
    low = bench.start({"stakes": "low", "steps": [step("send", **{"with": {"acts": True}})]})
    assert bench.drain(low.id).status == "done"
    for right in (True, False):
        run = bench.start({"steps": [review, send]}, {"who": "x"})
        assert bench.drain(run.id).status == "waiting"
        shown = bench.runner.preview(run.id, "ok", {"decision": "approved"})
        assert shown == {"send": {"acts": True, "value": "to x"}}
        PEOPLE["ref"] = {"effects": {"send": sha256(canonical_json(shown["send"])) if right else "0" * 64}}
        bench.runs.interrupt(run.id, NewEvent("decided"), "somebody")
        assert bench.drain(run.id).status == ("done" if right else "failed")
        PEOPLE.clear()


def test_an_effect_whose_review_was_not_given_is_not_even_tried(bench: Bench) -> None:
    refused = {"with": {"fail": 1, "retryable": False, "effects": ["send"]}, "on_failure": {"go_to": "tell"}}
    review = {"id": "ok", "kind": "review", "needs": ["draft"]} | refused
    send = step("send", "ok", "draft", **{"with": {"acts": True}})
    run = bench.start({"steps": [step("draft"), review, send, step("tell", "ok")]})
    assert bench.drain(run.id).status == "done"
    journal = bench.journal(run.id)
    assert ("skipped", "send", None) in journal
    assert ("done", "tell", None) in journal


def test_a_fault_of_the_program_ends_a_run_once_and_an_absent_database_does_not(bench: Bench) -> None:
    run = bench.start({"steps": [step("a")]})
    bench.runs.dies = lambda: (_ for _ in ()).throw(Unavailable("away"))  # type: ignore[assignment, return-value]
    with pytest.raises(Unavailable):
        bench.runner.advance(run.id, 0)
    bench.runs.dies = lambda: False
    spec = bench.specs.pop(run.spec_sha256)
    assert bench.drain(run.id).status == "failed"
    assert bench.runs.events(run.id)[-1].data["slug"] == "internal"
    bench.specs[run.spec_sha256] = spec
    bench.runs.reopen(run.id, NewEvent("resumed"), "somebody")
    assert bench.drain(run.id).status == "done"


def test_only_the_newest_epoch_writes(bench: Bench) -> None:
    run = bench.start({"steps": [step("a")]})
    first, second = bench.runs.take(run.id, 0), bench.runs.take(run.id, 0)
    assert first is not None
    assert second is not None
    assert bench.runs.write(run.id, second.epoch, [NewEvent("note")], -1)
    with pytest.raises(Superseded):
        bench.runs.write(run.id, first.epoch, [NewEvent("note")], -1)
    assert bench.runs.take(run.id, 5) is None


def test_a_run_is_started_once_a_key(bench: Bench) -> None:
    one, two = (bench.start({"steps": [step("a")]}, dedup="x" * 64) for _ in range(2))
    assert one.id == two.id
    with pytest.raises(NotFound):
        bench.runs.get("wfr_nothing")


def test_cancel_and_resume(bench: Bench) -> None:
    run = bench.start({"steps": [step("a"), step("b", "a", **{"with": {"wait": "ref"}}), step("c", "b")]})
    assert bench.drain(run.id).status == "waiting"
    assert bench.runs.interrupt(run.id, NewEvent("cancelled", words={"reason": "no"}), "somebody") is not None
    assert bench.drain(run.id).status == "cancelled"
    with pytest.raises(Conflict):
        bench.runs.interrupt(run.id, NewEvent("cancelled"), "somebody")
    PEOPLE["ref"] = "b"
    bench.runs.reopen(run.id, NewEvent("resumed"), "somebody")
    assert bench.drain(run.id).status == "done"
    assert bench.echo.calls[f"{run.id}:a:"] == 1


def test_whatever_dies_whenever_the_run_ends_the_same(database: Database) -> None:
    """A run whose process dies before or after any write ends as one that never died, with the same effects by key."""
    undo = {"kind": "echo", "with": {"value": "undo"}}
    for seed in range(12):
        draw = random.Random(seed)
        names = [f"s{place}" for place in range(6)]
        steps = [
            step(
                name,
                *draw.sample(names[:place], draw.randint(0, min(2, place))),
                retry=QUICK,
                undo=undo,
                **{"with": {"value": place, "fail": draw.choice([0, 0, 1, 9 if draw.random() < 0.3 else 0])}},
            )
            for place, name in enumerate(names)
        ]
        steps[3]["each"] = {"in": "[1, 2, 3]", "as": "one"}
        alive, mortal = Bench(database), Bench(database)
        calm = alive.drain(alive.start({"steps": steps}).id)
        mortal.runs.dies = lambda draw=draw: draw.random() < 0.15  # type: ignore[misc]
        run = mortal.start({"steps": steps})
        ended = mortal.drain(run.id)
        assert ended.status == calm.status
        assert _ends(mortal, run.id) == _ends(alive, calm.id)
        assert {key.split(":", 1)[1] for key in mortal.echo.calls} == {key.split(":", 1)[1] for key in alive.echo.calls}


def _ends(bench: Bench, run_id: str) -> list[Any]:
    kept = ("done", "skipped", "undone", "stopped", "finished")
    return [
        (one.kind, one.step, one.item, (one.words or {}).get("output"))
        for one in bench.runs.events(run_id)
        if one.kind in kept
    ]


def test_a_wanted_run_keeps_what_it_was_started_with(bench: Bench, database: Database) -> None:
    said = {"input": {"who": "Ada"}, "principal": {"role": "app", "groups": ["hr"]}, "pins": {}}
    run, new = bench.runs.start(NewRun("other", 3, "a" * 64, "live", "cron", "key_1", said, due_at=None))
    assert new
    assert bench.runs.items(limit=5, text="Ada")[0].id == run.id
    assert bench.runs.items(limit=5, text="Bob") == []
    assert [one.id for one in bench.runs.unfinished()] == [run.id]
