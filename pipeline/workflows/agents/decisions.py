"""What a model may decide in a turn: exactly one of the things that its spec allows, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

from pipeline.prompts.json_schema import schema_faults
from pipeline.prompts.output import json_of
from pipeline.workflows.agents.declared import AgentWith, Mission

Json = dict[str, Any]
WAYS = ("tool", "finish", "ask", "hand_off", "escalate")
SAID = 1000
"""Characters of a thought, a question or a reason."""
LONGEST_REPLY = 200_000
DEEPEST = 32
THOUGHT = 160
"""Characters of a thought that a model's server is asked to hold it to."""
SENT = 400
"""Longest text that a schema which is sent to a model's server speaks of: servers make a grammar of it."""
_TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": SAID}


def shapes_of(given: AgentWith, mission: Mission, tools: Mapping[str, Mapping[str, Any]]) -> dict[str, Json]:
    """The JSON Schema of each decision that an agent may take, by its way; of calls by `tool NAME`."""
    found = {
        f"tool {name}": _shape({"tool": {"const": name}, "arguments": dict(schema)}) for name, schema in tools.items()
    }
    sure = given.escalate is not None and given.escalate.confidence_below is not None
    confidence = {"confidence": {"type": "number", "minimum": 0, "maximum": 1}} if sure else {}
    found["finish"] = _shape({"finish": given.success.schema_ or {}, **confidence})
    if mission.may_ask:
        found["ask"] = _shape({"ask": dict(_TEXT)})
    if mission.handoffs:
        found["hand_off"] = _shape({"hand_off": {"enum": list(mission.handoffs)}, "why": dict(_TEXT)})
    if given.escalate is not None:
        found["escalate"] = _shape({"escalate": dict(_TEXT)})
    return found


def _shape(members: Mapping[str, Any]) -> Json:
    thought = {"type": "string", "maxLength": SAID}
    return {
        "type": "object",
        "properties": {"thought": thought, **members},
        "required": list(members),
        "additionalProperties": False,
    }


def read_decision(text: str, shapes: Mapping[str, Mapping[str, Any]]) -> tuple[Json | None, list[str]]:
    """The decision of a reply, or why it is none. The form of a result is judged later: it is not a fault of form."""
    try:
        value = _strict(text)
    except (ValueError, RecursionError) as error:
        return None, [f"it is not one JSON object ({error})"]
    if not isinstance(value, dict):
        return None, ["it is not a JSON object"]
    ways = [way for way in WAYS if way in value]
    if len(ways) != 1:
        return None, [f"it has {len(ways)} of these members, not one: {', '.join(_allowed(shapes))}"]
    name = f"tool {value['tool']}" if ways == ["tool"] else ways[0]
    shape = shapes.get(name)
    if shape is None:
        return None, [f"that is not allowed here; these are: {', '.join(shapes)}"]
    faults = schema_faults(value, _outer(shape), quote=False)
    if not faults and ways == ["tool"]:
        faults = schema_faults(value["arguments"], shape["properties"]["arguments"], quote=False)
    return (None, faults) if faults else (value, [])


def _outer(shape: Mapping[str, Any]) -> Json:
    """A shape without the schemas that come from the spec: they may refer to themselves, and are checked alone."""
    inner = {"finish": {}, "arguments": {"type": "object"}}
    members = {name: inner.get(name, one) for name, one in shape["properties"].items()}
    return {**shape, "properties": members}


def _allowed(shapes: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[0] for name in shapes))


def _strict(text: str) -> Any:
    """JSON without members that come twice and numbers that are none, with or without a code fence around it."""
    if len(text) > LONGEST_REPLY:
        raise ValueError("it is too long")
    json_of(text)
    opened = text.strip()
    if opened.startswith("```"):
        opened = opened[opened.index("\n") : opened.rindex("```")]
    value = json.loads(opened, object_pairs_hook=_members, parse_constant=_no_number, parse_float=_finite)
    if _depth(value) > DEEPEST:
        raise ValueError("it is nested too deeply")
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_number(text[:20])


def _members(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member comes twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def schema_for_servers(shapes: Mapping[str, Mapping[str, Any]]) -> Json:
    """All decisions as one schema, without what servers choke on: what it leaves open is checked by us all the same.
    A thought comes first, and is asked for: small models decide better after one.
    """
    return {"anyOf": [_thoughtful(_plain(shape)) for shape in shapes.values()]}


def _thoughtful(shape: Json) -> Json:
    thought = {"type": "string", "maxLength": THOUGHT}
    properties = {**shape["properties"], "thought": thought}
    return {**shape, "properties": properties, "required": ["thought", *shape["required"]]}


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > 24:
        return {}
    if isinstance(value, Mapping):
        if any(name.startswith("$") for name in value):
            return {}
        left_out = {"pattern", "format", "minLength", "default", "description", "title", "examples", "uniqueItems"}
        return {
            name: min(one, SENT) if name == "maxLength" and isinstance(one, int) else _members_of(name, one, depth)
            for name, one in value.items()
            if name not in left_out
        }
    return [_plain(one, depth + 1) for one in value] if isinstance(value, list) else value


def _members_of(name: str, value: Any, depth: int) -> Any:
    """Names of properties are no keywords, and values of `const` and `enum` are no schemas."""
    if name in ("const", "enum", "required"):
        return value
    if name == "properties" and isinstance(value, Mapping):
        return {member: _plain(one, depth + 1) for member, one in value.items()}
    return _plain(value, depth + 1)
