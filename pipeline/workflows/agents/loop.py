"""An agent at work: think, decide, do, note, until the goal is reached, a budget is used up, or a person is waited for.

There is one loop for beginning, going on after a kill and going on after a person's answer: what is next follows from
the memory, and the memory from the notes. Each thing is noted before the next is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kernel.errors import UnusableReply
from kernel.ids import canonical_json, sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Generation, Message
from pipeline.prompts.rendering import Compiled, compile_prompt
from pipeline.workflows.agents.budget import MOST_REPLY, Exhausted, Rate, most_tokens, room, used_json
from pipeline.workflows.agents.decisions import read_decision, schema_for_servers, shapes_of
from pipeline.workflows.agents.declared import DEFAULT_PROMPT, MAIN, PERSON, AgentWith
from pipeline.workflows.agents.escalation import due_rule
from pipeline.workflows.agents.memory import (
    ANSWERED,
    BEGUN,
    DECIDED,
    ENDED,
    FAILED,
    RESULT,
    THINKING,
    WAITS,
    Entry,
    Memory,
    Waiting,
)
from pipeline.workflows.agents.people import form_of, meaning_of, sort_of, title_of
from pipeline.workflows.agents.ports import Parts, Ruling
from pipeline.workflows.agents.results import result_faults, sources_of
from pipeline.workflows.agents.showing import short_log, turn_messages
from pipeline.workflows.agents.tools import SECONDS, At, Toolbox
from pipeline.workflows.steps.base import Call, Done, StepFailed, Used, Waits
from pipeline.workflows.steps.pinned import same_model

Json = dict[str, Any]
OWN_WORDS = "extractive"
"""The provider of answers that take no model: it cannot follow a prompt."""
THINKING_SECONDS = 120.0
"""How long one reply of a model may take."""


class Loop:
    """One try at a step of kind `agent`."""

    def __init__(self, given: AgentWith, call: Call, parts: Parts) -> None:
        self._given = given
        self._call = call
        self._parts = parts
        self._memory = Memory.of(call.notes)
        self._began = parts.clock()
        self._before = self._memory.spent.seconds + self._memory.lost_seconds(parts.now())
        self._boxes = {name: Toolbox(mission, parts) for name, mission in given.missions.items()}
        about = [given.goal, *(json.dumps(one, ensure_ascii=False) for one in given.context.values())]
        self._about = "\n".join(about)

    # --- The loop -------------------------------------------------------------------------------------------------

    def run(self, *, waited: bool = False) -> Done | Waits:
        """Go on until it is done or waits. `waited`: the wait that is open was reported before.

        Raises StepFailed, and what tools and models raise that may pass.
        """
        if self._memory.begun is None:
            self._begin()
        elif self._memory.begun["with_sha256"] != self._fingerprint:
            raise StepFailed("what the agent was to do is not what it was begun with", slug="changed")
        while True:
            found = self._next(waited)
            if found is not None:
                return found

    def _next(self, waited: bool) -> Done | Waits | None:
        """Do the next thing; what came of the step, where something did."""
        memory = self._memory
        if memory.ended is not None:
            return self._done(memory.ended)
        if memory.waiting is not None:
            return self._look(memory.waiting, waited)
        if self._given.budget.costs and not memory.spent.priced:
            raise self._failed("the cost is limited, and nobody knows what the model costs", "budget")
        review = (memory.begun or {})["review"]
        if review is not None and "begin" not in memory.fired:
            return self._wait("begin", review)
        rule = due_rule(self._given, memory, self._seconds())
        if rule is not None:
            return self._wait(*rule)
        if memory.pending is not None:
            return self._act(memory.pending)
        self._think()
        return None

    def _begin(self) -> None:
        ruling = self._parts.guard.before(self._call, self._about) if self._parts.guard else Ruling()
        if ruling.refused is not None:
            raise StepFailed(ruling.refused, slug="policy")
        agents = {}
        for name, mission in self._given.missions.items():
            version = self._parts.prompts.chosen(mission.prompt or DEFAULT_PROMPT, self._call)
            with self._parts.models(mission.model) as model:
                info = model.info
            if info.provider == OWN_WORDS:
                raise StepFailed("an agent needs a model: set generator = openai and its server", slug="no-model")
            if mission.model is None:
                same_model(self._call, f"{info.provider}/{info.name}")
            agents[name] = {
                "prompt": [version.name, version.version, version.sha256],
                "model": info.name,
                "provider": info.provider,
            }
        self._note(BEGUN, with_sha256=self._fingerprint, agents=agents, review=ruling.review)

    @property
    def _fingerprint(self) -> str:
        return sha256(canonical_json(self._given.model_dump(mode="json", by_alias=True)))

    # --- Thinking -------------------------------------------------------------------------------------------------

    def _think(self) -> None:
        """One reply of the model: what it may take at most is noted before it is asked, what it took after."""
        memory, mission = self._memory, self._given.missions[self._memory.agent]
        if memory.malformed > 1:
            why = "; ".join(memory.faulty[1]) if memory.faulty else "it is not known why"
            self._note(FAILED, slug="malformed")
            raise self._failed(f"two replies of the model in a row could not be used: {why}", "malformed")
        pinned = (memory.begun or {})["agents"][memory.agent]
        compiled = self._compiled(pinned["prompt"])
        messages = turn_messages(compiled, self._given, memory, self._boxes[memory.agent].described)
        options = dict(compiled.anatomy.header.model.options)
        rate = Rate(memory, self._parts.price, pinned["model"])
        try:
            reply, reserved = room(
                memory, self._given.budget, messages, int(options.get("max_tokens", MOST_REPLY)), rate
            )
        except Exhausted as used:
            raise self._failed(f"the agent's budget of {used.which} is used up: {used}", "budget") from used
        seconds = min(self._left(), THINKING_SECONDS)
        shapes = shapes_of(self._given, mission, self._boxes[memory.agent].schemas)
        asked = options | {
            "model": pinned["model"],
            "max_tokens": reply,
            "deadline_seconds": seconds,
            "json_schema": schema_for_servers(shapes),
        }
        self._note(THINKING, agent=memory.agent, messages_sha256=_digest(messages), reserved=reserved, limit=seconds)
        with self._parts.models(mission.model) as model:
            request = GenerationRequest(mission.goal, messages, Evidence(0, ()), (), asked)
            generation, faults = self._reply(model, request, reserved)
        decision = None
        if not faults:
            decision, faults = read_decision(generation.text, shapes)
        self._decided(generation, decision, faults, messages)

    def _reply(self, model: Generator, request: GenerationRequest, reserved: int) -> tuple[Generation, list[str]]:
        try:
            return model.generate(request), []
        except UnusableReply:
            tokens = int(request.options["max_tokens"])
            spent = Generation("", prompt_tokens=reserved - tokens, completion_tokens=tokens)
            return spent, ["it was cut short, refused or empty"]

    def _decided(
        self, generation: Generation, decision: Json | None, faults: list[str], messages: tuple[Message, ...]
    ) -> None:
        """Note a reply. Where a server counts no tokens, they are counted as the most that they can be."""
        prompt = generation.prompt_tokens or most_tokens(messages)
        completion = generation.completion_tokens or len(generation.text.encode())
        model = (self._memory.begun or {})["agents"][self._memory.agent]["model"]
        cost = generation.cost
        if cost is None and self._parts.price is not None:
            cost = self._parts.price(model, prompt, completion)
        tool = decision is not None and "tool" in decision
        self._note(
            DECIDED,
            reply=generation.text.encode(errors="replace").decode(),
            decision=decision,
            faults=faults,
            tokens=[prompt, completion],
            cost=cost,
            limit=min(SECONDS, self._given.budget.seconds) if tool else 0.0,
        )

    def _compiled(self, pinned: list[Any]) -> Compiled:
        return compile_prompt(self._parts.prompts.pinned(str(pinned[0]), int(pinned[1]), str(pinned[2])))

    # --- Acting ---------------------------------------------------------------------------------------------------

    def _act(self, pending: Entry) -> Done | Waits | None:
        did = pending.did
        if "tool" in did:
            return self._use(did["tool"], did["arguments"])
        if "finish" in did:
            return self._finish(did["finish"], did.get("confidence"))
        if "ask" in did:
            return self._wait("question", did["ask"])
        if did.get("hand_off") == PERSON:
            return self._wait("hand_off", did["why"])
        if "escalate" in did:
            return self._wait("escalate", did["escalate"])
        raise StepFailed("a decision that nothing can be made of", slug="engine")

    def _use(self, name: str, arguments: Json) -> Waits | None:
        memory, box = self._memory, self._boxes[self._memory.agent]
        if box.asks(name) and not memory.allowed:
            return self._wait("permission", name)
        key = f"{self._call.key}:{memory.turns}"
        outcome = box.call(name, arguments, At(self._call, self._about, memory, key, self._left()))
        self._note(RESULT, ok=outcome.ok, output=outcome.output, seen=[list(one) for one in outcome.seen])
        return None

    def _finish(self, result: Any, confidence: float | None) -> Done | Waits | None:
        given, memory = self._given, self._memory
        faults = result_faults(given.success, result, memory, self._call.visible, self._parts.evaluate)
        if faults:
            self._note(RESULT, ok=False, output={"error": f"not accepted: {'; '.join(faults)}"})
            return None
        least = given.escalate.confidence_below if given.escalate else None
        if least is not None and (confidence or 0.0) < least and not memory.allowed:
            return self._wait("confidence", f"{confidence or 0.0:g} is below {least:g}")
        return self._end(result, looked=memory.allowed)

    def _end(self, result: Any, *, looked: bool) -> Done | Waits:
        """End with a result that the policy lets pass, by itself or once a person has looked at it."""
        text = json.dumps(result, ensure_ascii=False)
        ruling = self._parts.guard.after(self._call, self._about, text) if self._parts.guard else Ruling()
        if ruling.refused is not None:
            raise self._failed(ruling.refused, "policy")
        if ruling.review is not None and not looked:
            return self._wait("policy", ruling.review)
        self._note(ENDED, result=result)
        return self._done(self._memory.ended or {})

    def _done(self, ended: Mapping[str, Any]) -> Done:
        memory = self._memory
        sources = sources_of(ended["result"], memory)
        output = {
            "result": ended["result"],
            "steps": memory.spent.steps,
            "used": used_json(memory),
            "decisions": short_log(memory),
            "citations": list(sources.values()),
            "sources": sources,
        }
        facts = {"steps": memory.spent.steps, "calls": memory.calls.total(), "asked": memory.waits}
        return Done(output, self._used(), {"agent": facts})

    # --- People ---------------------------------------------------------------------------------------------------

    def _wait(self, why: str, what: str) -> Waits:
        """Put the case before a person; each wait of a step is a part of its own, so that opening twice is once."""
        memory = self._memory
        shown: Json = {
            "goal": self._given.missions[memory.agent].goal,
            "agent": memory.agent,
            "what": what,
            "decisions": short_log(memory),
            "used": dict(used_json(memory)),
        }
        if memory.pending is not None:
            shown["decision"] = memory.pending.did
            shown |= self._boxes[memory.agent].effect(memory.pending.did)
        part, form = f"ask:{memory.waits + 1}", form_of(why, self._given)
        people, within = self._parts.people, self._given.answer_within
        ref = people.open(self._call, title_of(why, what), form, shown, sort_of(why), part, within)
        self._note(WAITS, why=why, ref=ref)
        return Waits("person", ref, people.until(ref), self._used(waits=True))

    def _look(self, waiting: Waiting, waited: bool) -> Done | Waits | None:
        decision = self._parts.people.decision(waiting.ref)
        if decision is None:
            used = Used() if waited else self._used(waits=True)
            return Waits("person", waiting.ref, self._parts.people.until(waiting.ref), used)
        meant = meaning_of(waiting.why, decision, self._given)
        if meant.stops is not None:
            raise self._failed(f"the agent waited for a person: {meant.stops}. {meant.said}".strip(), meant.stops)
        self._note(ANSWERED, granted=meant.granted, said=meant.said, task=waiting.ref, values=decision.get("values"))
        return self._end(meant.result, looked=True) if meant.ends else None

    # --- What is left, and notes ----------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self._before + self._parts.clock() - self._began

    def _left(self) -> float:
        """Seconds for the next thing. Raises StepFailed where there are none."""
        left = self._given.budget.seconds - self._seconds()
        if left <= 0:
            raise self._failed(f"the agent's budget of {self._given.budget.seconds:g} seconds is used up", "budget")
        if self._call.left() <= 0:
            raise StepFailed("the step took too long", slug="timeout", retryable=True)
        return min(left, self._call.left())

    def _note(self, kind: str, **data: Any) -> None:
        """Note something and take it up as it will be read again: JSON values."""
        said = {"seconds": round(self._seconds(), 3), "at": self._parts.now().isoformat(timespec="microseconds")}
        clean = json.loads(json.dumps(data | said, ensure_ascii=False, allow_nan=False))
        self._call.note(kind, clean)
        self._memory.take(kind, clean)

    def _used(self, *, waits: bool = False) -> Used:
        """What was used since the last wait; of a wait what was used between the one before and it."""
        memory = self._memory
        now, then = (memory.reported, memory.before) if waits else (memory.spent, memory.reported)
        return Used(
            now.prompt_tokens - then.prompt_tokens,
            now.completion_tokens + now.lost - then.completion_tokens - then.lost,
            round(now.cost - then.cost, 6) if memory.spent.priced else None,
            str((memory.begun or {}).get("agents", {}).get(MAIN, {}).get("model", "")),
            {"tasks": (memory.waiting.ref,)} if waits and memory.waiting else {},
        )

    def _failed(self, words: str, slug: str) -> StepFailed:
        output = {"used": used_json(self._memory), "decisions": short_log(self._memory)}
        return StepFailed(words, slug=slug, output=output)


def _digest(messages: tuple[Message, ...]) -> str:
    return sha256(canonical_json([[one.role, one.content] for one in messages]))
