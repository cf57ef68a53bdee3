"""What people read of runs and of what they ask."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from api.cli.review_text import _shown
from api.cli.run_text import event_line, show_run
from api.cli.runs import _amount

ANSWER = {"id": "ans_1", "answer": "35 days.", "citations": [], "model": {"parameters": {"rank": 0.15}}}


def test_answers_among_what_is_shown_are_named_for_their_evidence() -> None:
    line = "the answer ans_1, see its evidence"
    assert (_shown(ANSWER), _shown([ANSWER, ANSWER])) == (line, f"{line}\n{line}")
    assert _shown([]) == "[]"


def test_the_end_of_a_loop_counts_its_items() -> None:
    event = {"kind": "done", "step": "ask", "item": None, "data": {"ms": 0.0, "items": 3, "failed": 1}}
    assert event_line(event) == "ask: done, 2 of 3 items"
    assert event_line({**event, "item": 0, "data": {"ms": 1.5}}) == "ask[0]: done in 1.5 ms"


def shown(run_status: str, **step: Any) -> str:
    known: dict[str, Any] = {
        "id": "look",
        "kind": "review",
        "status": "waiting",
        "ms": 1.0,
        "error": None,
        "checks": [],
        "output": None,
    }
    known["waits"] = {"for": "person", "ref": "tsk_1"}
    run: dict[str, Any] = {
        "id": "wfr_1",
        "title": "Reply",
        "workflow": "reply",
        "version": 1,
        "mode": "live",
        "status": run_status,
    }
    run |= {"finished_at": None, "wake_at": None, "why": None, "output": None, "steps": [known | step]}
    out = StringIO()
    show_run(Console(file=out, width=120), run)
    return out.getvalue()


def test_what_was_decided_is_not_asked_for_again() -> None:
    assert "vouch reviews show tsk_1" in shown("waiting")
    told = shown("queued")
    assert "or here: vouch runs watch wfr_1" in told
    assert "reviews show" not in told


def test_a_loop_under_way_does_not_look_complete() -> None:
    items = {"done": 2, "of": None, "states": [{"ms": 1.5}, {"ms": 2.0}]}
    assert "2 so far" in shown("running", status="pending", items=items)
    ended = shown("running", status="done", ms=0.0, items=items | {"of": 2})
    assert "2 of 2" in ended
    assert "3.5" in ended


@pytest.mark.parametrize(("value", "shown"), [(None, "None"), (11.0, "11"), (0.0, "0"), (0.0758213, "0.0758")])
def test_amounts_are_as_people_write_them(value: float | None, shown: str) -> None:
    assert str(_amount(value)) == shown
