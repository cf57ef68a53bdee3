"""Writing a prompt's file from its parts, so that reading it again gives the same parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.prompts.anatomy import TESTS, load_yaml, section_texts

FRONT = "front matter"


def parts_of(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The front matter of a prompt's file as data, and its sections as text, in order."""
    sections = dict(section_texts(text))
    header = load_yaml(sections.pop(FRONT), FRONT, 1)
    return dict(header), sections


def file_text(header: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    """A prompt's file."""
    front = yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{front}---\n" + "\n\n".join(f"# {name}\n{text}".rstrip() for name, text in sections.items()) + "\n"


_REMARKS = re.compile(r"```yaml\n(?:# .*\n)+")


def cases_text(cases: list[dict[str, Any]], remarks: tuple[str, ...] = ()) -> str:
    """The section `tests` for cases; `remarks` stand in the block as comments."""
    lines = "".join(f"# {one}\n" for one in remarks)
    listed = yaml.safe_dump(cases, sort_keys=False, allow_unicode=True, width=110)
    return f"```yaml\n{lines}{listed}```"


def with_sections(text: str, changed: Mapping[str, str]) -> str:
    """A prompt's file with other texts in some sections; what else it holds stays as it was written, the
    remarks too that say what test cases were made from.
    """
    front = dict(section_texts(text))[FRONT]
    sections = {name: changed.get(name, was) for name, was in section_texts(text) if name != FRONT}
    remarks = _REMARKS.match(dict(section_texts(text)).get(TESTS, ""))
    if remarks and TESTS in changed and not _REMARKS.match(changed[TESTS]):
        sections[TESTS] = changed[TESTS].replace("```yaml\n", remarks.group(), 1)
    if TESTS in changed and TESTS not in sections:
        sections[TESTS] = changed[TESTS]
    body = "\n\n".join(f"# {name}\n{one}".rstrip() for name, one in sections.items())
    return f"---\n{front}\n---\n{body}\n"
