"""Steps that decide: `branch` chooses the step that goes on, `check` holds rules against what earlier steps put out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kernel.ports import OutputChecker
from pipeline.workflows.checks import Judging, judge_all
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.spec import Check, Expression, Id, Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed

Former = Callable[[str, str, str, int], Sequence[float]]
"""What a check of a step judged in runs of the workflow before this one: `(run_id, step, check, how many)`."""


class Route(Strict):
    """A step, and when it is the one."""

    when: Expression
    to: Id


class BranchWith(Strict):
    """The first route whose condition holds is taken; else `otherwise`, where one is named."""

    routes: Annotated[list[Route], Field(min_length=1, max_length=50)]
    otherwise: Id | None = None


class Branch(Plain):
    """`branch`: a table of routes. Steps that it names run only where it leads to them."""

    name: ClassVar[str] = "branch"
    With: ClassVar[type[Strict]] = BranchWith

    def output(self, _step: Step) -> Mapping[str, Any]:
        """Where it led to, and the place of the route in the table (from 1; 0: none held)."""
        return {
            "type": "object",
            "required": ["to", "route"],
            "properties": {"to": {"type": ["string", "null"]}, "route": {"type": "integer"}},
        }

    def run(self, given: BranchWith, call: Call) -> Done:
        """Raises StepFailed where no route holds and there is no other way."""
        for place, route in enumerate(given.routes, start=1):
            if evaluate(route.when, call.visible):
                return Done({"to": route.to, "route": place})
        if given.otherwise is None:
            raise StepFailed("no route holds, and there is no `otherwise`", slug="no-route")
        return Done({"to": given.otherwise, "route": 0})


class CheckWith(Strict):
    """Rules over `value` (in rules: `output`). With `flag`, what does not hold is put out instead of failing."""

    value: Any = None
    rules: Annotated[list[Check], Field(min_length=1, max_length=50)]
    flag: bool = False


class CheckStep(Plain):
    """`check`: each rule, whether it holds and why not. One that does not hold fails the step, unless it only flags."""

    name: ClassVar[str] = "check"
    With: ClassVar[type[Strict]] = CheckWith

    def __init__(self, former: Former, checker: Callable[[], OutputChecker | None]) -> None:
        self._former = former
        self._checker = checker

    def output(self, _step: Step) -> Mapping[str, Any]:
        """Whether all hold, and each finding."""
        finding = {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "holds": {"type": "boolean"},
                "why": {"type": "string"},
                "value": {"type": ["number", "null"]},
            },
        }
        return {
            "type": "object",
            "required": ["passed", "findings", "value"],
            "properties": {"passed": {"type": "boolean"}, "findings": {"type": "array", "items": finding}, "value": {}},
        }

    def run(self, given: CheckWith, call: Call) -> Done:
        """Raises StepFailed where a rule does not hold and they are not only to be flagged."""

        def former(check: str, wanted: int) -> Sequence[float]:
            return self._former(call.run_id, call.step.id, check, wanted)

        found = judge_all(given.rules, Judging(call.visible, given.value, former, self._checker()))
        bad = [one for one in found if not one.holds]
        findings = [one.facts() | {"why": one.why, "value": one.value} for one in found]
        output = {"passed": not bad, "findings": findings, "value": given.value}
        if bad and not given.flag:
            raise StepFailed(f"{bad[0].check.name}: {bad[0].why}", slug="check", output=output)
        values = [one.facts() for one in found]
        return Done(output, facts={"checks": values})
