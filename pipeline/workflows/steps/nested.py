"""`workflow`: another workflow, run once for the step as a run of its own, whose output is the step's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kernel.storage.runs import DONE, ENDS, Runs
from pipeline.workflows.journal import RunState
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.asking import TEXT
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Used, Waits
from pipeline.workflows.steps.pinned import whole

StartChild = Callable[[Call, str, Mapping[str, Any]], str]
"""Starts a run of a workflow for a step, at the version that its run chose; the same run for the same `call.key`. Its
id. Raises NotFound, InvalidInput for an input that does not fit, or where runs would be nested too deeply.
"""


class WorkflowWith(Strict):
    """Which workflow, and its input."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    input: dict[str, Any] = Field(default_factory=dict)


class SubWorkflow(Plain):
    """`workflow`: waits for the run that it started, without a thread. Where that run fails, so does the step."""

    name: ClassVar[str] = "workflow"
    With: ClassVar[type[Strict]] = WorkflowWith

    def __init__(self, start_child: StartChild, runs: Runs) -> None:
        self._start_child = start_child
        self._runs = runs

    def workflows(self, step: Step) -> Sequence[str]:
        """The one that it names."""
        named = step.with_.get("name")
        return (named,) if isinstance(named, str) else ()

    def output(self, _step: Step) -> Mapping[str, Any]:
        """The run, and what it put out."""
        return whole({"run": TEXT, "output": {"type": "object"}})

    def run(self, given: WorkflowWith, call: Call) -> Done | Waits:
        """Raises NotFound, InvalidInput for an input that does not fit."""
        child = self._start_child(call, given.name, given.input)
        return self._ended(child) or Waits("run", child, used=Used(refs={"runs": [child]}))

    def resume(self, _given: WorkflowWith, _call: Call, waited: Waits) -> Done | Waits:
        """The output of the run, once it is done. Raises StepFailed where it failed or was cancelled."""
        return self._ended(waited.ref) or waited

    def _ended(self, child: str) -> Done | None:
        run = self._runs.get(child)
        if run.status not in ENDS:
            return None
        state = RunState().after(self._runs.events(child))
        ended = state.finished or {}
        if run.status != DONE:
            where = f" at step {state.stopped['step']}" if state.stopped is not None else ""
            raise StepFailed(
                f"run {child} of {run.workflow} is {run.status}{where}", slug="child", output={"run": child}
            )
        return Done({"run": child, "output": ended.get("output") or {}}, Used(refs={"runs": [child]}))
