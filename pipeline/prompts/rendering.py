"""From a prompt and values to messages: the rules as system message, then examples, then context and question.

What came from outside stands between tags that mark it as data, and cannot close them; it never reaches the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from kernel.errors import InvalidInput
from kernel.records import Evidence, Message, Passage, PromptVersion
from pipeline.prompts.anatomy import RETRIEVED, RULES, Anatomy, Variable, read_prompt
from pipeline.prompts.json_schema import schema_faults
from pipeline.prompts.templating import joined, render_template, variables_of

KEPT = 512
LONGEST_INPUT = 400_000
"""Characters of one input, as JSON."""
_TAG = re.compile(r"<(?=\s*/?\s*passage)", re.IGNORECASE)
_INPUT_TAG = re.compile(r"<(?=\s*/?\s*(?:passage|input))", re.IGNORECASE)


@dataclass(frozen=True)
class Compiled:
    """A version of a prompt ready to render: its templates are checked."""

    version: PromptVersion
    anatomy: Anatomy

    @cached_property
    def plain(self) -> frozenset[str]:
        """Inputs that may stand in any section."""
        return frozenset(name for name, one in self.anatomy.header.inputs.items() if one.mark == "plain")

    @property
    def inputs(self) -> Mapping[str, Variable]:
        """The inputs that a caller gives."""
        return self.anatomy.header.inputs

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with defaults filled in. Raises InvalidInput that names each that is missing, strange or wrong."""
        strange = sorted(set(values) - set(self.inputs))
        if strange:
            raise InvalidInput(f"prompt {self.version.name} has no input {strange[0]!r}; it has: {joined(self.inputs)}")
        missing = sorted(name for name, one in self.inputs.items() if one.required and name not in values)
        if missing:
            raise InvalidInput(f"prompt {self.version.name} needs the input {missing[0]!r}")
        found = {name: values.get(name, one.default) for name, one in self.inputs.items()}
        for name, value in found.items():
            if _length(value) > LONGEST_INPUT:
                raise InvalidInput(
                    f"the input {name!r} is longer than {LONGEST_INPUT:,} characters, or nested too deep"
                )
            faults = schema_faults(value, self.inputs[name].schema_)
            if faults:
                raise InvalidInput(f"the input {name!r} of prompt {self.version.name}: {'; '.join(faults)}")
        return found


def _length(value: Any) -> int:
    try:
        return len(str(value))
    except (RecursionError, ValueError):  # of lists in lists, and of numbers with thousands of digits
        return LONGEST_INPUT + 1


def compile_prompt(version: PromptVersion) -> Compiled:
    """A version with its templates checked. Raises InvalidInput that names what is wrong."""
    return _compile(version)


@lru_cache(maxsize=KEPT)
def _compile(version: PromptVersion) -> Compiled:
    anatomy = read_prompt(version.template)
    compiled = Compiled(version, anatomy)
    data = frozenset(anatomy.header.inputs) | (frozenset(RETRIEVED) if anatomy.grounded else frozenset())
    for name, text in anatomy.sections.items():
        allowed = compiled.plain if name in RULES else data
        unknown = _needed(name, text) - allowed
        if unknown:
            why = "" if name not in RULES or not unknown & data else ": only inputs with mark: plain may stand there"
            raise InvalidInput(
                f"section {name!r} uses an unknown variable {min(unknown)!r}{why}; there are: {joined(allowed)}"
            )
    for turn in anatomy.turns:
        unknown = _needed("examples", turn.text) - data
        if unknown:
            raise InvalidInput(f"an example uses an unknown variable {min(unknown)!r}; there are: {joined(data)}")
    used = set().union(*(_needed(name, text) for name, text in anatomy.sections.items()))
    unused = set(anatomy.header.inputs) - used - set().union(*(_needed("", turn.text) for turn in anatomy.turns))
    if unused:
        raise InvalidInput(f"the input {min(unused)!r} is declared, but no section uses it")
    return compiled


def _needed(section: str, text: str) -> frozenset[str]:
    try:
        return variables_of(text)
    except InvalidInput as error:
        raise InvalidInput(f"section {section!r}: {error}") from error


def render(
    compiled: Compiled, question: str, evidence: Evidence, inputs: Mapping[str, Any] | None = None
) -> tuple[Message, ...]:
    """The messages of a prompt. Raises InvalidInput for inputs that do not fit."""
    sections = rendered_sections(compiled, question, evidence, inputs)
    ask = compiled.anatomy.ask
    system = "\n\n".join(f"# {name}\n{sections[name]}" for name in RULES if sections[name])
    user = "\n\n".join(f"# {name}\n{sections[name]}" for name in ("context", ask) if sections[name])
    values = _values(compiled, question, evidence, inputs or {})
    turns = [Message(turn.role, render_template(turn.text, values)) for turn in compiled.anatomy.turns]
    return Message("system", system), *turns, Message("user", user)


def rendered_sections(
    compiled: Compiled, question: str, evidence: Evidence, inputs: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What each section renders to, by name."""
    values = _values(compiled, question, evidence, inputs or {})
    return {name: render_template(text, values) for name, text in compiled.anatomy.sections.items()}


def _values(compiled: Compiled, question: str, evidence: Evidence, inputs: Mapping[str, Any]) -> dict[str, Any]:
    given = compiled.checked(inputs)
    values = {name: value if name in compiled.plain else _marked(name, value) for name, value in given.items()}
    if compiled.anatomy.grounded:
        values |= {"question": question, "passages": passages_text(evidence), "facts": facts_text(evidence)}
    return values


def _marked(name: str, value: Any) -> Any:
    """A value from outside between its tags. Members of lists and objects are defused where they are, so that a
    template may show them one by one; the whole is tagged where it is text.
    """
    if isinstance(value, str):
        return f'<input name="{name}">\n{_harmless(value)}\n</input>'
    return _defused(value)


def data_blocks(compiled: Compiled, evidence: Evidence, inputs: Mapping[str, Any]) -> dict[str, str]:
    """What came from outside, by its text, each as the prompt shows it: between its tags."""
    found = {one.text: _passage_text(number, one) for number, one in enumerate(evidence.passages, 1)}
    for name, value in compiled.checked(inputs).items():
        if name not in compiled.plain:
            found |= {value: _marked(name, value)} if isinstance(value, str) else dict(_leaf_blocks(value))
    return found


def _leaf_blocks(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield value, _defused(value)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _leaf_blocks(one)


def _defused(value: Any) -> Any:
    if isinstance(value, str):
        return f"<input>{_harmless(value)}</input>"
    if isinstance(value, list):
        return [_defused(one) for one in value]
    if isinstance(value, dict):
        return {_harmless(str(key)): _defused(one) for key, one in value.items()}
    return value


def _harmless(text: str) -> str:
    """Text that neither opens nor closes a tag of ours."""
    return _INPUT_TAG.sub("<\\\\", text)


def inputs_text(inputs: Mapping[str, Any]) -> str:
    """All inputs as one text, for rules that look for words in them."""
    return "\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in inputs.values())


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
