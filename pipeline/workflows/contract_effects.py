"""Effects need people: where more than little is at stake, what is felt outside runs after a review that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kernel.errors import VouchError
from pipeline.workflows.contract_order import needed_by
from pipeline.workflows.lines import Place
from pipeline.workflows.spec import Step, Workflow
from pipeline.workflows.steps.base import Kind

REVIEW = "review"


def effect_faults(workflow: Workflow, kinds: Mapping[str, Kind]) -> Iterator[tuple[Place, str]]:
    """Effects without a review, reviews of what is no effect, and what takes back what is none."""
    needs = needed_by(workflow)
    effects = {step.id for step in workflow.steps if has_effect(kinds.get(step.kind), step.with_)}
    for number, step in enumerate(workflow.steps):
        if step.kind == REVIEW:
            for place, what in _review_faults(workflow, step, effects, needs):
                yield ("steps", number, *place), what
        if step.id in effects and workflow.stakes != "low":
            for what in _unguarded(workflow, step, needs):
                yield ("steps", number), what
        if step.undo is not None:
            for place, what in _undo_faults(step, effects, kinds):
                yield ("steps", number, "undo", *place), what


def has_effect(kind: Kind | None, given: Mapping[str, Any]) -> bool:
    """Whether a step with such a `with` is felt outside; one that its kind cannot read is not judged here."""
    try:
        return kind is not None and bool(kind.effect(given))
    except (VouchError, LookupError, TypeError, ValueError, AttributeError):
        return False


def reviews_of(workflow: Workflow, step: Step, needs: Mapping[str, frozenset[str]]) -> list[Step]:
    """The reviews that name a step among their effects, and that it needs."""
    found = [workflow.by_id[name] for name in sorted(needs[step.id]) if name in workflow.by_id]
    return [one for one in found if one.kind == REVIEW and step.id in _named(one)]


def _named(review: Step) -> list[Any]:
    given = review.with_.get("effects")
    return given if isinstance(given, list) else []


def _unguarded(workflow: Workflow, step: Step, needs: Mapping[str, frozenset[str]]) -> Iterator[str]:
    reviews = reviews_of(workflow, step, needs)
    if not reviews:
        yield (
            f"what it does is felt outside, and stakes are {workflow.stakes}: it needs a step of kind review"
            f" whose `effects` name {step.id!r}"
        )
        return
    if step.each is not None:
        yield "in a loop it acts once an item, and an approval is of one act: deliver the whole list at once"
    for one in reviews:
        if one.on_failure == "continue":
            yield f"the review {one.id!r} goes on where it fails, so {step.id!r} could run without a decision"
        if one.when is not None and one.when != step.when and set(step.needs) != {one.id}:
            yield f"the review {one.id!r} may be left out by its `when`; {step.id!r} needs the same `when`"


def _review_faults(
    workflow: Workflow, review: Step, effects: set[str], needs: Mapping[str, frozenset[str]]
) -> Iterator[tuple[Place, str]]:
    for number, name in enumerate(_named(review)):
        place: Place = ("with", "effects", number)
        if not isinstance(name, str) or name not in workflow.by_id:
            yield place, f"there is no step {name!r}"
        elif name not in effects:
            yield place, f"the step {name!r} has no effect that a review could allow"
        elif review.id not in needs[name]:
            yield place, f"the step {name!r} does not need {review.id!r}, so it would not wait for it"


def _undo_faults(step: Step, effects: set[str], kinds: Mapping[str, Kind]) -> Iterator[tuple[Place, str]]:
    if step.undo is None:
        return
    if step.id not in effects and step.kind in kinds:
        yield (), f"a step of kind {step.kind!r} does nothing here that could be taken back"
    undoing = kinds.get(step.undo.kind)
    if undoing is not None and not has_effect(undoing, step.undo.with_):
        yield ("kind",), f"a step of kind {step.undo.kind!r} has no effect, so it takes nothing back"
