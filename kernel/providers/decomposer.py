"""Sub-questions from a language model: what to look for as well, where a question needs several documents."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import Unavailable
from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Message

MOST_PARTS = 3
LONGEST_PART = 500
"""Characters of a sub-question."""
_TEMPLATE = re.compile(r"---\nname: (\S+)\nversion: (\d+)\n---\n# system\n(.*)\n# user\n(.*)", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class ModelDecomposer:
    """Asks a generator for the simpler questions behind a question (Press et al. 2023, "self-ask"; here in one go).

    Its prompt is a file with a version, and its hash is part of what a record pins. The generator's own deadline
    holds. What the model writes is searched for and nothing else: it reaches no answer.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    @property
    def model(self) -> str:
        """The name of the model that is asked."""
        return self._generator.info.name

    @property
    def prompt(self) -> str:
        """Name, version and hash of the prompt."""
        name, version, digest, _, _ = _template()
        return f"{name}@{version} {digest}"

    def parts(self, question: str) -> tuple[str, ...]:
        """At most three sub-questions, none where the model finds the question simple.

        Raises Unavailable where the model gives none by its deadline, or anything but what it was asked for.
        """
        *_, system, user = _template()
        messages = (Message("system", system), Message("user", user.replace("{{question}}", question)))
        reply = self._generator.generate(GenerationRequest(question, messages, Evidence(0, ()), ()))
        return _read(reply.text, question)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    questions: Annotated[list[Annotated[str, Field(max_length=LONGEST_PART)]], Field(max_length=MOST_PARTS)]


def _read(text: str, question: str) -> tuple[str, ...]:
    """The sub-questions of a reply: one JSON object, bare or as one block of code."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        reply = _Reply.model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError:
        reply = None
    if reply is None:
        raise Unavailable("the model wrote something else than the JSON of sub-questions that it was asked for")
    parts = [" ".join("".join(c if c.isprintable() else " " for c in part).split()) for part in reply.questions]
    return tuple(part for part in dict.fromkeys(parts) if part and part != question)


@cache
def _template() -> tuple[str, int, str, str, str]:
    """Name, version, hash of the file, system message, user message."""
    text = resources.files(__package__).joinpath("sub_questions.md").read_text(encoding="utf-8")
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        raise ValueError("sub_questions.md is not a template")
    name, version, system, user = found.groups()
    return name, int(version), sha256(text), system.strip(), user.strip()
