"""Judging an answer by a rule in words, with a language model."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from kernel.errors import Unavailable
from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Message

_TEMPLATE = re.compile(r"---\nname: (\S+)\nversion: (\d+)\n---\n# system\n(.*)\n# user\n(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\{\{(rule|question|answer)\}\}")
_TAG = re.compile(r"<(?=\s*/?\s*(?:question|answer))", re.IGNORECASE)


class ModelChecker:
    """Asks a generator for one word. Anything but that word is no verdict: then the policy says what holds."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    @property
    def model(self) -> str:
        """The model that is asked, and name, version and hash of the prompt."""
        name, version, digest, _, _ = _template()
        return f"{self._generator.info.name}, {name}@{version} {digest[:16]}"

    def breaks(self, rule: str, question: str, answer: str) -> bool:
        """Whether the model says BREACH. Raises Unavailable where it says neither that nor PASS by its deadline."""
        *_, system, user = _template()
        values = {"rule": rule, "question": _TAG.sub("<\\\\", question), "answer": _TAG.sub("<\\\\", answer)}
        text = _VARIABLE.sub(lambda found: values[found.group(1)], user)
        messages = (Message("system", system), Message("user", text))
        reply = self._generator.generate(GenerationRequest(question, messages, Evidence(0, ()), ()))
        word = reply.text.strip().strip(".!*`\"'").upper()
        if word not in ("BREACH", "PASS"):
            raise Unavailable("the model wrote something else than the one word that it was asked for")
        return word == "BREACH"


@cache
def _template() -> tuple[str, int, str, str, str]:
    """Name, version, hash of the file, system message, user message."""
    text = resources.files(__package__).joinpath("output_check.md").read_text(encoding="utf-8")
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        raise ValueError("output_check.md is not a template")
    name, version, system, user = found.groups()
    return name, int(version), sha256(text), system.strip(), user.strip()
