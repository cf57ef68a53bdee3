"""What the model is shown in a turn: the goal, what it may do, and what was done, all that came from outside as data.

It follows from the spec and the notes alone, so that the messages of any turn can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kernel.errors import InvalidInput
from kernel.records import Evidence, Message
from pipeline.prompts.output import repair_messages
from pipeline.prompts.rendering import Compiled, render
from pipeline.workflows.agents.declared import PERSON, AgentWith
from pipeline.workflows.agents.memory import Entry, Memory

Json = dict[str, Any]
LEFT_OUT = "(left out)"
SHOWN_GOAL = 200
INPUTS = ("goal", "done_when", "material", "tools", "handoffs", "may_ask", "may_escalate", "sure", "log", "steps_left")
"""What a prompt for turns of agents may take as inputs."""


def turn_messages(compiled: Compiled, given: AgentWith, memory: Memory, tools: Sequence[Json]) -> tuple[Message, ...]:
    """The messages of the next turn. Raises InvalidInput for a prompt that is not made for turns of agents."""
    values = _values(given, memory, tools)
    asked = compiled.inputs
    strange = sorted(name for name, one in asked.items() if one.required and name not in INPUTS)
    if strange:
        raise InvalidInput(
            f"prompt {compiled.version.name} is not for turns of agents: it needs {strange[0]!r}; "
            f"an agent gives it {', '.join(INPUTS)}"
        )
    messages = render(compiled, "", Evidence(0, ()), {name: one for name, one in values.items() if name in asked})
    if memory.faulty is None:
        return messages
    reply, faults = memory.faulty
    return (*messages, *repair_messages(reply or "(nothing)", faults))


def _values(given: AgentWith, memory: Memory, tools: Sequence[Json]) -> Json:
    mission = given.missions[memory.agent]
    return {
        "goal": mission.goal,
        "done_when": success_words(given),
        "material": [{"name": name, "text": _text(value)} for name, value in mission.context.items()],
        "tools": list(tools),
        "handoffs": [{"name": name, "use": _use(given, name)} for name in mission.handoffs],
        "may_ask": mission.may_ask,
        "may_escalate": given.escalate is not None,
        "sure": given.escalate is not None and given.escalate.confidence_below is not None,
        "log": log_shown(memory, given.window),
        "steps_left": given.budget.steps - memory.spent.steps,
    }


def success_words(given: AgentWith) -> str:
    """When the goal is reached, for the model."""
    success, words = given.success, []
    if success.schema_ is not None:
        words.append(f"the result fits this schema: {_text(success.schema_)}")
    if success.that is not None:
        words.append(f"this holds: {success.that}")
    if success.citations:
        words.append(f"the result names at least {success.citations} of the passages that you saw, as [c1]")
    return "; ".join(words)


def _use(given: AgentWith, name: str) -> str:
    if name == PERSON:
        return "a person takes over or tells you how to go on."
    return given.missions[name].goal[:SHOWN_GOAL]


def log_shown(memory: Memory, window: int) -> list[Json]:
    """What was done, oldest first; of the oldest less and less where it is too long."""
    left, shown = window, list[Json]()
    for entry in reversed(memory.entries):
        did, came = _did(entry), _came(entry, memory)[: window // 2]
        if len(did) + len(came) > left:
            came = LEFT_OUT
        if len(did) + len(came) > left:
            break
        left -= len(did) + len(came)
        shown.append({"turn": entry.turn, "did": did, "came": came})
    return shown[::-1]


def turns_shown(memory: Memory, window: int) -> frozenset[int]:
    """The turns whose outcome is still shown."""
    return frozenset(one["turn"] for one in log_shown(memory, window) if one["came"] != LEFT_OUT)


def _did(entry: Entry) -> str:
    did = {name: one for name, one in entry.did.items() if name != "thought"}
    who = f"{entry.agent}: " if entry.agent != PERSON else "a person "
    return who + json.dumps(did, ensure_ascii=False)


def _came(entry: Entry, memory: Memory) -> str:
    """The outcome, with passages under the numbers that the model cites them by."""
    numbers = memory.numbers
    return _text(_numbered(entry.outcome, numbers))


def _numbered(value: Any, numbers: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return numbers.get(value, value)
    if isinstance(value, list):
        return [_numbered(one, numbers) for one in value]
    if isinstance(value, dict):
        return {name: _numbered(one, numbers) for name, one in value.items()}
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_log(memory: Memory) -> list[Json]:
    """What was decided and what came of it, a line each, without texts of documents."""
    return [_line(entry) for entry in memory.entries]


def _line(entry: Entry) -> Json:
    way = next(
        (name for name in ("tool", "finish", "ask", "hand_off", "escalate", "looked at") if name in entry.did), ""
    )
    line: Json = {"turn": entry.turn, "agent": entry.agent, "did": way}
    if way == "tool":
        line |= {"tool": entry.did["tool"], "arguments": _text(entry.did["arguments"])[:SHOWN_GOAL]}
    elif way in ("hand_off", "looked at"):
        line["to" if way == "hand_off" else "why"] = entry.did[way]
    if entry.ok is False and isinstance(entry.outcome, Mapping):
        line["error"] = _text(entry.outcome.get("error", entry.outcome))[:SHOWN_GOAL]
    return line | {"ok": entry.ok is not False}
