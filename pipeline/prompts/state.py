"""What is in force of each prompt, as it follows from the journal: labels, states, tests, rules, experiments.

The fold is pure: the same rows give the same state, so the state of any past moment can be told by leaving out the rows
after it. Values are never changed in place; a newer row makes a newer state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kernel.storage.prompts import EXPERIMENT, RULES, TESTED
from kernel.storage.versioned import APPROVED, LABELLED, RETIRED, UNLABELLED, Event, Happening
from pipeline import standing
from pipeline.standing import Move, standing_after, version_before

PRODUCTION = "production"
DRAFT, IN_REVIEW, LIVE = "draft", "in_review", "live"
RUNNING, ENDED, STOPPED, PROMOTED = "running", "ended", "stopped", "promoted"
"""States of an experiment: ended by itself, stopped by a person, or promoted: an arm went to production."""


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """The newest run of a version's cases with a model: `leaf` is its entry."""

    __test__ = False

    passed: bool
    leaf: int
    data: Mapping[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Standing(standing.Standing):
    """Where one version of a prompt stands, and its newest tests by model."""

    tests: Mapping[str, TestOutcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExperimentState:
    """An experiment or canary: its declaration, and whether it runs; `reason` says why it does not any more."""

    id: str
    name: str
    state: str
    spec: Mapping[str, Any]
    leaf: int
    created_at: str
    ended_at: str | None = None
    reason: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptState:
    """Everything that is in force of one prompt."""

    labels: Mapping[str, int] = field(default_factory=dict)
    standings: Mapping[int, Standing] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = ()
    experiments: Mapping[str, ExperimentState] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    retired: bool = False
    lived: frozenset[int] = frozenset()
    """Versions that a label was on while callers got it without naming it."""

    @property
    def running(self) -> ExperimentState | None:
        """The experiment that runs, if one does: there is at most one a prompt."""
        return next((one for one in self.experiments.values() if one.state == RUNNING), None)

    @property
    def guarded(self) -> frozenset[str]:
        """Labels that callers get without naming them: only approved versions go there."""
        return frozenset({PRODUCTION, *(str(rule["label"]) for rule in self.rules)})

    def standing(self, version: int) -> Standing:
        """Where a version stands."""
        return self.standings.get(version, Standing())

    def state_of(self, version: int) -> str:
        """draft, in_review, approved, live or retired. Live is what a guarded label points at."""
        if self.retired or self.standing(version).retired:
            return RETIRED
        if any(self.labels.get(label) == version for label in self.guarded):
            return LIVE
        standing = self.standing(version)
        return APPROVED if standing.approved else IN_REVIEW if standing.submitted else DRAFT

    def before(self, label: str) -> int | None:
        """The version that a label was on before it came to where it is; None where there is none."""
        return version_before(self.moves, label)

    def was_live(self, version: int) -> bool:
        """Whether callers once got a version without naming it."""
        return version in self.lived


@dataclass(frozen=True, slots=True)
class LibraryState:
    """The state of every prompt after the entry `last` of the ledger."""

    last: int = -1
    prompts: Mapping[str, PromptState] = field(default_factory=dict)

    def of(self, name: str) -> PromptState:
        """The state of a prompt; of one that nothing was done with, the first state."""
        return self.prompts.get(name, PromptState())

    def after(self, events: Iterable[Event]) -> LibraryState:
        """The state after further rows of the journal, in order."""
        prompts, last = dict(self.prompts), self.last
        for event in events:
            prompts[event.name] = _after(prompts.get(event.name, PromptState()), event)
            last = event.leaf
        return LibraryState(last, prompts)


def ending(
    experiment: ExperimentState,
    state: str,
    reason: str,
    outcome: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> Happening:
    """The row that ends an experiment. `reason` and `outcome` name nobody; what a person wrote is in `words`."""
    data = {"id": experiment.id, "state": state, "reason": reason, "outcome": dict(outcome or {})}
    return Happening(experiment.name, 0, EXPERIMENT, "", data, words or {})


def _after(state: PromptState, event: Event) -> PromptState:
    if event.kind in (LABELLED, UNLABELLED):
        version = event.version if event.kind == LABELLED else 0
        labels = {label: number for label, number in state.labels.items() if label != event.label}
        labels |= {event.label: version} if version else {}
        before, back = int(event.data["before"]), bool(event.data.get("rollback"))
        move = Move(event.leaf, event.label, version, before, back, event.created_at)
        moved = replace(state, labels=labels, moves=(*state.moves, move))
        return replace(moved, lived=_lived(moved, before if event.label == PRODUCTION else 0))
    if event.kind == RULES:
        ruled = replace(state, rules=tuple(event.data["rules"]))
        return replace(ruled, lived=_lived(ruled))
    if event.kind == EXPERIMENT:
        return replace(state, experiments={**state.experiments, event.data["id"]: _experiment(state, event)})
    if event.kind == RETIRED and not event.version:
        return replace(state, retired=bool(event.data.get("retired", True)))
    standing = _standing(state.standing(event.version), event)
    return replace(state, standings={**state.standings, event.version: standing})


def _lived(state: PromptState, more: int = 0) -> frozenset[int]:
    """The versions that were live, with those that callers get now and `more` (what came with the program was live
    before any move). Where a label was before rules chose it says nothing: no gate was asked then.
    """
    now = {number for label, number in state.labels.items() if label in state.guarded}
    return state.lived | now | ({more} if more else set())


def _standing(before: Standing, event: Event) -> Standing:
    if event.kind == TESTED:
        outcome = TestOutcome(event.data["passed"], event.leaf, event.data, event.created_at)
        return replace(before, tests={**before.tests, event.data["model"]: outcome})
    return standing_after(before, event)


def _experiment(state: PromptState, event: Event) -> ExperimentState:
    known = state.experiments.get(event.data["id"])
    if known is None:
        spec = event.data["spec"]
        return ExperimentState(event.data["id"], event.name, RUNNING, spec, event.leaf, event.created_at)
    return replace(
        known,
        state=event.data["state"],
        ended_at=event.created_at,
        reason=event.data.get("reason", ""),
        outcome=event.data.get("outcome", {}),
    )
