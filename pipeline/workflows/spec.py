"""A workflow as data: what its file says, read strictly. What follows from it (order, what a step sees) is here too.

The file is YAML. `steps` run one at a time: in the order of what they need, and as written where that leaves a choice.
Strings of `with`, `show` and `output` are templates (`{{ steps.find.output.results }}`); `when`, `each.in`, `that` and
`value` are expressions, without braces. A step sees the input, the run, and the outputs of the steps that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from pipeline.workflows.fields import Day as Day
from pipeline.workflows.fields import Duration as Duration
from pipeline.workflows.fields import Expression as Expression
from pipeline.workflows.fields import Group as Group
from pipeline.workflows.fields import Id as Id
from pipeline.workflows.fields import Name as Name
from pipeline.workflows.fields import Schema as Schema
from pipeline.workflows.fields import Stakes as Stakes
from pipeline.workflows.fields import Strict as Strict
from pipeline.workflows.fields import Words as Words
from pipeline.workflows.fields import seconds_of as seconds_of
from pipeline.workflows.forms import Autonomy, Form
from pipeline.workflows.lines import Lines

MOST_STEPS = 100
MOST_ITEMS = 1000
MOST_TURNS = 10
"""Attempts that a step may have."""


class GoTo(Strict):
    """Continue at a step that nothing else leads to."""

    go_to: Id


Otherwise = Literal["stop", "review"] | GoTo
"""What happens where a check does not hold: the run stops, a person decides, or another step takes over."""


class Evidence(Strict):
    """What an answer must stand on: the least share of its sentences that are supported, the fewest citations."""

    supported: Annotated[float, Field(ge=0, le=1)] = 1.0
    citations: Annotated[int, Field(ge=0)] = 1
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


class Range(Strict):
    """A number, and the borders that it must keep to."""

    value: Expression
    at_least: float | None = None
    at_most: float | None = None


class Former(Strict):
    """A number beside its mean over the last `runs` finished runs; it may have fallen or risen by such a share."""

    value: Expression
    runs: Annotated[int, Field(ge=1, le=100)] = 4
    drop: Annotated[float, Field(gt=0)] | None = None
    rise: Annotated[float, Field(gt=0)] | None = None


class Check(Strict):
    """One rule over what a step put out (`output`). Exactly one of the rules is given."""

    name: Words
    that: Expression | None = None
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    evidence: Evidence | None = None
    range: Range | None = None
    former: Former | None = None
    judge: Words | None = None
    otherwise: Otherwise = "stop"

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if len(self.model_fields_set & set(RULES)) != 1:
            raise ValueError(f"a check has one rule: {', '.join(RULES)}")
        return self


RULES = ("that", "schema_", "evidence", "range", "former", "judge")


class Retry(Strict):
    """How often a step is tried where its failure may pass, and how long to wait between: `wait * factor ** n`."""

    attempts: Annotated[int, Field(ge=1, le=MOST_TURNS)] = 3
    wait: Duration = 1.0
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    most: Duration = 300.0


class Each(Strict):
    """Do the step once for each item of a list; its output is the list of outputs, in order."""

    in_: Annotated[Expression, Field(alias="in")]
    as_: Annotated[Id, Field(alias="as")] = "item"
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = 100
    on_failure: Literal["stop", "skip"] = "stop"


class Undo(Strict):
    """What takes a step back where the run fails or is cancelled after it. It sees what the step saw, and `output`."""

    kind: Id
    with_: Annotated[dict[str, Any], Field(alias="with")] = Field(default_factory=dict)


class Step(Strict):
    """One step. `with` is read by its kind."""

    id: Id
    kind: Id
    title: Words | None = None
    needs: Annotated[list[Id], Field(max_length=MOST_STEPS)] = Field(default_factory=list)
    when: Expression | None = None
    each: Each | None = None
    with_: Annotated[dict[str, Any], Field(alias="with")] = Field(default_factory=dict)
    checks: Annotated[list[Check], Field(max_length=20)] = Field(default_factory=list)
    retry: Retry = Field(default_factory=Retry)
    timeout: Duration = 600.0
    undo: Undo | None = None
    on_failure: Literal["stop", "continue", "review"] | GoTo = "stop"

    @property
    def label(self) -> str:
        """What people read."""
        return self.title or self.id


class Queue(Strict):
    """Where the runs wait: at most `limit` of a queue at once over all workers; 1 is the most urgent priority."""

    name: Name = "default"
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    priority: Annotated[int, Field(ge=1, le=9)] = 5


class Documents(Strict):
    """New or changed documents of a source, once nothing has changed for `debounce`."""

    source: Words
    debounce: Duration = 30.0


class Trigger(Strict):
    """What starts a run without a person: exactly one of `cron`, `event`, `documents`, `after`."""

    cron: Annotated[str, Field(max_length=100)] | None = None
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    event: Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,79}$")] | None = None
    documents: Documents | None = None
    after: Name | None = None
    when: Expression | None = None
    """Over `event`, the event's body; or over `run`, the run that finished."""
    input: dict[str, Any] | None = None
    """The run's input, with templates over `event` or `run`; None: the event's body, else {}."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set & {"cron", "event", "documents", "after"}) != 1:
            raise ValueError("a trigger has one of: cron, event, documents, after")
        return self


class RunAs(Strict):
    """Whose documents an unattended run may see: those of these groups, and those open to everyone."""

    groups: Annotated[list[Group], Field(max_length=100)] = Field(default_factory=list)


class Risk(Strict):
    """A likely failure, and the check or step that meets it."""

    what: Words
    met_by: Words


class Worth(Strict):
    """What a run saves, for the return on it: minutes by hand, and what an hour costs."""

    minutes_by_hand: Annotated[float, Field(ge=0)]
    cost_per_hour: Annotated[float, Field(ge=0)] = 0.0


class Workflow(Strict):
    """A workflow's file."""

    name: Name
    version: Annotated[int, Field(ge=1)] | None = None
    title: Words | None = None
    description: Words | None = None
    owner: Words | None = None
    tags: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]], Field(max_length=20)] = Field(
        default_factory=list
    )
    stakes: Stakes = "medium"
    review_by: Day | None = None
    deadline: Duration | None = None
    """How long a run may take, people included; it is told, not stopped, when it takes longer."""
    run_as: RunAs = Field(default_factory=RunAs)
    queue: Queue = Field(default_factory=Queue)
    pilot_runs: Annotated[int, Field(ge=1, le=100)] = 3
    """Unattended green runs that a version needs before it may go live."""
    form: Form | None = None
    """The answers of the form that recommends workflow, agent or hybrid."""
    autonomy: Autonomy | None = None
    """The checklist that must be green before a version with an agent goes live."""
    risks: Annotated[list[Risk], Field(max_length=40)] = Field(default_factory=list)
    worth: Worth | None = None
    inputs: Schema = Field(default_factory=lambda: {"type": "object", "additionalProperties": False})
    example: dict[str, Any] | None = None
    triggers: Annotated[list[Trigger], Field(max_length=20)] = Field(default_factory=list)
    steps: Annotated[list[Step], Field(min_length=1, max_length=MOST_STEPS)]
    output: dict[str, Any] = Field(default_factory=dict)
    """What the run gives, with templates over all steps."""
    _lines: Lines = PrivateAttr(default_factory=Lines)

    @property
    def lines(self) -> Lines:
        """Where its file says what; empty for one that was not read from a text."""
        return self._lines

    @cached_property
    def by_id(self) -> Mapping[str, Step]:
        """The steps by id."""
        return {step.id: step for step in self.steps}

    @cached_property
    def order(self) -> tuple[Step, ...]:
        """The steps, each after all that it needs; as written where that leaves a choice. Raises ValueError that names
        a circle.
        """
        done: dict[str, Step] = {}
        left = list(self.steps)
        while left:
            ready = next((step for step in left if all(one in done for one in step.needs if one in self.by_id)), None)
            if ready is None:
                raise ValueError(f"steps need each other in a circle: {', '.join(step.id for step in left)}")
            done[ready.id] = ready
            left.remove(ready)
        return tuple(done.values())

    @cached_property
    def diverted(self) -> frozenset[str]:
        """Steps that are only reached where a check or a failure leads to them, or a branch chooses them."""
        return frozenset(name for step in self.steps for name in targets(step))


def targets(step: Step) -> Iterator[str]:
    """The steps that a step may lead to besides those that need it."""
    for check in step.checks:
        if isinstance(check.otherwise, GoTo):
            yield check.otherwise.go_to
    if isinstance(step.on_failure, GoTo):
        yield step.on_failure.go_to
    if step.kind == "branch":
        routes = step.with_.get("routes")
        named = [route.get("to") for route in routes if isinstance(route, Mapping)] if isinstance(routes, list) else []
        yield from (one for one in (*named, step.with_.get("otherwise")) if isinstance(one, str))
