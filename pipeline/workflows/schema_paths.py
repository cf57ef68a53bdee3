"""What a JSON Schema says of a member of a value, however deep: so that steps are checked against each other unrun.

A schema that names properties and does not say that there may be others is read as naming all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.workflows.expression_paths import ITEM, Path

Schema = Mapping[str, Any]
UNKNOWN: Schema = {}
TEMPLATE = "x-template"
"""Stands in the schema of a kind's output for a value that is what a template of its `with` comes to."""
MOST_HOPS = 40
MOST_NAMED = 12
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))


class NoSuchMember(Exception):
    """A schema that has no such member: `place` is how far the path led, `there` what it has instead."""

    def __init__(self, place: int, why: str, there: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.place = place
        self.why = why
        self.there = there


def schema_at(schema: Schema, path: Path) -> Schema:
    """The schema of what lies at a path; UNKNOWN where nothing is known. Raises NoSuchMember."""
    root, at = schema, schema
    for place, part in enumerate(path):
        at = _member(at, part, root, place, MOST_HOPS)
    return resolved(at, root)


def types_of(schema: Schema, root: Schema | None = None, hops: int = MOST_HOPS) -> frozenset[str] | None:
    """The JSON types that a schema lets through; None: any. `integer` is also a `number`."""
    at = resolved(schema, schema if root is None else root)
    root = schema if root is None else root
    if "type" in at:
        named = at["type"]
        return frozenset([named] if isinstance(named, str) else named)
    if "const" in at or "enum" in at:
        return frozenset(_type_of(one) for one in at.get("enum", [at.get("const")]))
    for word in ("anyOf", "oneOf"):
        if isinstance(at.get(word), list) and hops:
            found = [types_of(one, root, hops - 1) for one in at[word] if isinstance(one, Mapping)]
            return None if None in found else frozenset().union(*(one for one in found if one is not None))
    return None


def resolved(schema: Schema, root: Schema) -> Schema:
    """A schema without a reference at its top; UNKNOWN where that leads nowhere."""
    for _ in range(MOST_HOPS):
        if not isinstance(schema, Mapping) or "$dynamicRef" in schema or TEMPLATE in schema:
            return UNKNOWN
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        at: Any = root
        for part in reference.removeprefix("#").split("/")[1:]:
            at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
        schema = at
    return UNKNOWN


def _type_of(value: Any) -> str:
    return next((name for sort, name in _TYPES if isinstance(value, sort)), "null")


def _member(schema: Schema, part: str, root: Schema, place: int, hops: int) -> Schema:
    at = resolved(schema, root)
    if not at or not hops:
        return UNKNOWN
    for word in ("anyOf", "oneOf"):
        if isinstance(at.get(word), list):
            return _of_any(at[word], part, root, place, hops - 1)
    if isinstance(at.get("allOf"), list):
        return _of_all(at, part, root, place, hops - 1)
    types = types_of(at, root)
    if part == ITEM:
        return _item(at, types, place)
    if types is not None and "object" not in types:
        raise NoSuchMember(place, f"is {_a(types)}")
    return _property(at, part, place)


def _a(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))


def _item(schema: Schema, types: frozenset[str] | None, place: int) -> Schema:
    if types is not None and not types & {"array", "object", "string"}:
        raise NoSuchMember(place, f"is {_a(types)}, not a list")
    if types == frozenset(["array"]) and "prefixItems" not in schema and isinstance(schema.get("items"), Mapping):
        items: Schema = schema["items"]
        return items
    return UNKNOWN


def _property(schema: Schema, name: str, place: int) -> Schema:
    named = schema.get("properties")
    named = named if isinstance(named, Mapping) else {}
    others = schema.get("additionalProperties")
    if name in named:
        return named[name] if isinstance(named[name], Mapping) else UNKNOWN
    if isinstance(others, Mapping):
        return others
    if others is True or (others is None and not named):
        return UNKNOWN
    raise NoSuchMember(place, "", list(named)[:MOST_NAMED])


def _of_any(options: Sequence[Any], part: str, root: Schema, place: int, hops: int) -> Schema:
    found: list[Schema] = []
    failure: NoSuchMember | None = None
    for one in options:
        if not isinstance(one, Mapping):
            return UNKNOWN
        if types_of(one, root) == frozenset(["null"]):
            continue
        try:
            found.append(_member(one, part, root, place, hops))
        except NoSuchMember as error:
            failure = failure if failure is not None and failure.there else error
    if not found and failure is not None:
        raise failure
    if not found or any(not resolved(one, root) for one in found):
        return UNKNOWN
    return found[0] if len(found) == 1 else {"anyOf": found}


def _of_all(schema: Schema, part: str, root: Schema, place: int, hops: int) -> Schema:
    """Of the parts that know the member, the first; an open one lets it be, whatever the others name."""
    own = {name: value for name, value in schema.items() if name != "allOf"}
    parts: list[Schema] = [own] if "properties" in own or "additionalProperties" in own else []
    parts += [one for one in schema["allOf"] if isinstance(one, Mapping)]
    found: list[Schema] = []
    there: list[str] = []
    for one in parts:
        try:
            found.append(resolved(_member(one, part, root, place, hops), root))
        except NoSuchMember as error:
            there += error.there
    if parts and not found:
        raise NoSuchMember(place, "", there[:MOST_NAMED])
    return next((one for one in found if one), UNKNOWN)
