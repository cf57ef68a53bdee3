"""Whether a workflow can hold, found before it runs: its steps fit each other, and effects wait for people.

What is checked of a spec: the steps it names are there, nothing runs in a circle or is out of reach, each step's `with`
fits its kind, each template reads what a step that is declared in `needs` gives, triggers can start it, and every
effect of a workflow with more than low stakes needs a review that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kernel.errors import VouchError
from pipeline.workflows.chooser import form_warnings
from pipeline.workflows.contract_effects import effect_faults
from pipeline.workflows.contract_order import order_faults
from pipeline.workflows.contract_reads import Scope, expression_faults, template_faults
from pipeline.workflows.contract_triggers import input_faults, trigger_faults
from pipeline.workflows.contract_values import form_faults, type_faults, with_faults
from pipeline.workflows.lines import Fault, InvalidWorkflow, Lines, Place
from pipeline.workflows.schema_paths import UNKNOWN, NoSuchMember, Schema, schema_at
from pipeline.workflows.seeing import PLACE, TOLD
from pipeline.workflows.spec import Check, Step, Workflow
from pipeline.workflows.steps.base import Kind

Found = Iterator[tuple[Place, str]]
"""Faults: the way to the member, and what is wrong with it."""
RESERVED = (PLACE, "input", "steps", "run", "output", "event", "loop", "self", "super", "true", "false", "none")
RUN: Schema = {"type": "object", "properties": dict.fromkeys((*TOLD, "snapshot", "model"), UNKNOWN)}
ASKING = ("review", "question")
"""Kinds that put a form before people."""
OF_A_KIND = ("result", "output", "values")
"""Names that expressions of a kind's `with` may have besides what the step sees; the kind says which it gives."""


def check_workflow(workflow: Workflow, kinds: Mapping[str, Kind]) -> tuple[Fault, ...]:
    """What a workflow might do better. Raises InvalidWorkflow that names line and field of what is wrong."""
    lines = workflow.lines if workflow.lines.of else Lines({}, tuple(step.id for step in workflow.steps))
    found = dict.fromkeys(_faults(workflow, kinds))
    if found:
        raise InvalidWorkflow([_fault(lines, *one) for one in found])
    return tuple(_fault(lines, *one) for one in form_warnings(workflow))


def _fault(lines: Lines, place: Place, message: str) -> Fault:
    return Fault(lines.line(place), lines.words(place), message)


def _faults(workflow: Workflow, kinds: Mapping[str, Kind]) -> Found:
    yield from order_faults(workflow)
    yield from effect_faults(workflow, kinds)
    yield from trigger_faults(workflow)
    yield from input_faults(workflow)
    outputs, each = _outputs(workflow, kinds)
    for number, step in enumerate(workflow.steps):
        scope = Scope(_roots(workflow), set(step.needs), outputs, f"step {step.id}")
        faults = _step_faults(step, kinds, scope, each[step.id])
        yield from ((("steps", number, *place), what) for place, what in faults)
    everything = Scope(_roots(workflow), {step.id for step in workflow.steps}, outputs, "the workflow")
    yield from template_faults(workflow.output, everything, ("output",))


def _outputs(workflow: Workflow, kinds: Mapping[str, Kind]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """What is known of the output of each step; and of one item of its loop, where it has one."""
    outputs: dict[str, Schema] = {step.id: UNKNOWN for step in workflow.steps}
    each: dict[str, Schema] = {}
    for step in _ordered(workflow):
        scope = _in_loop(step, Scope(_roots(workflow), set(step.needs), outputs, ""))
        each[step.id] = scope.sourced(_declared(step, kinds.get(step.kind)))
        outputs[step.id] = {"type": "array", "items": each[step.id]} if step.each else each[step.id]
    return outputs, each


def _declared(step: Step, kind: Kind | None) -> Schema:
    """What a step's kind says of its output; a `with` that does not fit tells nothing."""
    if kind is None or any(True for _ in with_faults(kind, step.with_)):
        return UNKNOWN
    try:
        return kind.output(step)
    except (VouchError, LookupError, TypeError, ValueError, AttributeError):
        return UNKNOWN


def _ordered(workflow: Workflow) -> Sequence[Step]:
    try:
        return workflow.order
    except ValueError:
        return workflow.steps


def _roots(workflow: Workflow) -> dict[str, Schema]:
    return {"input": workflow.inputs, "run": RUN}


def _step_faults(step: Step, kinds: Mapping[str, Kind], scope: Scope, output: Schema) -> Found:
    """What is wrong within a step. `output` is that of one item of its loop, as its checks and its undoing see it."""
    yield from _kind_faults(step.kind, kinds, ("kind",))
    if step.when is not None:
        yield from expression_faults(step.when, scope, ("when",))
    if step.each is not None:
        yield from _each_faults(step, scope)
        scope = _in_loop(step, scope)
    yield from _given_faults(kinds.get(step.kind), step.with_, scope, ("with",))
    after = scope.with_roots({"output": output})
    yield from _check_faults(step, after)
    if step.undo is not None:
        yield from _kind_faults(step.undo.kind, kinds, ("undo", "kind"))
        yield from _given_faults(kinds.get(step.undo.kind), step.undo.with_, after, ("undo", "with"))


def _kind_faults(name: str, kinds: Mapping[str, Kind], place: Place) -> Found:
    if name not in kinds:
        yield place, f"there is no kind {name!r}; there are: {', '.join(sorted(kinds))}"


def _given_faults(kind: Kind | None, given: Mapping[str, Any], scope: Scope, above: Place) -> Found:
    """What is wrong with a `with`: its members and their types, what its templates and expressions read."""
    yield from template_faults(given, scope, above)
    if kind is None:
        return
    expressions: list[tuple[Place, str]] = []
    faults = list(with_faults(kind, given, expressions))
    yield from (((*above, *place), what) for place, what in faults)
    wider = scope.with_roots({name: UNKNOWN for name in OF_A_KIND if name not in scope.roots})
    for place, expression in expressions:
        yield from expression_faults(expression, wider, (*above, *place))
    yield from (((*above, *place), what) for place, what in type_faults(kind, given, scope))
    if kind.name in ASKING:
        yield from (((*above, *place), what) for place, what in form_faults(given, scope))
    if not faults:
        yield from _own_faults(kind, given, above)


def _own_faults(kind: Kind, given: Mapping[str, Any], above: Place) -> Found:
    """What a kind itself says against a step that looks right: a prompt that is not there, say."""
    try:
        kind.output(Step.model_validate({"id": "x", "kind": kind.name, "with": dict(given)}))
    except VouchError as error:
        yield above, str(error)
    except (LookupError, TypeError, ValueError, AttributeError):
        return


def _each_faults(step: Step, scope: Scope) -> Found:
    if step.each is None:
        return
    yield from expression_faults(step.each.in_, scope, ("each", "in"))
    if step.each.as_ in RESERVED:
        yield ("each", "as"), f"{step.each.as_!r} is the name of something else"
    source = scope.source(step.each.in_)
    if source is None:
        return
    what = source.types
    if what is not None and "array" not in what:
        yield ("each", "in"), f"`{step.each.in_}` is {' or '.join(sorted(what))}, not a list"
    most = source.schema.get("maxItems")
    if isinstance(most, int) and most > step.each.limit:
        yield ("each", "limit"), f"the list may hold {most} items, and the loop takes {step.each.limit}"


def _in_loop(step: Step, scope: Scope) -> Scope:
    """What each item of a step's loop sees besides."""
    if step.each is None:
        return scope
    return scope.with_roots({step.each.as_: _item(step, scope), PLACE: {"type": "integer"}})


def _item(step: Step, scope: Scope) -> Schema:
    source = scope.source(step.each.in_) if step.each is not None else None
    if source is None:
        return UNKNOWN
    try:
        return schema_at(source.whole, (*source.path, "[]"))
    except NoSuchMember:
        return UNKNOWN


def _check_faults(step: Step, scope: Scope) -> Found:
    for number, check in enumerate(step.checks):
        for field, expression in _expressions(check):
            yield from expression_faults(expression, scope, ("checks", number, *field))


def _expressions(check: Check) -> Iterator[tuple[Place, str]]:
    if check.that is not None:
        yield ("that",), check.that
    if check.range is not None:
        yield ("range", "value"), check.range.value
    if check.former is not None:
        yield ("former", "value"), check.former.value
