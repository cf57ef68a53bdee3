"""Whether there is room for one more turn: looked at before each, so that no budget is ever gone past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kernel.records import Message
from pipeline.workflows.agents.declared import Budget
from pipeline.workflows.agents.memory import Memory
from pipeline.workflows.agents.ports import Price

LEAST_REPLY, MOST_REPLY = 64, 400
"""Tokens of a reply: with less there is no point in asking; more only where the prompt asks for more."""
OF_A_MESSAGE = 32
"""Tokens that a message's frame takes at most, about."""


class Exhausted(Exception):
    """A budget is used up; `which` names it."""

    def __init__(self, which: str, words: str) -> None:
        super().__init__(words)
        self.which = which


def most_tokens(messages: Sequence[Message]) -> int:
    """The most tokens that messages can be: no tokenizer in use makes more tokens of a text than it has bytes."""
    return sum(len(one.content.encode()) + OF_A_MESSAGE for one in messages)


def room(memory: Memory, budget: Budget, messages: Sequence[Message], wanted: int, price: Rate) -> tuple[int, int]:
    """How many tokens the next reply may have, and how many are set aside for the turn. Raises Exhausted."""
    spent = memory.spent
    if spent.steps >= budget.steps:
        raise Exhausted("steps", f"{spent.steps} of {budget.steps} steps are used")
    prompt = most_tokens(messages)
    reply = min(wanted, budget.tokens - memory.tokens - prompt)
    if reply < min(wanted, LEAST_REPLY):
        raise Exhausted(
            "tokens", f"{memory.tokens:,} of {budget.tokens:,} tokens are used, and a turn may take {prompt:,}"
        )
    if spent.cost + price(prompt, reply) > budget.cost or (spent.cost >= budget.cost and spent.cost > 0):
        raise Exhausted("cost", f"{spent.cost:.4f} of {budget.cost:.4f} are spent")
    return reply, prompt + reply


class Rate:
    """What a turn may cost: by the declared price of a model, else at the rate of the turns before."""

    def __init__(self, memory: Memory, price: Price | None, model: str) -> None:
        self._memory, self._price, self._model = memory, price, model

    def __call__(self, prompt: int, completion: int) -> float:
        known = self._price(self._model, prompt, completion) if self._price else None
        return self._memory.spent.cost_of(prompt + completion) if known is None else known


def share_used(memory: Memory, budget: Budget, seconds: float) -> tuple[str, float]:
    """The budget that is nearest its end, and how much of it is used, as a share."""
    shares: Iterable[tuple[str, float]] = {
        "steps": memory.spent.steps / budget.steps,
        "tokens": memory.tokens / budget.tokens,
        "seconds": seconds / budget.seconds,
        "cost": memory.spent.cost / budget.cost if budget.cost else 0.0,
    }.items()
    return max(shares, key=lambda one: one[1])


def used_json(memory: Memory) -> Mapping[str, Any]:
    """What was used, for the step's output."""
    spent = memory.spent
    return {
        "steps": spent.steps,
        "tokens": memory.tokens,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "seconds": round(spent.seconds, 3),
        "cost": round(spent.cost, 6) if spent.priced else None,
        "calls": dict(sorted(memory.calls.items())),
    }
