"""The kinds `transform` and `compare`: shaping what is there already, without code and without asking anybody."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kernel.errors import InvalidInput
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.expressions import holds_template
from pipeline.workflows.schema_paths import TEMPLATE
from pipeline.workflows.spec import Schema, Step, Strict
from pipeline.workflows.steps.base import ANYTHING, Call, Done, Plain, StepFailed

DIGITS = 9
"""Decimal places that results are rounded to, so that they do not depend on how a sum was taken."""
MOST_ROWS = 100_000
SHOWN_FAULTS = 3
_DAYS = {"day": 1, "week": 7}


class TransformWith(Strict):
    """What a step of kind `transform` says. Templates are filled in before: `value` is what comes out."""

    value: Any
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    """What the value must fit."""


class TransformKind(Plain):
    """Puts out its value."""

    name: ClassVar[str] = "transform"
    With: ClassVar[type[Strict]] = TransformWith

    def output(self, step: Step) -> Mapping[str, Any]:
        """Its schema where it has one, else what its literal parts tell."""
        schema = step.with_.get("schema")
        return schema if isinstance(schema, Mapping) else shape_of(step.with_.get("value"))

    def run(self, given: TransformWith, _call: Call) -> Done:
        """The value. Raises StepFailed where it does not fit the schema."""
        faults = schema_faults(given.value, given.schema_) if given.schema_ is not None else []
        if faults:
            raise StepFailed(f"the value does not fit: {'; '.join(faults[:SHOWN_FAULTS])}", slug="schema")
        return Done(given.value)


def shape_of(value: Any) -> Mapping[str, Any]:
    """The schema of a value whose strings may be templates: its members, as far as they are written out. What a
    template comes to is for whoever sees what it reads to say: it stands under TEMPLATE.
    """
    if isinstance(value, Mapping):
        names = sorted(map(str, value))
        return {"type": "object", "properties": {n: shape_of(value[n]) for n in names}, "required": names}
    if isinstance(value, list):
        return {"type": "array"}
    if isinstance(value, str):
        return {TEMPLATE: value} if holds_template(value) else {"type": "string"}
    if isinstance(value, bool):
        return {"type": "boolean"}
    return {"type": "number"} if isinstance(value, int | float) else ANYTHING


class CompareWith(Strict):
    """What a step of kind `compare` says: rows, what to take of them, and what counts as a drop or a rise."""

    rows: list[dict[str, Any]]
    value: Annotated[str, Field(min_length=1, max_length=100)]
    """The member that is a number; not looked at where rows are counted."""
    date: Annotated[str, Field(min_length=1, max_length=100)]
    """The member that is a day or a moment (ISO 8601)."""
    by: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=5)] = Field(
        default_factory=list
    )
    """Members whose values make the groups; none: all rows are one."""
    period: Literal["day", "week", "month", "quarter", "year"] = "week"
    at: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}")] | None = None
    """A day of the period that is compared; by default the newest day of the rows."""
    prior: Annotated[int, Field(ge=1, le=60)] = 4
    """How many periods before it make the mean."""
    combine: Literal["sum", "mean", "count", "min", "max"] = "sum"
    """What a period of a group comes to."""
    drop: Annotated[float, Field(gt=0, le=1)] | None = 0.15
    rise: Annotated[float, Field(gt=0)] | None = None
    """Shares of the mean: what falls or rises by more is flagged."""
    missing: Literal["zero", "skip"] = "skip"
    """What a prior period without rows counts as: nothing, or a period that there was not."""


@dataclass(frozen=True, slots=True)
class _Group:
    key: tuple[Any, ...]
    now: Fraction | None
    before: Sequence[Fraction]


class CompareKind(Plain):
    """Compares a period with the mean of those before it, group by group, and flags what fell or rose too much."""

    name: ClassVar[str] = "compare"
    With: ClassVar[type[Strict]] = CompareWith

    def output(self, _step: Step) -> Mapping[str, Any]:
        """The periods, each group with its numbers, and those that are flagged."""
        number = {"type": ["number", "null"]}
        members: dict[str, Any] = {
            "group": {"type": "object"},
            "value": number,
            "mean": number,
            "prior": {"type": "array", "items": {"type": "number"}},
            "change": number,
            "percent": number,
            "flag": {"enum": ["drop", "rise", "new", "gone", None]},
        }
        group = {"type": "object", "properties": members, "required": sorted(members)}
        properties: dict[str, Any] = {
            "period": {"type": "object"},
            "priors": {"type": "array", "items": {"type": "object"}},
            "groups": {"type": "array", "items": group},
            "flagged": {"type": "array", "items": group},
            "rows": {"type": "integer"},
        }
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    def run(self, given: CompareWith, _call: Call) -> Done:
        """Compare. Raises StepFailed for a row that lacks a member, or whose number or day is none."""
        if len(given.rows) > MOST_ROWS:
            raise StepFailed(f"at most {MOST_ROWS} rows are compared", slug="too-many")
        read = [_read(row, number, given) for number, row in enumerate(given.rows)]
        day = _day(given.at, "at") if given.at else max((one[0] for one in read), default=None)
        if day is None:
            raise StepFailed("there are no rows to compare", slug="empty")
        periods = [_start(day, given.period)]
        for _ in range(given.prior):
            periods.append(_start(periods[-1] - timedelta(days=1), given.period))
        groups = [_judged(one, given) for one in _groups(read, periods, given)]
        spans = [_span(start, given.period) for start in periods]
        used = sum(_start(when, given.period) in periods for when, _, _ in read)
        flagged = [one for one in groups if one["flag"]]
        return Done(
            {"period": spans[0], "priors": spans[1:], "groups": groups, "flagged": flagged, "rows": used},
        )


def _read(row: Mapping[str, Any], number: int, given: CompareWith) -> tuple[date, tuple[Any, ...], Fraction]:
    """A row's day, group and number."""
    counted = given.combine == "count"
    lacking = [name for name in (given.date, *given.by, *(() if counted else (given.value,))) if name not in row]
    if lacking:
        raise StepFailed(f"row {number} has no {lacking[0]}", slug="row")
    value = 1 if counted else row[given.value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StepFailed(f"{given.value} of row {number} is not a number", slug="row")
    key = tuple(row[name] for name in given.by)
    if any(isinstance(one, dict | list) for one in key):
        raise StepFailed(f"row {number} cannot be grouped by what is no plain value", slug="row")
    return _day(row[given.date], f"{given.date} of row {number}"), key, Fraction(str(value))


def _groups(
    read: Sequence[tuple[date, tuple[Any, ...], Fraction]], periods: Sequence[date], given: CompareWith
) -> list[_Group]:
    """The groups that have rows in these periods, by their values."""
    found: dict[str, dict[date, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    keys: dict[str, tuple[Any, ...]] = {}
    for day, key, value in read:
        start = _start(day, given.period)
        if start in periods:
            found[repr(key)][start].append(value)
            keys[repr(key)] = key
    groups = []
    for name in sorted(found, key=lambda one: [(type(part).__name__, part) for part in map(_sortable, keys[one])]):
        mine = {start: _combined(values, given.combine) for start, values in found[name].items()}
        zero = [Fraction(0)] if given.missing == "zero" else []
        before = [mine[start] for start in periods[1:] if start in mine]
        before += zero * (len(periods) - 1 - len(before))
        groups.append(_Group(keys[name], mine.get(periods[0]), before))
    return groups


def _sortable(value: Any) -> Any:
    return "" if value is None else value


def _combined(values: Sequence[Fraction], how: str) -> Fraction:
    if how in ("sum", "count"):
        return sum(values, Fraction(0))
    if how == "mean":
        return sum(values, Fraction(0)) / len(values)
    return min(values) if how == "min" else max(values)


def _judged(group: _Group, given: CompareWith) -> dict[str, Any]:
    """A group's numbers, and whether they are out of the ordinary. Exact until they are put out."""
    mean = sum(group.before, Fraction(0)) / len(group.before) if group.before else None
    now = group.now if group.now is not None or mean is None else Fraction(0) if given.missing == "zero" else None
    change = (now - mean) / abs(mean) if now is not None and mean else None
    flag = None
    if now is None:
        flag = "gone"
    elif mean is None:
        flag = "new"
    elif given.drop is not None and change is not None and change < -Fraction(str(given.drop)):
        flag = "drop"
    elif given.rise is not None and change is not None and change > Fraction(str(given.rise)):
        flag = "rise"
    return {
        "group": dict(zip(given.by, group.key, strict=True)),
        "value": _number(now),
        "mean": _number(mean),
        "prior": [_number(one) for one in group.before],
        "change": _number(change),
        "percent": None if change is None else round(float(change) * 100, 1),
        "flag": flag,
    }


def _number(value: Fraction | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value.denominator == 1 else round(float(value), DIGITS)


def _day(text: Any, what: str) -> date:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError as error:
        raise InvalidInput(f"{what} is not a day such as 2026-01-31: {str(text)[:40]!r}") from error


def _start(day: date, period: str) -> date:
    """The first day of the period that a day lies in; weeks begin on Monday (ISO 8601)."""
    if period == "day":
        return day
    if period == "week":
        return day - timedelta(days=day.weekday())
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    return day.replace(month=(day.month - 1) // months * months + 1, day=1)


def _span(start: date, period: str) -> dict[str, str]:
    """The first and the last day of a period."""
    if period in _DAYS:
        end = start + timedelta(days=_DAYS[period] - 1)
    else:
        end = _start(start + timedelta(days={"month": 31, "quarter": 93, "year": 366}[period]), period)
        end -= timedelta(days=1)
    return {"from": start.isoformat(), "to": end.isoformat()}
