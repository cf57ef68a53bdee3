"""What searching, usage and drafts of prompts take and give over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

from api.schemas import AsOf, Strict, Text, TopK


class PromptHit(BaseModel):
    """A prompt that was found: its newest version, for keys of role app the live one."""

    name: str
    version: int
    state: str
    kind: str
    description: str
    tags: list[str]
    folder: str
    score: float
    favourite: bool


class PromptHits(BaseModel):
    """What was found, best first."""

    items: list[PromptHit]


class FavouritePrompts(BaseModel):
    """The prompts that the key's owner marked, by name."""

    favourites: list[str]


class PromptUser(BaseModel):
    """How often somebody used a version; `principal` is empty where it was erased."""

    principal: str
    answers: int
    runs: int
    last: str


class VersionQuality(BaseModel):
    """How well a version did: answers by status, their mean confidence, and the mean of what people said of them."""

    statuses: dict[str, int]
    confidence: float | None
    feedback: float | None
    opinions: int


class UsedVersion(BaseModel):
    """How often a version was used, and how well it did: that is for editors, reviewers and admins."""

    version: int
    sha256: str
    answers: int
    runs: int
    users: list[PromptUser]
    quality: VersionQuality | None


class PromptUsage(BaseModel):
    """How often a prompt was used, by version and user: of all users for reviewers and admins, else the key's own."""

    name: str
    answers: int
    runs: int
    versions: list[UsedVersion]


class PromptDependent(BaseModel):
    """Something that uses a prompt; `version` 0: whichever is in force."""

    kind: str
    name: str
    version: int
    detail: str


class PromptDependents(BaseModel):
    """What depends on a prompt."""

    items: list[PromptDependent]


class PromoteRequest(Strict):
    """An answer to make a draft of."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"answer": "ans_0d8c2k1f1mf2c4b3a9f0", "name": "canteen-hours"}]},
    )

    answer: Annotated[Text, Field(max_length=80, description="Id of a past answer that the key may read.")]
    name: Annotated[Text, Field(max_length=47, description="Name of the new prompt.")]
    message: Annotated[Text, Field(max_length=4096)] = ""


class PromotedPrompt(BaseModel):
    """The draft. `pinned`: its case holds the `passages`, or names the `snapshot` where not all may see them."""

    name: str
    version: int
    sha256: str
    pinned: str
    text: str


class ImproveRequest(Strict):
    """Which version to suggest for."""

    version: Annotated[
        Text | None, Field(max_length=47, description="A number or a label. Default: the newest version.")
    ] = None
    rules_only: Annotated[StrictBool, Field(description="Ask no model, even where one is configured.")] = False


class PromptSuggestion(BaseModel):
    """Something that can be better; `fixed` where the draft puts it right by rule."""

    section: str
    code: str
    message: str
    fixed: bool


class SectionDiff(BaseModel):
    """The lines of a section that differ: gone ones after `- `, new ones after `+ `."""

    section: str
    diff: list[str]


class PromptSuggestions(BaseModel):
    """What can be better, and the draft that was saved, if anything changed. `by` is `rules` or `model`, `run` the run
    of the prompt that asked the model.
    """

    name: str
    version: int
    by: str
    run: str | None
    findings: list[PromptSuggestion]
    notes: list[str]
    draft: dict[str, Any] | None
    prompt_diff: list[SectionDiff]
    tests: dict[str, Any] | None


class PlaygroundRequest(Strict):
    """A draft to try: its `text`, or a stored version (`prompt`, such as `name@3`)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"prompt": "grounded-answer@2", "question": "How long are backups kept?", "inputs": {}}]
        },
    )

    text: Annotated[Text | None, Field(max_length=262_144, description="The file of a draft.")] = None
    prompt: Annotated[Text | None, Field(max_length=200, description="A stored version.")] = None
    against: Annotated[
        Text | None, Field(max_length=200, description="What to compare with. Default: what callers get.")
    ] = None
    question: Annotated[Text | None, Field(description="For prompts that answer from documents.")] = None
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    top_k: TopK = None
    as_of: AsOf = None


class PlaygroundResult(BaseModel):
    """What the draft and the other version say, and where their texts differ. Nothing of it is recorded."""

    question: str | None
    inputs: dict[str, Any]
    draft: dict[str, Any]
    against: dict[str, Any]
    same: bool
    diff: list[str]
    prompt_diff: list[SectionDiff]
