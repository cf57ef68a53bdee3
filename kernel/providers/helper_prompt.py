"""Prompts of the optional steps that a model helps with: files with a version, whose hash is part of records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import Evidence, Message

_FORM = re.compile(r"---\nname: (\S+)\nversion: (\d+)\n---\n# system\n(.*)\n# user\n(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\{\{(\w+)\}\}")
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HelperPrompt:
    """A system and a user message; the latter with variables in double braces."""

    name: str
    version: int
    sha256: str
    system: str
    user: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version} {self.sha256}"

    def ask(self, generator: Generator, question: str, values: Mapping[str, str]) -> str:
        """The generator's reply. Variables are replaced in one pass, so nothing in a value can act as a template.

        Raises GenerationFailed where there is none by the generator's deadline.
        """
        text = _VARIABLE.sub(lambda found: values[found.group(1)], self.user)
        messages = (Message("system", self.system), Message("user", text))
        return generator.generate(GenerationRequest(question, messages, Evidence(0, ()), ())).text


@cache
def helper_prompt(file: str) -> HelperPrompt:
    """The prompt in a file of this package."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{file} is no prompt")
    name, version, system, user = found.groups()
    return HelperPrompt(name, int(version), sha256(text), system.strip(), user.strip())


def bare_json(reply: str) -> str:
    """A reply without the marks of a block of code around it, if it is one block."""
    text = reply.strip()
    fenced = _FENCED.fullmatch(text)
    return fenced.group(1) if fenced else text
