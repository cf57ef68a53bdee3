"""The filters of workflows' expressions: over JSON values, to JSON values, none of them slower than sorting.

They differ from Jinja's where that guesses: a number is never made of a text, `true` is no number, and a member that an
item lacks is an error unless `default` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from math import isfinite
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.exceptions import UndefinedError
from jinja2.runtime import Undefined

from pipeline.language import jinja_filters, json_text

_MISSING = object()
MOST_BITS = 300
"""Of a number, also between the steps of a sum."""
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": eq,
    "eq": eq,
    "equalto": eq,
    "!=": ne,
    "ne": ne,
    ">": gt,
    "gt": gt,
    "greaterthan": gt,
    ">=": ge,
    "ge": ge,
    "<": lt,
    "lt": lt,
    "lessthan": lt,
    "<=": le,
    "le": le,
    "in": lambda value, many: value in many,
    "contains": lambda value, one: one in value,
}
"""Tests of `selectattr` and `rejectattr` that take a value beside; `defined` and `none` take none."""
BY_ATTRIBUTE = ("join", "map", "max", "min", "rejectattr", "selectattr", "sort", "sum", "unique")
"""Filters that look at one member of each item."""
SAME = ("default", "rejectattr", "selectattr", "sort", "unique")
"""Filters that give the list that they were given, or a part of it."""
ONE = ("first", "last", "max", "min")
"""Filters that give one item of a list."""


def shown(value: Any) -> Any:
    """A value within a text: lists, objects, null, true and false as JSON writes them."""
    return json_text(value) if isinstance(value, (dict, list, bool)) or value is None else value


def number(value: Any) -> int | float:
    """A number. Raises TypeError for anything else: true and false are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{_named(value)} is not a number")
    return value


def sized(value: int | float) -> int | float:
    """A number that is not too large. Raises OverflowError."""
    if value.bit_length() > MOST_BITS if isinstance(value, int) else not isfinite(value):
        raise OverflowError("a number grows too large")
    return value


def _named(value: Any) -> str:
    if isinstance(value, Undefined):
        raise UndefinedError(str(value._undefined_message))
    kinds = {
        str: "a text",
        bool: "true or false",
        list: "a list",
        dict: "an object",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return kinds.get(type(value), type(value).__name__)


def _list(values: Any) -> Sequence[Any]:
    if not isinstance(values, list):
        raise TypeError(f"{_named(values)} is not a list")
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_named(value)} is not a text")
    return value


def _member(item: Any, attribute: str | None, default: Any = _MISSING) -> Any:
    """A member of an item, `a.b` a member of a member. Raises UndefinedError where it is not there."""
    if attribute is None:
        return item
    for part in attribute.split("."):
        if not isinstance(item, Mapping) or part not in item:
            if default is _MISSING:
                raise UndefinedError(f"an item has no {attribute!r}")
            return default
        item = item[part]
    return item


def _map(values: Any, *, attribute: str, default: Any = _MISSING) -> list[Any]:
    return [_member(one, attribute, default) for one in _list(values)]


def _chosen(values: Any, attribute: str, test: str, beside: tuple[Any, ...], wanted: bool) -> list[Any]:
    if test in ("", "defined", "none"):
        if beside:
            raise TypeError(f"the test {test!r} takes nothing beside")
        return [one for one in _list(values) if _alone(one, attribute, test) is wanted]
    if test not in COMPARISONS or len(beside) != 1:
        raise TypeError(f"no test {test!r} with {len(beside)} values; there are: {', '.join(COMPARISONS)}")
    if isinstance(beside[0], Undefined):
        raise UndefinedError(str(beside[0]._undefined_message))
    compare = COMPARISONS[test]
    return [one for one in _list(values) if bool(compare(_member(one, attribute), beside[0])) is wanted]


def _alone(item: Any, attribute: str, test: str) -> bool:
    if test == "defined":
        return _member(item, attribute, _ABSENT) is not _ABSENT
    return _member(item, attribute) is None if test == "none" else bool(_member(item, attribute))


_ABSENT = object()


def _selectattr(values: Any, attribute: str, test: str = "", *beside: Any) -> list[Any]:
    return _chosen(values, attribute, test, beside, True)


def _rejectattr(values: Any, attribute: str, test: str = "", *beside: Any) -> list[Any]:
    return _chosen(values, attribute, test, beside, False)


def _sort(values: Any, reverse: bool = False, *, attribute: str | None = None) -> list[Any]:
    return sorted(_list(values), key=lambda one: _member(one, attribute), reverse=bool(reverse))


def _unique(values: Any, *, attribute: str | None = None) -> list[Any]:
    kept: dict[str, Any] = {}
    for one in _list(values):
        kept.setdefault(json_text(_member(one, attribute)), one)
    return list(kept.values())


def _sum(values: Any, start: Any = 0, *, attribute: str | None = None) -> int | float:
    return sized(sum((number(_member(one, attribute)) for one in _list(values)), number(start)))


@pass_environment
def _min(environment: Environment, values: Any, *, attribute: str | None = None) -> Any:
    if not _list(values):
        return environment.undefined("an empty list has no least item")
    return min(values, key=lambda one: _member(one, attribute))


@pass_environment
def _max(environment: Environment, values: Any, *, attribute: str | None = None) -> Any:
    if not _list(values):
        return environment.undefined("an empty list has no greatest item")
    return max(values, key=lambda one: _member(one, attribute))


def _round(value: Any, digits: int = 0) -> int | float:
    """To so many digits, halves to even as Python does; without digits a whole number."""
    if not -12 <= number(digits) <= 12:
        raise ValueError("round takes -12 to 12 digits")
    return round(number(value), digits) if digits else round(number(value))


def _abs(value: Any) -> int | float:
    return abs(number(value))


def _join(values: Any, between: str = "", *, attribute: str | None = None) -> str:
    return _text(between).join(str(shown(_member(one, attribute))) for one in _list(values))


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        raise TypeError(f"{_named(value)} is not an object")
    return [{"key": key, "value": one} for key, one in value.items()]


def _day(value: Any) -> date:
    text = _text(value)
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a date (YYYY-MM-DD, with or without a time)") from None


def _date(value: Any) -> str:
    return _day(value).isoformat()


def _plus_days(value: Any, days: Any) -> str:
    return (_day(value) + timedelta(days=number(days))).isoformat()


def _days_since(value: Any, earlier: Any) -> int:
    return (_day(value) - _day(earlier)).days


def _of_text(made: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value: made(_text(value))


_PLAIN = {
    "capitalize": _of_text(str.capitalize),
    "lower": _of_text(str.lower),
    "title": _of_text(str.title),
    "trim": _of_text(str.strip),
    "upper": _of_text(str.upper),
}
FILTERS: Mapping[str, Callable[..., Any]] = {
    **jinja_filters(),
    **_PLAIN,
    "abs": _abs,
    "date": _date,
    "days_since": _days_since,
    "items": _items,
    "join": _join,
    "map": _map,
    "max": _max,
    "min": _min,
    "plus_days": _plus_days,
    "rejectattr": _rejectattr,
    "round": _round,
    "selectattr": _selectattr,
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
