"""Steps that ask people: what their `with` takes, what they put out, what a reviewer is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace
from pydantic import ValidationError
from task_parts import FORM, GIVEN, ONE, STARTER, Office, call_of

from kernel.errors import InvalidInput
from kernel.records import Principal
from kernel.storage.task_journal import OPEN, TaskEvent, standing
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.ask_user import Question, QuestionWith
from pipeline.workflows.steps.base import Done, StepFailed, Waits
from pipeline.workflows.steps.review import Review, ReviewWith


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        yield workspace


@pytest.fixture
def office(made: FastWorkspace) -> Office:
    return Office(made)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"form": {"type": "array"}}, "schema of an object"),
        ({"form": {"type": "object", "properties": {"x": {"type": "text"}}}}, "not a JSON Schema"),
        ({"deadline": "1h", "remind": ["30m", "1h"]}, "before the deadline"),
        ({"deadline": "1h", "escalate": "2h"}, "before the deadline"),
        ({"deadline": 5}, "duration"),
        ({"role": "app"}, "editor"),
        ({"escalate_to": "nobody"}, "pattern"),
        ({"shown": {}}, "shown"),
        ({"about": ""}, "about"),
    ],
)
def test_what_a_review_step_does_not_take(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ReviewWith.model_validate(GIVEN | wrong)


def test_one_reminder_is_a_list_of_one() -> None:
    assert ReviewWith.model_validate(GIVEN | {"remind": "1h"}).remind == [3600.0]


def test_what_a_review_puts_out_fits_its_schema(office: Office) -> None:
    step = Step.model_validate({"id": "look", "kind": "review", "with": GIVEN})
    schema = office.review.output(step)
    ref = office.put()
    office.desk.approve(ref, ONE, office.seen(ref), {"reply": "Dear Ann"}, "ok")
    done = office.resume(ref)
    assert isinstance(done, Done)
    assert schema_faults(done.output, schema) == []
    assert schema_faults(done.output | {"decision": "rejected"}, schema) != []
    assert done.used.refs == {"tasks": (ref,)}
    assert not office.review.effect({})


def test_a_step_whose_effect_cannot_be_told_does_not_ask(office: Office) -> None:
    with pytest.raises(StepFailed, match="what step send would do"):
        office.put(call_of(preview=lambda *_: {}))
    assert office.tasks.counts()[OPEN] == 0


def test_what_is_too_large_or_no_json_is_not_put_to_a_person(office: Office) -> None:
    with pytest.raises(InvalidInput, match="longer than"):
        office.put(show={"text": "x" * 500_000})
    with pytest.raises(InvalidInput, match="not JSON"):
        office.put(show={"number": float("nan")})
    assert office.tasks.counts()[OPEN] == 0


def test_a_question_waits_for_its_answer(office: Office) -> None:
    kind, call = Question(office.asks), call_of(step="ask")
    given = QuestionWith.model_validate({"question": "Which parcel?", "show": {"ticket": "Where is it?"}})
    waits = kind.run(given, call)
    assert isinstance(waits, Waits)
    assert (waits.for_, waits.until) == ("person", office.tasks.get(waits.ref).deadline)
    assert kind.resume(given, call, waits) == waits
    office.desk.answer(waits.ref, {"answer": "The blue one."}, STARTER)
    done = kind.resume(given, call, waits)
    assert isinstance(done, Done)
    assert done.output["values"] == {"answer": "The blue one."}
    step = Step.model_validate({"id": "ask", "kind": "question", "with": {"question": "Which?"}})
    assert schema_faults(done.output, kind.output(step)) == []


def test_a_reviewer_sees_evidence_verdicts_and_differences(made: FastWorkspace) -> None:
    answer = "ans_" + "0" * 30
    body = {
        "status": "answered",
        "answer": "In Lisbon.",
        "confidence": 0.8,
        "citations": [{"id": "c1", "document_id": "doc_1", "quote": "in Lisbon", "title": "Register", "sentence": 1}],
        "policy": {"verdicts": [{"rule": "all", "verdict": "pass", "detail": ""}]},
    }
    asked: list[tuple[str, Principal]] = []

    def evidence(answer_id: str, who: Principal) -> dict[str, Any] | None:
        asked.append((answer_id, who))
        return body if answer_id == answer else None

    office = Office(made)
    office.desk._evidence = evidence
    show = {"found": {"id": answer}, "other": f"see {answer}", "gone": "ans_" + "1" * 30}
    ref = office.put(show=show, against={"reply": "Dear Ann,\nall was well.", "found": {"id": answer}})
    shown = office.desk.show(ref, ONE)
    assert asked == [(answer, ONE), ("ans_" + "1" * 30, ONE)]
    (one,) = shown["evidence"]
    assert (one["answer_id"], one["confidence"], one["citations"][0]["quote"]) == (answer, 0.8, "in Lisbon")
    assert shown["verdicts"] == [{"rule": "all", "verdict": "pass", "detail": "", "answer_id": answer}]
    assert shown["differences"] == {"reply": ["  Dear Ann,", "- all was well.", "+ all is well."]}
    assert (shown["values"], shown["form"], shown["stakes"]) == ({"reply": "Dear Ann,\nall is well."}, FORM, "medium")
    assert shown["may_decide"]
    assert [event["kind"] for event in shown["events"]] == ["opened", "viewed"]


def test_a_journal_folds_to_one_end() -> None:
    def event(kind: str, at: str, **payload: Any) -> TaskEvent:
        return TaskEvent(0, kind, "key_x", "", payload, at)

    content = {"remind": ["2", "4"], "escalate_at": "6", "escalate_to": "admin"}
    begin = standing("reviewer", "8", content, [])
    assert (begin.state, begin.next_at, begin.next_kind) == ("open", "2", "reminded")
    told = [event("reminded", "3", moment="2"), event("escalated", "4", role="admin")]
    after = standing("reviewer", "8", content, told)
    assert (after.next_at, after.next_kind, after.roles) == ("4", "reminded", {"reviewer", "admin"})
    ended = standing("reviewer", "8", content, [*told, event("approved", "5"), event("rejected", "6")])
    assert (ended.state, ended.decided_at, ended.next_at) == ("approved", "5", None)
    assert standing("", "8", {}, [event("delegated", "1", assignee="key_a")]).people == {"key_a"}


def test_the_kinds_say_what_they_are(office: Office) -> None:
    assert (Review.name, Question.name) == ("review", "question")
    assert Review(office.asks).With is ReviewWith
