"""What an agent puts before people, and what their decision means for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.agents.declared import AgentWith
from pipeline.workflows.agents.memory import GATES

Json = dict[str, Any]
Sort = Literal["question", "review"]
GOOD = ("approved", "answered")
"""Decisions that let an agent go on; every other one does not."""
ANSWER: Json = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1, "maxLength": 8000}},
    "required": ["answer"],
    "additionalProperties": False,
}
GRANT: Json = {
    "type": "object",
    "properties": {"message": {"type": "string", "maxLength": 8000}},
    "additionalProperties": False,
}
TITLES = {
    "question": "An agent asks: {}",
    "permission": "An agent wants to call {}",
    "hand_off": "An agent hands over: {}",
    "escalate": "An agent asks for a decision: {}",
    "confidence": "An agent is not sure of its result: {}",
    "policy": "The policy asks for a look at an agent's result, {}",
    "begin": "The policy asks for a look before an agent begins, {}",
    "words": "What an agent works on names {}",
    "failures": "An agent failed several times: {}",
    "budget_used": "An agent has nearly used up its budget: {}",
}
_LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True)
class Meant:
    """What a person's decision means: it is granted, with words for the agent; or the step ends with their `result`."""

    granted: bool
    said: str
    result: Any = None
    ends: bool = False
    stops: str | None = None
    """Why the step fails, where it does."""


def title_of(why: str, what: str) -> str:
    """What the person reads first."""
    title = " ".join(TITLES[why].format(what).split())
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def sort_of(why: str) -> Sort:
    """Questions go to who started the run; all else to somebody who may decide."""
    return "question" if why == "question" else "review"


def form_of(why: str, given: AgentWith) -> Json:
    """What the person fills in. Where they take over they say how it goes on: `continue` with a message, `finish` with
    a result of their own, or `stop`; approving without a word is going on.
    """
    if why == "question":
        return ANSWER
    if why in GATES:
        return GRANT
    return {
        "type": "object",
        "properties": {
            "action": {"enum": ["continue", "finish", "stop"], "default": "continue"},
            "message": {"type": "string", "maxLength": 8000},
            "result": given.success.schema_ or {},
        },
        "additionalProperties": False,
    }


def meaning_of(why: str, decision: Mapping[str, Any], given: AgentWith) -> Meant:
    """What a decision means. One that was refused or that nobody took in time lets nothing happen."""
    state = str(decision.get("decision", "rejected"))
    values = decision.get("values") or {}
    said = str(values.get("answer") or values.get("message") or decision.get("comment") or "")
    if state not in GOOD:
        if why in GATES and why != "begin" and state == "rejected":
            return Meant(False, f"A person refused this. {said}".strip())
        return Meant(False, said, stops=state)
    action = values.get("action", "continue")
    if action == "stop":
        return Meant(False, said, stops="rejected")
    if action == "finish" and why not in ("question", *GATES):
        faults = schema_faults(values.get("result"), given.success.schema_ or {}, quote=False)
        if faults:
            return Meant(True, f"A person gave a result that does not fit: {'; '.join(faults)}. {said}".strip())
        return Meant(True, said, values.get("result"), ends=True)
    return Meant(True, said or "Go on.")
