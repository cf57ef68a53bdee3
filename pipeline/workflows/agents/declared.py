"""What a spec lets an agent do: its goal, when it has reached it, its tools, budgets, hand-overs and when a person must
look. All of it is read before the agent begins, and nothing that the agent reads can change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline.workflows.spec import Duration, Expression, Id, Schema, Strict, Words

MAIN, PERSON = "main", "person"
DEFAULT_PROMPT = "agent-turn"
MOST_BYTES = 1 << 20
"""Bytes of a reply to a request of an agent."""
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
"""Methods of HTTP that may change something at the other end."""
TEMPLATED = ("goal", "context")
"""What of an agent may hold templates; what it may do may not: nothing that was read can change that."""
_PLACE = re.compile(r"\{([^{}]*)\}")
_SCALARS = ("string", "integer", "number", "boolean")

Calls = Annotated[int, Field(ge=1, le=200)]
Goal = Annotated[str, Field(min_length=3, max_length=4000)]
Share = Annotated[float, Field(gt=0, le=1)]


class Budget(Strict):
    """What the whole step may use, over all its agents, tries, turns and restarts. A step of an agent is one reply of
    the model, whether it can be used or not.
    """

    steps: Annotated[int, Field(ge=1, le=200)] = 20
    tokens: Annotated[int, Field(ge=500, le=5_000_000)] = 100_000
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    cost: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """In the currency that the model's server reports. Where it is named here, a model whose cost nobody knows is not
    used.
    """

    @property
    def costs(self) -> bool:
        """Whether the spec itself limits the cost."""
        return "cost" in self.model_fields_set


class Limits(Strict):
    """How often a tool may be called in the step, and whether a person must allow each call."""

    calls: Calls = 20
    permission: Literal["allow", "ask"] = "allow"


class Search(Limits):
    """Passages for a question: at most `top_k`, each cut to `chars` characters."""

    top_k: Annotated[int, Field(ge=1, le=20)] = 5
    chars: Annotated[int, Field(ge=100, le=8000)] = 1200


class Read(Limits):
    """The text of a document: at most `chars` characters at a time."""

    chars: Annotated[int, Field(ge=100, le=20_000)] = 4000


class Neighbours(Limits):
    """Entities that are named together with one."""

    limit: Annotated[int, Field(ge=1, le=50)] = 12


class Path(Limits):
    """How two entities are tied."""


class Calculator(Limits):
    """Arithmetic."""


class Http(Limits):
    """One request that the agent may make, under a name. `{argument}` in the URL's path or query is that argument,
    escaped; the other arguments are the query, or the JSON body of a method that changes something. Where nothing is
    said, a person must allow each call that may change something.
    """

    name: Id
    use: Words
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=8, max_length=2000)]
    arguments: Schema
    headers: Annotated[dict[str, str], Field(max_length=20)] = Field(default_factory=dict)
    secrets: Annotated[dict[str, str], Field(max_length=10)] = Field(default_factory=dict)
    """Headers whose value is a secret of the settings, by its name there: no agent ever sees one."""
    chars: Annotated[int, Field(ge=100, le=20_000)] = 4000
    """Characters of a reply that the agent gets to see."""

    @property
    def asks(self) -> bool:
        """Whether a person must allow each call."""
        said = "permission" in self.model_fields_set
        return self.permission == "ask" if said else self.method in CHANGING

    @property
    def places(self) -> tuple[str, ...]:
        """The arguments that stand in the URL."""
        return tuple(dict.fromkeys(_PLACE.findall(self.url)))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        members = self.arguments.get("properties", {})
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or _PLACE.search(parts.netloc):
            raise ValueError("the URL begins with http:// or https:// and a host that no argument is part of")
        if self.arguments.get("type") != "object":
            raise ValueError("the arguments are described by a schema of type object")
        for name in self.places:
            if members.get(name, {}).get("type") not in _SCALARS or name not in self.arguments.get("required", ()):
                raise ValueError(f"{{{name}}} in the URL needs a required argument {name!r} that is text or a number")
        return self


class Tools(Strict):
    """The tools that an agent may use; one that is not named is not there."""

    search: Search | None = None
    read: Read | None = None
    neighbours: Neighbours | None = None
    path: Path | None = None
    calculator: Calculator | None = None
    http: Annotated[list[Http], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_of_a_name(self) -> Self:
        names = [one.name for one in self.http]
        known = set(type(self).model_fields)
        if len(set(names)) < len(names) or known & set(names):
            raise ValueError(f"requests have names of their own, none of: {', '.join(sorted(known))}")
        return self


class Success(Strict):
    """When a result is one: `that` is an expression over `result` and what the step sees; `schema` is its form;
    `citations` is how many passages that were seen it must name at least.
    """

    that: Expression | None = None
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    citations: Annotated[int, Field(ge=0, le=50)] = 0

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.that is None and self.schema_ is None and not self.citations:
            raise ValueError("say when the goal is reached: that, schema or citations")
        return self


class Escalate(Strict):
    """When a person must look. Its presence also lets the agent put a case before a person by itself."""

    confidence_below: Share | None = None
    budget_used: Share | None = None
    words: Annotated[list[Words], Field(max_length=100)] = Field(default_factory=list)
    failures: Annotated[int, Field(ge=1, le=50)] | None = None


class Mission(Strict):
    """What one agent is for and what it may do."""

    goal: Goal
    context: dict[str, Any] = Field(default_factory=dict)
    """What it is given to work on, by name: data, never instructions."""
    tools: Tools = Field(default_factory=Tools)
    handoffs: Annotated[list[Id], Field(max_length=10)] = Field(default_factory=list)
    """To whom it may hand over: other agents of the step, `main`, or `person`."""
    may_ask: bool = False
    """Whether it may put questions to whoever started the run."""
    model: Words | None = None
    prompt: Words | None = None


class AgentWith(Mission):
    """The `with` of a step of kind `agent`: the agent that begins, and what holds for all agents of the step."""

    success: Success
    budget: Budget = Field(default_factory=Budget)
    escalate: Escalate | None = None
    agents: Annotated[dict[Id, Mission], Field(max_length=10)] = Field(default_factory=dict)
    """Agents that the work may be handed over to, by name."""
    answer_within: Duration = 7 * 86400.0
    """How long a person has to answer; where nobody does, the step fails."""
    window: Annotated[int, Field(ge=200, le=200_000)] = 12_000
    """Characters of what happened so far that the model is shown, the newest first."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if {MAIN, PERSON} & set(self.agents):
            raise ValueError(f"{MAIN} and {PERSON} are no names for agents")
        targets = {MAIN, PERSON, *self.agents}
        for name, mission in self.missions.items():
            strange = sorted(set(mission.handoffs) - targets | ({name} & set(mission.handoffs)))
            if strange:
                raise ValueError(f"agent {name} cannot hand over to {strange[0]!r}; it may to: {', '.join(targets)}")
        return self

    @property
    def missions(self) -> Mapping[str, Mission]:
        """The agents of the step by name."""
        return {MAIN: self, **self.agents}


def templated_powers(given: Mapping[str, Any]) -> Iterator[str]:
    """Members of a raw `with` that say what an agent may do, and hold a template nevertheless."""
    for name, value in given.items():
        if name == "agents" and isinstance(value, Mapping):
            for agent, mission in value.items():
                if isinstance(mission, Mapping):
                    yield from (f"agents.{agent}.{one}" for one in templated_powers(mission))
        elif name not in TEMPLATED and _has_template(value):
            yield name


def _has_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_template(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return any(_has_template(one) for one in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)
