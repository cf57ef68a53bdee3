"""The cost of runs: an estimate before one, and how far off that was after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from kernel.errors import Conflict, InvalidInput
from kernel.records import Principal
from kernel.storage.runs import ENDS, Run, Runs
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.costs import Prices, StepPast, pasts_of
from pipeline.workflows.estimates import Estimate, Size, estimate, estimate_json
from pipeline.workflows.spec import Step
from pipeline.workflows.starting import Found
from pipeline.workflows.steps.base import Json
from pipeline.workflows.variance import variance

RUNS = 20
"""Former runs that an estimate goes by."""
NOW = 2**62
"""After every entry that there is."""


class Costing:
    """`find` gives the version of a workflow that somebody gets, `at` one by its number, `size_of` how large a call of
    a step is where no former run tells.
    """

    def __init__(
        self,
        runs: Runs,
        find: Callable[[str, Principal], Found],
        at: Callable[[str, int], Found],
        prices: Prices,
        size_of: Callable[[Step], Size | None],
    ) -> None:
        self._runs = runs
        self._find = find
        self._at = at
        self._prices = prices
        self._size_of = size_of

    def before(self, reference: str, given: Mapping[str, Any], principal: Principal) -> Json:
        """What a run with this input will take, step by step. Raises NotFound, InvalidInput for an input that does not
        fit.
        """
        found = self._find(reference, principal)
        faults = schema_faults(dict(given), found.spec.inputs)
        if faults:
            raise InvalidInput(f"the input does not fit workflow {found.name}: {'; '.join(faults)}")
        made = self._estimate(found, given, NOW)
        return {"workflow": found.name, "version": found.version} | estimate_json(made)

    def after(self, run: Run) -> Json:
        """What a run took beside what would have been estimated for it by the runs before. Raises Conflict for one that
        has not ended, or whose record was erased.
        """
        if run.status not in ENDS or run.erased:
            raise Conflict(f"run {run.id} is {'erased' if run.erased else run.status}: there is nothing to compare")
        guessed = self._estimate(self._at(run.workflow, run.version), run.said.get("input", {}), run.number)
        past = self._tries(run)
        found = [asdict(one) for one in variance(guessed, past, self._prices)]
        total, steps = ([one for one in found if bool(one["step"]) is of_steps] for of_steps in (False, True))
        return {"run": run.id, "total": total, "steps": steps}

    def _estimate(self, found: Found, given: Mapping[str, Any], before: int) -> Estimate:
        past: list[StepPast] = []
        for run in self._runs.ended(found.name, before, RUNS):
            past += self._tries(run)
        return estimate(found.spec, given, past, self._prices, self._size_of)

    def _tries(self, run: Run) -> list[StepPast]:
        """What each try of a run used; what a run that one of its steps started used counts as that step's."""
        found = pasts_of(self._runs.events(run.id, words=False))
        for child in self._runs.children(run.id):
            owner, _, rest = child.parent.partition(":")
            if owner == run.id and rest:
                step, _, item = rest.partition(":")
                place = int(item) if item.isdigit() else None
                found += [replace(one, run=run.id, step=step, item=place) for one in self._tries(child)]
        return found
