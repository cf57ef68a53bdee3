"""A verdict from a language model: whether quotes carry a sentence, where rules and features leave that open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import Unavailable
from kernel.ports import Generator
from kernel.providers.helper_prompt import bare_json, helper_prompt
from kernel.records import Support

PROMPT = "judge.md"


class ModelJudge:
    """Asks a generator whether quotes carry a sentence (Zheng et al. 2023, "LLM-as-a-judge").

    Its prompt is a file with a version, and its hash is part of what a record pins. Sentence and quotes go to the model
    as the JSON of strings, so that none of their words can end one and begin another. The generator's deadline holds.
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

    def judge(self, claim: str, quotes: Sequence[str]) -> Support:
        """The model's label, and how likely it finds that the quotes support the claim.

        Raises Unavailable where the model gives none by its deadline, or anything but what it was asked for.
        """
        material = json.dumps({"sentence": claim, "quotes": list(quotes)}, ensure_ascii=False, indent=1)
        reply = helper_prompt(PROMPT).ask(self._generator, claim, {"material": material})
        return _read(reply)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    label: Literal["supported", "contradicted", "not_found"]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _read(text: str) -> Support:
    """The verdict of a reply: one JSON object, bare or as one block of code, whose score and label agree."""
    try:
        reply = _Reply.model_validate_json(bare_json(text))
    except ValidationError:
        reply = None
    if reply is None:
        raise Unavailable("the judge wrote something else than the JSON of a verdict that it was asked for")
    if (reply.label == "supported") != (reply.score >= 0.5):
        raise Unavailable("the judge's label and its score say opposite things")
    return Support(reply.label, round(reply.score, 4))
