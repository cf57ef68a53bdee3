"""Prompts as JSON values, the same at every door: a version, its anatomy, its card; and texts that are not stored."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kernel.ids import sha256
from kernel.records import PromptVersion
from pipeline.histories import reference_json
from pipeline.oversight.differences import line_diff, text_diff
from pipeline.prompts.anatomy import Anatomy, Header, read_prompt
from pipeline.prompts.library import draft_version
from pipeline.prompts.rendering import compile_prompt

Json = dict[str, Any]
KEPT = 2048
"""Texts whose anatomy is kept."""


def unsaved(text: str) -> PromptVersion:
    """A text that is not stored as a version of its prompt, numbered 0. Raises InvalidInput that names its fault."""
    text = text.replace("\r\n", "\n")
    version = PromptVersion(read_prompt(text).header.name, 0, sha256(text), "", text)
    compile_prompt(version)
    return version


def checked(text: str) -> Json:
    """What a text is, if it can be saved. Raises InvalidInput that names its fault."""
    found = draft_version(text)
    return reference_json(found) | {"anatomy": anatomy_json(anatomy_of(found))}


def anatomy_of(version: PromptVersion) -> Anatomy:
    """The parts of a version's text; kept, since versions never change."""
    return _anatomy(version.template)


@lru_cache(maxsize=KEPT)
def _anatomy(text: str) -> Anatomy:
    return read_prompt(text)


def anatomy_json(anatomy: Anatomy) -> Json:
    """The anatomy of a prompt; members that its file leaves out are left out, but for its kind."""
    return header_json(anatomy.header) | {
        "context": "retrieved" if anatomy.grounded else "inputs",
        "sections": dict(anatomy.sections),
        "turns": [{"role": turn.role, "text": turn.text} for turn in anatomy.turns],
        "cases": [str(case.get("name", number)) for number, case in enumerate(anatomy.cases, 1)],
    }


def header_json(header: Header) -> Json:
    """The front matter of a prompt but for its name."""
    said = header.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"name", "version"})
    return {"kind": header.kind} | said


def card_json(live: PromptVersion) -> Json:
    """What somebody sees of a live prompt who only asks: what it is for, and what it takes."""
    anatomy = anatomy_of(live)
    said = header_json(anatomy.header)
    return {
        "name": live.name,
        "version": live.version,
        "sha256": live.sha256,
        "kind": anatomy.header.kind,
        "grounded": anatomy.grounded,
        "description": anatomy.header.description,
        "audience": anatomy.header.audience,
        "folder": anatomy.header.folder,
        "tags": list(anatomy.header.tags),
        "inputs": said.get("inputs", {}),
    }


def section_diff(name: str, old: str, new: str) -> list[str]:
    """How a section became another, as `text_diff` tells it; front matter and tests, which are YAML, line by line."""
    return (line_diff if name in ("front matter", "tests") else text_diff)(old, new)
