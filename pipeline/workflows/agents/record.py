"""One try at a step with agents: what it is given, what it remembers, what it has left, and how it notes things."""

from __future__ import annotations

import json
from typing import Any

from kernel.ids import canonical_json, sha256
from pipeline.workflows.agents.budget import used_json
from pipeline.workflows.agents.declared import MAIN, AgentWith
from pipeline.workflows.agents.memory import Memory
from pipeline.workflows.agents.ports import Parts
from pipeline.workflows.agents.showing import short_log
from pipeline.workflows.agents.tools import Toolbox
from pipeline.workflows.steps.base import Call, StepFailed, Used

Json = dict[str, Any]


class Record:
    """What everything that an agent does goes through. `about` is what the policy is asked about."""

    def __init__(self, given: AgentWith, call: Call, parts: Parts) -> None:
        self.given = given
        self.call = call
        self.parts = parts
        self.memory = Memory.of(call.notes)
        self._began = parts.clock()
        self._before = self.memory.spent.seconds + self.memory.lost_seconds(parts.now())
        self._boxes = {name: Toolbox(mission, parts) for name, mission in given.missions.items()}
        missions = given.missions.values()
        texts = [text for one in missions for text in (one.goal, *map(_text, one.context.values()))]
        self.about = "\n".join(texts)

    @property
    def box(self) -> Toolbox:
        """The tools of the agent that is at work."""
        return self._boxes[self.memory.agent]

    @property
    def pinned(self) -> Json:
        """The prompt and the model that the agent at work was begun with."""
        found: Json = (self.memory.begun or {})["agents"][self.memory.agent]
        return found

    @property
    def fingerprint(self) -> str:
        """A hash of all that the spec says of the step."""
        return sha256(canonical_json(self.given.model_dump(mode="json", by_alias=True)))

    def seconds(self) -> float:
        """Seconds that the agents of the step have worked, over all tries and lives of the process."""
        return self._before + self.parts.clock() - self._began

    def left(self) -> float:
        """Seconds for the next thing. Raises StepFailed where there are none."""
        left = self.given.budget.seconds - self.seconds()
        if left <= 0:
            raise self.failed(f"the agent's budget of {self.given.budget.seconds:g} seconds is used up", "budget")
        if self.call.left() <= 0:
            raise StepFailed("the step took too long", slug="timeout", retryable=True)
        return min(left, self.call.left())

    def note(self, kind: str, **data: Any) -> None:
        """Note something and take it up as it will be read again: JSON values."""
        said = {"seconds": round(self.seconds(), 3), "at": self.parts.now().isoformat(timespec="microseconds")}
        clean = json.loads(json.dumps(data | said, ensure_ascii=False, allow_nan=False))
        self.call.note(kind, clean)
        self.memory.take(kind, clean)

    def used(self, *, waits: bool = False) -> Used:
        """What was used since the last wait; of a wait what was used between the one before and it."""
        memory = self.memory
        main = (memory.begun or {}).get("agents", {}).get(MAIN)
        now, then = (memory.reported, memory.before) if waits else (memory.spent, memory.reported)
        return Used(
            now.prompt_tokens - then.prompt_tokens,
            now.completion_tokens + now.lost - then.completion_tokens - then.lost,
            round(now.cost - then.cost, 6) if memory.spent.priced else None,
            model_of(main) if main else "",
            {"tasks": (memory.waiting.ref,)} if waits and memory.waiting else {},
        )

    def failed(self, words: str, slug: str) -> StepFailed:
        """The step's failure, with what was done and used until then."""
        output = {"used": used_json(self.memory), "decisions": short_log(self.memory)}
        return StepFailed(words, slug=slug, output=output)


def model_of(pinned: Json) -> str:
    """A model's name with its provider, as prices and pins have it."""
    return f"{pinned['provider']}/{pinned['model']}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
