"""What a step sees: the run's input, the run, and the outputs of the steps that it declares, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kernel.errors import InvalidInput
from kernel.storage.runs import Run
from pipeline.workflows.expressions import evaluate, fill
from pipeline.workflows.journal import DONE, RunState
from pipeline.workflows.spec import Step, Workflow

TOLD = ("id", "workflow", "version", "mode", "trigger", "created_at")
"""What a run tells of itself, besides its snapshot and its model."""
PLACE = "place"
"""What the number of an item is called, from 0: it is the same in the output of every loop over the same list."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What there is to be seen in a run, apart from its journal."""

    run: Run
    spec: Workflow
    snapshot: int

    def of(self, state: RunState, names: Iterable[str]) -> dict[str, Any]:
        """What templates see that may read the steps of these names."""
        steps = {}
        for name in names:
            known = state.of(name)
            error = dict(known.error) if known.error is not None else None
            steps[name] = {"output": known.output, "status": known.status, "error": error}
        about = {name: getattr(self.run, name) for name in TOLD} | {"snapshot": self.snapshot}
        about["model"] = (self.run.said.get("pins") or {}).get("model", "")
        return {"input": self.run.said.get("input", {}), "run": about, "steps": steps}

    def step(self, state: RunState, step: Step, place: int | None) -> dict[str, Any]:
        """What a step sees, or one item of its loop. Raises InvalidInput where the loop's list cannot be had."""
        seen = self.of(state, step.needs)
        if step.each is not None and place is not None:
            seen[step.each.as_] = self.items(state, step)[place]
            seen[PLACE] = place
        return seen

    def items(self, state: RunState, step: Step) -> list[Any]:
        """The items of a loop. Raises InvalidInput where there is no list, or it is longer than its limit."""
        if step.each is None:
            return []
        found = evaluate(step.each.in_, self.of(state, step.needs))
        if not isinstance(found, list):
            raise InvalidInput(f"each.in is no list: {step.each.in_}")
        if len(found) > step.each.limit:
            raise InvalidInput(f"each.in has {len(found)} items, the limit is {step.each.limit}")
        return found

    def preview(self, state: RunState, review: Step, output: Mapping[str, Any]) -> dict[str, Any]:
        """The filled-in `with` of the steps that act on a review, were `output` what it came to."""
        found = {}
        for name in review.with_.get("effects", ()):
            effect = self.spec.by_id[name]
            seen = self.of(state, effect.needs)
            seen["steps"][review.id] = {"output": dict(output), "status": DONE, "error": None}
            found[name] = fill(effect.with_, seen)
        return found
