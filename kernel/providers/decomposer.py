"""Sub-questions from a language model: what to look for as well, where a question needs several documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import Unavailable
from kernel.ports import Generator
from kernel.providers.helper_prompt import bare_json, helper_prompt

MOST_PARTS = 3
LONGEST_PART = 500
"""Characters of a sub-question."""
PROMPT = "sub_questions.md"


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
        return str(helper_prompt(PROMPT))

    def parts(self, question: str) -> tuple[str, ...]:
        """At most three sub-questions, none where the model finds the question simple.

        Raises Unavailable where the model gives none by its deadline, or anything but what it was asked for.
        """
        reply = helper_prompt(PROMPT).ask(self._generator, question, {"question": question})
        return _read(reply, question)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    questions: Annotated[list[Annotated[str, Field(max_length=LONGEST_PART)]], Field(max_length=MOST_PARTS)]


def _read(text: str, question: str) -> tuple[str, ...]:
    """The sub-questions of a reply: one JSON object, bare or as one block of code."""
    try:
        reply = _Reply.model_validate_json(bare_json(text))
    except ValidationError:
        reply = None
    if reply is None:
        raise Unavailable("the model wrote something else than the JSON of sub-questions that it was asked for")
    parts = [" ".join("".join(c if c.isprintable() else " " for c in part).split()) for part in reply.questions]
    return tuple(part for part in dict.fromkeys(parts) if part and part != question)
