"""An agent at work: think, decide, do, note, until the goal is reached, a budget is used up, or a person is waited for.

There is one loop for beginning, going on after a kill and going on after a person's answer: what is next follows from
the memory, and the memory from the notes. Each thing is noted before the next is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.workflows.agents.budget import used_json
from pipeline.workflows.agents.declared import DEFAULT_PROMPT, PERSON, AgentWith, Mission
from pipeline.workflows.agents.escalation import due_rule
from pipeline.workflows.agents.memory import ANSWERED, BEGUN, ENDED, RESULT, WAITS, Entry, Waiting
from pipeline.workflows.agents.people import form_of, meaning_of, sort_of, title_of
from pipeline.workflows.agents.ports import Parts, Ruling
from pipeline.workflows.agents.record import Record
from pipeline.workflows.agents.results import result_faults, sources_of
from pipeline.workflows.agents.showing import short_log, turns_shown
from pipeline.workflows.agents.thinking import Thinker
from pipeline.workflows.agents.tools import At
from pipeline.workflows.steps.base import Call, Done, StepFailed, Used, Waits
from pipeline.workflows.steps.pinned import same_model

Json = dict[str, Any]
OWN_WORDS = "extractive"
"""The provider of answers that take no model: it cannot follow a prompt."""


class Loop:
    """One try at a step of kind `agent`."""

    def __init__(self, given: AgentWith, call: Call, parts: Parts) -> None:
        self._given = given
        self._call = call
        self._parts = parts
        self._record = Record(given, call, parts)
        self._memory = self._record.memory
        self._thinker = Thinker(self._record)

    # --- The loop -------------------------------------------------------------------------------------------------

    def run(self, *, waited: bool = False) -> Done | Waits:
        """Go on until it is done or waits. `waited`: the wait that is open was reported before.

        Raises StepFailed, and what tools and models raise that may pass.
        """
        if self._memory.begun is None:
            self._begin()
        elif self._memory.begun["with_sha256"] != self._record.fingerprint:
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
        if memory.taken_over is not None:
            return self._end(memory.taken_over["result"], looked=True)
        if self._given.budget.costs and not memory.spent.priced:
            raise self._record.failed("the cost is limited, and nobody knows what the model costs", "budget")
        review = (memory.begun or {})["review"]
        if review is not None and "begin" not in memory.fired:
            return self._wait("begin", review)
        rule = due_rule(self._given, memory, self._record.seconds())
        if rule is not None:
            return self._wait(*rule)
        if memory.pending is not None:
            return self._act(memory.pending)
        self._thinker.think()
        return None

    def _begin(self) -> None:
        """What the policy says of it, and the prompt and model of each agent: they stay the same to the end."""
        guard = self._parts.guard
        ruling = guard.before(self._call, self._record.about) if guard else Ruling()
        if ruling.refused is not None:
            raise StepFailed(ruling.refused, slug="policy")
        agents = {name: self._chosen(mission) for name, mission in self._given.missions.items()}
        self._record.note(BEGUN, with_sha256=self._record.fingerprint, agents=agents, review=ruling.review)

    def _chosen(self, mission: Mission) -> Json:
        version = self._parts.prompts.chosen(mission.prompt or DEFAULT_PROMPT, self._call)
        with self._parts.models(mission.model) as model:
            info = model.info
        if info.provider == OWN_WORDS:
            raise StepFailed("an agent needs a model: set generator = openai and its server", slug="no-model")
        if mission.model is None:
            same_model(self._call, f"{info.provider}/{info.name}")
        prompt = [version.name, version.version, version.sha256]
        return {"prompt": prompt, "model": info.name, "provider": info.provider}

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
        memory, box = self._memory, self._record.box
        if box.asks(name) and not memory.allowed:
            return self._wait("permission", name)
        key, shown = f"{self._call.key}:{memory.turns}", turns_shown(memory, self._given.window)
        at = At(self._call, self._record.about, memory, key, self._record.left(), shown)
        outcome = box.call(name, arguments, at)
        self._record.note(RESULT, ok=outcome.ok, output=outcome.output, seen=[list(one) for one in outcome.seen])
        return None

    def _finish(self, result: Any, confidence: float | None) -> Done | Waits | None:
        given, memory = self._given, self._memory
        faults = result_faults(given.success, result, memory, self._call.visible, self._parts.evaluate)
        if faults:
            self._record.note(RESULT, ok=False, output={"error": f"not accepted: {'; '.join(faults)}"})
            return None
        least = given.escalate.confidence_below if given.escalate else None
        if least is not None and (confidence or 0.0) < least and not memory.allowed:
            return self._wait("confidence", f"{confidence or 0.0:g} is below {least:g}")
        return self._end(result, looked=memory.allowed)

    def _end(self, result: Any, *, looked: bool) -> Done | Waits:
        """End with a result that the policy lets pass, by itself or once a person has looked at it."""
        text = json.dumps(result, ensure_ascii=False)
        ruling = self._parts.guard.after(self._call, self._record.about, text) if self._parts.guard else Ruling()
        if ruling.refused is not None:
            raise self._record.failed(ruling.refused, "policy")
        if ruling.review is not None and not looked:
            return self._wait("policy", ruling.review)
        self._record.note(ENDED, result=result)
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
        return Done(output, self._record.used(), {"agent": facts})

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
            shown |= self._record.box.effect(memory.pending.did)
        part, form = f"ask:{memory.waits + 1}", form_of(why, self._given)
        people, within = self._parts.people, self._given.answer_within
        ref = people.open(self._call, title_of(why, what), form, shown, sort_of(why), part, within)
        self._record.note(WAITS, why=why, ref=ref)
        return Waits("person", ref, people.until(ref), self._record.used(waits=True))

    def _look(self, waiting: Waiting, waited: bool) -> Done | Waits | None:
        decision = self._parts.people.decision(waiting.ref)
        if decision is None:
            used = Used() if waited else self._record.used(waits=True)
            return Waits("person", waiting.ref, self._parts.people.until(waiting.ref), used)
        meant = meaning_of(waiting.why, decision, self._given)
        if meant.stops is not None:
            raise self._record.failed(
                f"the agent waited for a person: {meant.stops}. {meant.said}".strip(), meant.stops
            )
        said = {"granted": meant.granted, "said": meant.said, "ends": meant.ends, "result": meant.result}
        self._record.note(ANSWERED, task=waiting.ref, **said)
        return None
