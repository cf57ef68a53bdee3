"""Whether a step's `with` fits its kind, where its templates are not filled in yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from pipeline.prompts.json_schema import schema_errors
from pipeline.workflows.contract_reads import Scope
from pipeline.workflows.expression_paths import ITEM
from pipeline.workflows.expressions import holds_template
from pipeline.workflows.fields import Strict
from pipeline.workflows.lines import Place
from pipeline.workflows.schema_paths import UNKNOWN, NoSuchMember, Schema, schema_at, types_of

_OF_NAMES = ("missing", "extra_forbidden")
_COERCING = ("function-before", "function-plain", "function-wrap", "definition-ref")
_SHALLOW = ("required", "additionalProperties", "type")
"""Keywords that do not depend on what the members of a value are."""


def with_faults(
    kind: Any, given: Mapping[str, Any], expressions: list[tuple[Place, str]] | None = None
) -> Iterator[tuple[Place, str]]:
    """Members that a kind does not know, lacks, or knows otherwise; what holds a template is not judged.

    `expressions` is filled with what the kind declares as expressions, and where they stand.
    """
    noted: list[str] = []
    said: dict[Place, list[str]] = {}
    try:
        kind.With.model_validate(dict(given), context=noted)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            place, found = _dug(given, tuple(one["loc"]))
            if one["type"] == "missing":
                place = (*place, one["loc"][-1])
            elif one["type"] != "extra_forbidden" and holds_template(found):
                continue
            said.setdefault(place, []).append(_words(one["type"], one["msg"], kind.With))
    if expressions is not None:
        expressions += [(_where(given, text), text) for text in dict.fromkeys(noted) if not holds_template(text)]
    for place, words in said.items():
        yield place, "; or: ".join(dict.fromkeys(words))


def _words(sort: str, message: str, model: type[Strict]) -> str:
    if sort == "extra_forbidden":
        names = ", ".join(field.alias or name for name, field in model.model_fields.items())
        return f"there is no such member; {names or 'nothing'} may stand in `with`"
    return "is missing" if sort == "missing" else message.removeprefix("Value error, ")


def _dug(value: Any, location: Place) -> tuple[Place, Any]:
    """The way to what a validation speaks of, without the names of what a member may be instead; and what is there."""
    place: Place = ()
    for part in location:
        inside = part in value if isinstance(value, Mapping) else isinstance(value, list) and isinstance(part, int)
        if inside:
            value, place = value[part], (*place, part)
    return place, value


def _where(value: Any, text: str, place: Place = ()) -> Place:
    """The first place where a text stands."""
    return next(_places(value, text, place), place)


def _places(value: Any, text: str, place: Place) -> Iterator[Place]:
    if value == text:
        yield place
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _places(one, text, (*place, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _places(one, text, (*place, number))


def type_faults(kind: Any, given: Mapping[str, Any], scope: Scope) -> Iterator[tuple[Place, str]]:
    """Templates that are one value, of a type that the kind does not take there."""
    for place, template in _leaves(given, ()):
        source = scope.template_source(template)
        there = None if source is None else source.types
        wanted = _wanted(kind.With, place)
        if there is None or wanted is None or _meet(there, wanted):
            continue
        yield (
            place,
            f"{template.strip()} is {' or '.join(sorted(there))}, and {' or '.join(sorted(wanted))} stands here",
        )


def form_faults(given: Mapping[str, Any], scope: Scope) -> Iterator[tuple[Place, str]]:
    """Drafts in the form of a step that asks people, of a type that the form does not take."""
    form = given.get("form")
    members = form.get("properties") if isinstance(form, Mapping) else None
    for name, schema in members.items() if isinstance(members, Mapping) else ():
        draft = schema.get("default") if isinstance(schema, Mapping) else None
        if not isinstance(draft, str):
            continue
        source, wanted = scope.template_source(draft), types_of(schema)
        there = None if source is None else source.types
        if there is not None and wanted is not None and not _meet(there, wanted):
            asked = " or ".join(sorted(wanted))
            said = f"{draft.strip()} is {' or '.join(sorted(there))}, and the form asks for {asked}"
            yield ("form", "properties", name, "default"), said


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _leaves(one, (*place, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, (*place, number))
    elif isinstance(value, str) and holds_template(value):
        yield place, value


def _meet(there: frozenset[str], wanted: frozenset[str]) -> bool:
    """Whether a value of one may be one of the other: a whole number is a number."""
    return bool(_whole(there) & _whole(wanted))


def _whole(types: frozenset[str]) -> frozenset[str]:
    return types | {"integer"} if "number" in types else types


def _wanted(model: type[Strict], place: Place) -> frozenset[str] | None:
    """The types that a member of a `with` may have; None where that is not known, or where others are read as these."""
    if place[0] in _coerced(model):
        return None
    schema = _schema_of(model)
    try:
        found = schema_at(schema, tuple(ITEM if isinstance(part, int) else str(part) for part in place))
    except NoSuchMember:
        return None
    return types_of(found, schema) if found else None


@lru_cache(maxsize=256)
def _schema_of(model: type[Strict]) -> Schema:
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return UNKNOWN


@lru_cache(maxsize=256)
def _coerced(model: type[Strict]) -> frozenset[str]:
    """Members whose values a validator of its own may turn into those that their type says: a duration is a text."""
    cores = _cores(model.__pydantic_core_schema__)
    fields: Mapping[str, Any] = next((one["fields"] for one in cores if one["type"] == "model-fields"), {})
    found = {name for name, core in fields.items() if any(one["type"] in _COERCING for one in _cores(core))}
    return frozenset(model.model_fields[name].alias or name for name in found)


def _cores(core: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a model's core schema, from outside in."""
    if isinstance(core, Mapping):
        if isinstance(core.get("type"), str):
            yield core
        for one in core.values():
            yield from _cores(one)
    elif isinstance(core, (list, tuple)):
        for one in core:
            yield from _cores(one)


def value_faults(value: Any, schema: Schema) -> Iterator[tuple[Place, str]]:
    """What of a value, with templates in it, does not fit a JSON Schema, whatever they may become."""
    for place, keyword, words in schema_errors(value, schema):
        _, found = _dug(value, place)
        if not holds_template(found) or (keyword in _SHALLOW and not isinstance(found, str)):
            yield place, words
