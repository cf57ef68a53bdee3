"""JSON lines: one record a line, `id` and `text` required; the canonical text of a record is its `text`
alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ingest.parse.canonical import canonical, one_line
from ingest.parse.decode import decode_raw
from kernel.errors import ParseFailure
from kernel.records import FailedDocument, ParsedDocument

MEDIA_TYPE = "application/x-ndjson"
RECORD_TYPE = "text/plain"
_ID_CHARS = 500
_DEPTH = 20


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse(data: bytes, name: str) -> Iterator[ParsedDocument | FailedDocument]:  # noqa: ARG001 - the plan
    """The records of `data` in order; a bad line is a FailedDocument and the rest goes on. Raises
    ParseFailure if it is not text or holds no record."""
    seen: set[str] = set()
    number = 0
    for number, line in _lines(decode_raw(data)):
        yield _record(number, line, seen)
    if number == 0:
        raise ParseFailure("holds no record")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank. Only `\\n` ends one: JSON strings may hold the other separators of
    Unicode."""
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        end = end if end >= 0 else len(text)
        if (line := text[start:end]) and not line.isspace():
            yield number, line
        start, number = end + 1, number + 1


def _record(number: int, line: str, seen: set[str]) -> ParsedDocument | FailedDocument:
    external_id = f"line-{number}"
    try:
        value = _load(line)
        if isinstance(value.get("id"), str):
            external_id = canonical(value["id"]) or external_id
        document = _document(value, external_id, seen)
    except ParseFailure as failure:
        return FailedDocument(f"line {number}: {failure}", RECORD_TYPE, external_id)
    seen.add(external_id)
    return document


def _load(line: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise ParseFailure(f"is not valid JSON: {error.msg.lower()} at column {error.colno}") from error
    except (RecursionError, ValueError) as error:  # ValueError: NaN, or a number of more than 4,300 digits
        raise ParseFailure("is not usable JSON: nested too deeply, or a number out of range") from error
    if not isinstance(value, dict):
        raise ParseFailure("is not a JSON object")
    return value


def _document(value: dict[str, Any], external_id: str, seen: set[str]) -> ParsedDocument:
    for key in ("id", "text"):
        if not isinstance(value.get(key), str) or not value[key].strip():
            raise ParseFailure(f"{key!r} must be a string that is not empty")
    if external_id in seen:
        raise ParseFailure(f"the id {external_id!r} is used by an earlier line")
    if len(external_id) > _ID_CHARS:
        raise ParseFailure(f"'id' is longer than {_ID_CHARS} characters")
    text = canonical(value["text"])
    if not text.strip():
        raise ParseFailure("'text' holds no text")
    return ParsedDocument(
        text=text,
        media_type=RECORD_TYPE,
        title=one_line(_optional(value, "title", str, "a string") or "") or None,
        external_id=external_id,
        uri=canonical(_optional(value, "url", str, "a string") or "") or None,
        metadata=_cleaned(_optional(value, "metadata", dict, "an object") or {}),
        groups=_groups(value),
    )


def _optional(value: dict[str, Any], key: str, kind: type, words: str) -> Any:
    found = value.get(key)
    if found is not None and not isinstance(found, kind):
        raise ParseFailure(f"{key!r} must be {words}")
    return found


def _groups(value: dict[str, Any]) -> tuple[str, ...] | None:
    groups = _optional(value, "groups", list, "a list of strings")
    if groups is None:
        return None
    if not all(isinstance(group, str) for group in groups):
        raise ParseFailure("'groups' must be a list of strings")
    if not groups:
        raise ParseFailure("'groups' names no group: leave it out where everyone may see the record")
    return tuple(canonical(group) for group in groups)


def _cleaned(value: Any, depth: int = 0) -> Any:
    """`value` with every string in it canonical."""
    if depth > _DEPTH:
        raise ParseFailure(f"'metadata' nests more than {_DEPTH} levels deep")
    if isinstance(value, str):
        return canonical(value)
    if isinstance(value, dict):
        return {canonical(key): _cleaned(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, depth + 1) for inner in value]
    return value
