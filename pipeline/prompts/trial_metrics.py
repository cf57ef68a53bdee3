"""What the answers of an experiment's arms were like: figures of each arm, and comparisons that may be looked at any
time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel.records import AnswerStatus
from kernel.storage.trials import Score, Trial
from pipeline.prompts.sequential import Comparison, WorseBy
from pipeline.prompts.shares import who_of

SHARES = ("answered", "partial", "abstained", "failed")
"""Metrics that are shares of the answers, by status."""
BOUNDED = (*SHARES, "confidence", "supported", "feedback")
"""Metrics between 0 and 1: of `supported`, the share of an answer's sentences that its citations carry."""
UNBOUNDED = ("latency_ms", "tokens", "cost")
"""Metrics that need a cap, or a limit that is kept or not, before arms can be compared by them."""
METRICS = (*BOUNDED, *UNBOUNDED)
P95 = "latency_p95_ms"
LOWER = frozenset({"partial", "abstained", "failed", *UNBOUNDED, P95})
"""Metrics of which less is better."""
STAGES = ("retrieve", "generate", "ground")
_RUNS = {"done": "answered", "refused": "abstained", "withheld": "abstained"}
"""Statuses of runs of prompts, as those of answers."""


def outcomes_of(trial: Trial) -> dict[str, float]:
    """The metrics of an answer, as they are: of those that its record has."""
    body: Mapping[str, Any] = trial.record.get("body", {})
    status = _RUNS.get(trial.status, trial.status)
    if status == AnswerStatus.PENDING_REVIEW:
        status = body.get("policy", {}).get("held", {}).get("status", status)
    found = {name: float(status == name) for name in SHARES}
    if trial.confidence is not None:
        found["confidence"] = trial.confidence
    labels = [sentence["support"]["label"] for sentence in body.get("sentences", ())]
    if labels:
        found["supported"] = labels.count("supported") / len(labels)
    timings, usage = body.get("timings_ms"), body.get("usage")
    if timings:
        found["latency_ms"] = sum(timings.get(stage, 0.0) for stage in STAGES)
    if usage:
        found["tokens"] = float(usage["prompt_tokens"] + usage["completion_tokens"])
        found |= {"cost": usage["cost"]} if usage["cost"] is not None else {}
    return found


def scaled(metric: Mapping[str, Any], value: float) -> float:
    """A value of a metric in [0, 1]: those with a `cap`, as a share of it; with `within`, 1 where it is kept."""
    if metric.get("within") is not None:
        return float(value <= metric["within"])
    if metric.get("cap") is not None:
        return float(min(value, metric["cap"]) / metric["cap"])
    return min(1.0, max(0.0, value))


def better(metric: Mapping[str, Any], value: float) -> float:
    """A scaled value turned so that more is better."""
    one = scaled(metric, value)
    return 1 - one if metric["name"] in LOWER and metric.get("within") is None else one


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least value that a share of all values is not above; None of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


@dataclass
class ArmTally:
    """The answers of one arm so far."""

    answers: int = 0
    units: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    values: dict[str, list[float]] = field(default_factory=dict)
    opinions: dict[tuple[int, object], float] = field(default_factory=dict)

    def of(self, metric: str) -> list[float]:
        """Every value of a metric; of feedback, the last word of each person on each answer."""
        if metric == "feedback":
            return list(self.opinions.values())
        return self.values.get("latency_ms" if metric == P95 else metric, [])

    def figure(self, metric: str) -> float | None:
        """The mean of a metric (of `latency_p95_ms`, the percentile); None where there is nothing to tell it from."""
        values = self.of(metric)
        if metric == P95:
            return percentile(values, 0.95)
        return math.fsum(values) / len(values) if values else None


@dataclass
class _Guard:
    """A declared guard against being worse than the first arm, and what betting against it has made so far."""

    declared: Mapping[str, Any]
    evidence: WorseBy
    count: int = 0

    def add(self, second: bool, value: float) -> None:
        """Take in a value of which more is better."""
        self.count += second
        self.evidence.add(second, value)


class Tally:
    """The arms of one experiment, kept up as answers and feedback come. The same rows give the same figures, in every
    process and after every restart.

    With `count: first`, each user or session counts once in a comparison: by its first outcome. What one person asks
    further is not independent of that, so that counting it would name false winners.
    """

    def __init__(self, spec: Mapping[str, Any], metrics: Iterable[Mapping[str, Any]]) -> None:
        self._spec = spec
        self.metrics = {str(one["name"]): one for one in metrics}
        self.arms = {str(arm["name"]): ArmTally() for arm in spec["arms"]}
        self.alpha = float(spec["alpha"])
        self.first, *self.others = self.arms
        shares = {str(arm["name"]): float(arm["share"]) for arm in spec["arms"]}
        pairs = {name: (shares[self.first], shares[name]) for name in self.others}
        self.comparisons = {(name, metric): Comparison(pairs[name]) for name in self.others for metric in self.metrics}
        relative = [one for one in spec["guards"] if one.get("worse_by") is not None]
        self.guards = {
            (name, place): _Guard(one, WorseBy(one["worse_by"], pairs[name]))
            for name in self.others
            for place, one in enumerate(relative)
        }
        self.counted: Counter[tuple[str, str]] = Counter()
        self.last = self.last_score = -1
        self.decided: tuple[str, int] | None = None
        self._seen: set[tuple[str, str]] = set()
        self._whose: dict[int, str] = {}

    def add(self, trial: Trial) -> None:
        """Take in an answer. One that was erased counts in the shares by status alone."""
        self.last = trial.number
        if trial.arm not in self.arms:
            return
        arm, outcomes, run = self.arms[trial.arm], outcomes_of(trial), trial.record.get("run", {})
        arm.answers += 1
        for name, value in outcomes.items():
            arm.values.setdefault(name, []).append(value)
        if not run:
            return
        unit = self._whose[trial.number] = who_of(self._spec, run.get("session"), run["principal"]["id"])
        arm.units.add(unit)
        for name, value in outcomes.items():
            self._compare(trial.arm, name, unit, value, trial.number)

    def add_score(self, score: Score) -> None:
        """Take in what somebody said of an answer."""
        self.last_score = score.leaf
        if score.arm not in self.arms:
            return
        self.arms[score.arm].opinions[(score.answer, score.actor or score.leaf)] = score.score
        if score.answer in self._whose:
            self._compare(score.arm, "feedback", self._whose[score.answer], score.score, score.leaf)

    def _compare(self, arm: str, metric: str, unit: str, value: float, number: int) -> None:
        once = self._spec["count"] == "first"
        if once and (metric, unit) in self._seen:
            return
        self._seen.add((metric, unit))
        second = arm != self.first
        for name in (arm,) if second else self.others:
            if metric in self.metrics:
                self.comparisons[(name, metric)].add(second, scaled(self.metrics[metric], value))
            for (of, _), guard in self.guards.items():
                if of == name and guard.declared["metric"] == metric:
                    guard.add(second, better({"name": metric} | dict(guard.declared), value))
        if metric in self.metrics:
            self.counted[(arm, metric)] += 1
            self._decide(metric, number)

    def _decide(self, metric: str, number: int) -> None:
        """Name the winner, the first time there is one: an arm that beats the first, or the first if it beats all."""
        declared = self._spec["metric"]
        if self.decided is not None or metric != declared["name"]:
            return
        alpha = self._spec["alpha"] / len(self.others)
        higher = not (metric in LOWER and declared.get("within") is None)
        enough = {name for name in self.arms if self.counted[(name, metric)] >= self._spec["min_samples"]}
        won = {
            name: self.comparisons[(name, metric)].winner(alpha) if {name, self.first} <= enough else None
            for name in self.others
        }
        ahead = [name for name, one in won.items() if one is not None and bool(one) == higher]
        if ahead:
            self.decided = (ahead[0], number)
        elif all(one is not None for one in won.values()):
            self.decided = (self.first, number)
