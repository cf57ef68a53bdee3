"""Whether the steps of a workflow can run: ids, needs, targets, circles, what is out of reach; risks that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kernel.errors import InvalidInput
from pipeline.workflows.expressions import evaluate, names_of
from pipeline.workflows.lines import Place
from pipeline.workflows.spec import GoTo, Step, Workflow


def order_faults(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """What is wrong with the order of steps."""
    yield from _id_faults(workflow)
    for number, step in enumerate(workflow.steps):
        for place, name, what in _named(step):
            if name not in workflow.by_id:
                yield ("steps", number, *place), f"{what} {name!r}, and there is no such step"
        if step.when is not None and _never(step.when):
            yield ("steps", number, "when"), f"`{step.when}` never holds: nothing can reach this step"
    yield from _circles(workflow)
    yield from _risks(workflow)


def needed_by(workflow: Workflow) -> Mapping[str, frozenset[str]]:
    """For each step all that it needs, also through others."""
    found = {step.id: frozenset(step.needs) for step in workflow.steps}
    while True:
        wider = {name: needs.union(*(found.get(one, ()) for one in needs)) for name, needs in found.items()}
        if wider == found:
            return found
        found = wider


def target_places(step: Step) -> Iterator[tuple[Place, str]]:
    """Where a step says which steps it may lead to besides those that need it, and which."""
    for number, check in enumerate(step.checks):
        if isinstance(check.otherwise, GoTo):
            yield ("checks", number, "otherwise", "go_to"), check.otherwise.go_to
    if isinstance(step.on_failure, GoTo):
        yield ("on_failure", "go_to"), step.on_failure.go_to
    routes = step.with_.get("routes")
    if step.kind == "branch" and isinstance(routes, list):
        for number, route in enumerate(routes):
            if isinstance(route, Mapping) and isinstance(route.get("to"), str):
                yield ("with", "routes", number, "to"), route["to"]
    if step.kind == "branch" and isinstance(step.with_.get("otherwise"), str):
        yield ("with", "otherwise"), step.with_["otherwise"]


def _named(step: Step) -> Iterator[tuple[Place, str, str]]:
    for number, name in enumerate(step.needs):
        yield ("needs", number), name, "it needs"
    for place, name in target_places(step):
        yield place, name, "it leads to"


def _id_faults(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    seen: set[str] = set()
    for number, step in enumerate(workflow.steps):
        if step.id in seen:
            yield ("steps", number, "id"), f"there are two steps {step.id!r}"
        seen.add(step.id)


def _never(expression: str) -> bool:
    """Whether an expression reads nothing and does not hold."""
    try:
        return not names_of(expression) and not evaluate(expression, {})
    except InvalidInput:
        return False


def _circles(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """Steps that wait for each other, or lead back to what was before them; then steps that nothing reaches."""
    try:
        order = workflow.order
    except ValueError as error:
        stuck = _stuck(workflow)
        number = next(place for place, step in enumerate(workflow.steps) if step.id in stuck)
        yield ("steps", number, "needs"), str(error).split(":")[0] + f": {', '.join(stuck)}"
        return
    after = _followers(workflow)
    found = False
    for number, step in enumerate(workflow.steps):
        for place, name in target_places(step):
            if name in workflow.by_id and step.id in after[name] | {name}:
                found = True
                yield ("steps", number, *place), f"it leads back to {name!r}, which comes before it"
    if not found:
        yield from _unreached(workflow, order)


def _stuck(workflow: Workflow) -> list[str]:
    """The steps of circles, without those that only wait for them."""
    needs = needed_by(workflow)
    return [step.id for step in workflow.steps if step.id in needs[step.id]]


def _followers(workflow: Workflow) -> dict[str, set[str]]:
    """For each step the steps that run after it, because they need it or it leads to them."""
    found: dict[str, set[str]] = {step.id: set() for step in workflow.steps}
    for step in workflow.steps:
        for name in step.needs:
            found.get(name, set()).add(step.id)
        found[step.id] |= {name for _, name in target_places(step) if name in found}
    grown = True
    while grown:
        grown = False
        for name, after in found.items():
            wider = after.union(*(found[one] for one in after))
            grown = grown or wider != after
            found[name] = wider
    return found


def _unreached(workflow: Workflow, order: tuple[Step, ...]) -> Iterator[tuple[Place, str]]:
    reached: set[str] = set()
    while True:
        led = {name for one in reached for _, name in target_places(workflow.by_id[one])}
        wider = reached | {
            step.id
            for step in order
            if (step.id not in workflow.diverted or step.id in led)
            and (not step.needs or any(one in reached for one in step.needs))
        }
        if wider == reached:
            break
        reached = wider
    for number, step in enumerate(workflow.steps):
        if step.id not in reached:
            yield ("steps", number), "nothing can reach this step"


def _risks(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    known = {step.id for step in workflow.steps} | {check.name for step in workflow.steps for check in step.checks}
    for number, risk in enumerate(workflow.risks):
        if risk.met_by not in known:
            yield ("risks", number, "met_by"), f"there is no step and no check {risk.met_by!r}"
