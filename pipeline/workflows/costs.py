"""What models cost, and what tries at steps used of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kernel.storage.runs import RunEvent

MILLION = 1_000_000
FREE = ("extractive/",)
"""What the names of models begin with that cost nothing."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, a million tokens each, in the currency that all prices are in."""

    prompt: float
    completion: float


class Prices:
    """Prices by model, `provider/name`; `*` stands for anything, and the first that fits counts."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = dict(prices)

    def cost(self, model: str, prompt_tokens: float, completion_tokens: float) -> float | None:
        """The cost of so many tokens; None where nobody knows the price."""
        if model.startswith(FREE) or not (prompt_tokens or completion_tokens):
            return 0.0
        price = next((one for pattern, one in self._prices.items() if fnmatchcase(model, pattern)), None)
        if price is None:
            return None
        return (price.prompt * prompt_tokens + price.completion * completion_tokens) / MILLION

    def of(self, past: StepPast) -> float | None:
        """What a try cost: as its server said, else by the price of its model."""
        return past.cost if past.cost is not None else self.cost(past.model, past.prompt_tokens, past.completion_tokens)


@dataclass(frozen=True, slots=True)
class StepPast:
    """One try at a step, or at one item of its loop, in a run that has ended. `cost` is what its server said."""

    run: str
    step: str
    item: int | None = None
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    ms: float = 0.0


def pasts_of(events: Iterable[RunEvent]) -> list[StepPast]:
    """What the journals of runs say that their tries used; a try that waited in between is one."""
    found: dict[tuple[str, str, int | None, int], StepPast] = {}
    for event in events:
        if not event.step or "ms" not in event.data or "items" in event.data:
            continue
        used = event.data.get("used") or {}
        key = (event.run_id, event.step, event.item, event.attempt)
        known = found.get(key, StepPast(event.run_id, event.step, event.item))
        cost = used.get("cost")
        found[key] = StepPast(
            event.run_id,
            event.step,
            event.item,
            str(used.get("model", "")) or known.model,
            known.prompt_tokens + int(used.get("prompt_tokens", 0)),
            known.completion_tokens + int(used.get("completion_tokens", 0)),
            known.cost if cost is None else (known.cost or 0.0) + float(cost),
            known.ms + float(event.data["ms"]),
        )
    return list(found.values())
