"""Experiments and canaries: callers who name a prompt alone are drawn to one of several approved versions, for as long
as it runs; who is drawn where never changes. What ends it, and what follows from it, is in the journal.

After each answer in an arm, `saw` looks at the figures: a guard that is broken, a winner, or enough answers end the
experiment, and from the next question on everybody gets the version in production again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.ids import random_id
from kernel.records import Principal
from kernel.storage.prompts import EXPERIMENT
from kernel.storage.trials import Trials
from kernel.storage.versioned import LABELLED, Happening
from pipeline.histories import PROGRAM
from pipeline.prompts.declaration import CANARY, Declaration
from pipeline.prompts.experiment_status import Json, breach_of, figures_of, status_of
from pipeline.prompts.gates import Gates, check_guarded
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.state import (
    ENDED,
    PRODUCTION,
    PROMOTED,
    RUNNING,
    STOPPED,
    ExperimentState,
    LibraryState,
    ending,
)
from pipeline.prompts.trial_metrics import BOUNDED, Tally

KEPT = 64
"""So many experiments' figures are kept between looks."""
_log = logging.getLogger("vouch.experiments")


class Experiments:
    """Starts, watches, ends and promotes experiments. Safe between threads."""

    def __init__(self, library: PromptLibrary, trials: Trials, gates: Callable[[], Gates]) -> None:
        self._library = library
        self._trials = trials
        self._gates = gates
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = {}

    def items(self, prompt: str | None = None) -> list[Json]:
        """Every experiment, newest first, without figures."""
        found = [
            one
            for name, state in self._library.state().prompts.items()
            for one in state.experiments.values()
            if prompt in (None, name)
        ]
        return [_brief(one) for one in sorted(found, key=lambda one: -one.leaf)]

    def status(self, experiment_id: str) -> Json:
        """An experiment with the figures of each arm, comparisons, guards and its history. Raises NotFound."""
        experiment = self._find(self._library.state(), experiment_id)
        with self._lock:
            told = status_of(experiment, self._tally(experiment))
        events = [
            {"at": one.created_at, "by": one.actor, "leaf": one.leaf, "state": one.data.get("state", RUNNING)}
            | {"comment": str(self._library.words(one.leaf).get("comment", ""))}
            for one in self._library.events(experiment.name)
            if one.kind == EXPERIMENT and one.data["id"] == experiment_id
        ]
        return _brief(experiment) | told | {"events": events}

    def start(self, prompt: str, declared: Declaration, actor: Principal, comment: str = "") -> Json:
        """Start an experiment on a prompt. Every arm must have what a version needs to go live.

        Raises NotFound, InvalidInput, and Conflict where one runs already or an arm may not go live.
        """
        library, made = self._library, random_id("exp")
        versions = {one.version: one for one in library.versions(prompt)}
        production = library.production(prompt, library.state())
        spec = declared.spec(production)
        missing = [arm["version"] for arm in spec["arms"] if arm["version"] not in versions]
        if missing:
            raise NotFound(f"prompt {prompt} has no version {missing[0]}")
        used = {arm["version"]: versions[arm["version"]] for arm in spec["arms"]}
        _check_alike(spec, used)
        spec["arms"] = [arm | {"sha256": used[arm["version"]].sha256} for arm in spec["arms"]]

        def decide(state: LibraryState) -> list[Happening]:
            known = state.of(prompt)
            if known.running is not None:
                raise Conflict(f"experiment {known.running.id} runs on this prompt: stop or promote it first")
            if known.retired:
                raise Conflict(f"prompt {prompt} is retired")
            if library.production(prompt, state) != production:
                raise Conflict("the version in production was changed meanwhile: look again")
            gates = self._gates()
            for version in used.values():
                if version.version != production:
                    check_guarded(version, known, gates)
            return [Happening(prompt, 0, EXPERIMENT, "", {"id": made, "spec": spec}, {"comment": comment})]

        keep = {**used, **({production: versions[production]} if production else {})}
        library.change(prompt, actor.id, decide, tuple(keep.values()))
        return self.status(made)

    def stop(self, experiment_id: str, actor: Principal, reason: str = "") -> Json:
        """End an experiment: everybody gets production again. Raises NotFound, Conflict where it ended already."""
        experiment = self._find(self._library.state(), experiment_id)
        outcome = {"result": "stopped"} | self._figures(experiment)

        def decide(state: LibraryState) -> list[Happening]:
            found = self._find(state, experiment_id)
            if found.state != RUNNING:
                raise Conflict(f"experiment {experiment_id} has ended already: {found.reason}")
            return [ending(found, STOPPED, "stopped by hand", outcome, {"comment": reason})]

        self._library.change(experiment.name, actor.id, decide)
        return self.status(experiment_id)

    def promote(self, experiment_id: str, actor: Principal, arm: str | None = None, comment: str = "") -> Json:
        """End an experiment and put `production` on an arm's version (by default the winner's, or the canary's), in one
        transaction. Raises NotFound, InvalidInput, and Conflict where the version may not go live, a guard ended the
        experiment, or production was moved since.
        """
        library = self._library
        experiment = self._find(library.state(), experiment_id)
        chosen = self._arm(experiment, arm)
        name, number = experiment.name, int(chosen["version"])
        versions = {one.version: one for one in library.versions(name)}
        figures = self._figures(experiment)

        def decide(state: LibraryState) -> list[Happening]:
            known, found = state.of(name), self._find(state, experiment_id)
            before = library.production(name, state)
            _check_promotable(found, known.running, before)
            if before == number:
                raise Conflict(f"version {number} is in production already: stop the experiment, and it stays there")
            check_guarded(versions[number], known, self._gates())
            told = f"arm {chosen['name']} was promoted"
            outcome = dict(found.outcome) | {"result": "promoted", "arm": chosen["name"]}
            data = {"sha256": versions[number].sha256, "before": before or 0, "experiment": experiment_id}
            return [
                ending(found, PROMOTED, told, figures | outcome, {"comment": comment}),
                Happening(name, number, LABELLED, PRODUCTION, data, {"comment": comment}),
            ]

        keep = [versions[one] for one in (int(experiment.spec["production"]), number) if one in versions]
        library.change(name, actor.id, decide, keep)
        return self.status(experiment_id)

    def warm(self) -> None:
        """Read what happened so far in those that run, so that the next answer in one waits for nothing."""
        running = [state.running for state in self._library.state().prompts.values()]
        with self._lock:
            for experiment in running:
                if experiment is not None:
                    self._tally(experiment)

    def saw(self, experiment_id: str) -> None:
        """Look at an experiment after an answer in it was recorded, and end it where that is due. Never raises."""
        try:
            self.check(experiment_id)
        except Exception:  # noqa: BLE001 - the answer is recorded: nothing here may keep it from who asked
            _log.exception("experiment %s could not be looked at after an answer", experiment_id)

    def check(self, experiment_id: str) -> bool:
        """End an experiment where that is due; whether it was."""
        experiment = self._find(self._library.state(), experiment_id)
        if experiment.state != RUNNING:
            return False
        with self._lock:
            tally = self._tally(experiment)
            due = _due(experiment, tally)
            outcome = figures_of(experiment, tally) if due else {}
        if due is None:
            return False
        told, reason = due

        def decide(state: LibraryState) -> list[Happening]:
            found = self._find(state, experiment_id)
            return [ending(found, ENDED, reason, outcome | told)] if found.state == RUNNING else []

        self._library.change(experiment.name, PROGRAM, decide)
        return True

    def _figures(self, experiment: ExperimentState) -> Json:
        with self._lock:
            return figures_of(experiment, self._tally(experiment))

    def _tally(self, experiment: ExperimentState) -> Tally:
        """The figures so far: what is new is read. Called under the lock."""
        tally = self._tallies.pop(experiment.id, None)
        if tally is None:
            spec = experiment.spec
            plain = [{"name": name} for name in BOUNDED]
            metrics = {str(one["name"]): one for one in [*plain, *spec["also"], spec["metric"]]}
            tally = Tally(spec, metrics.values())
        for trial in self._trials.after(experiment.id, tally.last):
            tally.add(trial)
        for score in self._trials.scores(experiment.id, tally.last_score):
            if score.answer > tally.last:
                break  # on an answer that came after they were read
            tally.add_score(score)
        self._tallies[experiment.id] = tally
        while len(self._tallies) > KEPT:
            del self._tallies[next(iter(self._tallies))]
        return tally

    @staticmethod
    def _find(state: LibraryState, experiment_id: str) -> ExperimentState:
        for prompt in state.prompts.values():
            if experiment_id in prompt.experiments:
                return prompt.experiments[experiment_id]
        raise NotFound(f"no experiment {experiment_id}; see: vouch prompts experiment list")

    def _arm(self, experiment: ExperimentState, name: str | None) -> Mapping[str, Any]:
        arms: dict[str, Mapping[str, Any]] = {str(arm["name"]): arm for arm in experiment.spec["arms"]}
        if name is None:
            with self._lock:
                decided = self._tally(experiment).decided
            won = decided[0] if decided else None
            name = list(arms)[-1] if experiment.spec["kind"] == CANARY else won
        if name is None:
            raise InvalidInput(f"experiment {experiment.id} has no winner: name the arm ({', '.join(arms)})")
        if name not in arms:
            raise InvalidInput(f"experiment {experiment.id} has no arm {name}; it has: {', '.join(arms)}")
        return arms[name]


def _due(experiment: ExperimentState, tally: Tally) -> tuple[Json, str] | None:
    """Whether an experiment ends now: the result, and why in words that name nobody."""
    spec = experiment.spec
    breach = breach_of(spec, tally)
    if breach is not None:
        return {"result": "breach", "arm": breach[0]}, breach[1]
    canary = spec["kind"] == CANARY
    if tally.decided is not None and spec["stop"] == "winner" and not canary:
        metric = spec["metric"]["name"]
        return {"result": "winner", "arm": tally.decided[0]}, f"arm {tally.decided[0]} is better by {metric}"
    answers = sum(arm.answers for arm in tally.arms.values())
    if answers >= spec.get("max_samples", answers + 1):
        result = "passed" if canary else "inconclusive"
        return {"result": result}, f"{answers} answers were given, and no {'guard was broken' if canary else 'winner'}"
    return None


def _check_promotable(found: ExperimentState, running: ExperimentState | None, production: int | None) -> None:
    if found.state == PROMOTED:
        raise Conflict(f"experiment {found.id} was promoted already")
    if found.outcome.get("result") == "breach":
        raise Conflict(f"experiment {found.id} was ended by a guard ({found.reason}): start another one")
    if running is not None and running.id != found.id:
        raise Conflict(f"experiment {running.id} runs on this prompt: stop or promote it first")
    if (production or 0) != found.spec["production"]:
        raise Conflict(
            f"production was moved from version {found.spec['production']} to {production} after the experiment began: "
            "what it found was not about this version; move the label yourself"
        )


def _check_alike(spec: Mapping[str, Any], used: Mapping[int, Any]) -> None:
    """Refuse arms that callers of the first could not use: no request may fail because of where it was drawn."""
    compiled = {number: compile_prompt(replace(version, label=PRODUCTION)) for number, version in used.items()}
    first, *others = (compiled[arm["version"]] for arm in spec["arms"])
    for arm, one in zip(spec["arms"][1:], others, strict=True):
        needs = {name for name, declared in one.inputs.items() if declared.required} - set(first.inputs)
        strange = set(first.inputs) - set(one.inputs)
        if one.anatomy.grounded != first.anatomy.grounded:
            raise InvalidInput(f"arm {arm['name']} needs documents, or none, unlike the first one")
        if needs or strange:
            what = f"needs the input {min(needs)!r}" if needs else f"does not know the input {min(strange)!r}"
            raise InvalidInput(f"arm {arm['name']} {what}, unlike the first: requests would fail")


def _brief(experiment: ExperimentState) -> Json:
    spec = experiment.spec
    return {
        "id": experiment.id,
        "prompt": experiment.name,
        "kind": spec["kind"],
        "state": experiment.state,
        "reason": experiment.reason,
        "arms": [{name: arm[name] for name in ("name", "version", "share")} for arm in spec["arms"]],
        "metric": spec["metric"]["name"],
        "leaf": experiment.leaf,
        "created_at": experiment.created_at,
        "ended_at": experiment.ended_at,
        "outcome": dict(experiment.outcome),
    }
