"""Killed at every note, an agent goes on as if nothing had been: nothing is done twice but what was under way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from agent_parts import Killed, Site, Steady, finish, site, tool
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.workflows.steps.base import Done, StepFailed, Waits

POST = {
    "name": "tell",
    "use": "tells somebody.",
    "method": "POST",
    "url": "https://desk.example/tell",
    "arguments": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
SCRIPT = [
    tool("search", query="backups"),
    "not json",
    tool("read", document="c1"),
    {"ask": "Which backups?"},
    tool("tell", text="found it"),
    {"hand_off": "second", "why": "it writes"},
    tool("calculator", expression="1 + 1"),
    finish("30 days [c1]", confidence=0.3),
]


def steady_site(**more: Any) -> Site:
    one = site(
        tools={"search": {}, "read": {}, "http": [POST]},
        handoffs=["second"],
        agents={"second": {"goal": "Write it down.", "tools": {"calculator": {}}}},
        may_ask=True,
        escalate={"confidence_below": 0.5},
        **more,
    )
    one.model = Steady(lambda: one.journal.kinds().count("decided"), SCRIPT)
    return one


def lived(one: Site, lives: list[int]) -> tuple[Any, int]:
    """Run to the end, dying after so many notes of each life; people decide as soon as they are asked. Deaths too."""
    deaths, waited = 0, None
    one.journal.alive = lives.pop(0) if lives else 1_000_000
    for _ in range(200):
        try:
            made = one.run() if waited is None else one.resume(waited)
        except Killed:
            deaths, waited = deaths + 1, None
            one.journal.alive = lives.pop(0) if lives else 1_000_000
            continue
        if isinstance(made, Done):
            return made.output, deaths
        assert isinstance(made, Waits)
        waited = made
        one.people.decide(made.ref, "answered" if one.people.tasks[made.ref]["sort"] == "question" else "approved")
    raise AssertionError("it never ends")


def without_clock(output: dict[str, Any]) -> dict[str, Any]:
    used = {name: value for name, value in output["used"].items() if name != "seconds"}
    return {**output, "used": used}


WHOLE, _ = lived(steady_site(), [])
NOTES = 27


def test_the_script_takes_every_way() -> None:
    one = steady_site()
    lived(one, [])
    assert Counter(one.journal.kinds()) == {
        "begun": 1,
        "thinking": 8,
        "decided": 8,
        "result": 4,
        "waits": 3,
        "answered": 3,
        "ended": 1,
    }
    assert len(one.journal.notes) == NOTES + 1
    assert one.people.opened == 3


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("at", range(1, NOTES + 1))
def test_killed_once_at_any_note(at: int, early: bool) -> None:
    one = steady_site()
    one.journal.early = early
    output, deaths = lived(one, [at])
    assert deaths == 1
    check(one, output, deaths)


def test_killed_after_every_second_note() -> None:
    """Each life comes just so far as to have a reply noted."""
    one = steady_site(budget={"steps": 40, "tokens": 1_000_000})
    output, deaths = lived(one, [2] * 100)
    assert deaths > 8
    check(one, output, deaths)


def test_a_process_that_dies_each_time_that_it_thinks_ends_at_the_budget() -> None:
    one = steady_site(budget={"steps": 5})
    with pytest.raises(StepFailed, match="5 of 5 steps"):
        lived(one, [2] + [1] * 100)
    assert len(one.journal.notes) == 6


@settings(max_examples=60, deadline=None)
@drawn(st.lists(st.integers(2, 6), max_size=8), st.booleans())
def test_killed_at_random(lives: list[int], early: bool) -> None:
    one = steady_site(budget={"steps": 40, "tokens": 1_000_000})
    one.journal.early = early
    output, deaths = lived(one, lives)
    check(one, output, deaths)


def check(one: Site, output: dict[str, Any], deaths: int) -> None:
    """The result is that of a life without deaths; calls were made once, or again with the same key."""
    assert output["result"] == WHOLE["result"]
    assert output["decisions"] == [
        {**line, "turn": made["turn"]} for line, made in zip(WHOLE["decisions"], output["decisions"], strict=True)
    ]
    assert one.people.opened == 3, "no question is put twice"
    calls = [*one.reach.asked, *((request.method, request.url, request.key) for request in one.requests)]
    assert len(set(calls)) == 3, "a call that is made again has the same key and arguments"
    assert len(calls) <= 3 + deaths
    results = one.journal.kinds().count("result")
    assert results == 4, "no call whose result was noted is made again"
    assert output["used"]["steps"] == one.journal.kinds().count("thinking") == len(one.model.requests) + lost(one)
    assert output["used"]["tokens"] <= one.given.budget.tokens


def lost(one: Site) -> int:
    """Replies that were announced and never asked for: the process died between."""
    return one.journal.kinds().count("thinking") - len(one.model.requests)


@settings(max_examples=60, deadline=None)
@drawn(st.lists(st.integers(1, 5), max_size=40), st.integers(1, 8), st.integers(9_000, 40_000))
def test_budgets_hold_over_all_lives(lives: list[int], steps: int, tokens: int) -> None:
    one = site(budget={"steps": steps, "tokens": tokens})
    one.model = Steady(lambda: 0, [tool("search", query="again")])
    made = None
    for _ in range(200):
        one.journal.alive = lives.pop(0) if lives else 1_000_000
        try:
            one.run()
        except Killed:
            continue
        except StepFailed as error:
            made = error
            break
    assert made is not None
    assert made.slug == "budget"
    assert len(one.model.requests) <= steps
    spent = sum(sum(note["data"]["tokens"]) for note in one.journal.notes if note["kind"] == "decided")
    assert spent <= made.output["used"]["tokens"] <= tokens
    assert json.dumps(made.output)
