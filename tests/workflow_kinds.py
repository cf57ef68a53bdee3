"""Kinds of steps for tests of specs: what they declare is all there is to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kernel.errors import NotFound
from pipeline.workflows.fields import Duration, Expression, Strict
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import Call, Done, Kind, Plain
from pipeline.workflows.steps.deciding import Branch, CheckStep


class Idle(Plain):
    """Never run."""

    def run(self, _given: Any, _call: Call) -> Done:
        raise AssertionError("specs are checked without running anything")


class FindWith(Strict):
    query: Annotated[str, Field(min_length=1)]
    top_k: Annotated[int, Field(ge=1, le=50)] = 5
    wait: Duration = 1.0


class Find(Idle):
    name: ClassVar[str] = "find"
    With: ClassVar[type[Strict]] = FindWith

    def output(self, _step: Step) -> Mapping[str, Any]:
        row = {"type": "object", "properties": {"text": {"type": "string"}, "score": {"type": "number"}}}
        return {"type": "object", "properties": {"results": {"type": "array", "maxItems": 500, "items": row}}}


class ClassifyWith(Strict):
    text: str
    labels: Annotated[list[str], Field(min_length=2)]
    prompt: str = "classify"


class Classify(Idle):
    name: ClassVar[str] = "classify"
    With: ClassVar[type[Strict]] = ClassifyWith

    def output(self, step: Step) -> Mapping[str, Any]:
        if step.with_.get("prompt") == "nosuch":
            raise NotFound("there is no prompt 'nosuch'")
        labels = {"type": "string", "enum": step.with_["labels"]}
        return {"type": "object", "properties": {"label": labels, "score": {"type": "number"}}}


class ReviewWith(Strict):
    about: str = ""
    show: dict[str, Any] = Field(default_factory=dict)
    form: dict[str, Any] = Field(default_factory=dict)
    effects: list[str] = Field(default_factory=list)


class Review(Idle):
    name: ClassVar[str] = "review"
    With: ClassVar[type[Strict]] = ReviewWith

    def output(self, _step: Step) -> Mapping[str, Any]:
        return {"type": "object", "properties": {"decision": {"type": "string"}, "values": {"type": "object"}}}


class SendWith(Strict):
    to: Literal["file", "mail"]
    path: str = ""
    body: Any = None
    when_sent: Expression | None = None


class Send(Idle):
    name: ClassVar[str] = "send"
    With: ClassVar[type[Strict]] = SendWith

    def effect(self, given: Mapping[str, Any]) -> bool:
        return given["to"] == "mail"


class AgentWith(Strict):
    goal: str
    success: Expression | None = None
    tools: dict[str, Any] = Field(default_factory=dict)
    budget: dict[str, float] = Field(default_factory=dict)
    handoffs: list[str] = Field(default_factory=list)


class Agent(Idle):
    name: ClassVar[str] = "agent"
    With: ClassVar[type[Strict]] = AgentWith


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (Find(), Classify(), Review(), Send(), Agent(), Branch(), CheckStep(lambda *_: (), lambda: None))
}
