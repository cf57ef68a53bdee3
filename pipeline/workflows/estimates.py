"""What a run will cost, before it starts.

What a step used in former runs says most: the median of what it took, times how often it is to be expected. Where there
are none, its prompt's length and the bound on the reply do. Upper ends are real bounds where the spec gives one (limits
of loops, attempts, budgets of agents), else the most that was ever seen.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

from kernel.errors import InvalidInput
from pipeline.workflows.agents.declared import Budget
from pipeline.workflows.costs import Prices, StepPast
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.spec import Step, Workflow

CHARACTERS_A_TOKEN = 4.0
"""Of English text in the tokenizers of today's models; others take more tokens."""
MODEL_KINDS = frozenset({"prompt", "ask", "classify", "extract", "agent"})
"""Kinds that may ask a model."""
PLACES = 6


@dataclass(frozen=True, slots=True)
class Size:
    """How large one call of a step is where no run tells: characters of what it is asked, the most that it may reply
    (tokens), and of which model.
    """

    characters: int
    most_completion: int
    model: str


@dataclass(frozen=True, slots=True)
class Span:
    """What is likely, and what it is at most."""

    likely: float = 0.0
    most: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.likely + other.likely, self.most + other.most)


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What a step will take. `basis`: former runs, the size of its prompt, or nothing, as it asks no model. `cost` is
    None where nobody knows the price; `share` is the part of former runs in which it was done at all.
    """

    step: str
    kind: str
    basis: Literal["past", "size", "none", "unknown"]
    model: str = ""
    runs: int = 0
    share: float = 1.0
    calls: Span = field(default_factory=Span)
    prompt_tokens: Span = field(default_factory=Span)
    completion_tokens: Span = field(default_factory=Span)
    seconds: Span = field(default_factory=Span)
    cost: Span | None = field(default_factory=Span)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, step by step in the order in which they run."""

    steps: tuple[StepEstimate, ...]

    @property
    def total(self) -> StepEstimate:
        """All steps together; the cost is that of the steps whose cost is known."""
        total = StepEstimate("", "", "none")
        for one in self.steps:
            total = replace(
                total,
                calls=total.calls + one.calls,
                prompt_tokens=total.prompt_tokens + one.prompt_tokens,
                completion_tokens=total.completion_tokens + one.completion_tokens,
                seconds=total.seconds + one.seconds,
                cost=(total.cost or Span()) + (one.cost or Span()),
            )
        return total

    @property
    def unpriced(self) -> list[str]:
        """Models that are used and whose price nobody knows."""
        return sorted({one.model or "unknown" for one in self.steps if one.cost is None})


def estimate(
    workflow: Workflow,
    given: Mapping[str, Any],
    past: Sequence[StepPast],
    prices: Prices,
    size_of: Callable[[Step], Size | None] = lambda _: None,
) -> Estimate:
    """What a run with this input will take, by former runs of this workflow and, where they tell nothing of a step, by
    the size of what it asks.
    """
    runs = len({one.run for one in past})
    by_step: dict[str, list[StepPast]] = defaultdict(list)
    for one in past:
        by_step[one.step].append(one)
    return Estimate(
        tuple(
            _by_past(step, given, by_step[step.id], runs, prices)
            if by_step[step.id]
            else _by_size(step, given, size_of(step), prices)
            for step in workflow.order
        )
    )


def estimate_json(made: Estimate) -> dict[str, Any]:
    """An estimate as JSON."""
    return {
        "steps": [_json(one) for one in made.steps],
        "total": {name: value for name, value in _json(made.total).items() if name in _SPANS},
        "unpriced": made.unpriced,
    }


_SPANS = ("calls", "prompt_tokens", "completion_tokens", "seconds", "cost")


def _json(one: StepEstimate) -> dict[str, Any]:
    spans = {name: getattr(one, name) for name in _SPANS}
    shown = {
        name: None if span is None else {"likely": _round(span.likely, name), "most": _round(span.most, name)}
        for name, span in spans.items()
    }
    about = {"step": one.step, "kind": one.kind, "basis": one.basis, "model": one.model}
    return about | {"runs": one.runs, "share": round(one.share, PLACES)} | shown


def _round(value: float, name: str) -> float | int:
    return round(value, PLACES) if name in ("cost", "seconds") else math.ceil(round(value, PLACES))


def _by_past(step: Step, given: Mapping[str, Any], past: Sequence[StepPast], runs: int, prices: Prices) -> StepEstimate:
    done = _units(past, prices)
    a_run = Counter(one.run for one in done)
    share = len(a_run) / max(1, runs)
    items = _items(step, given)
    usual = float(items) if items is not None else float(median(a_run.values()))
    most = float(max(items if items is not None else step.each.limit if step.each else 1, *a_run.values()))
    tries = Counter((one.run, one.item) for one in past)

    def spent(values: Sequence[float]) -> Span:
        return Span(float(median(values)) * usual * share, max(values) * most)

    costs = [one.cost for one in done if one.cost is not None]
    made = StepEstimate(
        step.id,
        step.kind,
        "past",
        next((one.model for one in reversed(past) if one.model), ""),
        len(a_run),
        share,
        Span(usual * share * len(past) / len(tries), most * max(step.retry.attempts, *tries.values())),
        spent([one.prompt_tokens for one in done]),
        spent([one.completion_tokens for one in done]),
        spent([one.ms / 1000 for one in done]),
        spent(costs) if len(costs) == len(done) else None,
    )
    return _within_budget(made, step)


def _units(past: Sequence[StepPast], prices: Prices) -> list[StepPast]:
    """What each item of each run took, all its tries together, at the price of today where no server said one."""
    found: dict[tuple[str, int | None], StepPast] = {}
    for one in past:
        key, cost = (one.run, one.item), prices.of(one)
        known = found.get(key)
        if known is None:
            found[key] = replace(one, cost=cost)
            continue
        found[key] = replace(
            known,
            model=one.model or known.model,
            prompt_tokens=known.prompt_tokens + one.prompt_tokens,
            completion_tokens=known.completion_tokens + one.completion_tokens,
            ms=known.ms + one.ms,
            cost=None if cost is None or known.cost is None else known.cost + cost,
        )
    return list(found.values())


def _by_size(step: Step, given: Mapping[str, Any], size: Size | None, prices: Prices) -> StepEstimate:
    items = _items(step, given)
    limit = step.each.limit if step.each else 1
    calls = Span(float(items if items is not None else limit), _bound(step, items))
    if step.kind not in MODEL_KINDS:
        return StepEstimate(step.id, step.kind, "none", calls=calls)
    if size is None:
        return _within_budget(StepEstimate(step.id, step.kind, "unknown", calls=calls, cost=None), step)
    prompt = math.ceil(size.characters / CHARACTERS_A_TOKEN)
    reply = size.most_completion
    a_call = prices.cost(size.model, prompt, reply / 2), prices.cost(size.model, prompt, reply)
    cost = None if a_call[0] is None or a_call[1] is None else Span(a_call[0] * calls.likely, a_call[1] * calls.most)
    made = StepEstimate(
        step.id,
        step.kind,
        "size",
        size.model,
        calls=calls,
        prompt_tokens=Span(prompt * calls.likely, prompt * calls.most),
        completion_tokens=Span(reply / 2 * calls.likely, reply * calls.most),
        cost=cost,
    )
    return _within_budget(made, step)


def _items(step: Step, given: Mapping[str, Any]) -> int | None:
    """How often a step is done, where that is known before the run; None where it depends on what other steps find."""
    if step.each is None:
        return 1
    try:
        found = evaluate(step.each.in_, {"input": dict(given)})
    except InvalidInput:
        return None
    return min(len(found), step.each.limit) if isinstance(found, list) else None


def _bound(step: Step, items: int | None) -> float:
    """Calls that a step makes at most."""
    limit = step.each.limit if step.each else 1
    return float((items if items is not None else limit) * step.retry.attempts)


def _within_budget(made: StepEstimate, step: Step) -> StepEstimate:
    """An agent's step takes no more than its budget."""
    if step.kind != "agent":
        return made
    given = step.with_.get("budget")
    budget = Budget().model_dump() | (dict(given) if isinstance(given, Mapping) else {})
    times = _bound(step, None) / step.retry.attempts
    tokens, cost, seconds = (_number(budget.get(name)) for name in ("tokens", "cost", "seconds"))
    if tokens is not None:
        made = replace(made, prompt_tokens=_capped(made.prompt_tokens, tokens * times))
        made = replace(made, completion_tokens=_capped(made.completion_tokens, tokens * times))
    if seconds is not None:
        made = replace(made, seconds=_capped(made.seconds, seconds * times))
    return replace(made, cost=_capped(made.cost or Span(), cost * times)) if cost is not None else made


def _capped(span: Span, most: float) -> Span:
    """The span within a bound, which is the most where nothing else tells."""
    return Span(min(span.likely, most), min(span.most, most) if span.most else most)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
