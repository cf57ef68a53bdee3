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
        return guarded_labels(self.rules)

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
        folds: dict[str, _Fold] = {}
        last = self.last
        for event in events:
            if event.name not in folds:
                folds[event.name] = _Fold(self.of(event.name))
            folds[event.name].take(event)
            last = event.leaf
        return LibraryState(last, {**self.prompts, **{name: fold.state() for name, fold in folds.items()}})


def guarded_labels(rules: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The labels that callers get without naming them, where these rules choose."""
    return frozenset({PRODUCTION, *(str(rule["label"]) for rule in rules)})


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


class _Fold:
    """A state on its way: a copy that rows change in place, so that the time goes with the number of rows."""

    def __init__(self, before: PromptState) -> None:
        self._before = before
        self._labels = dict(before.labels)
        self._standings = dict(before.standings)
        self._rules = before.rules
        self._experiments = dict(before.experiments)
        self._moves = list(before.moves)
        self._retired = before.retired
        self._lived = set(before.lived)
        self._guarded = before.guarded

    def take(self, event: Event) -> None:
        """Let one row count."""
        if event.kind in (LABELLED, UNLABELLED):
            self._move(event)
        elif event.kind == RULES:
            self._rules = tuple(event.data["rules"])
            self._guarded = guarded_labels(self._rules)
            self._live()
        elif event.kind == EXPERIMENT:
            known = self._experiments.get(event.data["id"])
            self._experiments[event.data["id"]] = _experiment(known, event)
        elif event.kind == RETIRED and not event.version:
            self._retired = bool(event.data.get("retired", True))
        else:
            standing = self._standings.get(event.version, Standing())
            self._standings[event.version] = _standing(standing, event)

    def state(self) -> PromptState:
        """The state after the rows so far. The fold is not to be used any more."""
        return replace(
            self._before,
            labels=self._labels,
            standings=self._standings,
            rules=self._rules,
            experiments=self._experiments,
            moves=tuple(self._moves),
            retired=self._retired,
            lived=frozenset(self._lived),
        )

    def _move(self, event: Event) -> None:
        version = event.version if event.kind == LABELLED else 0
        self._labels.pop(event.label, None)
        if version:
            self._labels[event.label] = version
        before, back = int(event.data["before"]), bool(event.data.get("rollback"))
        self._moves.append(Move(event.leaf, event.label, version, before, back, event.created_at))
        if before and event.label == PRODUCTION:  # what came with the program was live before any move
            self._lived.add(before)
        self._live()

    def _live(self) -> None:
        """Callers get what the guarded labels are on now. Where a label was before rules chose it says nothing: no gate
        was asked then.
        """
        self._lived.update(self._labels[label] for label in self._guarded if label in self._labels)


def _standing(before: Standing, event: Event) -> Standing:
    if event.kind == TESTED:
        outcome = TestOutcome(event.data["passed"], event.leaf, event.data, event.created_at)
        return replace(before, tests={**before.tests, event.data["model"]: outcome})
    return standing_after(before, event)


def _experiment(known: ExperimentState | None, event: Event) -> ExperimentState:
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
