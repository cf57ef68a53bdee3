"""What releases look like over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from api.schemas import Strict, Text


class ReleaseModel(Strict):
    """The model that a release is meant for; it must be the configured one when the release goes live."""

    provider: Annotated[Text, Field(max_length=80)]
    name: Annotated[Text, Field(max_length=200)]


class ReleaseManifest(Strict):
    """Versions that go live together."""

    prompts: Annotated[dict[str, StrictInt], Field(description="Numbers of versions by the name of their prompt.")] = (
        Field(default_factory=dict)
    )
    workflows: Annotated[
        dict[str, StrictInt], Field(description="Numbers of versions by the name of their workflow.")
    ] = Field(default_factory=dict)
    policy: Annotated[StrictInt | None, Field(description="Number of a version of the policy.")] = None
    model: ReleaseModel | None = None


class ReleaseRequest(Strict):
    """A release to store."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"manifest": {"prompts": {"grounded-answer": 2}, "policy": 3}, "message": "The spring set."}]
        },
    )

    manifest: ReleaseManifest
    message: Annotated[Text, Field(min_length=1, max_length=4096, description="What the release is for.")]


class ReleaseReason(Strict):
    """Why a release is moved."""

    reason: Annotated[Text, Field(max_length=2000)] = ""


class ReleaseBody(BaseModel):
    """A stored release. `missing`, where one is read by itself: what it lacks before it can go live."""

    number: int
    sha256: str
    manifest: ReleaseManifest
    author: str
    message: str
    created_at: str
    in_force: bool
    missing: list[str] | None = None


class ReleaseMoved(BaseModel):
    """A move: `changed` has the numbers of each prompt's version before and after (0: none), `workflows` those of each
    workflow's, `left` what a rollback did not put back, since it was moved by itself meanwhile.
    """

    release: int | None
    index: int
    changed: dict[str, list[int]]
    workflows: dict[str, list[int]]
    left: list[str]
    created_at: str


class ReleaseDifferences(BaseModel):
    """What a release changes: pairs of before and after; null where nothing does."""

    prompts: dict[str, list[int | None]]
    workflows: dict[str, list[int | None]]
    policy: list[int | None] | None
    model: list[dict[str, Any] | None] | None
