"""The cost of runs through the store: estimated before, compared after, sub-workflows included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import fast_workspace
from workflow_site import Site

from kernel.errors import Conflict, InvalidInput
from kernel.records import LOCAL_OWNER
from pipeline.workflows.estimates import NOTHING
from pipeline.workflows.spec import Step, Workflow

INPUTS = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array"}}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fast_workspace(tmp_path / "home") as made:
        yield Site(made)


def spec(name: str, *steps: dict[str, Any]) -> Workflow:
    return Workflow.model_validate({"name": name, "inputs": INPUTS, "stakes": "low", "steps": list(steps)})


def loop(name: str, kind: str, **given: Any) -> dict[str, Any]:
    return {"id": name, "kind": kind, "each": {"in": "input.items"}, "with": given, "retry": {"attempts": 1}}


def prompt_tokens(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["step"]: one["prompt_tokens"] for one in steps}


def test_an_estimate_goes_by_former_runs_and_the_input(site: Site) -> None:
    made = spec("loops", loop("say", "echo", value=1))
    for count in (2, 4):
        site.go(site.start(made, {"items": [0] * count}).id)
    found = site.costing.before("loops", {"items": [0] * 3}, LOCAL_OWNER)
    assert prompt_tokens(found["steps"]) == {"say": {"likely": 3, "most": 4}}, "four items were seen"
    assert found["steps"][0]["runs"] == 2
    run = site.go(site.start(made, {"items": [0] * 9}).id)
    after = {one["what"]: one for one in site.costing.after(run)["total"]}
    assert (after["calls"]["likely"], after["calls"]["actual"], after["calls"]["over"]) == (9.0, 9.0, False)
    with pytest.raises(InvalidInput, match="does not fit workflow loops"):
        site.costing.before("loops", {}, LOCAL_OWNER)


def test_what_a_sub_workflow_used_counts_as_its_steps(site: Site) -> None:
    site.know(spec("inner", loop("say", "echo", value=1)))
    outer = spec(
        "outer",
        {"id": "call", "kind": "workflow", "with": {"name": "inner", "input": {"items": "{{ input.items }}"}}},
    )
    run = site.go(site.start(outer, {"items": [1, 2, 3]}).id)
    assert run.status == "done"
    (steps,) = [one for one in site.costing.after(run)["steps"] if one["what"] == "prompt_tokens"]
    assert (steps["step"], steps["actual"]) == ("call", 3.0)
    later = site.costing.before("outer", {"items": []}, LOCAL_OWNER)
    assert prompt_tokens(later["steps"])["call"]["likely"] == 3


def test_a_run_that_goes_on_has_no_cost_yet(site: Site) -> None:
    waiting = site.start(spec("waits", loop("say", "echo", wait="somebody")), {"items": [1]})
    with pytest.raises(Conflict, match="nothing to compare"):
        site.costing.after(site.go(waiting.id))


def test_how_large_a_call_is_without_former_runs(site: Site) -> None:
    def size(kind: str, **given: Any) -> Any:
        return site._size(Step.model_validate({"id": "a", "kind": kind, "with": given}))

    assert size("echo") == size("classify", labels={"a": {}}, text="x") == NOTHING
    assert size("prompt", name="{{ input.name }}") is None
    assert size("ask", question="Who?").characters > 4 * site.workspace.settings.context_tokens
    site.know(spec("asks", loop("q", "ask", question="x")))
    found = site.costing.before("asks", {"items": [1]}, LOCAL_OWNER)
    assert (found["steps"][0]["basis"], found["total"]["cost"]) == ("size", {"likely": 0.0, "most": 0.0})
