"""Prompt templates: Markdown files with front matter and named sections, rendered in one pass over typed variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from kernel.errors import InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import Evidence, Message, Passage, PromptVersion

SECTIONS = ("role", "context", "constraints", "process", "output format", "quality criteria", "edge cases", "question")
DEFAULT = "grounded-answer"
LABEL = "production"
_VARIABLE = re.compile(r"\{\{(\w+)\}\}")
_TAG = re.compile(r"<(?=\s*/?\s*passage)", re.IGNORECASE)
_SECTION = re.compile(r"^# (.+)$", re.MULTILINE)


@cache
def shipped_prompt(name: str = DEFAULT) -> PromptVersion:
    """A prompt that comes with this version. Raises NotFound where there is none of that name."""
    path = Path(__file__).parent / f"{name}.md"
    if not re.fullmatch(r"[a-z0-9-]+", name) or not path.is_file():
        raise NotFound(f"no prompt {name}")
    return load_prompt(path.read_text(encoding="utf-8"))


def find_prompt(reference: str | None) -> PromptVersion:
    """The prompt of a reference `NAME` or `NAME@LABEL`; None means the default one."""
    name, _, label = (reference or DEFAULT).partition("@")
    if label not in ("", LABEL):
        raise NotFound(f"prompt {name} has no label {label}")
    return shipped_prompt(name)


def load_prompt(template: str) -> PromptVersion:
    """A prompt version from its file's text. Raises InvalidInput that names what is missing."""
    header, body = _split(template)
    missing = [section for section in SECTIONS if section not in _sections(body)]
    if missing:
        raise InvalidInput(f"the prompt template has no section {missing[0]!r}")
    try:
        return PromptVersion(str(header["name"]), int(str(header["version"])), sha256(template), LABEL, template)
    except KeyError as error:
        raise InvalidInput(f"the prompt template's front matter has no {error}") from error


def render(prompt: PromptVersion, question: str, evidence: Evidence) -> tuple[Message, ...]:
    """The messages of a prompt: all sections but the last as system message, the context and question as user message.

    Variables are replaced in one pass, so nothing inside a passage or question can act as a template.
    """
    sections = _sections(_split(prompt.template)[1])
    values = {"question": question, "passages": passages_text(evidence), "facts": facts_text(evidence)}
    system = "\n\n".join(
        f"# {name}\n{_fill(sections[name], {})}" for name in SECTIONS if name not in ("context", "question")
    )
    user = "\n\n".join(f"# {name}\n{_fill(sections[name], values)}" for name in ("context", "question"))
    return Message("system", system), Message("user", user)


def sections_of(prompt: PromptVersion) -> dict[str, str]:
    """The text of each section of a prompt, by name."""
    return _sections(_split(prompt.template)[1])


def passages_text(evidence: Evidence) -> str:
    """The passages as a prompt shows them: numbered, marked as data, with their title and standing."""
    return "\n\n".join(_passage_text(number, passage) for number, passage in enumerate(evidence.passages, 1))


def facts_text(evidence: Evidence) -> str:
    """The facts that tie the passages together, one a line, each with the passage that states it."""
    numbers = {passage.chunk_id: number for number, passage in enumerate(evidence.passages, 1)}
    lines = [f"- {fact.subject} {fact.predicate} {fact.object} [c{numbers[fact.chunk_id]}]" for fact in evidence.facts]
    return "\n".join(lines)


def _passage_text(number: int, passage: Passage) -> str:
    place = " > ".join((passage.title, *(heading for heading in passage.heading if heading != passage.title)))
    standing = "".join(f" ({notice.kind}{f' by {notice.by}' if notice.by else ''})" for notice in passage.notices)
    label = _TAG.sub("<\\\\", " ".join(f"{place}{standing}".split()))
    text = _TAG.sub("<\\\\", passage.text)
    return f'[c{number}] {label}\n<passage id="c{number}">\n{text}\n</passage>'


def _fill(template: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise InvalidInput(f"the prompt template uses an unknown variable {match.group(1)!r}")
        return values[match.group(1)]

    return _VARIABLE.sub(value, template)


def _split(template: str) -> tuple[Mapping[str, object], str]:
    found = re.match(r"---\n(.*?)\n---\n(.*)", template, re.DOTALL)
    header = yaml.safe_load(found.group(1)) if found else None
    if not found or not isinstance(header, dict):
        raise InvalidInput("the prompt template has no front matter between --- lines")
    return header, found.group(2)


def _sections(body: str) -> dict[str, str]:
    parts = _SECTION.split(body)
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
