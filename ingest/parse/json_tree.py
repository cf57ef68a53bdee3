"""JSON: one `path.to.key: value` line for each value; an array of flat objects reads as the rows of a
table."""

from __future__ import annotations

import json
from typing import Any

from ingest.parse.canonical import Builder
from ingest.parse.decode import decode_raw
from ingest.parse.tables import MAX_ROWS, Cell, write_row
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "application/json"
_DEPTH = 100


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure for text that is not JSON, or nests over 100 levels."""
    value = load(decode_raw(data))
    builder = Builder()
    _write(builder, "", value, 0)
    title = value.get("title") if isinstance(value, dict) else None
    return builder.finish(MEDIA_TYPE, title if isinstance(title, str) else None)


def load(text: str) -> Any:
    """The value of JSON `text`, its numbers as they are written. Raises ParseFailure naming line and
    column."""
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ParseFailure(f"is not valid JSON: {error.msg.lower()} at {where}") from error
    except RecursionError as error:
        raise ParseFailure("is nested too deeply to be read as JSON") from error


def _write(builder: Builder, path: str, value: Any, depth: int) -> None:
    if depth > _DEPTH:
        raise ParseFailure(f"is nested more than {_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            _write(builder, f"{path}.{key}" if path else key, inner, depth + 1)
    elif isinstance(value, list):
        _write_list(builder, path, value, depth)
    elif value is not None and value != "":
        builder.add(f"{path}: {_word(value)}\n" if path else f"{_word(value)}\n")


def _write_list(builder: Builder, path: str, items: list[Any], depth: int) -> None:
    if items and all(_is_flat(item) for item in items):
        _write_rows(builder, path, items)
        return
    for number, item in enumerate(items, 1):
        _write(builder, f"{path}.{number}" if isinstance(item, dict | list) else path, item, depth + 1)


def _write_rows(builder: Builder, path: str, items: list[dict[str, Any]]) -> None:
    columns: dict[str, int] = {}
    for item in items[:MAX_ROWS]:
        for key in item:
            columns.setdefault(" ".join(key.split()), len(columns))
    names = {column: key for key, column in columns.items()}
    if path:
        builder.add(f"{path}:\n")
    for item in items[:MAX_ROWS]:
        cells = ((_word(value), columns[" ".join(key.split())]) for key, value in item.items() if value is not None)
        write_row(builder, names, [Cell(" ".join(text.split()), column) for text, column in cells])
    if len(items) > MAX_ROWS:
        builder.metadata["rows_capped_at"] = MAX_ROWS


def _is_flat(item: Any) -> bool:
    return isinstance(item, dict) and bool(item) and not any(isinstance(x, dict | list) for x in item.values())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
