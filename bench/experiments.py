"""How often peeking at an experiment names a false winner, and how soon it finds a real one: simulated.

`python -m bench.experiments [--runs 1000] [--answers 2000] [--out FILE]`: each run draws answers one at a time, and the
rule of `pipeline/prompts/sequential.py` is looked at after every one of them. It also measures what looking costs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.prompts.sequential import Blocks, Comparison, WorseBy, wealth

Draw = Callable[[np.random.Generator, int], NDArray[Any]]
ALPHA = 0.05
NEEDED = math.log(2 / ALPHA)


@dataclass(frozen=True)
class Case:
    """Two arms to draw from; `share` is the second's."""

    name: str
    first: Draw
    second: Draw
    share: float = 0.5

    @property
    def same(self) -> bool:
        """Whether there is no difference to be found."""
        return self.name.startswith("A/A")


def chance(rate: float) -> Draw:
    """Outcomes that are 1 with this probability, else 0."""
    return lambda rng, n: rng.random(n) < rate


def beta(a: float, b: float) -> Draw:
    """Outcomes between 0 and 1."""
    return lambda rng, n: rng.beta(a, b, n)


def drifting(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """A rate that falls from 90 to 40 % in the middle, for both arms at once."""
    return rng.random(n) < np.where(np.arange(n) < n // 2, 0.9, 0.4)


CASES = (
    Case("A/A, 5 %", chance(0.05), chance(0.05)),
    Case("A/A, 50 %", chance(0.5), chance(0.5)),
    Case("A/A, 95 %", chance(0.95), chance(0.95)),
    Case("A/A, beta(2, 5)", beta(2, 5), beta(2, 5)),
    Case("A/A, beta(0.2, 0.2)", beta(0.2, 0.2), beta(0.2, 0.2)),
    Case("A/A, 50 %, shares 95:5", chance(0.5), chance(0.5), 0.05),
    Case("A/A, 95 %, shares 95:5", chance(0.95), chance(0.95), 0.05),
    Case("A/A, beta(2, 5), shares 80:20", beta(2, 5), beta(2, 5), 0.2),
    Case("A/A, both fall from 90 to 40 %", drifting, drifting),
    Case("50 % against 60 %", chance(0.5), chance(0.6)),
    Case("80 % against 90 %", chance(0.8), chance(0.9)),
    Case("50 % against 60 %, shares 80:20", chance(0.5), chance(0.6), 0.2),
    Case("80 % against 90 %, shares 95:5", chance(0.8), chance(0.9), 0.05),
    Case("90 % against 0 %, shares 80:20", chance(0.9), chance(0.0), 0.2),
    Case("beta(4, 4) against beta(5, 3)", beta(4, 4), beta(5, 3)),
)


def trial(
    rng: np.random.Generator, first: Draw, second: Draw, share: float, answers: int
) -> tuple[list[float], list[int]]:
    """The differences of a run, and after how many answers each was known."""
    blocks, arms = Blocks(1 - share, share), rng.random(answers) < share
    outcomes = np.where(arms, second(rng, answers), first(rng, answers)).astype(float)
    found, at = [], []
    for place, (arm, outcome) in enumerate(zip(arms.tolist(), outcomes.tolist(), strict=True), 1):
        block = blocks.add(arm, outcome)
        if block is not None:
            found.append(block.difference)
            at.append(place)
    return found, at


def first_winner(case: Case, seed: int, answers: int) -> tuple[int, bool] | None:
    """After how many answers a winner was named, and whether it was the second arm; None where none was."""
    found, at = trial(np.random.default_rng([seed, len(case.name)]), case.first, case.second, case.share, answers)
    if not found:
        return None
    above, below = wealth(found), wealth(found, below=True)
    over = np.nonzero(np.maximum(above, below) >= NEEDED)[0]
    return (at[over[0]], bool(above[over[0]] >= NEEDED)) if over.size else None


def measured(case: Case, runs: int, answers: int) -> dict[str, Any]:
    """What the rule said in many runs of a case."""
    found = [one for seed in range(runs) if (one := first_winner(case, seed, answers)) is not None]
    stops = sorted(after for after, _ in found)
    return {
        "case": case.name,
        "runs": runs,
        "answers": answers,
        "winner_named": len(found) / runs,
        "second_named": sum(second for _, second in found) / runs,
        "median_answers": statistics.median(stops) if stops else None,
        "answers_p90": stops[int(0.9 * (len(stops) - 1))] if stops else None,
    }


GUARDED = (
    ("as good, 95 %", 0.95, 0.95),
    ("worse by just the margin, 95 and 85 %", 0.95, 0.85),
    ("as good, 50 %", 0.5, 0.5),
    ("worse by just the margin, 50 and 40 %", 0.5, 0.4),
    ("broken: 95 and 0 %", 0.95, 0.0),
    ("broken: 80 and 10 %", 0.8, 0.1),
    ("bad: 90 and 50 %", 0.9, 0.5),
)
"""Rates of production and of a canary."""


def guarded(name: str, good: float, canary: float, runs: int, answers: int, share: float = 0.2) -> dict[str, Any]:
    """How often, and after how many requests, a guard `worse_by: 0.1` ends a canary."""
    stops = []
    for seed in range(runs):
        rng, guard = np.random.default_rng([seed, 7]), WorseBy(0.1, (1 - share, share))
        arms = (rng.random(answers) < share).tolist()
        outcomes = (rng.random(answers) < np.where(arms, canary, good)).tolist()
        for place, (arm, outcome) in enumerate(zip(arms, outcomes, strict=True), 1):
            guard.add(arm, float(outcome))
            if guard.peak >= 1 / ALPHA:
                stops.append(place)
                break
    stops.sort()
    return {
        "canary": name,
        "runs": runs,
        "answers": answers,
        "share": share,
        "ended": len(stops) / runs,
        "within_50": sum(one <= 50 for one in stops) / runs,
        "median_answers": statistics.median(stops) if stops else None,
        "answers_p90": stops[int(0.9 * (len(stops) - 1))] if stops else None,
    }


def power_curve(runs: int, looks: tuple[int, ...] = (200, 500, 1000, 1500, 2000, 3000, 4000)) -> dict[str, list[Any]]:
    """Of 50 % against 60 %: the share of runs that had named the winner after so many answers."""
    case = next(one for one in CASES if one.name == "50 % against 60 %")
    found = [first_winner(case, 10_000 + seed, looks[-1]) for seed in range(runs)]
    return {
        "answers": list(looks),
        "found": [sum(one is not None and one[0] <= look and one[1] for one in found) / runs for look in looks],
    }


def cost() -> dict[str, float]:
    """Microseconds that one more outcome takes, and milliseconds of an interval over 1,000 blocks."""
    rng, comparison = np.random.default_rng(1), Comparison()
    outcomes = [(bool(arm), float(value)) for arm, value in zip(rng.random(2000) < 0.5, rng.random(2000), strict=True)]
    begin = time.perf_counter()
    for arm, value in outcomes:
        comparison.add(arm, value)
    added = time.perf_counter()
    comparison.interval(ALPHA)
    return {
        "add_us": round((added - begin) / len(outcomes) * 1e6, 1),
        "interval_ms": round((time.perf_counter() - added) * 1e3, 1),
    }


def main() -> None:
    """Run all of it and write or print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    cases = []
    for case in CASES:
        cases.append(measured(case, asked.runs, asked.answers))
        print(json.dumps(cases[-1]), flush=True)
    canaries = [guarded(*one, min(asked.runs, 400), asked.answers) for one in GUARDED]
    for one in canaries:
        print(json.dumps(one), flush=True)
    result = {"alpha": ALPHA, "cases": cases, "canaries": canaries, "power": power_curve(asked.runs), "cost": cost()}
    print(json.dumps({name: result[name] for name in ("power", "cost")}))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
