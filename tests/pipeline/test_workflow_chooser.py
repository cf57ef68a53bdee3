"""The form of seven questions, stakes, and the checklist for agents."""

from __future__ import annotations

from itertools import product

import pytest
from workflow_kinds import KINDS

from kernel.errors import InvalidInput
from pipeline.workflows.chooser import AGENT, autonomy_of, pattern_of, recommend, way_for
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.forms import Costs, Form
from pipeline.workflows.reading import read_workflow

STAKES = ("low", "medium", "high")
KNOWN, OFTEN, EXCEPTIONS = ("yes", "partly", "no"), ("yes", "sometimes", "no"), ("rare", "some", "frequent")
APPROVAL = ("never", "before-effects", "always")
FREEDOM = {"workflow": 0, "hybrid": 1, "agent": 2}

AGENTIC = """name: dig
owner: mia
stakes: low
form:
  steps_known: no
  repetitive: sometimes
  risky: low
  tools: [search, read]
  cost: {mistake: low, run: 0.5}
  approval: never
  exceptions: frequent
autonomy:
  guardrails: {ready: true, why: The planted instructions of the test corpus were all ignored.}
  tests: {ready: true, why: 40 cases with the scripted model.}
  rollback: {ready: true, why: "`vouch workflows rollback dig`; it changes nothing by itself."}
steps:
  - id: look
    kind: agent
    with: {goal: Find out., success: result.why, tools: {search: {}}, handoffs: [],
           budget: {steps: 9, tokens: 900, seconds: 60}}
    checks: [{name: reasoned, that: output.why | length > 20}]
  - {id: agree, kind: review, needs: [look], with: {about: look}}
"""


def form(known: str, often: str, risky: str, tools: int, mistake: str, approval: str, exceptions: str) -> Form:
    return Form(
        steps_known=known,  # type: ignore[arg-type]
        repetitive=often,  # type: ignore[arg-type]
        risky=risky,  # type: ignore[arg-type]
        tools=["search"] * tools,
        cost=Costs(mistake=mistake),  # type: ignore[arg-type]
        approval=approval,  # type: ignore[arg-type]
        exceptions=exceptions,  # type: ignore[arg-type]
    )


SCALES = (KNOWN, OFTEN, STAKES[::-1], (0, 2), STAKES[::-1], APPROVAL[::-1], EXCEPTIONS)
"""The answers to each question, from what speaks most against freedom to what speaks most for it."""


def test_no_answer_that_speaks_against_freedom_gives_more_of_it() -> None:
    """Over all 1458 forms: unknown steps, exceptions and tools never mean less freedom; risk, costly mistakes, approval
    and repetition never more. High stakes always have an approval.
    """
    for answers in product(*SCALES):
        found = recommend(form(*answers))  # type: ignore[arg-type]
        assert found.reasons
        if "high" in (answers[2], answers[4]) or answers[5] != "never":
            assert found.way == "workflow with approval"
        for place, scale in enumerate(SCALES):
            for one in scale[scale.index(answers[place]) + 1 :]:
                freer = recommend(form(*answers[:place], one, *answers[place + 1 :]))  # type: ignore[arg-type]
                assert FREEDOM[freer.pattern] >= FREEDOM[found.pattern], (answers, one)


@pytest.mark.parametrize(
    ("answers", "pattern", "way"),
    [
        (("yes", "yes", "low", 3, "low", "never", "rare"), "workflow", "workflow"),
        (("yes", "yes", "medium", 3, "medium", "before-effects", "frequent"), "hybrid", "workflow with approval"),
        (("no", "no", "low", 3, "low", "never", "frequent"), "agent", "ad hoc prompt"),
        (("no", "sometimes", "low", 3, "high", "never", "some"), "hybrid", "workflow with approval"),
        (("no", "no", "low", 0, "low", "never", "frequent"), "workflow", "ad hoc prompt"),
        (("partly", "yes", "low", 1, "low", "never", "rare"), "hybrid", "workflow"),
    ],
)
def test_what_the_form_recommends(answers: tuple[str, ...], pattern: str, way: str) -> None:
    found = recommend(form(*answers))  # type: ignore[arg-type]
    assert (found.pattern, found.way) == (pattern, way)


def test_stakes_choose_the_way() -> None:
    assert [way_for(one) for one in STAKES] == ["workflow", "workflow", "workflow with approval"]
    assert [way_for(one, repetitive=False) for one in STAKES] == ["ad hoc prompt", "workflow", "workflow with approval"]


def test_a_spec_that_differs_from_its_form_is_told() -> None:
    assert check_workflow(read_workflow(AGENTIC), KINDS) == ()
    other = AGENTIC.replace("steps_known: no", "steps_known: yes").replace("risky: low", "risky: high")
    found = [str(one) for one in check_workflow(read_workflow(other.replace("frequent", "rare")), KINDS)]
    reasons = "the steps are known; exceptions are rare: a person can take them"
    assert found == [
        f"line 4, form: it recommends: workflow ({reasons}); this is: agent",
        "line 3, stakes: the form calls it high, and stakes are low",
    ]
    without = AGENTIC.replace("kind: review", "kind: find").replace("{about: look}", "{query: x}")
    warned = check_workflow(read_workflow(without.replace("approval: never", "approval: always")), KINDS)
    assert any("no step is a review" in str(one) for one in warned)
    with pytest.raises(InvalidInput, match=r"line 5, form.steps_known: Input should be 'yes', 'partly' or 'no'"):
        read_workflow(AGENTIC.replace("steps_known: no", "steps_known: maybe"))


def test_what_a_workflow_is() -> None:
    assert pattern_of(read_workflow(AGENTIC)) == AGENT
    assert pattern_of(read_workflow(AGENTIC.replace("kind: agent", "kind: find"))) == "workflow"
    assert pattern_of(read_workflow(AGENTIC.replace("kind: review", "kind: find"))) == "hybrid"


def test_a_checklist_that_is_green() -> None:
    items = autonomy_of(read_workflow(AGENTIC))
    assert [name for name, green, why in items if not green or not why] == []
    assert [one.name for one in items] == [
        *("success", "tools", "guardrails", "handoffs", "review points", "budget", "tests", "owner", "rollback")
    ]
    assert autonomy_of(read_workflow(AGENTIC.replace("kind: agent", "kind: find"))) == ()


@pytest.mark.parametrize(
    ("old", "new", "name", "why"),
    [
        ("success: result.why, ", "", "success", "look does not declare a success criterion"),
        ("tools: {search: {}}, ", "", "tools", "look does not declare a list of tools"),
        ("handoffs: [],", "handoffs: [person, help],", "handoffs", "look hands over to help"),
        ("guardrails: {ready: true", "guardrails: {ready: false", "guardrails", "planted instructions"),
        ("kind: review", "kind: find", "review points", "no review comes after look"),
        (", tokens: 900", "", "budget", "a budget of steps, tokens, seconds"),
        ("  tests: {ready: true, why: 40 cases with the scripted model.}\n", "", "tests", "nobody has answered it"),
        ("owner: mia\n", "", "owner", "nobody owns it"),
        ("rollback: {ready: true", "rollback: {ready: false", "rollback", "vouch workflows rollback dig"),
    ],
)  # fmt: skip
def test_each_item_of_the_checklist_can_be_red(old: str, new: str, name: str, why: str) -> None:
    red = {item: said for item, green, said in autonomy_of(read_workflow(AGENTIC.replace(old, new))) if not green}
    assert list(red) == [name]
    assert why in red[name]
