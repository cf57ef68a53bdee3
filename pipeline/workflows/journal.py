"""Where a run stands: a pure fold of its journal. Whoever reads the journal comes to the same state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kernel.storage.runs import RunEvent

PENDING, DONE, FAILED, SKIPPED, WAITING, UNDONE = "pending", "done", "failed", "skipped", "waiting", "undone"
SETTLED = frozenset({DONE, FAILED, SKIPPED, UNDONE})


@dataclass(frozen=True, slots=True)
class StepState:
    """How far a step is, or one item of its loop. `again_at`: when to try once more after a failure that may pass."""

    status: str = PENDING
    attempts: int = 0
    output: Any = None
    data: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    again_at: str | None = None
    waits: Mapping[str, Any] | None = None
    notes: tuple[Mapping[str, Any], ...] = ()
    leaf: int = -1
    round: int = 0
    """How often it was taken back and begun anew: what is done then is another act, under another key."""

    @property
    def settled(self) -> bool:
        """Whether nothing more is done of it by itself."""
        return self.status in SETTLED


NEW = StepState()


@dataclass(frozen=True, slots=True)
class RunState:
    """What the journal says: steps by id, items of loops by id and number, the steps that were led to."""

    last: int = -1
    steps: Mapping[str, StepState] = field(default_factory=dict)
    items: Mapping[str, Mapping[int, StepState]] = field(default_factory=dict)
    reached: frozenset[str] = frozenset()
    stopped: Mapping[str, Any] | None = None
    cancelled: Mapping[str, Any] | None = None
    finished: Mapping[str, Any] | None = None
    undone: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    """What could not be taken back, of those: it stands."""
    breached: bool = False
    totals: Mapping[str, float] = field(default_factory=dict)

    def of(self, step: str, item: int | None = None) -> StepState:
        """How far a step is, or one item of its loop."""
        return self.steps.get(step, NEW) if item is None else self.items.get(step, {}).get(item, NEW)

    def after(self, events: Iterable[RunEvent]) -> RunState:
        """The state after more rows of the journal."""
        state = self
        for event in events:
            state = replace(_FOLD.get(event.kind, _nothing)(state, event), last=event.leaf)
        return state

    def _with(self, event: RunEvent, **changes: Any) -> RunState:
        made = replace(self.of(event.step, event.item), leaf=event.leaf, **changes)
        if event.item is None:
            return replace(self, steps={**self.steps, event.step: made})
        mine = {**self.items.get(event.step, {}), event.item: made}
        return replace(self, items={**self.items, event.step: mine})


def undo_key(step: str, item: int | None) -> str:
    """What names a step, or an item of its loop, among those that were taken back."""
    return step if item is None else f"{step}:{item}"


def _nothing(state: RunState, _event: RunEvent) -> RunState:
    return state


def _done(state: RunState, event: RunEvent) -> RunState:
    output = (event.words or {}).get("output")
    state = state._with(
        event, status=DONE, attempts=event.attempt, output=output, data=event.data, again_at=None, waits=None
    )
    to = event.data.get("to")
    reached = state.reached | {to} if to else state.reached
    return replace(state, reached=reached, totals=_totals(state.totals, event.data))


def _failed(state: RunState, event: RunEvent) -> RunState:
    again = event.data.get("again_at")
    words = event.words or {}
    state = state._with(
        event,
        status=PENDING if again else FAILED,
        attempts=event.attempt,
        output=words.get("output"),
        data=event.data,
        error={"slug": event.data.get("slug", ""), "message": words.get("error", "")},
        again_at=again,
        waits=None,
    )
    to = event.data.get("to")
    reached = state.reached | {to} if to else state.reached
    return replace(state, reached=reached, totals=_totals(state.totals, event.data))


def _skipped(state: RunState, event: RunEvent) -> RunState:
    return state._with(event, status=SKIPPED, data=event.data)


def _waits(state: RunState, event: RunEvent) -> RunState:
    waits = {**event.data, **(event.words or {})}
    state = state._with(event, status=WAITING, waits=waits, attempts=event.attempt, again_at=None)
    return replace(state, totals=_totals(state.totals, event.data))


def _note(state: RunState, event: RunEvent) -> RunState:
    known = state.of(event.step, event.item)
    note = {"kind": event.data.get("sort", ""), "data": (event.words or {}).get("note", {})}
    made = replace(known, notes=(*known.notes, note))
    if event.item is None:
        return replace(state, steps={**state.steps, event.step: made})
    mine = {**state.items.get(event.step, {}), event.item: made}
    return replace(state, items={**state.items, event.step: mine})


def _stopped(state: RunState, event: RunEvent) -> RunState:
    return replace(state, stopped={"step": event.step, **event.data})


def _cancelled(state: RunState, event: RunEvent) -> RunState:
    return replace(state, cancelled={"by": event.actor, **(event.words or {})})


def _undone(state: RunState, event: RunEvent) -> RunState:
    return replace(state, undone=state.undone | {undo_key(event.step, event.item)})


def _undo_failed(state: RunState, event: RunEvent) -> RunState:
    return replace(_undone(state, event), stuck=state.stuck | {undo_key(event.step, event.item)})


def _finished(state: RunState, event: RunEvent) -> RunState:
    return replace(state, finished={**event.data, "output": (event.words or {}).get("output"), "at": event.created_at})


def _resumed(state: RunState, _event: RunEvent) -> RunState:
    """What failed is to be done again, and what was taken back too; what was done otherwise is kept."""
    steps = {name: _begun_anew(state, one, undo_key(name, None)) for name, one in state.steps.items()}
    items = {
        name: {place: _begun_anew(state, one, undo_key(name, place)) for place, one in mine.items()}
        for name, mine in state.items.items()
    }
    again = {name for name in items if any(not one.settled for one in items[name].values())}
    steps |= {name: NEW for name in again if name in steps}
    skipped = {name for name, one in steps.items() if one.status == SKIPPED and one.data.get("why") == "needs"}
    steps |= dict.fromkeys(skipped, NEW)
    return replace(
        state,
        steps=steps,
        items=items,
        stopped=None,
        cancelled=None,
        finished=None,
        undone=frozenset(),
        stuck=frozenset(),
    )


def _begun_anew(state: RunState, one: StepState, key: str) -> StepState:
    if key in state.undone - state.stuck:
        return StepState(round=one.round + 1)  # with what it noted an agent would find that it had ended
    return StepState(notes=one.notes, round=one.round) if one.status == FAILED else one


def _breached(state: RunState, _event: RunEvent) -> RunState:
    return replace(state, breached=True)


def _totals(totals: Mapping[str, float], data: Mapping[str, Any]) -> Mapping[str, float]:
    used = data.get("used") or {}
    found = dict(totals)
    for name in ("prompt_tokens", "completion_tokens", "cost"):
        if used.get(name):
            found[name] = found.get(name, 0) + used[name]
    if "ms" in data:
        found["ms"] = round(found.get("ms", 0.0) + data["ms"], 3)
    return found


_FOLD = {
    "done": _done,
    "failed": _failed,
    "skipped": _skipped,
    "waits": _waits,
    "note": _note,
    "stopped": _stopped,
    "cancelled": _cancelled,
    "undone": _undone,
    "undo_failed": _undo_failed,
    "finished": _finished,
    "resumed": _resumed,
    "breached": _breached,
}
