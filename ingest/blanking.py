"""Taking one record out of a file of records, which stays what it is to the other records."""

from __future__ import annotations

import json
from pathlib import Path

from ingest.parse.canonical import canonical
from ingest.parse.decode import decode_raw


def blank_record(path: Path, external_id: str) -> None:
    """Empty the line of a record; other lines keep their numbers, which may be their ids. An empty file is removed."""
    lines = decode_raw(path.read_bytes()).split("\n")
    kept = ["" if _is_record(line, number, external_id) else line for number, line in enumerate(lines, 1)]
    if not any(line.strip() for line in kept):
        path.unlink()
        return
    draft = path.with_name(f".{path.name}.part")
    draft.write_text("\n".join(kept), encoding="utf-8")
    draft.replace(path)


def _is_record(line: str, number: int, external_id: str) -> bool:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return external_id == f"line-{number}"
    own = canonical(value["id"]) if isinstance(value, dict) and isinstance(value.get("id"), str) else ""
    return (own or f"line-{number}") == external_id
