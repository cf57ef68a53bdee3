"""JSON Schema for a prompt's inputs and outputs: draft 2020-12, no remote references, patterns in linear time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry

DEEPEST = 32
SHOWN_FAULTS = 3


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value):
        yield ValidationError(f"{value[:80]!r} does not match {pattern!r}")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises ValueError that says what is wrong with a schema, where it is not one or cannot be used here."""
    if any(isinstance(value, str) and not value.startswith("#") for value in _members(schema, "$ref", DEEPEST)):
        raise ValueError("a schema may only refer to itself: $ref begins with #")
    if any(True for _ in _members(schema, "patternProperties", DEEPEST)):
        raise ValueError("patternProperties is not supported: name the properties")
    try:
        Draft202012Validator.check_schema(dict(schema))
        for pattern in _members(schema, "pattern", DEEPEST):
            if isinstance(pattern, str):
                re2.compile(pattern)
        schema_faults(None, schema)
    except RecursionError as error:
        raise ValueError("a schema whose $ref leads back to itself without end") from error
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from error
    except re2.error as error:
        raise ValueError(f"a pattern that cannot be used: {error}") from error


def schema_faults(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with a value, at most a few; empty where it fits."""
    validator = _Validator(dict(schema), registry=Registry())
    found = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    return [_words(error) for error in found[:SHOWN_FAULTS]]


def _words(error: ValidationError) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    return f"{place.lstrip('.')}: {message}" if place else message


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
