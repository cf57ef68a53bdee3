"""Reading a workflow's file: YAML to a `Workflow`, with the line and field of each fault.

Of YAML 1.1 only what cannot surprise is kept, as YAML 1.2 has it: only `true` and `false` are booleans, dates, times
and numbers that begin with a zero are texts. Tags and merge keys are refused, names are texts and stand once, and what
aliases stand for is counted as often as it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import yaml
from pydantic import ValidationError

from kernel.errors import InvalidInput
from pipeline.workflows.lines import Fault, InvalidWorkflow, Lines, Place
from pipeline.workflows.spec import Workflow

LARGEST = 256 * 1024
"""Bytes of a workflow's text."""
DEEPEST = 24
MOST_ALIASES = 100
MOST_MEMBERS = 20_000
"""Members and items of a file, those that aliases stand for included."""
LONGEST_NUMBER = 40
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_ODD_NUMBER = re.compile(r"[-+]?0[0-9_]|.*:")
_PLAIN = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp"))


def read_workflow(text: str) -> Workflow:
    """The workflow of a file's text. Raises InvalidWorkflow that names line and field of what is wrong."""
    data, found = _data(text)
    if not isinstance(data, dict):
        raise _fault(1, "the file is a mapping; `name: …` begins one")
    steps = data.get("steps")
    ids = [one.get("id") if isinstance(one, dict) else None for one in steps] if isinstance(steps, list) else []
    lines = Lines(found, tuple(one if isinstance(one, str) else "" for one in ids))
    try:
        workflow = Workflow.model_validate(data)
    except ValidationError as error:
        raise InvalidWorkflow(list(faults_of(error, lines))) from error
    workflow._lines = lines
    return workflow


def faults_of(error: ValidationError, lines: Lines, above: Place = ()) -> Iterator[Fault]:
    """The faults of a validation of what lies at `above`, each with its line; one for each member."""
    words: dict[Place, list[str]] = {}
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        place = placed(tuple(one["loc"]), lines.of, above)
        if one["type"] == "missing":
            place = (*place, one["loc"][-1])
        words.setdefault(place, []).append(_message(one["type"], one["msg"]))
    for place, said in words.items():
        yield Fault(lines.line(place), lines.words(place), "; or: ".join(dict.fromkeys(said)))


def placed(location: Place, known: Mapping[Place, int], above: Place = ()) -> Place:
    """The way to a member from where a validation says it is: without the names of what a member may be instead."""
    place = above
    for part in location:
        if (*place, part) in known:
            place = (*place, part)
    return place


def _message(sort: str, message: str) -> str:
    if sort == "extra_forbidden":
        return "there is no such member"
    return "is missing" if sort == "missing" else message.removeprefix("Value error, ")


def _fault(line: int, message: str, field: str = "") -> InvalidWorkflow:
    return InvalidWorkflow([Fault(line, field, message)])


def _data(text: str) -> tuple[Any, dict[Place, int]]:
    """The value of a YAML text, and the line of each of its members."""
    _check_size(text)
    loader: yaml.SafeLoader | None = None
    try:
        _check_events(text)
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            raise _fault(1, "the file is empty")
        lines: dict[Place, int] = {}
        _walk(node, (), lines)
        return loader.construct_document(node), lines
    except InvalidInput:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise _fault(_line_of(error, text), f"not YAML: {said}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_size(text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise _fault(text.count("\n", 0, error.start) + 1, "a character that no file can hold") from error
    if size > LARGEST:
        raise _fault(1, f"the file is larger than {LARGEST // 1024} KiB")


def _check_events(text: str) -> None:
    """Refuse what would be costly to build: deep nesting, many aliases."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEEPEST or aliases > MOST_ALIASES:
            what = f"nested deeper than {DEEPEST}" if depth > DEEPEST else f"more than {MOST_ALIASES} aliases"
            raise _fault(event.start_mark.line + 1 if event.start_mark else 1, what)


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    """Note the line of each member, and refuse or make plain what is not JSON."""
    if len(place) > DEEPEST:
        raise _fault(_at(node), "an alias stands within itself, or is nested too deeply")
    if len(lines) > MOST_MEMBERS:
        raise _fault(_at(node), f"more than {MOST_MEMBERS:,} members")
    if node.tag not in _PLAIN:
        raise _fault(_at(node), f"the tag {node.tag.removeprefix(_TAG)!r} is not allowed")
    lines.setdefault(place, _at(node))
    if isinstance(node, yaml.MappingNode):
        _walk_mapping(node, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, one in enumerate(node.value):
            _walk(one, (*place, number), lines)
    elif isinstance(node, yaml.ScalarNode):
        _plain(node)


def _walk_mapping(node: yaml.MappingNode, place: Place, lines: dict[Place, int]) -> None:
    seen: set[str] = set()
    for key, value in node.value:
        if key.tag == f"{_TAG}merge":
            raise _fault(_at(key), "merge keys (<<) are not allowed; an alias may stand for a whole value")
        if isinstance(key, yaml.ScalarNode):
            _plain(key)
        if key.tag != _TEXT:
            raise _fault(_at(key), "a name is a text; put it between quotes")
        if key.value in seen:
            raise _fault(_at(key), f"the name {key.value!r} stands twice")
        seen.add(key.value)
        lines[(*place, key.value)] = _at(key)
        _walk(value, (*place, key.value), lines)


def _plain(node: yaml.ScalarNode) -> None:
    """Read a scalar as YAML 1.2 would, and refuse numbers that JSON does not know."""
    sort = node.tag.removeprefix(_TAG)
    number = sort in ("int", "float")
    if (
        sort == "timestamp"
        or (sort == "bool" and node.value.lower() not in ("true", "false"))
        or (number and _ODD_NUMBER.match(node.value))
    ):
        node.tag = _TEXT
    elif number and (len(node.value) > LONGEST_NUMBER or not _finite(node.value)):
        raise _fault(_at(node), "a number that is too large, or none")


def _finite(value: str) -> bool:
    try:
        return isfinite(float(value.replace("_", "")))
    except ValueError:
        return value[:2].lower() in ("0x", "0b", "0o")


def _at(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _line_of(error: Exception, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", None)
    return text.encode("utf-8")[:position].count(b"\n") + 1 if isinstance(position, int) else 1
