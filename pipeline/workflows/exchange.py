"""Workflows out of a library and into another: the texts themselves, so that a file, an export and the store agree.

Bringing the same texts in again changes nothing. What comes in is a draft of whoever brings it, whatever it was where
it came from: labels, approvals and green runs are of one library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kernel.ids import sha256
from kernel.records import WorkflowVersion
from pipeline.histories import Json
from pipeline.prompts.exchange import Incoming, each_brought_in
from pipeline.workflows.library import WorkflowLibrary
from pipeline.workflows.reading import read_workflow

FORMAT = 1
_VERSION_LINE = re.compile(r"^version:[^\n]*\n", re.MULTILINE)
_NAME_LINE = re.compile(r"^name:[^\n]*\n", re.MULTILINE)


def exported(library: WorkflowLibrary, *, every: bool = False) -> Json:
    """The newest version of every workflow, or every version (oldest first), with the labels that are on each."""
    state = library.state()
    items: list[Json] = []
    for name in library.names():
        labels = library.labels(name, state.of(name))
        versions = library.versions(name)
        items += [_item(one, labels) for one in reversed(versions if every else versions[:1])]
    return {"format": FORMAT, "items": items}


def _item(version: WorkflowVersion, labels: Mapping[str, int]) -> Json:
    return {
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "labels": sorted(label for label, number in labels.items() if number == version.version),
        "author": version.author,
        "message": version.message,
        "created_at": version.created_at or None,
        "text": version.text,
    }


def brought_in(library: WorkflowLibrary, texts: Sequence[Incoming], actor: str) -> Json:
    """Save each text that is not a version of its workflow yet (`each_brought_in`)."""
    return each_brought_in(texts, lambda one: _brought_in(library, one, actor))


def _brought_in(library: WorkflowLibrary, one: Incoming, actor: str) -> tuple[str, dict[str, Any]]:
    text = one.text.replace("\r\n", "\n")
    name = read_workflow(text).name
    known = {digest: number for number, digest in library.heads().get(name, {}).items()}
    for candidate in (text, without_version(text)):
        if sha256(candidate) in known:
            return "unchanged", {"name": name, "version": known[sha256(candidate)]}
    made = library.save(without_version(text), actor, one.message or f"imported from {one.place}"[:500])
    return "added", {"name": made.name, "version": made.version}


def without_version(text: str) -> str:
    """A workflow's text without the number that workflows of the program carry: as it can be saved."""
    return _VERSION_LINE.sub("", text, count=1)


def draft_of(text: str, name: str) -> str:
    """A copy of a workflow's text to change: under a name, without a number."""
    return _NAME_LINE.sub(f"name: {name}\n", without_version(text), count=1)
