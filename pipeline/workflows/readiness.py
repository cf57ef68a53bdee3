"""Which steps can be done now: what follows from the spec and the journal alone."""

from __future__ import annotations

from pipeline.workflows.journal import DONE, FAILED, WAITING, RunState
from pipeline.workflows.spec import Step, Workflow, targets

WAIT, BRANCH, NEEDS = "wait", "branch", "needs"
REVIEW = "review"


def barred(spec: Workflow, state: RunState, step: Step) -> str | None:
    """None where a step can be done; `wait` where something comes before it; else why it never will be: nothing led to
    it (`branch`), or nothing that it needs came to an end that it could use, or no review that it acts on was given
    (`needs`).
    """
    leading = [one.id for one in spec.steps if step.id in targets(one)]
    if step.id in spec.diverted and step.id not in state.reached:
        return BRANCH if all(state.of(name).settled for name in leading) else WAIT
    if not all(state.of(name).settled for name in step.needs):
        return WAIT
    reviews = [state.of(one.id) for one in reviews_of(spec, step)]
    if reviews and all(one.settled and one.status != DONE for one in reviews):
        return NEEDS
    if step.needs and not any(name in leading or usable(spec, state, name) for name in step.needs):
        return NEEDS
    return None


def reviews_of(spec: Workflow, step: Step) -> list[Step]:
    """The review steps that name a step among the effects that act on their approval."""
    return [one for one in spec.steps if one.kind == REVIEW and step.id in one.with_.get("effects", ())]


def usable(spec: Workflow, state: RunState, name: str) -> bool:
    """Whether steps that need this one may go on: it is done, or failed and the run was to go on all the same."""
    status = state.of(name).status
    return status == DONE or (status == FAILED and spec.by_id[name].on_failure in ("continue", "review"))


def settled(spec: Workflow, state: RunState) -> bool:
    """Whether nothing is left to be done."""
    return all(state.of(step.id).settled for step in spec.steps)


def next_moment(spec: Workflow, state: RunState) -> str | None:
    """When a run must be looked at again at the latest; None where only somebody else's doing goes on with it."""
    found: list[str] = []
    for step in spec.steps:
        for one in (state.of(step.id), *state.items.get(step.id, {}).values()):
            if one.again_at and not one.settled:
                found.append(one.again_at)
            if one.waits is not None and one.status == WAITING and one.waits.get("until"):
                found.append(one.waits["until"])
    return min(found) if found else None
