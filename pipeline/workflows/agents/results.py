"""Whether a result is one: its form, its criterion, and that it names only passages that were seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from kernel.errors import VouchError
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.agents.declared import Success
from pipeline.workflows.agents.memory import Memory
from pipeline.workflows.agents.ports import Evaluate

_NAMED = re.compile(r"""\[(c[1-9]\d{0,3})\]|"(c[1-9]\d{0,3})"|(chk_[a-z2-7]{26})""")
ALONE = 2
"""A text that is nothing but a number such as c1 may also be something else."""


def result_faults(
    success: Success, result: Any, memory: Memory, visible: Mapping[str, Any], evaluate: Evaluate
) -> list[str]:
    """Why a result does not reach the goal; empty where it does."""
    faults = schema_faults(result, success.schema_ or {}, quote=False)
    named, unseen = _named(result, memory)
    if unseen:
        faults.append(f"it names passages that nobody saw: {', '.join(unseen[:5])}")
    if len(named) < success.citations:
        faults.append(f"it names {len(named)} of the passages that were seen, and needs {success.citations}")
    if success.that is not None and not faults:
        try:
            held = evaluate(success.that, {**visible, "result": result})
        except VouchError as error:
            return [f"its criterion cannot be judged: {error}"]
        if held is not True:
            faults.append(f"this does not hold: {success.that}")
    return faults


def sources_of(result: Any, memory: Memory) -> dict[str, str]:
    """The passages that a result names, by their numbers."""
    named = set(_named(result, memory)[0])
    return {number: chunk for chunk, number in memory.numbers.items() if chunk in named}


def _named(result: Any, memory: Memory) -> tuple[list[str], list[str]]:
    """The chunks that the texts of a result name, and the numbers and ids that name nothing that was seen."""
    text = json.dumps(result, ensure_ascii=False)
    chunks = {number: chunk for chunk, number in memory.numbers.items()}
    known: dict[str, None] = {}
    unseen: dict[str, None] = {}
    for found in _NAMED.finditer(text):
        name = found.group(found.lastindex or 0)
        chunk = chunks.get(name, name)
        if chunk in memory.seen:
            known[chunk] = None
        elif found.lastindex != ALONE:
            unseen[chunk] = None
    return list(known), list(unseen)
