"""What runs of workflows take and give over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas import Strict, Text

RunId = Annotated[Text, Field(max_length=40)]


class RunRequest(Strict):
    """A run to start."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"input": {"ticket": "The invoice shows the wrong address."}}]}
    )

    input: Annotated[dict[str, JsonValue], Field(description="The inputs that the workflow declares, by name.")] = (
        Field(default_factory=dict)
    )
    label: Annotated[
        Text | None, Field(max_length=47, description="A label, or the number of a version. Default: what is live.")
    ] = None
    priority: Annotated[int | None, Field(ge=1, le=9, description="1 goes first, 9 last.")] = None


class CancelRequest(Strict):
    """Why a run is cancelled."""

    reason: Annotated[Text, Field(max_length=2000)] = ""


class ForkRequest(Strict):
    """Where a new run goes on from: all that does not follow from this step is kept."""

    step: Annotated[Text, Field(max_length=40)]


class RunListed(BaseModel):
    """A run as listings show it."""

    id: str
    workflow: str
    version: int
    status: Annotated[str, Field(description="queued, running, waiting, done, failed or cancelled")]
    mode: Annotated[str, Field(description="draft, pilot or live: what the version was when the run began")]
    trigger: Annotated[str, Field(description="What started it: hand, cron, event, documents, after, step or fork")]
    parent: Annotated[str, Field(description="The key of the step that started it, or the run it was forked from")]
    principal: Annotated[str, Field(description="Who it acts for; empty once that was erased")]
    created_at: str
    due_at: str | None
    wake_at: Annotated[str | None, Field(description="When a waiting run is looked at again at the latest")]
    finished_at: str | None
    erased: bool


class RunWhy(BaseModel):
    """Why a run ended otherwise than well."""

    step: str | None
    slug: str | None
    message: str


class RunWhole(RunListed):
    """A run with every step."""

    title: str
    spec_sha256: str
    input: dict[str, Any]
    pins: Annotated[dict[str, Any], Field(description="What the run depends on: hashes and numbers, as at its start")]
    groups: list[str] | None
    output: Any
    why: RunWhy | None
    breached: Annotated[bool, Field(description="Whether it was open past its deadline")]
    totals: dict[str, Any]
    steps: list[dict[str, Any]]
    refs: Annotated[dict[str, list[str]], Field(description="Ids of what it made: answers, prompt runs, tasks, runs")]
    ledger: dict[str, int]


class RunEventBody(BaseModel):
    """A row of a run's journal."""

    index: int
    kind: str
    step: str
    item: int | None
    attempt: int
    data: dict[str, Any]
    actor: str
    created_at: str
    words: dict[str, Any]


class RunEvents(BaseModel):
    """The journal of a run."""

    items: list[RunEventBody]


class RunComparison(BaseModel):
    """What differs between two runs; each pair is this run's and the other's."""

    runs: list[str]
    same_spec: bool
    input: dict[str, Any]
    pins: dict[str, Any]
    steps: list[dict[str, Any]]
    output: dict[str, Any]
    totals: list[dict[str, Any]]


class RunChain(BaseModel):
    """A run and all that it led to, down to the documents that its answers cite."""

    run: RunListed
    spec: dict[str, Any]
    pins: dict[str, Any]
    made: dict[str, list[dict[str, Any]]]
    runs: list[dict[str, Any]]
    ledger: dict[str, int]


class RunEstimate(BaseModel):
    """What a run will take: `likely`, and `most`."""

    workflow: str
    version: int
    steps: list[dict[str, Any]]
    total: dict[str, Any]
    unpriced: Annotated[list[str], Field(description="Models whose price no setting names")]


class RunCost(BaseModel):
    """What a run took beside its estimate, whole and by the steps that differ; `over`: more than thought."""

    run: str
    total: list[dict[str, Any]]
    steps: list[dict[str, Any]]
