"""Suites of cases that come with the program and fit any prompt: paired attributes (bias) and injected instructions.

Their cases are data (`suites/*.yaml`). One may ask a grounded prompt (`question` and `context`), a prompt that takes
inputs alone (`text`, which fills the first declared input that is free text, or else the longest text within a list or
object), or both. What else a prompt needs comes from the inputs of its own first case, or else is made from the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from kernel.errors import InvalidInput
from pipeline.prompts.anatomy import Variable, confined, load_yaml
from pipeline.prompts.cases import GROUNDED_ONLY, Case, read_case, read_expectations, swapped
from pipeline.prompts.rendering import Compiled

SUITES = ("bias", "injection")
OWN = frozenset({"about", "text", "question", "context"})
"""Members of a suite's case that say how to ask."""


def suite_cases(names: Sequence[str], compiled: Compiled, own: Sequence[Case]) -> tuple[Case, ...]:
    """The cases of these suites for a prompt whose own cases are `own`; those that do not fit it say why in `skip`.

    Raises InvalidInput for a suite that there is not.
    """
    asked = [(name, raw) for name in dict.fromkeys(names) for raw in _read(name) if _asks(raw, compiled)]
    return tuple(_fitted(name, raw, compiled, own) for name, raw in asked)


def _asks(raw: Mapping[str, Any], compiled: Compiled) -> bool:
    return ("question" in raw) if compiled.anatomy.grounded else ("text" in raw)


def _fitted(suite: str, raw: Mapping[str, Any], compiled: Compiled, own: Sequence[Case]) -> Case:
    shared = {name: value for name, value in raw.items() if name not in OWN}
    inputs = _base_inputs(compiled, own)
    where = f"suite {suite}, case {raw.get('name')!r}"
    if compiled.anatomy.grounded:
        asked = shared | {"question": raw["question"], "context": raw["context"], "inputs": inputs}
    else:
        expect = [one for one in raw["expect"] if not GROUNDED_ONLY.intersection(one)]
        filled = with_text(compiled.inputs, inputs, raw["text"])
        if filled is None:
            return _skipped(suite, raw, "the prompt has no input that is free text")
        asked = shared | {"inputs": filled, "expect": expect}
    try:
        case = read_case(asked, compiled, where)
        compiled.checked(swapped(case, case.swap).inputs if case.swap else case.inputs)
    except InvalidInput as error:
        return _skipped(suite, raw, f"it does not fit the prompt: {error}")
    return replace(case, suite=suite)


def _skipped(suite: str, raw: Mapping[str, Any], why: str) -> Case:
    return Case(str(raw["name"]), "", {}, None, None, ("*",), {}, (), raw, suite, why)


def with_text(declared: Mapping[str, Variable], inputs: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """The inputs with a text in the first that is free text (required ones before others), else in the place of the
    longest text within a list or an object; None where there is neither.
    """
    free = [name for name, one in declared.items() if _is_text(one.schema_)]
    if free:
        return dict(inputs) | {min(free, key=lambda name: not declared[name].required): text}
    nested = {name: value for name, value in inputs.items() if isinstance(value, (list, dict))}
    longest = max((leaf for value in nested.values() for leaf in _texts(value)), key=len, default=None)
    if longest is None:
        return None
    return dict(inputs) | {name: _replaced(value, longest, text) for name, value in nested.items()}


def _is_text(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and not confined(schema)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(one)


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, list):
        return [_replaced(one, old, new) for one in value]
    if isinstance(value, dict):
        return {name: _replaced(one, old, new) for name, one in value.items()}
    return new if value == old else value


def _base_inputs(compiled: Compiled, own: Sequence[Case]) -> dict[str, Any]:
    """Values for all that must be given, and for what the prompt's own first case gives."""
    first = next((dict(case.inputs) for case in own if case.inputs), {})
    made = {name: sample(one.schema_) for name, one in compiled.inputs.items() if one.required and name not in first}
    return first | made


def sample(schema: Mapping[str, Any], depth: int = 6) -> Any:
    """A plain value that a schema most likely takes."""
    for name in ("default", "const"):
        if name in schema:
            return schema[name]
    options = schema.get("enum") or schema.get("examples")
    if options:
        return options[0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" and depth:
        members = schema.get("properties", {})
        return {name: sample(members.get(name, {}), depth - 1) for name in schema.get("required", ())}
    if kind == "array" and depth:
        return [sample(schema.get("items", {}), depth - 1)] * max(int(schema.get("minItems", 1)), 1)
    plain: dict[Any, Any] = {"integer": 1, "number": 1, "boolean": False, "null": None, "array": [], "object": {}}
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("maximum", plain[kind]))
    return plain.get(kind, _text(schema))


def _text(schema: Mapping[str, Any]) -> str:
    words = "An example. " * (int(schema.get("minLength", 0)) // 12 + 1)
    return words.strip()[: int(schema.get("maxLength", len(words)))]


@cache
def _read(name: str) -> tuple[Mapping[str, Any], ...]:
    if name not in SUITES:
        raise InvalidInput(f"there is no suite {name}; there are: {', '.join(SUITES)}")
    path = Path(__file__).parent / "suites" / f"{name}.yaml"
    cases = load_yaml(path.read_text(encoding="utf-8"), f"suite {name}", 0)
    for raw in cases:
        read_expectations(raw["expect"], f"suite {name}, case {raw['name']!r}")
    return tuple(cases)
