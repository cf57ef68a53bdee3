"""JSON Schema for a prompt's inputs and outputs: draft 2020-12, no remote references, patterns in linear time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

DEEPEST = 32
SHOWN_FAULTS = 3
MOST_FAULTS = 200
MOST_WORK = 400_000
"""Keywords that one check may apply, where long values count more: a schema can ask for exponentially many."""
PIECE = 100
DEEPEST_REFERENCE = 40
"""References that may be followed within one another."""
_LEFT: ContextVar[list[int]] = ContextVar("_LEFT")
_OPEN: ContextVar[list[int]] = ContextVar("_OPEN")
_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _TooMuch(Exception):
    """A check that takes too long."""


class _TooDeep(Exception):
    """References within references. Python's own limit would be met inside a library that does not survive it."""


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value):
        yield ValidationError(f"{value[:80]!r} does not match {pattern!r}")


def _unique(_validator: Any, wanted: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """Whether no two items are the same, in linear time."""
    if wanted and isinstance(value, list) and len({_key(one) for one in value}) < len(value):
        yield ValidationError("it has the same item twice")


def _key(value: Any) -> str:
    return json.dumps(_numbers_alike(value), sort_keys=True)


def _numbers_alike(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_numbers_alike(one) for one in value]
    return {name: _numbers_alike(one) for name, one in value.items()} if isinstance(value, dict) else value


def _counted(keyword: _Keyword) -> _Keyword:
    """The same keyword, which takes its work from what is left."""

    def applied(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError] | None:
        left = _LEFT.get()
        left[0] -= 1 + (len(value) // PIECE if isinstance(value, (str, list, dict)) else 0)
        if left[0] < 0:
            raise _TooMuch
        return keyword(validator, wanted, value, schema)

    return applied


def _nested(keyword: _Keyword) -> _Keyword:
    """The same reference, unless it is reached through too many others."""

    def applied(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        open_now = _OPEN.get()
        if open_now[0] >= DEEPEST_REFERENCE:
            raise _TooDeep
        open_now[0] += 1
        try:
            yield from keyword(validator, wanted, value, schema) or ()
        finally:
            open_now[0] -= 1

    return applied


_KEYWORDS: Mapping[str, _Keyword] = {
    **Draft202012Validator.VALIDATORS,
    **{name: _nested(Draft202012Validator.VALIDATORS[name]) for name in ("$ref", "$dynamicRef")},
    "pattern": _pattern,
    "uniqueItems": _unique,
}


def _validator() -> Any:
    """A class of validators that keeps to our keywords: by itself it would take those of the draft that a part of a
    schema names with `$schema`.
    """
    made: Any = extend(Draft202012Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()})
    evolve = made.evolve

    def ours(self: Any, **changes: Any) -> Any:
        schema = changes.get("schema", self.schema)
        if isinstance(schema, Mapping) and "$schema" in schema:
            changes["schema"] = {name: value for name, value in schema.items() if name != "$schema"}
        return evolve(self, **changes)

    made.evolve = ours
    return made


_VALIDATOR = _validator()


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises ValueError that says what is wrong with a schema, where it is not one or cannot be used here."""
    references = [one for name in ("$ref", "$dynamicRef") for one in _members(schema, name, DEEPEST)]
    if any(isinstance(value, str) and not value.startswith("#") for value in references):
        raise ValueError("a schema may only refer to itself: $ref begins with #")
    if any(True for _ in _members(schema, "patternProperties", DEEPEST)):
        raise ValueError("patternProperties is not supported: name the properties")
    try:
        Draft202012Validator.check_schema(dict(schema))
        for pattern in _members(schema, "pattern", DEEPEST):
            if isinstance(pattern, str):
                re2.compile(pattern)
        _errors(None, schema)
    except (RecursionError, _TooDeep) as error:
        raise ValueError("a schema whose $ref leads back to itself without end") from error
    except Unresolvable as error:
        raise ValueError(f"a schema that refers to what is not in it: {error.ref}") from error
    except _TooMuch as error:
        raise ValueError("a schema that takes too much work to check") from error
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from error
    except re2.error as error:
        raise ValueError(f"a pattern that cannot be used: {error}") from error


def schema_faults(value: Any, schema: Mapping[str, Any], *, quote: bool = True) -> list[str]:
    """What is wrong with a value, at most a few; empty where it fits. A value that cannot be checked does not fit.
    Without `quote` it is said by what the schema asks, so that nothing of the value is shown.
    """
    try:
        found = _sorted_errors(value, schema)
    except ValueError as error:
        return [str(error)]
    return [_words(error, error.message if quote else _asked(error)) for error in found[:SHOWN_FAULTS]]


def schema_errors(value: Any, schema: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str, str]]:
    """All that is wrong with a value: the way to the member, the keyword that it does not keep to, and words."""
    try:
        found = _sorted_errors(value, schema)
    except ValueError as error:
        return [((), "", str(error))]
    return [(tuple(one.absolute_path), str(one.validator), _shortened(one.message)) for one in found]


def _sorted_errors(value: Any, schema: Mapping[str, Any]) -> list[ValidationError]:
    """The errors by where they lie. Raises ValueError where a value cannot be checked."""
    try:
        found = _errors(value, schema)
    except (RecursionError, _TooDeep) as error:
        raise ValueError("it is nested too deeply for its schema, or that leads back to itself without end") from error
    except Unresolvable as error:
        raise ValueError(f"its schema refers to what is not in it: {error.ref}") from error
    except OverflowError as error:
        raise ValueError("it holds a number that is too large to be checked") from error
    except _TooMuch as error:
        raise ValueError("it takes too much work to be checked against its schema") from error
    return sorted(found, key=lambda error: [str(part) for part in error.absolute_path])


def _errors(value: Any, schema: Mapping[str, Any]) -> list[ValidationError]:
    left, open_now = _LEFT.set([MOST_WORK]), _OPEN.set([0])
    try:
        return list(islice(_VALIDATOR(dict(schema), registry=Registry()).iter_errors(value), MOST_FAULTS))
    finally:
        _LEFT.reset(left)
        _OPEN.reset(open_now)


def _asked(error: ValidationError) -> str:
    if error.validator == "additionalProperties" and error.validator_value is False:
        members = ", ".join(sorted(error.schema.get("properties", {}))) or "none"
        return f"it may have no other members than: {members}"
    return (
        f"it does not keep to {error.validator}: {json.dumps(error.validator_value, ensure_ascii=False, default=str)}"
    )


def _words(error: ValidationError, message: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = _shortened(message)
    return f"{place.lstrip('.')}: {message}" if place else message


def _shortened(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:200]}…"


def _members(value: Any, name: str, depth: int) -> Iterator[Any]:
    """Every value under a key, wherever it lies. Raises ValueError where it is nested too deeply."""
    if depth == 0:
        raise ValueError(f"nested deeper than {DEEPEST}")
    if isinstance(value, Mapping):
        if name in value:
            yield value[name]
        for one in value.values():
            yield from _members(one, name, depth - 1)
    elif isinstance(value, list):
        for one in value:
            yield from _members(one, name, depth - 1)
