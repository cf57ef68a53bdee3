"""Runs as people and programs see them: in a list, whole with every step, beside a former run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kernel.storage.runs import Run, RunEvent
from pipeline.workflows.journal import DONE, RunState, StepState
from pipeline.workflows.spec import Step, Workflow

Json = dict[str, Any]
LISTED = (
    "id",
    "workflow",
    "version",
    "status",
    "mode",
    "trigger",
    "parent",
    "principal",
    "created_at",
    "due_at",
    "wake_at",
    "finished_at",
)


def run_json(run: Run) -> Json:
    """A run as listings show it."""
    return {name: getattr(run, name) for name in LISTED} | {"erased": run.erased}


def run_whole(run: Run, spec: Workflow, events: Iterable[RunEvent]) -> Json:
    """A run with its input, what it was pinned to, every step and what it came to."""
    rows = list(events)
    state = RunState().after(rows)
    return run_json(run) | {
        "title": spec.title or spec.name,
        "spec_sha256": run.spec_sha256,
        "input": run.said.get("input", {}),
        "pins": run.said.get("pins", {}),
        "groups": (run.said.get("principal") or {}).get("groups", []),
        "output": state.finished.get("output") if state.finished else None,
        "why": _why(state),
        "breached": state.breached,
        "totals": dict(state.totals),
        "steps": [_step(step, state) for step in spec.order],
        "refs": refs_of(rows),
        "ledger": {"index": run.number, "last": state.last},
    }


def event_json(event: RunEvent, *, words: bool = True) -> Json:
    """A row of the journal."""
    shown = {"index": event.leaf, "kind": event.kind, "step": event.step, "item": event.item, "attempt": event.attempt}
    shown |= {"data": dict(event.data), "actor": event.actor, "created_at": event.created_at}
    return shown | ({"words": dict(event.words or {})} if words else {})


def refs_of(events: Iterable[RunEvent]) -> dict[str, list[str]]:
    """Ids of all that a run made: answers, runs of prompts, tasks, runs of other workflows, in the order of making."""
    found: dict[str, list[str]] = {}
    for event in events:
        for sort, ids in (event.data.get("refs") or {}).items():
            known = found.setdefault(sort, [])
            known += [one for one in ids if one not in known]
        if event.kind == "waits" and event.data.get("ref"):
            sort = {"person": "tasks", "run": "runs"}.get(event.data.get("for", ""))
            if sort and event.data["ref"] not in found.setdefault(sort, []):
                found[sort].append(event.data["ref"])
    return found


def compared(one: Json, other: Json) -> Json:
    """What differs between two runs, as `run_whole` gives them: input, pins, and each step's output and time."""
    theirs = {step["id"]: step for step in other["steps"]}
    steps = []
    for step in one["steps"]:
        former = theirs.get(step["id"])
        same = former is not None and step["output_sha256"] == former["output_sha256"]
        steps.append(
            {
                "id": step["id"],
                "status": [step["status"], former["status"] if former else None],
                "same_output": same,
                "output": None if same else [step["output"], former["output"] if former else None],
                "ms": [step["ms"], former["ms"] if former else None],
            }
        )
    return {
        "runs": [one["id"], other["id"]],
        "same_spec": one["spec_sha256"] == other["spec_sha256"],
        "input": _differences(one["input"], other["input"]),
        "pins": _differences(one["pins"], other["pins"]),
        "steps": steps,
        "output": _differences(one["output"] or {}, other["output"] or {}),
        "totals": [one["totals"], other["totals"]],
    }


def _differences(one: Any, other: Any) -> Json:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return {} if one == other else {"": [one, other]}
    names = sorted({*one, *other})
    return {name: [one.get(name), other.get(name)] for name in names if one.get(name) != other.get(name)}


def _why(state: RunState) -> Json | None:
    """Why a run ended otherwise than well: the step, the sort of failure, and what it said."""
    if state.cancelled is not None:
        return {"step": None, "slug": "cancelled", "message": state.cancelled.get("reason", "")}
    if state.stopped is None:
        slug = (state.finished or {}).get("slug")
        return {"step": None, "slug": slug, "message": ""} if slug else None
    step = state.stopped["step"]
    failed = [state.of(step), *state.items.get(step, {}).values()] if step else []
    message = next((one.error["message"] for one in failed if one.error is not None), "")
    return {"step": step or None, "slug": state.stopped["slug"], "message": message}


def _step(step: Step, state: RunState) -> Json:
    one = state.of(step.id)
    items = state.items.get(step.id, {})
    waits = one.waits or next((item.waits for item in items.values() if item.waits), None)
    shown: Json = {"id": step.id, "kind": step.kind, "title": step.label, "needs": list(step.needs)}
    shown |= _standing(one)
    if items:
        done = sum(1 for item in items.values() if item.status == DONE)
        states = [_standing(item) for item in items.values()]
        shown["items"] = {"done": done, "of": one.data.get("items"), "states": states}
    if waits is not None:
        shown["waits"] = {name: waits.get(name) for name in ("for", "ref", "until", "about")}
    return shown


def _standing(one: StepState) -> Json:
    return {
        "status": one.status,
        "attempts": one.attempts,
        "ms": one.data.get("ms"),
        "output": one.output,
        "output_sha256": one.data.get("output_sha256"),
        "error": dict(one.error) if one.error is not None else None,
        "checks": list(one.data.get("checks", ())),
        "used": dict(one.data.get("used", {})),
        "refs": dict(one.data.get("refs", {})),
        "skipped": one.data.get("why"),
        "again_at": one.again_at,
        "notes": [dict(note) for note in one.notes],
    }
