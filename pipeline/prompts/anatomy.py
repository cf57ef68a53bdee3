"""A prompt as data: what its file says in front matter and sections, read strictly.

The file is Markdown: front matter in YAML between `---` lines, then one section for each part of a prompt's anatomy, in
order, each under a heading of level 1. An unknown member, section or variable is an error that names it and its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from kernel.errors import InvalidInput
from pipeline.prompts.json_schema import check_schema

ASK = ("question", "task")
"""The last section, one of them: `question` where passages are retrieved, `task` where the inputs are all there is."""
RULES = ("role", "constraints", "process", "output format", "quality criteria", "edge cases")
"""Sections of the system message, in order."""
SECTIONS = ("role", "context", "constraints", "process", "output format", "quality criteria", "edge cases")
"""Sections that every prompt has, before the last."""
TURNS, TESTS = "examples", "tests"
"""Sections that a prompt may have: earlier turns as `## user` and `## assistant`, and its test cases as YAML."""
RETRIEVED = ("question", "passages", "facts")
"""Variables that retrieval fills."""
LARGEST = 256 * 1024
"""Bytes of a prompt's text."""
DEEPEST = 24
SHOWN_FAULTS = 5
_SECTION = re.compile(r"^# (.+)$", re.MULTILINE)
_TURN = re.compile(r"^## (user|assistant)[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"```ya?ml\n(.*?)\n?```", re.DOTALL)
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's safe loader where it is there: the same data, twenty times as fast."""
_DATA_TYPES = ("string", "array", "object")

_NAME = r"^[a-z][a-z0-9-]{0,46}$"
_LABEL = r"^[a-z][a-z0-9._-]{0,46}$"
_FOLDER = r"^[a-z0-9-]+(/[a-z0-9-]+){0,5}$"
_TAG = r"^[a-z0-9-]{1,40}$"
_INPUT = r"^[a-z][a-z0-9_]{0,39}$"
_IN_WORDS = {
    _NAME: "a name is at most 47 small letters, digits and dashes, the first a letter",
    _LABEL: "a label is at most 47 small letters, digits, dots, dashes and underscores, the first a letter",
    _FOLDER: "a folder is words of small letters, digits and dashes, with / between them, at most six",
    _TAG: "a tag is at most 40 small letters, digits and dashes",
    _INPUT: "the name of an input is at most 40 small letters, digits and underscores, the first a letter",
}
"""What the patterns ask for, as faults say it."""

FRONT_MATTER = "the prompt's front matter: "
"""How faults of the front matter begin."""

Name = Annotated[str, Field(pattern=_NAME)]
Label = Annotated[str, Field(pattern=_LABEL)]
Words = Annotated[str, Field(min_length=1, max_length=500)]
Kind = Literal[
    "task",
    "classification",
    "summary",
    "extraction",
    "drafting",
    "review",
    "role",
    "tool-use",
    "handoff",
    "safety",
    "retry",
    "escalation",
]


class Strict(BaseModel):
    """No unknown members, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Variable(Strict):
    """An input. Text, lists and objects are shown between tags that mark them as data; `mark: plain` leaves the tags
    out and is only for values that the schema confines (numbers, booleans, `enum`, `const`, or text of one line and at
    most 200 characters by `maxLength`), which may stand in any section.
    """

    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: Words | None = None
    default: Any = None
    mark: Literal["data", "plain"] = "data"

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return "default" not in self.model_fields_set

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_schema(self.schema_)
        if self.mark == "plain" and not confined(self.schema_):
            raise ValueError(
                "mark: plain needs a schema that confines the value: a number, a boolean, enum, const, or a string "
                "with maxLength of at most 200"
            )
        return self


class Model(Strict):
    """The model that the prompt is written for; what is left out is as the settings say."""

    name: Words | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32768)] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What is asked of the model, under the names that requests use."""
        found = {"model": self.name, "temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in found.items() if value is not None}


class Output(Strict):
    """What a reply must keep to; checked on every reply, with one try to repair it."""

    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    sections: Annotated[list[Words], Field(min_length=1, max_length=20)] | None = None
    min_chars: Annotated[int, Field(ge=1)] | None = None
    max_chars: Annotated[int, Field(ge=1)] | None = None
    max_sentences: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.json_schema is not None:
            check_schema(self.json_schema)
        if self.min_chars and self.max_chars and self.min_chars > self.max_chars:
            raise ValueError("min_chars is more than max_chars")
        if self.json_schema is not None and self.sections is not None:
            raise ValueError("a JSON reply has no sections: leave out schema or sections")
        return self


class Header(Strict):
    """The front matter. `version` is only for prompts that come with the program: the store numbers all others."""

    name: Name
    version: Annotated[int, Field(ge=1)] | None = None
    kind: Kind = "task"
    description: Words | None = None
    owner: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    folder: Annotated[str, Field(pattern=_FOLDER)] | None = None
    tags: Annotated[list[Annotated[str, Field(pattern=_TAG)]], Field(max_length=20)] = Field(default_factory=list)
    review_by: date | None = None
    audience: Words | None = None
    context: Literal["retrieved", "inputs"] | None = None
    model: Model = Field(default_factory=Model)
    inputs: Annotated[dict[Annotated[str, Field(pattern=_INPUT)], Variable], Field(max_length=30)] = Field(
        default_factory=dict
    )
    output: Output = Field(default_factory=Output)

    @field_validator("inputs")
    @classmethod
    def _own_names(cls, inputs: dict[str, Variable]) -> dict[str, Variable]:
        taken = sorted(set(inputs) & set(RETRIEVED))
        if taken:
            raise ValueError(f"{taken[0]!r} is filled by retrieval: give the input another name")
        return inputs


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier message of the conversation, as a template; `role` is user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A prompt's file, read: `sections` by name in order, the turns before the last message, and the raw cases."""

    header: Header
    sections: Mapping[str, str]
    turns: tuple[Turn, ...]
    cases: tuple[Mapping[str, Any], ...]

    @property
    def ask(self) -> str:
        """Name of the last section."""
        return next(name for name in ASK if name in self.sections)

    @property
    def grounded(self) -> bool:
        """Whether it answers from retrieved passages."""
        return self.ask == "question"


def confined(schema: Mapping[str, Any]) -> bool:
    """Whether a schema leaves a value no room for instructions."""
    if "enum" in schema or "const" in schema or schema.get("type") in ("number", "integer", "boolean"):
        return True
    return schema.get("type") == "string" and int(schema.get("maxLength", LARGEST)) <= 200


def read_prompt(text: str) -> Anatomy:
    """The anatomy of a prompt's text. Raises InvalidInput that names what is wrong, and the line where it knows it."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise InvalidInput(f"a prompt may have at most {LARGEST // 1024} KiB")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("the prompt holds characters that are not text")
    found = re.match(r"---\n(.*?)\n---\n(.*)", text.replace("\r\n", "\n"), re.DOTALL)
    if not found:
        raise InvalidInput("the prompt has no front matter between --- lines")
    header = _header(found.group(1))
    sections = _sections(found.group(2))
    _check_sections(sections, header)
    turns = _turns(sections.pop(TURNS, ""))
    return Anatomy(header, sections, turns, _cases(sections.pop(TESTS, "")))


def _header(text: str) -> Header:
    values = load_yaml(text, "front matter", 1)
    if not isinstance(values, dict):
        raise InvalidInput("the prompt has no front matter between --- lines")
    try:
        return Header.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(f"{FRONT_MATTER}{faults_text(error)}") from error


def load_yaml(text: str, where: str, above: int) -> Any:
    """Data from YAML without aliases and not nested too deeply; `above` lines lie before it, for errors."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise InvalidInput(f"{where}: aliases are not allowed")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InvalidInput(f"{where}: nested deeper than {DEEPEST}")
        loader = _LOADER(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1 + above}" if mark is not None else ""
        raise InvalidInput(f"{where}{line}: {getattr(error, 'problem', None) or error}") from error


def faults_text(error: ValidationError) -> str:
    """The first faults of a validation, each with the path of its member."""
    shown = [
        f"{'.'.join(str(part) for part in one['loc']) or 'it'}: {_fault_words(one)}"
        for one in error.errors()[:SHOWN_FAULTS]
    ]
    more = error.error_count() - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _fault_words(fault: ErrorDetails) -> str:
    known = _IN_WORDS.get(str(fault.get("ctx", {}).get("pattern")))
    return f"{fault['input']!r} does not do: {known}" if known else fault["msg"].removeprefix("Value error, ")


def _sections(body: str) -> dict[str, str]:
    parts = _SECTION.split(_without_fences(body))
    names = [name.strip() for name in parts[1::2]]
    if parts[0].strip():
        raise InvalidInput("the prompt has text before its first section; begin with: # role")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InvalidInput(f"the prompt has two sections {doubled[0]!r}")
    return {name: _with_fences(text).strip() for name, text in zip(names, parts[2::2], strict=True)}


def _without_fences(body: str) -> str:
    """The body with the `#` of lines inside code fences set aside, so that they begin no section."""
    return re.sub(r"```.*?```", lambda match: match.group(0).replace("\n# ", "\n\0# "), body, flags=re.DOTALL)


def _with_fences(text: str) -> str:
    return text.replace("\0", "")


def _check_sections(sections: Mapping[str, str], header: Header) -> None:
    known = (*SECTIONS, *ASK, TURNS, TESTS)
    strange = [name for name in sections if name not in known]
    if strange:
        raise InvalidInput(f"the prompt has a section {strange[0]!r}; there are: {', '.join(known)}")
    missing = [section for section in SECTIONS if section not in sections]
    if missing:
        raise InvalidInput(f"the prompt template has no section {missing[0]!r}")
    asks = [name for name in ASK if name in sections]
    if len(asks) != 1:
        raise InvalidInput("a prompt ends with one section 'question' (retrieved passages) or 'task' (inputs alone)")
    if header.context is not None and (header.context == "retrieved") != (asks[0] == "question"):
        raise InvalidInput(f"context: {header.context} does not fit a section {asks[0]!r}")
    wanted = [name for name in (*SECTIONS, TURNS, asks[0], TESTS) if name in sections]
    if list(sections) != wanted:
        raise InvalidInput(f"the prompt's sections are not in their order: {', '.join(wanted)}")


def _turns(text: str) -> tuple[Turn, ...]:
    parts = _TURN.split(text)
    turns = tuple(Turn(role, said.strip()) for role, said in zip(parts[1::2], parts[2::2], strict=True))
    roles = [turn.role for turn in turns]
    if parts[0].strip() or roles != ["user", "assistant"] * (len(roles) // 2) or (text.strip() and not roles):
        raise InvalidInput(f"the section {TURNS!r} holds `## user` and `## assistant` in turn, beginning with user")
    return turns


def _cases(text: str) -> tuple[Mapping[str, Any], ...]:
    if not text.strip():
        return ()
    found = _FENCE.search(text)
    cases = load_yaml(found.group(1), "tests", 0) if found else None
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise InvalidInput("the section 'tests' holds a list of cases in one ```yaml block")
    return tuple(cases)


def section_texts(text: str) -> Iterator[tuple[str, str]]:
    """Every section of a prompt by name, the front matter first, to compare versions by."""
    found = re.match(r"---\n(.*?)\n---\n(.*)", text.replace("\r\n", "\n"), re.DOTALL)
    if found:
        yield "front matter", found.group(1)
        yield from _sections(found.group(2)).items()
