"""What happened to a prompt or workflow, as JSON values, the same at every door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from kernel.storage.versioned import Event, Version

Json = dict[str, Any]
PROGRAM = "vouch"
"""The author of what comes with the program."""


class Dated(Version, Protocol):
    """A version that says when it was made; empty: it came with the program and was not used yet."""

    @property
    def created_at(self) -> str: ...


def about_json(version: Dated) -> Json:
    """A version with who made it, and why; `created_at` of None: it came with the program and was not used yet."""
    return reference_json(version) | {
        "author": version.author,
        "message": version.message,
        "created_at": version.created_at or None,
    }


def reference_json(version: Version) -> Json:
    """Which version it is."""
    return {"name": version.name, "version": version.version, "sha256": version.sha256}


def history_of(versions: Iterable[Dated], events: Iterable[Event]) -> list[Json]:
    """All that happened, newest first: what, when and by whom (empty where that was erased)."""
    rows = [_saved(one) for one in versions] + [_happened(one) for one in events]
    return sorted(rows, key=_moment, reverse=True)


def next_of(items: Sequence[Json], after: str) -> list[Json]:
    """The items whose name comes after a name: where a page goes on."""
    return [item for item in items if item["name"] > after]


def _saved(version: Dated) -> Json:
    return {
        "created_at": version.created_at,
        "kind": "shipped" if version.author == PROGRAM else "saved",
        "version": version.version,
        "label": None,
        "by": version.author,
        "comment": version.message,
        "data": {"sha256": version.sha256},
        "entry": None,
    }


def _happened(event: Event) -> Json:
    return {
        "created_at": event.created_at,
        "kind": event.kind,
        "version": event.version or None,
        "label": event.label or None,
        "by": event.actor,
        "comment": "",
        "data": dict(event.data),
        "entry": event.leaf,
    }


def _moment(row: Json) -> tuple[str, int, int]:
    """What a history is in the order of: versions were saved before anything else happened in the same moment."""
    return row["created_at"], -1 if row["entry"] is None else row["entry"], row["version"] or 0
