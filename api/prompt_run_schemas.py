"""What runs of prompts take and give over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas import Strict, Text, storable
from kernel.errors import InvalidInput

PromptName = Annotated[Text, Field(max_length=200)]
Inputs = Annotated[dict[str, JsonValue], Field(description="The inputs that the prompt declares, by name.")]


def storable_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, if every database takes them. Raises InvalidInput where not."""
    try:
        for text in _texts(dict(inputs)):
            storable(text)
    except ValueError as error:
        raise InvalidInput(f"inputs: {error}") from error
    return dict(inputs)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one)


class PromptRunRequest(Strict):
    """A prompt to run on inputs."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inputs": {"text": "The printer on floor 2 is jammed."}}]}
    )

    inputs: Inputs = Field(default_factory=dict)
    label: Annotated[
        Text | None,
        Field(max_length=47, description="A label, or the number of a version. Default: what callers get."),
    ] = None
    session: Annotated[Text | None, Field(max_length=200, description="A name that ties runs together.")] = None
    stakes: Literal["low", "medium", "high"] | None = None


class UsedPrompt(BaseModel):
    """The version that ran, the label that it was found by, and the arm of an experiment where one chose it."""

    name: str
    version: int
    sha256: str
    label: str
    experiment: str | None = None
    arm: str | None = None


class PromptRunBody(BaseModel):
    """A run. `status` is `done`; `failed` where the model did not give a whole reply in the format that the prompt asks
    for; `refused` or `withheld` where the policy does not let it be answered or shown; `erased`. `json` is the reply as
    data, where the prompt has a schema. `inputs` are there when a past run is read; `run`, all else that it stood on,
    for reviewers and admins.
    """

    id: str | None
    status: str
    reason: str | None
    output: str
    json_: Annotated[Any, Field(alias="json")] = None
    tries: int
    prompt: UsedPrompt
    policy: list[dict[str, Any]] = Field(default_factory=list)
    model: dict[str, Any]
    usage: dict[str, Any]
    timings_ms: dict[str, float]
    created_at: str
    ledger: dict[str, Any] | None = None
    principal: str | None = None
    inputs: dict[str, Any] | None = None
    run: dict[str, Any] | None = None
