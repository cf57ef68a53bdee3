"""Taking steps back, the last one first, where a run fails or is cancelled (compensation, as in sagas: Garcia-Molina
and Salem, 1987). Each that was taken back is recorded before the next one is, so that a kill in between loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kernel.storage.runs import NewEvent
from pipeline.workflows import journal
from pipeline.workflows.calling import Came, Failure, Hand, attempt
from pipeline.workflows.expressions import fill
from pipeline.workflows.journal import RunState, undo_key
from pipeline.workflows.outcomes import LONGEST_REASON, Try, facts, wait_of
from pipeline.workflows.spec import Workflow
from pipeline.workflows.steps.base import Call, Done, Kind, Used

LONGEST_WAIT = 1.0
"""Seconds between two tries at taking a step back, at most."""


def to_undo(spec: Workflow, state: RunState) -> list[Try]:
    """What is to be taken back, the last that was done first."""
    found = []
    for step in spec.order:
        items = state.items.get(step.id, {}).items()
        doings = [(None, state.of(step.id))] if step.each is None else list(items)
        for place, one in doings if step.undo is not None else ():
            if one.status == journal.DONE and undo_key(step.id, place) not in state.undone:
                found.append((one.leaf, Try(step, place, one.attempts)))
    return [this for _, this in sorted(found, key=lambda one: -one[0])]


def undo(hand: Hand, kinds: Mapping[str, Kind], this: Try, call: Call) -> NewEvent:
    """Take one step back, with as many tries as it has itself; what the journal says of it. Where it cannot be taken
    back, that is said, and the others are taken back all the same.
    """
    for tries in range(1, this.step.retry.attempts + 1):
        came = _tried(hand, kinds, call, tries)
        if isinstance(came.outcome, Done):
            words = {"output": came.outcome.output, "with": came.given}
            return replace(this.event("undone", facts(came, came.outcome.used), words), attempt=tries)
        if not (isinstance(came.outcome, Failure) and came.outcome.retryable):
            break
        time.sleep(min(wait_of(this.step.retry, tries), LONGEST_WAIT))
    failure = came.outcome if isinstance(came.outcome, Failure) else Failure("waits", "taking back cannot wait")
    data = facts(came, Used()) | {"slug": failure.slug}
    return replace(this.event("undo_failed", data, {"error": failure.message[:LONGEST_REASON]}), attempt=tries)


def _tried(hand: Hand, kinds: Mapping[str, Kind], call: Call, tries: int) -> Came:
    how: Any = call.step.undo
    return attempt(hand, kinds[how.kind], lambda: fill(how.with_, call.visible), replace(call, attempt=tries))
