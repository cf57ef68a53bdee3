"""The sorts of values that a workflow's file is made of."""

from __future__ import annotations

import re
from collections.abc import MutableSequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from pipeline.prompts.json_schema import check_schema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Strict(BaseModel):
    """No unknown members, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def seconds_of(value: Any) -> float:
    """Seconds of a duration: `500ms`, `30s`, `5m`, `2h`, `1d`. Raises ValueError."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a duration is a number and a unit: 500ms, 30s, 5m, 2h, 1d")
    return float(found[1]) * _SECONDS[found[2]]


def greater(one: str, other: str) -> str:
    """The greater of two stakes, or the first where the second is none."""
    order = ("low", "medium", "high")
    return max(one, other, key=order.index) if other in order else one


def _schema(value: Any) -> Any:
    if isinstance(value, dict):
        check_schema(value)
    return value


def _day(value: Any) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else value


def _noted(value: str, info: ValidationInfo) -> str:
    """Tell whoever validates, with a list as context, that this text is an expression."""
    if isinstance(info.context, MutableSequence):
        info.context.append(value)
    return value


Duration = Annotated[float, BeforeValidator(seconds_of), Field(gt=0, le=366 * 86400)]
Day = Annotated[date, BeforeValidator(_day)]
Schema = Annotated[dict[str, Any], BeforeValidator(_schema)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,46}$")]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Words = Annotated[str, Field(min_length=1, max_length=500)]
Expression = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_noted)]
"""An expression, without braces. What a kind's `with` declares as one is checked before a run."""
Group = Annotated[str, Field(min_length=1, max_length=80)]
Stakes = Literal["low", "medium", "high"]
