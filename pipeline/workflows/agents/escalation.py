"""When a person must look although the agent did not ask for one."""

from __future__ import annotations

import re
from functools import lru_cache

from pipeline.workflows.agents.budget import share_used
from pipeline.workflows.agents.declared import AgentWith
from pipeline.workflows.agents.memory import Memory


def due_rule(given: AgentWith, memory: Memory, seconds: float) -> tuple[str, str] | None:
    """The rule that puts the case before a person now, and why; each does so once in a step.

    What an agent decided is looked at before it is done.
    """
    rules = given.escalate
    if rules is None:
        return None
    if rules.words and "words" not in memory.fired:
        found = _found(tuple(rules.words), "\n".join(memory.texts()))
        if found:
            return "words", found
    if memory.pending is not None and "finish" in memory.pending.did:
        return None
    if rules.failures is not None and "failures" not in memory.fired and memory.failures >= rules.failures:
        return "failures", f"{memory.failures} in a row"
    if rules.budget_used is not None and "budget_used" not in memory.fired:
        which, share = share_used(memory, given.budget, seconds)
        if share >= rules.budget_used:
            return "budget_used", f"{share:.0%} of its {which}"
    return None


def _found(words: tuple[str, ...], text: str) -> str:
    match = _pattern(words).search(text)
    return match.group(0) if match else ""


@lru_cache(maxsize=256)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Whole words, whatever their case and the space between them."""
    each = (r"\s+".join(re.escape(part) for part in one.split()) for one in words)
    return re.compile(rf"(?<!\w)(?:{'|'.join(each)})(?!\w)", re.IGNORECASE)
