"""What runs of workflows ask of people, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from api.schemas import Said, Strict, Text
from kernel.storage.task_journal import STATES

Values = Annotated[
    dict[str, JsonValue], Field(description="Members of the form by name; those left out keep the draft.")
]


class AnswerRequest(Strict):
    """An answer to a question of a run."""

    values: Values = Field(default_factory=dict)
    comment: Said = ""


class PreviewRequest(Strict):
    """A form as it might be filled in."""

    values: Values = Field(default_factory=dict)


class MarkRequest(Strict):
    """A label to put on, or to take off."""

    label: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Such as needs-action.")]
    off: bool = False


class DelegateRequest(Strict):
    """Who a task is passed on to."""

    key: Annotated[Text, Field(min_length=1, max_length=40, description="Id of a key that holds the task's role.")]


class EscalateRequest(Strict):
    """To whom a task is to go instead."""

    to: Annotated[
        Text, Field(max_length=40, description="A role or the id of a key. Default: whom the workflow names, or admin.")
    ] = ""
    reason: Said = ""


class Task(Strict):
    """What a run asks: a `review` of what it is about to do, or a `question`."""

    id: str
    sort: Literal["review", "question"]
    run_id: str
    workflow: str
    step: str
    state: Literal["open", "approved", "rejected", "answered", "expired", "cancelled"]
    role: Annotated[str, Field(description="Who may decide besides the assignee; empty: nobody.")]
    assignee: str | None
    payload_sha256: Annotated[
        str, Field(description="Names what is shown and what will happen: `seen` of an approval.")
    ]
    about: str
    deadline: str
    decided_at: str | None
    created_at: str


class Effect(Strict):
    """What a step will be given once this is approved, and the SHA-256 of its canonical JSON."""

    step: str
    sha256: str
    given: Annotated[Any, Field(alias="with")]


class TaskPreview(Strict):
    """What will happen where the form is filled in so."""

    id: str
    values: dict[str, JsonValue]
    effects: list[Effect]
    payload_sha256: str


class TaskEvidence(Strict):
    """An answer that a task shows, with what it cites."""

    answer_id: str
    status: str
    question: str
    answer: str
    confidence: float | None
    citations: list[dict[str, Any]]


class TaskStep(Strict):
    """Something that was done with a task; `index` is its place in the ledger."""

    index: int
    kind: str
    actor: str
    created_at: str
    label: str | None = None
    comment: str | None = None
    assignee: str | None = None
    role: str | None = None
    values: dict[str, JsonValue] | None = None
    seen: str | None = None
    effects: dict[str, str] | None = None
    moment: str | None = None


class Holders(Strict):
    """Who may decide: these people, and whoever holds one of these roles."""

    people: list[str]
    roles: list[str]


class TaskDetail(Task):
    """A task with all that is needed to decide."""

    stakes: str
    starter: str
    holders: Annotated[Holders, Field(alias="for")]
    shown: dict[str, JsonValue]
    form: dict[str, Any]
    values: dict[str, JsonValue]
    effects: list[Effect]
    differences: Annotated[
        dict[str, list[str]], Field(description="By name, lines that stayed (`  `), went (`- `) and came (`+ `).")
    ]
    evidence: list[TaskEvidence]
    verdicts: list[dict[str, Any]]
    labels: list[str]
    next_at: Annotated[str | None, Field(description="When it reminds, escalates or expires next.")]
    erased: bool
    events: list[TaskStep]
    may_decide: bool
    why_not: Annotated[str | None, Field(description="Why the key may not decide; null where it may.")]


class Spread(Strict):
    """Minutes: the median, and what nine of ten keep to."""

    median: float
    p90: float


class StepFigures(Strict):
    """How the decisions of one step went."""

    workflow: str
    step: str
    decided: int
    approved: int
    rejected: int
    answered: int
    queue_minutes: Annotated[Spread | None, Field(description="From the opening to the decision.")]
    active_minutes: Annotated[Spread | None, Field(description="From the decider's first look to the decision.")]


class TaskFigures(Strict):
    """Counts of tasks by state and label, and how long decisions took."""

    states: Annotated[dict[str, int], Field(description=f"By state: {', '.join(STATES)}.")]
    labels: dict[str, int]
    steps: list[StepFigures]


class Breach(Strict):
    """A task that nobody decided before its deadline."""

    id: str
    run_id: str
    workflow: str
    step: str
    sort: Literal["review", "question"]
    role: str
    assignee: str | None
    created_at: str
    deadline: str
