"""How far off the estimate of a run was, once it has ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.workflows.costs import Prices, StepPast
from pipeline.workflows.estimates import PLACES, Estimate, Span, StepEstimate


@dataclass(frozen=True, slots=True)
class Difference:
    """What a step, or the whole run (no step), was estimated at and came to. `ratio` is actual by likely; `over` says
    that it went past what was thought the most.
    """

    step: str
    what: Literal["calls", "prompt_tokens", "completion_tokens", "seconds", "cost"]
    likely: float
    most: float
    actual: float
    ratio: float | None
    over: bool


def variance(before: Estimate, past: Sequence[StepPast], prices: Prices) -> list[Difference]:
    """How a run (its tries) came out beside its estimate: the whole run first, then each step that differs."""
    actual: dict[str, list[StepPast]] = defaultdict(list)
    for one in past:
        actual[one.step].append(one)
    every = [*_differences("", before.total, past, prices)]
    for step in before.steps:
        found = _differences(step.step, step, actual[step.step], prices)
        every += [one for one in found if one.actual != one.likely]
    return every


def _differences(step: str, before: StepEstimate, past: Sequence[StepPast], prices: Prices) -> list[Difference]:
    costs = [prices.of(one) for one in past]
    spent: dict[Any, tuple[Span | None, float]] = {
        "calls": (before.calls, float(len(past))),
        "prompt_tokens": (before.prompt_tokens, float(sum(one.prompt_tokens for one in past))),
        "completion_tokens": (before.completion_tokens, float(sum(one.completion_tokens for one in past))),
        "seconds": (before.seconds, sum(one.ms for one in past) / 1000),
        "cost": (before.cost, sum(one for one in costs if one is not None)),
    }
    found = []
    for what, (span, actual) in spent.items():
        if span is None:
            continue
        ratio = round(actual / span.likely, PLACES) if span.likely else None
        over = actual > span.most * (1 + 1e-9)
        likely, most, came = (round(value, PLACES) for value in (span.likely, span.most, actual))
        found.append(Difference(step, what, likely, most, came, ratio, over))
    return found
