"""What somebody declares when an experiment or a canary is started, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kernel.errors import InvalidInput
from pipeline.prompts.anatomy import Label, Strict, faults_text
from pipeline.prompts.trial_metrics import UNBOUNDED

EXPERIMENT, CANARY = "experiment", "canary"
MetricName = Literal[
    "answered",
    "partial",
    "abstained",
    "failed",
    "confidence",
    "supported",
    "feedback",
    "latency_ms",
    "tokens",
    "cost",
]
Positive = Annotated[float, Field(gt=0, le=1e9)]
CANARY_GUARDS: Sequence[Mapping[str, Any]] = (
    {"metric": "failed", "at_most": 0.5, "after": 3},
    {"metric": "answered", "worse_by": 0.1},
    {"metric": "supported", "worse_by": 0.1},
)
"""What a canary is held to where nothing is declared."""
CANARY_SHARE = 0.2
"""How many callers a canary gets where nothing is declared. How many answers a bad version gives before it is found out
does not depend on it; how soon that is does.
"""
CONTROL_NAME = "control"


class Arm(Strict):
    """A version, and the share of the callers who get it; arms without a share get equal parts of the rest."""

    version: Annotated[int, Field(ge=1)]
    name: Label | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None


class _Scale(Strict):
    cap: Positive | None = None
    within: Positive | None = None

    def _check_scale(self, metric: str) -> None:
        given = (self.cap is not None) + (self.within is not None)
        if metric in UNBOUNDED and given != 1:
            raise ValueError(f"{metric} has no upper end: declare either cap (what counts as the worst) or within")
        if metric not in UNBOUNDED and given:
            raise ValueError(f"{metric} lies between 0 and 1: leave out cap and within")


class Metric(_Scale):
    """What arms are compared by. One without an upper end needs `cap`, or `within`: then its share within that limit
    is compared.
    """

    name: MetricName

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_scale(self.name)
        return self


class Guard(_Scale):
    """What ends an experiment at once, for any arm but the first: a mean above `at_most` or below `at_least` once an
    arm has `after` values, or (`worse_by`) evidence that it is worse than the first by more than a margin.
    """

    metric: MetricName | Literal["latency_p95_ms"]
    at_most: Annotated[float, Field(ge=0, le=1e9)] | None = None
    at_least: Annotated[float, Field(ge=0, le=1e9)] | None = None
    worse_by: Annotated[float, Field(ge=0, lt=1)] | None = None
    after: Annotated[int, Field(ge=1, le=1_000_000)] = 10

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(one is not None for one in (self.at_most, self.at_least, self.worse_by)) != 1:
            raise ValueError("a guard has one of at_most, at_least and worse_by")
        if self.worse_by is not None:
            if self.metric == "latency_p95_ms":
                raise ValueError("arms are compared by latency_ms with cap or within, not by a percentile")
            self._check_scale(self.metric)
        elif self.cap is not None or self.within is not None:
            raise ValueError("cap and within are for worse_by: at_most and at_least are values of the metric itself")
        return self


class Declaration(Strict):
    """An experiment or canary. The first arm is what the others are compared with; one arm alone is compared with the
    version in production.
    """

    kind: Literal["experiment", "canary"] = "experiment"
    arms: Annotated[list[Arm], Field(min_length=1, max_length=6)]
    unit: Literal["user", "session"] = "user"
    metric: Metric = Metric(name="answered")
    also: Annotated[list[Metric], Field(max_length=10)] = Field(default_factory=list)
    guards: Annotated[list[Guard], Field(max_length=20)] | None = None
    alpha: Annotated[float, Field(ge=0.0001, le=0.5)] = 0.05
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    max_samples: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    stop: Literal["winner", "manual"] = "winner"
    count: Literal["first", "all"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == CANARY and len(self.arms) != 1:
            raise ValueError("a canary has one arm: production is the other")
        names = [one.name for one in self.also]
        if len({self.metric.name, *names}) != 1 + len(names):
            raise ValueError("`also` names a metric twice, or the one that decides")
        return self

    def spec(self, production: int | None) -> dict[str, Any]:
        """What is kept and computed with: all that was left out filled in, but the hashes of the versions.

        Raises InvalidInput where shares or names do not fit.
        """
        guards = self.guards
        if guards is None:
            guards = [Guard(**one) for one in CANARY_GUARDS] if self.kind == CANARY else []
        found = self.model_dump(exclude={"arms", "guards", "count"}, exclude_none=True)
        count = self.count or ("all" if self.kind == CANARY else "first")
        return found | {
            "arms": _arms(self, production),
            "guards": [one.model_dump(exclude_none=True) for one in guards],
            "count": count,
            "production": production or 0,
        }


def read_declaration(value: Mapping[str, Any]) -> Declaration:
    """A declaration from JSON values. Raises InvalidInput that names what is wrong."""
    try:
        return Declaration.model_validate(dict(value))
    except ValidationError as error:
        raise InvalidInput(f"the experiment: {faults_text(error)}") from error


def _arms(declared: Declaration, production: int | None) -> list[dict[str, Any]]:
    arms = list(declared.arms)
    if len(arms) == 1:
        if production is None:
            raise InvalidInput("there is no version in production to compare with: name two arms")
        if arms[0].share is None:
            share = CANARY_SHARE if declared.kind == CANARY else 0.5
            arms = [arms[0].model_copy(update={"share": share})]
        arms = [Arm(version=production, name="production"), *arms]
    missing = [one for one in arms if one.share is None]
    left = 1 - sum(one.share or 0.0 for one in arms)
    if (missing and left <= 0) or (not missing and abs(left) > 1e-6):
        raise InvalidInput("the shares of the arms must come to 1")
    made = [
        {
            "name": one.name or _name(declared, place, one),
            "version": one.version,
            "share": one.share if one.share is not None else left / len(missing),
        }
        for place, one in enumerate(arms)
    ]
    names = [one["name"] for one in made]
    if len(set(names)) < len(names):
        raise InvalidInput("two arms have the same name: name them")
    return made


def _name(declared: Declaration, place: int, arm: Arm) -> str:
    if declared.kind == CANARY:
        return CANARY
    return CONTROL_NAME if place == 0 else f"v{arm.version}"
