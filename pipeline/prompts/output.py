"""What a prompt asks of a reply, checked on every one: JSON schema, sections, length. One try to repair, then an
error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nupunkt import sent_spans

from kernel.errors import UnusableReply
from kernel.ports import GenerationRequest, Generator
from kernel.records import Generation, Message
from pipeline.prompts.anatomy import Output
from pipeline.prompts.json_schema import schema_faults

SHOWN = 4_000
"""Characters of a faulty reply that are shown to the model again."""
_FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_CITED = re.compile(r"\[c\d+\]")


@dataclass(frozen=True, slots=True)
class Try:
    """A reply that did not keep to the format, and why not."""

    reply: str
    faults: tuple[str, ...]


def generate_checked(
    generator: Generator, request: GenerationRequest, output: Output
) -> tuple[Generation, tuple[Try, ...]]:
    """A reply that keeps to the format, and the tries before it; its usage counts all of them.

    Raises UnusableReply where the second try does not keep to it either.
    """
    first = generator.generate(request)
    faults = output_faults(output, first.text)
    if not faults or not first.text:
        return first, ()
    again = replace(request, messages=(*request.messages, *repair_messages(first.text, faults)))
    second = _with_usage_of(first, generator.generate(again))
    still = output_faults(output, second.text)
    if still:
        raise UnusableReply(f"the reply does not keep to the prompt's output format, tried twice: {'; '.join(still)}")
    return second, (Try(first.text, tuple(faults)),)


def output_faults(output: Output, text: str) -> list[str]:
    """What is wrong with a reply, in words that quote none of it: callers read them, though no policy has judged the
    reply. Empty where it keeps to the format.
    """
    plain = _CITED.sub("", text).strip()
    found = []
    if output.json_schema is not None:
        found += _json_faults(output.json_schema, text)
    for name in output.sections or ():
        if not re.search(rf"^\s*(?:#+\s*|\*\*)?{re.escape(name)}\b", text, re.IGNORECASE | re.MULTILINE):
            found.append(f"the section {name!r} is missing")
    if output.min_chars and len(plain) < output.min_chars:
        found.append(f"it has {len(plain)} characters, fewer than {output.min_chars}")
    if output.max_chars and len(plain) > output.max_chars:
        found.append(f"it has {len(plain)} characters, more than {output.max_chars}")
    if output.max_sentences:
        count = len(list(sent_spans(plain)))
        if count > output.max_sentences:
            found.append(f"it has {count} sentences, more than {output.max_sentences}")
    return found


def json_of(text: str) -> Any:
    """The value of a JSON reply, with or without a code fence around it. Raises ValueError."""
    fenced = _FENCED.match(text)
    return json.loads(fenced.group(1) if fenced else text)


def _json_faults(schema: dict[str, Any], text: str) -> list[str]:
    try:
        value = json_of(text)
    except ValueError as error:
        return [f"it is not JSON ({error})"]
    return schema_faults(value, schema, quote=False)


def repair_messages(reply: str, faults: Sequence[str]) -> tuple[Message, Message]:
    """A faulty reply, and what asks for a better one: they follow what was asked before."""
    asked = (
        f"Your reply does not keep to the output format: {'; '.join(faults)}. "
        "Write the whole reply again so that it does, and nothing else."
    )
    return Message("assistant", reply[:SHOWN]), Message("user", asked)


def _with_usage_of(first: Generation, second: Generation) -> Generation:
    cost = None if first.cost is None and second.cost is None else (first.cost or 0.0) + (second.cost or 0.0)
    return replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        cost=cost,
    )
