"""What a run is estimated at, and how its end is compared with that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fast_parts import fast_workspace
from hypothesis import given
from hypothesis import strategies as st
from workflow_parts import Bench

from pipeline.workflows.costs import Price, Prices, StepPast, pasts_of
from pipeline.workflows.estimates import Estimate, Size, Span, estimate, estimate_json
from pipeline.workflows.spec import Workflow
from pipeline.workflows.variance import variance

PRICES = Prices({"openai/small": Price(1.0, 4.0), "local/*": Price(0.0, 0.0)})


def workflow(*steps: dict[str, Any]) -> Workflow:
    return Workflow.model_validate({"name": "test", "inputs": {"type": "object"}, "steps": list(steps)})


def once(name: str, kind: str = "prompt", **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": kind, "retry": {"attempts": 1}} | more


def used(run: str, step: str, prompt: int, completion: int, **more: Any) -> StepPast:
    return StepPast(
        run, step, **{"model": "openai/small", "prompt_tokens": prompt, "completion_tokens": completion} | more
    )


def test_a_step_is_estimated_by_the_median_of_its_calls() -> None:
    past = [used("a", "write", 1000, 100), used("b", "write", 3000, 300), used("c", "write", 2000, 500, ms=1500.0)]
    (made,) = estimate(workflow(once("write")), {}, past, PRICES).steps
    assert (made.basis, made.runs, made.share, made.model) == ("past", 3, 1.0, "openai/small")
    assert (made.calls, made.prompt_tokens, made.completion_tokens) == (Span(1, 1), Span(2000, 3000), Span(300, 500))
    assert made.cost == Span(pytest.approx(0.004), pytest.approx(0.0042))
    assert made.seconds.most == 1.5


def test_a_step_that_is_seldom_done_counts_by_its_share() -> None:
    past = [used(run, "write", 1000, 0) for run in "abcd"] + [used("a", "mend", 1000, 0)]
    made = {one.step: one for one in estimate(workflow(once("write"), once("mend")), {}, past, PRICES).steps}
    assert (made["mend"].share, made["mend"].calls) == (0.25, Span(0.25, 1))
    assert made["mend"].prompt_tokens == Span(250, 1000)


def test_a_loop_is_as_long_as_the_input_says_or_as_it_was() -> None:
    each = {"in": "input.items", "limit": 50}
    known = workflow(once("write", each=each))
    past = [used(run, "write", 100, 10, item=n) for run in "abc" for n in range(4)]
    assert estimate(known, {"items": list(range(7))}, past, PRICES).steps[0].calls == Span(7, 7)
    assert estimate(known, {"items": list(range(99))}, past, PRICES).steps[0].calls == Span(50, 50)
    later = workflow(once("find"), once("write", needs=["find"], each={"in": "steps.find.output", "limit": 50}))
    assert estimate(later, {}, past, PRICES).steps[1].calls == Span(4, 50)
    assert estimate(later, {}, [], PRICES).steps[1].calls == Span(50, 50)


def test_tries_that_fail_are_part_of_what_is_likely() -> None:
    retried = workflow({"id": "write", "kind": "prompt", "retry": {"attempts": 3}})
    past = [used("a", "write", 100, 10), used("a", "write", 100, 10), used("b", "write", 100, 10)]
    (made,) = estimate(retried, {}, past, PRICES).steps
    assert (made.calls, made.prompt_tokens) == (Span(1.5, 3), Span(150, 200))


def test_without_former_runs_the_size_of_the_prompt_tells() -> None:
    sizes = {"write": Size(4000, 500, "openai/small")}
    spec = workflow(once("shape", "transform"), once("write"), once("odd"))
    made = estimate(spec, {}, [], PRICES, lambda step: sizes.get(step.id))
    shape, write, odd = made.steps
    assert (shape.basis, write.basis, odd.basis) == ("none", "size", "unknown")
    assert (write.prompt_tokens, write.completion_tokens) == (Span(1000, 1000), Span(250, 500))
    assert write.cost == Span(pytest.approx(0.002), pytest.approx(0.003))
    assert odd.cost is None
    assert made.unpriced == ["unknown"]


def test_an_agent_takes_no_more_than_its_budget() -> None:
    budget = {"tokens": 5000, "cost": 0.02, "seconds": 60}
    spec = workflow(once("look", "agent", **{"with": {"budget": budget}}))
    past = [used("a", "look", 90_000, 9000, ms=90_000.0)]
    for found in ([], past):
        (made,) = estimate(spec, {}, found, PRICES).steps
        assert made.prompt_tokens.most == 5000
        assert made.cost is not None
        assert made.cost.most == 0.02
        assert made.seconds.most == 60


def test_a_model_without_a_price_is_named_and_one_that_says_its_cost_needs_none() -> None:
    past = [used("a", "one", 10, 1, model="other/big"), used("a", "two", 10, 1, model="other/big", cost=0.5)]
    past += [used("a", "three", 10, 1, model="local/any"), used("a", "four", 10, 1, model="extractive/sentences")]
    made = estimate(workflow(*(once(name) for name in ("one", "two", "three", "four"))), {}, past, PRICES)
    assert made.unpriced == ["other/big"]
    assert [one.cost.likely if one.cost else None for one in made.steps] == [None, 0.5, 0.0, 0.0]
    shown = estimate_json(made)
    assert shown["total"]["cost"] == {"likely": 0.5, "most": 0.5}
    assert shown["steps"][0]["cost"] is None


def test_variance_says_what_came_out_otherwise() -> None:
    past = [used(run, "write", 1000, 100) for run in "abc"]
    before = estimate(workflow(once("write"), once("rest")), {}, past, PRICES)
    found = {(one.step, one.what): one for one in variance(before, [used("d", "write", 3000, 100)], PRICES)}
    assert found["write", "prompt_tokens"].ratio == 3.0
    assert found["write", "prompt_tokens"].over
    assert not found["", "completion_tokens"].over
    assert ("write", "completion_tokens") not in found, "what came out as estimated is not told step by step"
    assert found["", "cost"].actual == pytest.approx(0.0034)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9999), st.integers(0, 999)), min_size=1, max_size=12))
def test_a_run_like_the_former_ones_is_never_over(tries: list[tuple[str, int, int]]) -> None:
    """Whatever was seen before, a run that does what one of them did stays within what was thought the most."""
    past = [used(run, "write", prompt, reply) for run, prompt, reply in tries]
    before = estimate(workflow(once("write")), {}, past, PRICES)
    for run in "abc":
        mine = [one for one in past if one.run == run]
        assert [one for one in variance(before, mine, PRICES) if one.over] == []
    assert total_is_the_sum(before)


def total_is_the_sum(made: Estimate) -> bool:
    return made.total.prompt_tokens.likely == sum(one.prompt_tokens.likely for one in made.steps)


def test_what_journals_say_was_used_is_read_try_by_try(tmp_path: Path) -> None:
    first = {"id": "a", "kind": "echo", "retry": {"attempts": 3, "wait": "1ms"}, "with": {"value": [1, 2], "fail": 1}}
    loop = {
        "id": "b",
        "kind": "echo",
        "needs": ["a"],
        "each": {"in": "steps.a.output"},
        "with": {"value": "{{ item }}"},
    }
    with fast_workspace(tmp_path / "home") as made:
        bench = Bench(made.database)
        run = bench.drain(bench.start({"steps": [first, loop]}).id)
        past = pasts_of(bench.runs.events(run.id))
    found = [(one.step, one.item, one.prompt_tokens) for one in past]
    assert found == [("a", None, 0), ("a", None, 1), ("b", 0, 1), ("b", 1, 1)]
    assert all(one.ms > 0 for one in past)
