"""Agents in tests: a scripted model, a journal that can be killed, people and a corpus that do as they are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kernel.errors import InvalidInput
from kernel.ports import GenerationRequest
from kernel.records import Generation, ModelInfo, Principal, PromptVersion, Role
from pipeline.prompts.library import shipped_prompts
from pipeline.workflows.agents.declared import AgentWith
from pipeline.workflows.agents.ports import HttpRequest, Outcome, Parts
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.agent import AgentStep
from pipeline.workflows.steps.base import Call, Done, Pins, Waits

ASKER = Principal("key_ana", Role.EDITOR, frozenset({"staff"}))
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
CHUNKS = tuple(f"chk_{letter * 26}" for letter in "abcdefgh")


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Journal:
    """Notes as the store keeps them: JSON. The process dies once `alive` more of them are written; with `early` before
    the last of these is: what it was to say has happened then.
    """

    notes: list[dict[str, Any]] = field(default_factory=list)
    alive: int = 1_000_000
    early: bool = False

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        self.alive -= 1
        if self.alive <= 0 and self.early:
            raise Killed
        self.notes.append({"kind": kind, "data": json.loads(json.dumps(data))})
        if self.alive <= 0:
            raise Killed

    def kinds(self) -> list[str]:
        return [str(one["kind"]) for one in self.notes]


Reply = str | Mapping[str, Any] | Exception | Callable[[GenerationRequest], str]


class ScriptedModel:
    """Says its replies in order; keeps what it was asked. A token is a word, or what `tokens` says."""

    def __init__(self, *replies: Reply, tokens: tuple[int, int] | None = None, cost: float | None = None) -> None:
        self.replies = list(replies)
        self.requests: list[GenerationRequest] = []
        self.tokens = tokens
        self.cost = cost

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("scripted", "toy-1")

    def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        text = reply(request) if callable(reply) else reply if isinstance(reply, str) else json.dumps(reply)
        asked = sum(len(one.content.split()) for one in request.messages)
        prompt, completion = self.tokens or (asked, min(len(text.split()), int(request.options["max_tokens"])))
        return Generation(text, None, prompt, completion, self.cost)

    @property
    def shown(self) -> str:
        """What it was asked last."""
        return self.requests[-1].messages[-1].content


class Steady(ScriptedModel):
    """Replies by how far the notes are, so that it says the same again where its reply was lost."""

    def __init__(self, turn: Callable[[], int], script: list[Any]) -> None:
        super().__init__()
        self.turn, self.script = turn, script

    def generate(self, request: GenerationRequest) -> Generation:
        self.replies = [self.script[min(self.turn(), len(self.script) - 1)]]
        return super().generate(request)


class ToyReach:
    """A corpus that gives the same passages for everything, and remembers what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts or ("Backups are kept for 30 days.",)
        self.asked: list[tuple[Any, ...]] = []
        self.principals: set[str] = set()

    def search(self, call: Call, about: str, query: str, top_k: int, chars: int) -> Outcome:
        self._asked(call, "search", query, top_k)
        passages = [
            {"passage": CHUNKS[place % len(CHUNKS)], "document": f"doc_{place}", "title": "T", "text": text[:chars]}
            for place, text in enumerate(self.texts[:top_k])
        ]
        return Outcome(True, {"passages": passages}, tuple((one["passage"], one["document"]) for one in passages))

    def read(self, call: Call, about: str, name: str, start: int, chars: int) -> Outcome:
        self._asked(call, "read", name, start)
        return Outcome(True, {"document": name, "text": self.texts[0][start : start + chars]})

    def neighbours(self, call: Call, entity: str, limit: int) -> Outcome:
        self._asked(call, "neighbours", entity)
        return Outcome(True, {"neighbours": [{"name": self.texts[0], "together": 1}]})

    def path(self, call: Call, start: str, end: str) -> Outcome:
        self._asked(call, "path", start, end)
        raise InvalidInput(f"no path. {self.texts[0]}")

    def _asked(self, call: Call, *what: Any) -> None:
        self.asked.append((*what, call.key))
        self.principals.add(call.principal.id)


class ToyPeople:
    """Tasks in memory. Opening the same part of a call again is the same task."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.decisions: dict[str, dict[str, Any]] = {}
        self.opened = 0

    def open(
        self,
        call: Call,
        title: str,
        form: Mapping[str, Any],
        shown: Mapping[str, Any],
        sort: str,
        part: str,
        seconds: float,
    ) -> str:
        ref = f"tsk_{call.key}:{part}"
        self.opened += ref not in self.tasks
        self.tasks[ref] = json.loads(json.dumps({"title": title, "form": form, "shown": shown, "sort": sort}))
        return ref

    def decision(self, ref: str) -> Mapping[str, Any] | None:
        return self.decisions.get(ref)

    def until(self, ref: str) -> str | None:
        return "2030-01-01T00:00:00+00:00"

    def decide(self, ref: str, decision: str = "approved", **values: Any) -> None:
        self.decisions[ref] = {"decision": decision, "values": values, "comment": ""}


class ToyPrompts:
    """The prompts that come with the program."""

    def chosen(self, reference: str, call: Call) -> PromptVersion:
        return shipped_prompts()[reference]

    def pinned(self, name: str, version: int, sha256: str) -> PromptVersion:
        found = shipped_prompts()[name]
        assert found.sha256 == sha256
        return found


@dataclass
class Clock:
    """A clock that moves by itself a little each time that it is looked at."""

    at: float = 0.0
    step: float = 0.0

    def __call__(self) -> float:
        self.at += self.step
        return self.at


@dataclass
class Site:
    """A step of kind `agent`, what it is made of, and its journal."""

    given: AgentWith
    raw: Mapping[str, Any]
    model: Any
    reach: Any = field(default_factory=ToyReach)
    people: ToyPeople = field(default_factory=ToyPeople)
    journal: Journal = field(default_factory=Journal)
    requests: list[HttpRequest] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1
    left: float = 600.0
    pins: Pins = field(default_factory=lambda: Pins("0" * 64, "0" * 64, 1, 0, "scripted/toy-1"))
    principal: Principal = ASKER

    @contextmanager
    def _models(self, _name: str | None) -> Iterator[Any]:
        yield self.model

    def _request(self, _call: Call, request: HttpRequest) -> Mapping[str, Any]:
        self.requests.append(request)
        return {"status": 200, "body": "fine"}

    @property
    def kind(self) -> AgentStep:
        parts = {
            "models": self._models,
            "prompts": ToyPrompts(),
            "reach": self.reach,
            "people": self.people,
            "evaluate": evaluate,
            "requests": self._request,
        }
        return AgentStep(Parts(**(parts | self.more)))

    def call(self) -> Call:
        """A new try at the step, or a new turn: what a worker has that knows the journal alone."""
        return Call(
            run_id="wfr_1",
            workflow="toy",
            mode="live",
            principal=self.principal,
            pins=self.pins,
            step=Step.model_validate({"id": "agent", "kind": "agent", "with": dict(self.raw)}),
            item=None,
            attempt=self.attempt,
            key="wfr_1:agent:0",
            stakes="low",
            visible={"input": {"n": 1}},
            preview=lambda _output: {},
            notes=tuple(self.journal.notes),
            note=self.journal.note,
            left=lambda: self.left,
        )

    def run(self) -> Done | Waits:
        return self.kind.run(self.given, self.call())

    def resume(self, waited: Waits) -> Done | Waits:
        return self.kind.resume(self.given, self.call(), waited)


def site(*replies: Reply, reach: Any = None, model: Any = None, tokens: Any = None, **given: Any) -> Site:
    """A step with that `with`, over a goal and a success that need not be said."""
    raw = {"goal": "Find out how long backups are kept.", "success": {"schema": SCHEMA}, **given}
    raw.setdefault("tools", {"search": {}, "read": {}, "calculator": {}})
    made = AgentWith.model_validate(raw)
    return Site(made, raw, model or ScriptedModel(*replies, tokens=tokens), reach or ToyReach())


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    return {"thought": "I need it.", "tool": name, "arguments": arguments}


def finish(answer: str = "30 days [c1]", **more: Any) -> dict[str, Any]:
    return {"finish": {"answer": answer}, **more}


def texts(values: Sequence[Any]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
