"""What is in force of each workflow, as it follows from the journal: labels, states, whether its triggers rest.

The fold is pure: the same rows give the same state, so the state of any past moment can be told by leaving out the rows
after it. Values are never changed in place; a newer row makes a newer state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kernel.storage.versioned import LABELLED, RETIRED, UNLABELLED, Event
from kernel.storage.workflows import PAUSED, RESUMED
from pipeline.standing import Move, Standing, standing_after, version_before

PILOT, LIVE = "pilot", "live"
"""The labels that a version may have, and the states that they give it."""
DRAFT, IN_REVIEW, APPROVED_STATE, RETIRED_STATE = "draft", "in_review", "approved", "retired"
STATES = (DRAFT, IN_REVIEW, APPROVED_STATE, PILOT, LIVE, RETIRED_STATE)


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """Everything that is in force of one workflow. `restored` and `resumed` are when it last came back from retirement,
    and its triggers from their rest; empty where that never was.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    standings: Mapping[int, Standing] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    retired: bool = False
    paused: bool = False
    lived: frozenset[int] = frozenset()
    restored: str = ""
    resumed: str = ""

    def standing(self, version: int) -> Standing:
        """Where a version stands."""
        return self.standings.get(version, Standing())

    def state_of(self, version: int) -> str:
        """draft, in_review, approved, pilot, live or retired."""
        standing = self.standing(version)
        if self.retired or standing.retired:
            return RETIRED_STATE
        for label in (LIVE, PILOT):
            if self.labels.get(label) == version:
                return label
        return APPROVED_STATE if standing.approved else IN_REVIEW if standing.submitted else DRAFT

    def before(self, label: str) -> int | None:
        """The version that a label was on before it came to where it is; None where there is none."""
        return version_before(self.moves, label)

    def was_live(self, version: int) -> bool:
        """Whether a version was once live."""
        return version in self.lived


@dataclass(frozen=True, slots=True)
class LibraryState:
    """The state of every workflow after the entry `last` of the ledger."""

    last: int = -1
    workflows: Mapping[str, WorkflowState] = field(default_factory=dict)

    def of(self, name: str) -> WorkflowState:
        """The state of a workflow; of one that nothing was done with, the first state."""
        return self.workflows.get(name, WorkflowState())

    def after(self, events: Iterable[Event]) -> LibraryState:
        """The state after further rows of the journal, in order."""
        workflows, last = dict(self.workflows), self.last
        for event in events:
            workflows[event.name] = _after(workflows.get(event.name, WorkflowState()), event)
            last = event.leaf
        return LibraryState(last, workflows)


def _after(state: WorkflowState, event: Event) -> WorkflowState:
    if event.kind in (LABELLED, UNLABELLED):
        return _moved(state, event)
    if event.kind in (PAUSED, RESUMED):
        paused = event.kind == PAUSED
        return replace(state, paused=paused, resumed=state.resumed if paused else event.created_at)
    if event.kind == RETIRED and not event.version:
        retired = bool(event.data["retired"])
        return replace(state, retired=retired, restored=state.restored if retired else event.created_at)
    standing = standing_after(state.standing(event.version), event)
    return replace(state, standings={**state.standings, event.version: standing})


def _moved(state: WorkflowState, event: Event) -> WorkflowState:
    version = event.version if event.kind == LABELLED else 0
    labels = {label: number for label, number in state.labels.items() if label != event.label}
    labels |= {event.label: version} if version else {}
    before, back = int(event.data["before"]), bool(event.data.get("rollback"))
    moves = (*state.moves, Move(event.leaf, event.label, version, before, back, event.created_at))
    moved = replace(state, labels=labels, moves=moves)
    if event.label != LIVE:
        return moved
    return replace(moved, lived=(state.lived | {before, version}) - {0})
