"""What requests about experiments and feedback must look like, and what their responses do look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from api.schemas import Strict, Text, storable
from pipeline.prompts.anatomy import Label
from pipeline.prompts.declaration import Arm, Guard, Metric

Comment = Annotated[Text, Field(max_length=4000, description="Words for people; recorded, and erasable.")]
Share = float | None
"""A mean or share; none where there is nothing to tell it from."""


class FeedbackRequest(Strict):
    """What somebody says of an answer: a score, or up or down."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rating": "up"}, {"score": 0.25}]})

    score: Annotated[StrictFloat | StrictInt | None, Field(ge=0, le=1, description="0: useless, 1: just right.")] = None
    rating: Annotated[Literal["up", "down"] | None, Field(description="up is a score of 1, down one of 0.")] = None
    comment: Comment = ""
    labels: Annotated[
        list[Annotated[str, AfterValidator(storable), Field(min_length=1, max_length=60)]], Field(max_length=20)
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.score is None) == (self.rating is None):
            raise ValueError("give either score or rating")
        return self

    @property
    def value(self) -> float:
        """The score."""
        return float(self.rating == "up") if self.score is None else float(self.score)


class ExperimentRequest(Strict):
    """An experiment, or a canary, to start on a prompt. One arm alone is compared with the version in production."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prompt": "grounded-answer", "kind": "canary", "arms": [{"version": 3, "share": 0.1}]},
                {
                    "prompt": "grounded-answer",
                    "arms": [{"version": 3}, {"version": 4}],
                    "unit": "session",
                    "metric": {"name": "supported"},
                },
            ]
        },
    )

    prompt: Annotated[Text, Field(max_length=100, description="Name of the prompt.")]
    kind: Literal["experiment", "canary"] = "experiment"
    arms: Annotated[list[Arm], Field(min_length=1, max_length=6)]
    unit: Annotated[Literal["user", "session"], Field(description="Who is drawn once and for all.")] = "user"
    metric: Annotated[Metric, Field(description="What decides.")] = Metric(name="answered")
    also: Annotated[list[Metric], Field(max_length=10, description="Further metrics to compare arms by.")] = Field(
        default_factory=list
    )
    guards: Annotated[
        list[Guard] | None, Field(max_length=20, description="What ends it at once. Default: for canaries, a few.")
    ] = None
    alpha: Annotated[float, Field(ge=0.0001, le=0.5, description="Most chance of ever naming a false winner.")] = 0.05
    min_samples: Annotated[StrictInt, Field(ge=1, le=1_000_000, description="Of each arm, before one wins.")] = 20
    max_samples: Annotated[
        StrictInt | None, Field(ge=1, le=100_000_000, description="Answers in all, after which it ends.")
    ] = None
    stop: Annotated[Literal["winner", "manual"], Field(description="Whether a winner ends it.")] = "winner"
    count: Annotated[
        Literal["first", "all"] | None,
        Field(description="Which outcomes of a user or session count. Default: the first; for canaries, all."),
    ] = None
    comment: Comment = ""

    def declared(self) -> dict[str, Any]:
        """The declaration as JSON values."""
        return self.model_dump(exclude={"prompt", "comment"}, exclude_none=True)


class StopRequest(Strict):
    """Why an experiment is stopped."""

    reason: Comment = ""


class PromoteRequest(Strict):
    """Which arm goes to production; by default the winner's, or the canary."""

    arm: Annotated[Label | None, Field(description="Name of the arm.")] = None
    comment: Comment = ""


class ArmShare(Strict):
    """An arm: its version, and the share of the callers who get it."""

    name: str
    version: int
    share: float


class Experiment(Strict):
    """An experiment as lists show it. `outcome` is what the journal keeps of how it ended."""

    id: str
    prompt: str
    kind: Literal["experiment", "canary"]
    state: Literal["running", "ended", "stopped", "promoted"]
    reason: str
    arms: list[ArmShare]
    metric: str
    leaf: int
    created_at: str
    ended_at: str | None
    outcome: dict[str, Any]


class Latency(Strict):
    """Milliseconds of retrieving, generating and grounding."""

    p50: Share
    p95: Share


class ArmFigures(Strict):
    """The answers of an arm. `units` counts users or sessions; a mean that nothing tells is null."""

    answers: int
    units: int
    answered: Share
    partial: Share
    abstained: Share
    failed: Share
    confidence: Share
    supported: Share
    feedback: Share
    opinions: int
    tokens: Share
    cost: Share
    latency_ms: Latency


class Comparison(Strict):
    """An arm against the first by the metric that decides: [low, high] holds the difference, however often one looks,
    with a probability of 1 - alpha; evidence of `needed` names a winner.
    """

    arm: str
    against: str
    metric: str
    better: Literal["higher", "lower"]
    counted: dict[str, int]
    difference: Share
    low: float
    high: float
    evidence: float
    needed: float
    p_value: float


class OtherMetric(Strict):
    """A metric that decides nothing; `notable`: by e-BH over all of them."""

    arm: str
    metric: str
    difference: Share
    evidence: float
    notable: bool


class GuardState(Strict):
    """A guard on an arm, and how it stands."""

    metric: str
    at_most: Share = None
    at_least: Share = None
    worse_by: Share = None
    after: int | None = None
    cap: Share = None
    within: Share = None
    arm: str
    value: Share
    count: int
    state: Literal["waiting", "holds", "broken"]
    told: str


class ExperimentEvent(Strict):
    """A step of an experiment in the journal."""

    at: str
    by: str
    leaf: int
    state: str
    comment: str


class ExperimentStatus(Experiment):
    """An experiment with its figures."""

    declared: dict[str, Any]
    figures: dict[str, ArmFigures]
    comparisons: list[Comparison]
    other_metrics: list[OtherMetric]
    winner: str | None
    guards: list[GuardState]
    drawn_as_declared: Annotated[
        bool, Field(description="False where users or sessions are not spread as declared: then nothing here holds.")
    ]
    events: list[ExperimentEvent]
