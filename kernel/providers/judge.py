"""A verdict from a language model: whether quotes carry a sentence, where rules and features leave that open."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import Unavailable
from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Message, Support

_TEMPLATE = re.compile(r"---\nname: (\S+)\nversion: (\d+)\n---\n# system\n(.*)\n# user\n(.*)", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


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
        name, version, digest, _, _ = _template()
        return f"{name}@{version} {digest}"

    def judge(self, claim: str, quotes: Sequence[str]) -> Support:
        """The model's label, and how likely it finds that the quotes support the claim.

        Raises Unavailable where the model gives none by its deadline, or anything but what it was asked for.
        """
        *_, system, user = _template()
        material = json.dumps({"sentence": claim, "quotes": list(quotes)}, ensure_ascii=False, indent=1)
        messages = (Message("system", system), Message("user", user.replace("{{material}}", material)))
        reply = self._generator.generate(GenerationRequest(claim, messages, Evidence(0, ()), ()))
        return _read(reply.text)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    label: Literal["supported", "contradicted", "not_found"]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _read(text: str) -> Support:
    """The verdict of a reply: one JSON object, bare or as one block of code, whose score and label agree."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        reply = _Reply.model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError:
        reply = None
    if reply is None:
        raise Unavailable("the judge wrote something else than the JSON of a verdict that it was asked for")
    if (reply.label == "supported") != (reply.score >= 0.5):
        raise Unavailable("the judge's label and its score say opposite things")
    return Support(reply.label, round(reply.score, 4))


@cache
def _template() -> tuple[str, int, str, str, str]:
    """Name, version, hash of the file, system message, user message."""
    text = resources.files(__package__).joinpath("judge.md").read_text(encoding="utf-8")
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        raise ValueError("judge.md is not a template")
    name, version, system, user = found.groups()
    return name, int(version), sha256(text), system.strip(), user.strip()
