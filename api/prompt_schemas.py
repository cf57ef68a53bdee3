"""What HTTP requests about prompts must look like, and what responses do look like."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt

from api.schemas import Strict, Text, storable
from pipeline.prompts.anatomy import LARGEST, Kind


def storable_members(values: dict[str, Any]) -> dict[str, Any]:
    """An object, if every text in it can be stored and every number is one. Raises ValueError where not."""
    storable(json.dumps(values, ensure_ascii=False, allow_nan=False).replace("\\u0000", "\0"))
    return values


PromptText = Annotated[
    Text, Field(min_length=1, max_length=LARGEST, description="The prompt's file: front matter and sections.")
]
Said = Annotated[Text, Field(max_length=4000, description="What you have to say of it.")]
Members = Annotated[dict[str, Any], AfterValidator(storable_members)]
State = Literal["draft", "in_review", "approved", "live", "retired"]


# --- Requests -------------------------------------------------------------------------------------------------------


class SaveRequest(Strict):
    """A text to store as the next version of a prompt."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "---\nname: …", "message": "Shorter answers."}]}
    )

    text: PromptText
    message: Annotated[Text, Field(max_length=4000, description="What the version changes, and why.")] = ""


class CheckRequest(Strict):
    """A text to check."""

    text: PromptText


class NoteRequest(Strict):
    """Words that go with what is done."""

    comment: Said = ""


class SayRequest(Strict):
    """A comment."""

    comment: Annotated[Said, Field(min_length=1)]


class RejectionRequest(Strict):
    """Why a version goes back to its author."""

    reason: Annotated[Said, Field(min_length=1)]


class RetireRequest(Strict):
    """Why something goes out of use; `undo` brings it back."""

    reason: Said = ""
    undo: StrictBool = False


class LabelRequest(Strict):
    """The version that a label is to be on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 4}]})

    version: Annotated[StrictInt, Field(ge=1, le=2**31 - 1, description="Number of the version.")]
    comment: Said = ""


class RollbackRequest(Strict):
    """Why a label goes back."""

    reason: Said = ""


class RulesRequest(Strict):
    """Which label callers get who name none: the first rule that applies, else `production`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"rules": [{"when": {"models": ["openai/*"]}, "label": "llm"}]}]},
    )

    rules: Annotated[list[Members], Field(max_length=50)]


class ShownPassage(Strict):
    """A passage to render with, in place of retrieved ones."""

    title: Annotated[Text, Field(max_length=500)] = ""
    text: Annotated[Text, Field(min_length=1, max_length=100_000)]


class RenderRequest(Strict):
    """What to render a version with; `text` renders a text that is not saved."""

    version: Annotated[StrictInt | None, Field(ge=1, le=2**31 - 1, description="Default: the newest.")] = None
    label: Annotated[Text | None, Field(max_length=50, description="A label, instead of a number.")] = None
    text: PromptText | None = None
    question: Annotated[
        Text, Field(description="A question; its passages are retrieved unless `context` is given.")
    ] = ""
    inputs: Annotated[Members, Field(description="Inputs by name.", default_factory=dict)]
    context: Annotated[list[ShownPassage] | None, Field(max_length=50)] = None


class ImportedPrompt(Strict):
    """A text to bring in; what an export says besides is taken as information."""

    text: PromptText
    message: Annotated[Text, Field(max_length=4000)] = ""
    name: Annotated[Text | None, Field(max_length=200)] = None
    version: StrictInt | None = None
    sha256: Annotated[Text | None, Field(max_length=64)] = None
    labels: Annotated[list[Text] | None, Field(max_length=1000)] = None
    author: Annotated[Text | None, Field(max_length=200)] = None
    created_at: Annotated[Text | None, Field(max_length=64)] = None


class ImportRequest(Strict):
    """Texts to bring in, as an export lists them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"items": [{"text": "---\nname: …"}]}]})

    format: Literal[1] = 1
    items: Annotated[list[ImportedPrompt], Field(max_length=1000)]


# --- Responses ------------------------------------------------------------------------------------------------------


class PromptReference(Strict):
    """A version of a prompt, by number and by the hash of its text; number 0: a text that is not saved."""

    name: str
    version: int
    sha256: str


class About(PromptReference):
    """A version with who made it and why; `created_at` of null: it came with the program and was not used yet."""

    author: str
    message: str
    created_at: str | None


class Anatomy(Strict):
    """The parts of a prompt's file; members that it leaves out are left out."""

    kind: Kind
    context: Literal["retrieved", "inputs"]
    description: str | None = None
    owner: str | None = None
    folder: str | None = None
    tags: list[str] | None = None
    review_by: str | None = None
    audience: str | None = None
    model: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    sections: dict[str, str]
    turns: list[dict[str, str]]
    cases: list[str]


class Standing(Strict):
    """Where a version stands on its way to callers; `missing` says what it still needs, one clause each."""

    submitter: str | None
    approvers: list[str]
    approvals_needed: int
    tests: list[dict[str, Any]]
    missing: list[str]


class PromptItem(About):
    """A prompt by its newest version; `states` and `labels` are of all its versions."""

    state: State
    states: dict[str, list[int]]
    labels: dict[str, int]
    kind: Kind
    grounded: bool
    description: str | None
    owner: str | None
    folder: str | None
    tags: list[str]
    review_by: str | None
    overdue: bool


class Prompt(PromptItem):
    """A prompt with all that concerns it."""

    text: str
    anatomy: Anatomy
    standing: Standing
    rules: list[dict[str, Any]]
    experiment: str | None


class PromptCard(Strict):
    """A live prompt as keys of role app see it."""

    name: str
    version: int
    sha256: str
    kind: Kind
    grounded: bool
    description: str | None
    audience: str | None
    folder: str | None
    tags: list[str]
    inputs: dict[str, Any]


class PromptVersionItem(About):
    """A version and where it stands."""

    state: State
    labels: list[str]
    standing: Standing


class PromptVersionText(About):
    """A version as it is for good."""

    text: str
    anatomy: Anatomy


class CheckedPrompt(PromptReference):
    """A text that can be saved."""

    anatomy: Anatomy


class SectionChange(Strict):
    """A section that differs: lines of both begin with two spaces, gone ones with `- `, new ones with `+ `."""

    section: str
    change: Literal["added", "removed", "changed"]
    lines: list[str]


class PromptDifference(Strict):
    """How one version became another."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: Annotated[PromptReference, Field(alias="from")]
    to: PromptReference
    same: bool
    sections: list[SectionChange]


class RenderedSection(Strict):
    """What a section renders to."""

    section: str
    text: str


class RenderedPrompt(PromptReference):
    """What a version renders to: its sections, and the messages that a model gets."""

    inputs: dict[str, Any]
    sections: list[RenderedSection]
    messages: list[dict[str, str]]


class PromptHappening(Strict):
    """Something that happened to a prompt; `entry` is its number in the ledger."""

    created_at: str
    kind: str
    version: int | None
    label: str | None
    by: str
    comment: str
    data: dict[str, Any]
    entry: int | None


class PromptRules(Strict):
    """The rules of a prompt."""

    name: str
    rules: list[dict[str, Any]]


class ExportedPrompt(About):
    """A version as another library can take it."""

    labels: list[str]
    text: str


class PromptExport(Strict):
    """Prompts as another library can take them."""

    format: Literal[1]
    items: list[ExportedPrompt]


class ImportedItem(Strict):
    """A text that came in, or was there already."""

    name: str
    version: int
    place: str


class ImportFailure(Strict):
    """A text that could not come in, and why."""

    place: str
    reason: str


class ImportReport(Strict):
    """What became of each text."""

    added: list[ImportedItem]
    unchanged: list[ImportedItem]
    failed: list[ImportFailure]
