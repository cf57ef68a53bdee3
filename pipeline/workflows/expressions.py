"""STUB until W2's lands."""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kernel.errors import InvalidInput

_E = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
_ONE = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", re.S)


def evaluate(expression: str, visible: Mapping[str, Any]) -> Any:
    try:
        return _E.compile_expression(expression, undefined_to_none=False)(**visible)
    except TemplateError as error:
        raise InvalidInput(f"{expression}: {error}") from error


def fill(value: Any, visible: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        one = _ONE.fullmatch(value)
        if one:
            found = evaluate(one[1].strip(), visible)
            if isinstance(found, StrictUndefined):
                raise InvalidInput(f"{value}: {found._undefined_message}")
            return found
        try:
            return _E.from_string(value).render(visible) if "{{" in value else value
        except TemplateError as error:
            raise InvalidInput(f"{value}: {error}") from error
    if isinstance(value, list):
        return [fill(one, visible) for one in value]
    if isinstance(value, Mapping):
        return {name: fill(one, visible) for name, one in value.items()}
    return value
