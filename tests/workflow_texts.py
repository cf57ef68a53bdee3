"""Workflows' files and people for the tests of the library, its triggers and its doors."""

from __future__ import annotations

from typing import Any

import yaml

from kernel.records import Principal, Role

EDITOR = Principal("key_editor", Role.EDITOR)
REVIEWER = Principal("key_reviewer", Role.REVIEWER, None)
ADMIN = Principal("key_admin", Role.ADMIN, None)
APP = Principal("key_app", Role.APP)
FINDING = {"id": "find", "kind": "retrieve", "with": {"question": "{{ input.question }}"}}
INPUTS = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}


def workflow_text(name: str = "weekly", **members: Any) -> str:
    """A workflow's file: one step that searches, and an owner, unless it is said otherwise (None: leave it out)."""
    known: dict[str, Any] = {
        "name": name,
        "owner": "key_owner",
        "stakes": "low",
        "pilot_runs": 2,
        "inputs": INPUTS,
        "steps": [FINDING],
    }
    values = {key: value for key, value in (known | members).items() if value is not None}
    return yaml.safe_dump(values, sort_keys=False)
