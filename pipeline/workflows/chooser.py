"""Workflow, agent or both: what the form of seven questions recommends, and what an agent needs before it goes live.

Steps that are known belong into a workflow; an agent is worth its variability only where the next step depends on what
is found, and even then inside of a workflow wherever a mistake costs something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.workflows.contract_order import needed_by
from pipeline.workflows.forms import Form, Statement
from pipeline.workflows.lines import Place
from pipeline.workflows.spec import Step, Workflow

Pattern = Literal["workflow", "agent", "hybrid"]
Way = Literal["ad hoc prompt", "workflow", "workflow with approval"]
AGENT, REVIEW = "agent", "review"
AROUND_AN_AGENT = (AGENT, REVIEW, "check", "deliver", "question")
"""Kinds that a workflow may have besides an agent that does all of the work."""
LIMITS = ("steps", "tokens", "seconds")
"""What a budget says itself, not by its default; a cost limit is the choice of who pays."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What fits a task, and why."""

    pattern: Pattern
    way: Way
    reasons: tuple[str, ...]


class Item(NamedTuple):
    """One line of the checklist for agents: what it asks for, whether that is so, and why."""

    name: str
    green: bool
    why: str


def recommend(form: Form) -> Recommendation:
    """What the answers of the form speak for."""
    pattern, reasons = _pattern(form)
    stakes = max((form.risky, form.cost.mistake), key=("low", "medium", "high").index)
    way = way_for(stakes, repetitive=form.repetitive != "no")
    if form.approval != "never" and way != "workflow with approval":
        way = "workflow with approval"
        reasons = (*reasons, f"approval is asked for ({form.approval})")
    return Recommendation(pattern, way, reasons)


def way_for(stakes: str, *, repetitive: bool = True) -> Way:
    """How work with such stakes is done: what is asked once and risks little needs no workflow."""
    if stakes == "high":
        return "workflow with approval"
    return "workflow" if stakes == "medium" or repetitive else "ad hoc prompt"


def _pattern(form: Form) -> tuple[Pattern, tuple[str, ...]]:
    costly = form.risky == "high" or form.cost.mistake == "high" or form.approval == "always"
    if not form.tools:
        return "workflow", ("there are no tools to choose from, so there is nothing for an agent to decide",)
    if form.steps_known == "yes" and form.exceptions != "frequent":
        return "workflow", ("the steps are known", f"exceptions are {_exceptions(form)}: a person can take them")
    if form.steps_known == "yes":
        return "hybrid", ("the steps are known, but exceptions are frequent: an agent looks into those",)
    if form.steps_known == "partly":
        return "hybrid", ("the known steps are a workflow's, an agent finds the rest within its bounds",)
    if costly:
        return "hybrid", ("the steps are not known, but a mistake is costly: a workflow holds the agent",)
    if form.repetitive == "yes":
        return "hybrid", ("the steps are not known, but it is done often: what repeats can be steps around the agent",)
    return "agent", ("the steps depend on what is found", "a mistake costs little")


def _exceptions(form: Form) -> str:
    return "rare" if form.exceptions == "rare" else "not frequent"


def pattern_of(workflow: Workflow) -> Pattern:
    """What a workflow is: without agents, with them, or nothing but an agent."""
    kinds = [step.kind for step in workflow.steps]
    if AGENT not in kinds:
        return "workflow"
    return "agent" if all(kind in AROUND_AN_AGENT for kind in kinds) else "hybrid"


def form_warnings(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """Where a workflow differs from what its form recommends."""
    if workflow.form is None:
        return
    advised, found = recommend(workflow.form), pattern_of(workflow)
    if advised.pattern != found:
        yield ("form",), f"it recommends: {advised.pattern} ({'; '.join(advised.reasons)}); this is: {found}"
    if advised.way == "workflow with approval" and not any(step.kind == REVIEW for step in workflow.steps):
        yield ("form",), "it recommends an approval, and no step is a review"
    if advised.way == "ad hoc prompt":
        yield ("form",), "it recommends an ad hoc prompt: done once, with little at stake, it needs no workflow"
    order = ("low", "medium", "high")
    if order.index(workflow.form.risky) > order.index(workflow.stakes):
        yield ("stakes",), f"the form calls it {workflow.form.risky}, and stakes are {workflow.stakes}"


def autonomy_of(workflow: Workflow) -> tuple[Item, ...]:
    """The checklist that must be green before a version with an agent goes live; empty where there is no agent."""
    agents = [step for step in workflow.steps if step.kind == AGENT]
    return tuple(_items(workflow, agents)) if agents else ()


def _items(workflow: Workflow, agents: list[Step]) -> Iterator[Item]:
    stated = workflow.autonomy
    yield _all("success", agents, lambda mission: bool(mission.get("success")), "a success criterion", whole=True)
    yield _all("tools", agents, lambda mission: bool(mission.get("tools")), "a list of tools")
    yield _said("guardrails", stated.guardrails if stated else None)
    yield _handoffs(agents)
    yield _review_points(workflow, agents)
    yield _all("budget", agents, _bounded, f"a budget of {', '.join(LIMITS)}", whole=True)
    yield _said("tests", stated.tests if stated else None)
    yield Item("owner", workflow.owner is not None, f"owner: {workflow.owner}" if workflow.owner else "nobody owns it")
    yield _said("rollback", stated.rollback if stated else None)


def _bounded(given: Mapping[str, Any]) -> bool:
    budget = given.get("budget")
    return isinstance(budget, Mapping) and all(name in budget for name in LIMITS)


def _missions(step: Step) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The agents of a step by name: the one that begins, and those that it may hand over to."""
    yield step.id, step.with_
    others = step.with_.get("agents")
    if isinstance(others, Mapping):
        yield from ((f"{step.id}.{name}", one) for name, one in others.items() if isinstance(one, Mapping))


def _all(
    name: str, agents: list[Step], holds: Callable[[Mapping[str, Any]], bool], what: str, *, whole: bool = False
) -> Item:
    """Whether every agent declares something; `whole`: it is declared once for all agents of a step."""
    missions = [one for step in agents for place, one in enumerate(_missions(step)) if not (whole and place)]
    lacking = [who for who, mission in missions if not holds(mission)]
    return Item(name, not lacking, f"{', '.join(lacking)} does not declare {what}" if lacking else f"declared: {what}")


def _handoffs(agents: list[Step]) -> Item:
    """Whether every hand-over is to an agent of the step, or to a person; to nobody where none is declared."""
    found: set[str] = set()
    for step in agents:
        others = step.with_.get("agents")
        known = {"main", "person", *(others if isinstance(others, Mapping) else ())}
        for who, mission in _missions(step):
            given = mission.get("handoffs") or ()
            strange = [str(one) for one in given if one not in known]
            if strange:
                return Item("handoffs", False, f"{who} hands over to {', '.join(strange)}, which it has no agent for")
            found.update(map(str, given))
    return Item("handoffs", True, f"it hands over to: {', '.join(sorted(found)) or 'nobody'}")


def _said(name: str, stated: Statement | None) -> Item:
    if stated is None:
        return Item(name, False, f"nobody has answered it under autonomy.{name}")
    return Item(name, stated.ready, stated.why)


def _review_points(workflow: Workflow, agents: list[Step]) -> Item:
    """A person looks at what an agent gives, or it has rules by which it puts a case before one."""
    needs = needed_by(workflow)
    reviewed = {name for step in workflow.steps if step.kind == REVIEW for name in needs[step.id]}
    free = [step.id for step in agents if step.id not in reviewed and not step.with_.get("escalate")]
    if free:
        return Item("review points", False, f"no review comes after {', '.join(free)}, and it has no rules to escalate")
    return Item("review points", True, "a person looks at what each agent gives, or is called by its rules")
