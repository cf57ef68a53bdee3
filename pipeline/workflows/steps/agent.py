"""The step kind `agent`: it decides by itself what to do next, within what its spec allows, and waits for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kernel.errors import InvalidInput
from pipeline.workflows.agents.declared import CHANGING, DEFAULT_PROMPT, AgentWith, templated_powers
from pipeline.workflows.agents.loop import Loop
from pipeline.workflows.agents.ports import Parts
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Waits

_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}


class AgentStep(Plain):
    """Runs an agent. What it did so far is in the call's notes, so beginning and going on are the same."""

    name: ClassVar[str] = "agent"
    With: ClassVar[type[Strict]] = AgentWith

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def effect(self, given: Mapping[str, Any]) -> bool:
        """Whether one of its agents may make a request that changes something."""
        return any(_changes(one) for one in _missions(given))

    def prompts(self, step: Step) -> Sequence[str]:
        """The prompt of each of its agents."""
        named = (one.get("prompt") or DEFAULT_PROMPT for one in _missions(step.with_))
        return tuple(dict.fromkeys(one for one in named if isinstance(one, str)))

    def output(self, step: Step) -> Mapping[str, Any]:
        """The result in the form that its success asks for, and what it took to get there. Raises InvalidInput where
        what an agent may do holds a template.
        """
        powers = sorted(templated_powers(step.with_))
        if powers:
            raise InvalidInput(f"what an agent may do holds no templates: {', '.join(powers)}")
        success = step.with_.get("success")
        schema = success.get("schema") if isinstance(success, Mapping) else None
        members = {
            "result": schema if isinstance(schema, Mapping) else {},
            "steps": _COUNT,
            "used": {"type": "object"},
            "decisions": {"type": "array", "items": {"type": "object"}},
            "citations": {"type": "array", "items": {"type": "string"}},
            "sources": {"type": "object"},
        }
        return {"type": "object", "properties": members, "required": list(members)}

    def run(self, given: AgentWith, call: Call) -> Done | Waits:
        """Begin, or go on after a kill or an earlier try. Raises StepFailed, and what may pass."""
        return self._loop(given, call).run()

    def resume(self, given: AgentWith, call: Call, waited: Waits) -> Done | Waits:
        """Go on where the person who was waited for has decided."""
        return self._loop(given, call).run(waited=bool(waited.ref))

    def _loop(self, given: AgentWith, call: Call) -> Loop:
        powers = sorted(templated_powers(call.step.with_))
        if powers:
            raise StepFailed(f"what an agent may do holds no templates: {', '.join(powers)}", slug="spec")
        return Loop(given, call, self._parts)


def _missions(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The agents of a raw `with`."""
    agents = given.get("agents")
    missions = [given, *(agents.values() if isinstance(agents, Mapping) else ())]
    return [one for one in missions if isinstance(one, Mapping)]


def _changes(mission: Mapping[str, Any]) -> bool:
    tools = mission.get("tools")
    listed = tools.get("http") if isinstance(tools, Mapping) else None
    return any(
        isinstance(one, Mapping) and one.get("method", "GET") in CHANGING
        for one in (listed if isinstance(listed, list) else ())
    )
