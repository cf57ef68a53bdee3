"""What requests to run a prompt's cases look like, and what comes back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from api.schemas import Strict, Text

Names = Annotated[list[Annotated[Text, Field(min_length=1, max_length=200)]], Field(max_length=20)]
State = Literal["passed", "failed", "skipped"]


class PromptTestRequest(Strict):
    """Which cases to run, with which models."""

    models: Annotated[
        Names,
        Field(default_factory=list, description="`extractive` or names on the model server. Default: as configured."),
    ]
    baseline: Annotated[
        Text | None,
        Field(
            max_length=200, description="Version, label or `name@label` to compare with, or `none`; else production."
        ),
    ] = None
    cases: Annotated[Names, Field(default_factory=list, description="Only these; then nothing is recorded.")]
    suites: Annotated[
        list[Literal["bias", "injection"]],
        Field(default_factory=list, max_length=2, description="Shipped suites to run as well."),
    ]
    record: Annotated[StrictBool, Field(description="Whether the ledger keeps the outcome.")] = True


class PromptBaseline(Strict):
    """The version that was compared with."""

    name: str
    version: int


class PromptExpectation(Strict):
    """Whether one expectation holds; `value` is what was measured, where something was."""

    kind: str
    state: State
    words: str
    value: float | None


class PromptReply(Strict):
    """What a model replied to a case, and the ids of the passages that it was shown."""

    status: str
    text: str
    passages: list[str]
    confidence: float | None
    latency_ms: float
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class PromptCaseResult(Strict):
    """What came of one case; `baseline` is what came of it with the version that was compared with."""

    case: str
    suite: str | None
    state: State
    reason: str | None
    baseline: State | None
    regression: bool
    expect: list[PromptExpectation]
    replies: list[PromptReply]


class PromptFigures(Strict):
    """What was measured of a version: shares and means over the cases that were run; latency is a median."""

    pass_rate: float | None
    support: float | None
    confidence: float | None
    similarity: float | None
    latency_ms: float | None
    tokens: float | None
    cost: float | None


class PromptModelRun(Strict):
    """The cases with one model; `entry` is the entry of the ledger that says so."""

    model: str
    passed: bool
    cases: int
    failed: int
    skipped: int
    regressions: list[str]
    entry: int | None
    results: list[PromptCaseResult]
    metrics: PromptFigures
    baseline_metrics: PromptFigures | None
    delta: PromptFigures | None


class PromptTestReport(Strict):
    """What came of the cases of a version."""

    name: str
    version: int
    sha256: str
    passed: bool
    baseline: PromptBaseline | None
    suites: list[str]
    suite_sha256: str
    models: list[PromptModelRun]
