"""One reply of a model: what it may take at most is noted before it is asked, what it took after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.errors import UnusableReply
from kernel.ids import canonical_json, sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Generation
from pipeline.prompts.rendering import Compiled, compile_prompt
from pipeline.workflows.agents.budget import MOST_REPLY, Exhausted, Rate, most_tokens, room
from pipeline.workflows.agents.decisions import read_decision, schema_for_servers, shapes_of
from pipeline.workflows.agents.declared import Mission
from pipeline.workflows.agents.memory import DECIDED, FAILED, THINKING
from pipeline.workflows.agents.record import Record, model_of
from pipeline.workflows.agents.showing import turn_messages
from pipeline.workflows.agents.tools import SECONDS

Json = dict[str, Any]
THINKING_SECONDS = 120.0
"""How long one reply of a model may take."""


class Thinker:
    """Asks the model of the agent at work for its next decision."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def think(self) -> None:
        """One reply, noted with the decision that it is, or with its faults. Raises StepFailed where a budget is used
        up, or two replies in a row could not be used; and what the model raises.
        """
        record, memory = self._record, self._record.memory
        if memory.malformed > 1:
            why = "; ".join(memory.faulty[1]) if memory.faulty else "it is not known why"
            record.note(FAILED, slug="malformed")
            raise record.failed(f"two replies of the model in a row could not be used: {why}", "malformed")
        mission = record.given.missions[memory.agent]
        shapes = shapes_of(record.given, mission, record.box.schemas)
        request, reserved = self._request(mission, shapes)
        limit = request.options["deadline_seconds"]
        digest = sha256(canonical_json([[one.role, one.content] for one in request.messages]))
        record.note(THINKING, agent=memory.agent, messages_sha256=digest, reserved=reserved, limit=limit)
        with record.parts.models(mission.model) as model:
            generation, faults = self._reply(model, request, reserved)
        decision = None
        if not faults:
            decision, faults = read_decision(generation.text, shapes)
        self._decided(generation, decision, faults, request)

    def _request(self, mission: Mission, shapes: Mapping[str, Json]) -> tuple[GenerationRequest, int]:
        """What the model is asked, and the tokens that are set aside for it."""
        record, memory, pinned = self._record, self._record.memory, self._record.pinned
        compiled = self._compiled(pinned["prompt"])
        messages = turn_messages(compiled, record.given, memory, record.box.described)
        options = dict(compiled.anatomy.header.model.options)
        wanted = int(options.get("max_tokens", MOST_REPLY))
        rate = Rate(memory, record.parts.price, model_of(pinned))
        try:
            reply, reserved = room(memory, record.given.budget, messages, wanted, rate)
        except Exhausted as used:
            raise record.failed(f"the agent's budget of {used.which} is used up: {used}", "budget") from used
        options |= {
            "model": pinned["model"],
            "max_tokens": reply,
            "deadline_seconds": min(record.left(), THINKING_SECONDS),
            "json_schema": schema_for_servers(shapes),
        }
        return GenerationRequest(mission.goal, messages, Evidence(0, ()), (), options), reserved

    @staticmethod
    def _reply(model: Generator, request: GenerationRequest, reserved: int) -> tuple[Generation, list[str]]:
        """A reply. One that cannot be used at all counts with all that was set aside for it."""
        try:
            return model.generate(request), []
        except UnusableReply:
            tokens = int(request.options["max_tokens"])
            spent = Generation("", prompt_tokens=reserved - tokens, completion_tokens=tokens)
            return spent, ["it was cut short, refused or empty"]

    def _decided(
        self, generation: Generation, decision: Json | None, faults: list[str], request: GenerationRequest
    ) -> None:
        """Note a reply. Where a server counts no tokens, they are counted as the most that they can be."""
        record, most = self._record, int(request.options["max_tokens"])
        prompt = generation.prompt_tokens or most_tokens(request.messages)
        completion = generation.completion_tokens or min(len(generation.text.encode(errors="replace")), most)
        cost = generation.cost
        if cost is None and record.parts.price is not None:
            cost = record.parts.price(model_of(record.pinned), prompt, completion)
        acts = decision is not None and "tool" in decision
        record.note(
            DECIDED,
            reply=generation.text.encode(errors="replace").decode(),
            decision=decision,
            faults=faults,
            tokens=[prompt, completion],
            cost=cost,
            limit=min(SECONDS, record.given.budget.seconds) if acts else 0.0,
        )

    def _compiled(self, pinned: list[Any]) -> Compiled:
        return compile_prompt(self._record.parts.prompts.pinned(str(pinned[0]), int(pinned[1]), str(pinned[2])))
