"""What a run chose at its start, as steps use it: versions of prompts, the policy, the snapshot, the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from kernel.records import Choice, LiveState
from kernel.storage.snapshots import Snapshots
from pipeline.prompts.library import DEFAULT
from pipeline.workflows.steps.base import Call, StepFailed

Snapshot = Literal["pinned", "live"]
"""Which documents a step sees: those of the run's start, or those of now."""


def chosen(call: Call, reference: str | None) -> Choice:
    """The version of a prompt that the run was started with. Raises StepFailed where it chose none."""
    name = reference or DEFAULT
    found = call.pins.prompts.get(name)
    if found is None:
        raise StepFailed(f"the run chose no version of prompt {name} at its start: name it without a template")
    return Choice(int(found[0]), str(found[1]), call.pins.policy)


def as_of(call: Call, snapshot: Snapshot) -> int | None:
    """The number of the snapshot that a question of the step names; None for the live one."""
    return call.pins.snapshot if snapshot == "pinned" else None


def state_at(snapshots: Snapshots, call: Call, snapshot: Snapshot) -> LiveState:
    """What a step sees of the documents. Rules of access, withdrawals among them, are always those of now."""
    state = snapshots.live()
    if snapshot == "live" or state.snapshot == call.pins.snapshot:
        return state
    number = call.pins.snapshot
    return replace(state, snapshot=number, last_chunk=snapshots.last_chunk(number))


def same_model(call: Call, model: str) -> None:
    """Raises StepFailed where the configured model is not the one that the run was started with."""
    if call.pins.model and call.pins.model != model:
        raise StepFailed(
            f"the run was started with the model {call.pins.model}, and {model} is configured now: configure it again, "
            "or fork the run",
            slug="model",
        )


def whole(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has all of these members."""
    return {"type": "object", "required": list(properties), "properties": dict(properties)}
