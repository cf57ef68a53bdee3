"""Judging an answer by a rule in words, with a language model."""

from __future__ import annotations

import re

from kernel.errors import Unavailable
from kernel.ports import Generator
from kernel.providers.helper_prompt import helper_prompt

PROMPT = "output_check.md"
_TAG = re.compile(r"<(?=\s*/?\s*(?:question|answer))", re.IGNORECASE)


class ModelChecker:
    """Asks a generator for one word. Anything but that word is no verdict: then the policy says what holds."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    @property
    def model(self) -> str:
        """The model that is asked, and name, version and hash of the prompt."""
        prompt = helper_prompt(PROMPT)
        return f"{self._generator.info.name}, {prompt.name}@{prompt.version} {prompt.sha256[:16]}"

    def breaks(self, rule: str, question: str, answer: str) -> bool:
        """Whether the model says BREACH. Raises Unavailable where it says neither that nor PASS by its deadline."""
        values = {"rule": rule, "question": _TAG.sub("<\\\\", question), "answer": _TAG.sub("<\\\\", answer)}
        word = helper_prompt(PROMPT).ask(self._generator, question, values).strip().strip(".!*`\"'").upper()
        if word not in ("BREACH", "PASS"):
            raise Unavailable("the model wrote something else than the one word that it was asked for")
        return word == "BREACH"
