"""What HTTP requests about workflows must look like, and what responses do look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt

from api.prompt_schemas import Said
from api.schemas import Strict, Text
from pipeline.workflows.fields import Stakes
from pipeline.workflows.reading import LARGEST

WorkflowText = Annotated[Text, Field(min_length=1, max_length=LARGEST, description="The workflow's file, YAML.")]
State = Literal["draft", "in_review", "approved", "pilot", "live", "retired"]


# --- Requests -------------------------------------------------------------------------------------------------------


class WorkflowSave(Strict):
    """A text to store as the next version of a workflow."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "name: weekly\nsteps: …", "message": "Mondays."}]}
    )

    text: WorkflowText
    message: Annotated[Text, Field(max_length=4000, description="What the version changes, and why.")] = ""


class WorkflowCheck(Strict):
    """A text to check."""

    text: WorkflowText


class WorkflowPromotion(Strict):
    """What was asked or run once, and the workflow that is to do it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"source": "ans_…", "name": "weekly"}]})

    source: Annotated[Text, Field(max_length=64, description="Id of an answer, or of the run of a prompt.")]
    name: Annotated[Text, Field(max_length=64, description="Name of the new workflow.")]
    message: Annotated[Text, Field(max_length=4000)] = ""


class WorkflowRollback(Strict):
    """Why the version before is live again."""

    reason: Said = ""


class PauseRequest(Strict):
    """Why triggers rest, or (`resume`) work again."""

    reason: Said = ""
    resume: StrictBool = False


class PilotRequest(Strict):
    """What there is to say; `off`: nobody runs the pilot any more."""

    comment: Said = ""
    off: StrictBool = False


class EventSecretRequest(Strict):
    """Why there is to be a new secret."""

    reason: Said = ""


class ImportedWorkflow(Strict):
    """A text to bring in; what an export says besides is taken as information."""

    text: WorkflowText
    message: Annotated[Text, Field(max_length=4000)] = ""
    name: Annotated[Text | None, Field(max_length=200)] = None
    version: StrictInt | None = None
    sha256: Annotated[Text | None, Field(max_length=64)] = None
    labels: Annotated[list[Text] | None, Field(max_length=10)] = None
    author: Annotated[Text | None, Field(max_length=200)] = None
    created_at: Annotated[Text | None, Field(max_length=64)] = None


class WorkflowImport(Strict):
    """Texts to bring in, as an export lists them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"items": [{"text": "name: …"}]}]})

    format: Literal[1] = 1
    items: Annotated[list[ImportedWorkflow], Field(max_length=1000)]


# --- Responses ------------------------------------------------------------------------------------------------------


class WorkflowReference(Strict):
    """A version of a workflow, by number and by the hash of its text; number 0: a text that is not saved."""

    name: str
    version: int
    sha256: str


class AboutWorkflow(WorkflowReference):
    """A version with who made it and why; `created_at` of null: it came with the program and was not used yet."""

    author: str
    message: str
    created_at: str | None


class OutlinedStep(Strict):
    """A step of the outline."""

    id: str
    kind: str
    title: str | None
    needs: list[str]


class Outline(Strict):
    """What a file says, but for what its steps do exactly."""

    title: str | None
    description: str | None
    owner: str | None
    stakes: Stakes
    tags: list[str]
    review_by: str | None
    deadline_seconds: float | None
    pilot_runs: int
    groups: list[str]
    queue: str
    recommended: dict[str, Any] | None
    inputs: dict[str, Any]
    example: dict[str, Any] | None
    steps: list[OutlinedStep]


class WorkflowStanding(Strict):
    """Where a version stands on its way to be live; `missing` says what it still needs, one clause each."""

    submitter: str | None
    approvers: list[str]
    approvals_needed: int
    green_runs: int
    green_runs_needed: int
    missing: list[str]


class WorkflowItem(AboutWorkflow):
    """A workflow by its newest version; `states` and `labels` are of all its versions."""

    state: State
    states: dict[str, list[int]]
    labels: dict[str, int]
    title: str | None
    description: str | None
    owner: str | None
    tags: list[str]
    stakes: Stakes
    kinds: list[str]
    paused: bool
    review_by: str | None
    overdue: bool


class WorkflowBody(WorkflowItem):
    """A workflow with all that concerns it."""

    text: str
    outline: Outline
    standing: WorkflowStanding


class WorkflowCard(WorkflowReference):
    """A live workflow as keys of role app see it."""

    title: str | None
    description: str | None
    owner: str | None
    tags: list[str]
    stakes: Stakes
    inputs: dict[str, Any]
    example: dict[str, Any] | None


class WorkflowVersionItem(AboutWorkflow):
    """A version and where it stands."""

    state: State
    labels: list[str]
    standing: WorkflowStanding


class WorkflowVersionText(AboutWorkflow):
    """A version as it is for good."""

    text: str
    outline: Outline


class WorkflowWarning(Strict):
    """What a workflow might do better, and where."""

    line: int
    field: str
    message: str


class CheckedWorkflow(WorkflowReference):
    """A text that can be saved."""

    outline: Outline
    warnings: list[WorkflowWarning]


class WorkflowTriggerItem(Strict):
    """A trigger of a live version."""

    name: str
    workflow: str
    version: int
    kind: Literal["cron", "event", "documents", "after"]
    detail: str
    when: str | None
    paused: bool


class WorkflowTriggers(Strict):
    """Triggers, by workflow."""

    items: list[WorkflowTriggerItem]


class ExportedWorkflow(AboutWorkflow):
    """A version with its text, as an import takes it."""

    labels: list[str]
    text: str


class WorkflowExport(Strict):
    """A library, or what is newest of it."""

    format: Literal[1]
    items: list[ExportedWorkflow]


class StartedRun(Strict):
    """A run that an event started, now or when it came first."""

    id: str
    workflow: str


class RefusedStart(Strict):
    """A workflow that an event could not start, and why."""

    workflow: str
    reason: str


class EventAccepted(Strict):
    """What an event started."""

    event: str
    runs: list[StartedRun]
    refused: list[RefusedStart]


class EventSecretItem(Strict):
    """The secret of an event, without what it is; `state` is made or ended."""

    name: str
    number: int
    state: Literal["made", "ended"]
    created_at: str


class EventSecrets(Strict):
    """What was last done with the secret of each event."""

    items: list[EventSecretItem]


class NewEventSecret(EventSecretItem):
    """A new secret; it is shown this once."""

    secret: str | None
