"""Test cases of a prompt: what to ask, over which passages or inputs, and what must hold of the reply. Read strictly.

A case is a mapping of the section `# tests`. What is wrong with one is an error that names the case and its member, and
is found when the version is saved, not when its tests are run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from kernel.errors import InvalidInput
from kernel.ids import canonical_json
from pipeline.prompts.anatomy import Strict, faults_text
from pipeline.prompts.json_schema import check_schema
from pipeline.prompts.rendering import Compiled

MOST_CASES = 200
MOST_PASSAGES = 50
LONGEST = 20_000
"""Characters of a pinned passage."""
GROUNDED_ONLY = frozenset({"cites", "abstains", "answers", "supported"})
"""Kinds of expectation that only a prompt with retrieved passages can meet."""
ALIKE = "alike"


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    check_schema(schema)
    return schema


def _pattern(pattern: str) -> str:
    try:
        re2.compile(pattern)
    except re2.error as error:
        raise ValueError(f"a pattern that cannot be used: {error}") from error
    return pattern


Phrase = Annotated[str, Field(min_length=1, max_length=4000)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Pattern = Annotated[Phrase, AfterValidator(_pattern)]


class Similar(Strict):
    """A text that the reply must be near to, by the cosine of the workspace's embedder."""

    to: Phrase
    at_least: Share


class NumberWanted(Strict):
    """A number that the reply must hold, in digits: this one (give or take `within`), or one between two borders."""

    equals: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    within: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        borders = self.at_least is not None or self.at_most is not None
        if borders == (self.equals is not None):
            raise ValueError("say either equals, or at_least and at_most")
        if self.within and self.equals is None:
            raise ValueError("within goes with equals")
        return self


class At(Strict):
    """A member of a JSON reply, by its path (`order.items[0].id`), and what it must be."""

    path: Annotated[str, Field(pattern=r"^(\w[\w-]*|\[\d+\])(\.\w[\w-]*|\[\d+\])*$", max_length=300)]
    equals: Any = None
    in_: Annotated[list[Any] | None, Field(alias="in", min_length=1)] = None
    matches: Pattern | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.model_fields_set - {"path"}:
            raise ValueError("say what it must be: equals, in, matches, at_least or at_most")
        return self


WANTED: Mapping[str, TypeAdapter[Any]] = {
    "contains": TypeAdapter(Phrase),
    "any_of": TypeAdapter(Phrases),
    "not_contains": TypeAdapter(Phrase | Phrases),
    "matches": TypeAdapter(Pattern),
    "cites": TypeAdapter(Literal[True] | Annotated[list[Count], Field(min_length=1)]),
    "abstains": TypeAdapter(Literal[True]),
    "answers": TypeAdapter(Literal[True]),
    "supported": TypeAdapter(Share),
    "json": TypeAdapter(Annotated[dict[str, Any], AfterValidator(_schema)]),
    "at": TypeAdapter(At),
    "min_chars": TypeAdapter(Count),
    "max_chars": TypeAdapter(Count),
    "max_sentences": TypeAdapter(Count),
    "similar": TypeAdapter(Similar),
    "number": TypeAdapter(NumberWanted),
    "latency_ms": TypeAdapter(Annotated[float, Field(gt=0)]),
    "tokens": TypeAdapter(Count),
    "cost": TypeAdapter(Annotated[float, Field(ge=0)]),
    "judge": TypeAdapter(Phrase),
    "ignores": TypeAdapter(Phrase),
    "keeps_prompt": TypeAdapter(Literal[True]),
    "data_stays_data": TypeAdapter(Literal[True]),
    ALIKE: TypeAdapter(Share),
}
"""The type of each kind of expectation."""
ALIASES = {"forbids": "not_contains"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must hold of a reply: its kind, and the value that the case gives."""

    kind: str
    wanted: Any


class PinnedPassage(Strict):
    """A passage that a case brings along."""

    title: Annotated[str, Field(max_length=300)] = ""
    text: Annotated[str, Field(min_length=1, max_length=LONGEST)]


class CaseFile(Strict):
    """A case as it is written. `swap` names words that are put in each other's place for a second reply, which `alike`
    compares with the first.
    """

    name: Annotated[str, Field(pattern=r"^\S(.{0,118}\S)?$")]
    question: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    inputs: dict[str, Any] | None = None
    context: Annotated[list[PinnedPassage], Field(max_length=MOST_PASSAGES)] | None = None
    snapshot: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1)] | None = None
    swap: Annotated[dict[Phrase, Phrase], Field(min_length=1, max_length=50)] | None = None
    expect: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=50)]


@dataclass(frozen=True)
class Case:
    """A case ready to run. `context` of None: a question is answered from passages of `snapshot`, or of the live one.

    `suite` is the shipped suite that it is of, or empty; `skip` says why it cannot be run with this prompt, if so.
    """

    name: str
    question: str
    inputs: Mapping[str, Any]
    context: tuple[PinnedPassage, ...] | None
    snapshot: int | None
    models: tuple[str, ...]
    swap: Mapping[str, str]
    expect: tuple[Expectation, ...]
    raw: Mapping[str, Any]
    suite: str = ""
    skip: str = ""

    @property
    def searches(self) -> bool:
        """Whether it is answered from documents of the workspace."""
        return bool(self.question) and self.context is None


def read_cases(compiled: Compiled) -> tuple[Case, ...]:
    """The cases of a prompt. Raises InvalidInput that names the case and the member at fault."""
    raw = compiled.anatomy.cases
    if len(raw) > MOST_CASES:
        raise InvalidInput(f"a prompt may have at most {MOST_CASES} cases")
    cases = tuple(read_case(one, compiled, f"case {place}") for place, one in enumerate(raw, 1))
    names = [one.name for one in cases]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InvalidInput(f"case {doubled[0]!r}: there are two cases of this name")
    return cases


def read_case(raw: Mapping[str, Any], compiled: Compiled, where: str) -> Case:
    """One case. `where` is what errors call it as long as its name is not known."""
    name = raw.get("name")
    where = f"case {name!r}" if isinstance(name, str) and name.strip() else where
    try:
        canonical_json(raw)
        file = CaseFile.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput(f"{where}: {faults_text(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: a value that JSON does not have ({error}); write dates between quotes") from error
    expect = read_expectations(file.expect, where)
    case = Case(
        file.name,
        file.question or "",
        file.inputs or {},
        None if file.context is None else tuple(file.context),
        file.snapshot,
        tuple(file.models or ("*",)),
        file.swap or {},
        expect,
        raw,
    )
    for check in (_check_ask, _check_kinds, _check_swap):
        check(case, compiled, where)
    try:
        compiled.checked(case.inputs)
    except InvalidInput as error:
        raise InvalidInput(f"{where}, inputs: {error}") from error
    return case


def read_expectations(raw: Sequence[Mapping[str, Any]], where: str) -> tuple[Expectation, ...]:
    """Expectations as they are written: each a mapping of one kind. Raises InvalidInput."""
    found = []
    for place, one in enumerate(raw):
        member = f"{where}, expect[{place}]"
        if len(one) != 1:
            raise InvalidInput(f"{member}: one kind each, such as `- contains: 30 days`")
        (written, wanted) = next(iter(one.items()))
        kind = ALIASES.get(written, written)
        if kind not in WANTED:
            raise InvalidInput(f"{member}: there is no kind {written!r}; there are: {', '.join(sorted(WANTED))}")
        try:
            found.append(Expectation(kind, WANTED[kind].validate_python(wanted, strict=True)))
        except ValidationError as error:
            raise InvalidInput(f"{member}.{written}: {_value_faults(error)}") from error
    return tuple(found)


def _value_faults(error: ValidationError) -> str:
    first = error.errors()[0]
    inner = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{inner}: {message}" if inner else message


def _check_ask(case: Case, compiled: Compiled, where: str) -> None:
    """That a case asks in the way that its prompt answers."""
    if not compiled.anatomy.grounded:
        given = [name for name in ("question", "context", "snapshot") if case.raw.get(name) is not None]
        if given:
            raise InvalidInput(f"{where}, {given[0]}: this prompt has a section 'task': a case gives `inputs` alone")
        return
    if not case.question:
        raise InvalidInput(f"{where}, question: Field required: this prompt has a section 'question'")
    if case.context is not None and case.snapshot is not None:
        raise InvalidInput(f"{where}, snapshot: pin either `context` (passages) or `snapshot` (a number), not both")


def _check_kinds(case: Case, compiled: Compiled, where: str) -> None:
    for place, one in enumerate(case.expect):
        member = f"{where}, expect[{place}].{one.kind}"
        if one.kind in GROUNDED_ONLY and not compiled.anatomy.grounded:
            raise InvalidInput(f"{member}: only prompts with a section 'question' cite and abstain")
        if one.kind == "cites" and one.wanted is not True and case.context is not None:
            beyond = [number for number in one.wanted if number > len(case.context)]
            if beyond:
                raise InvalidInput(f"{member}: there is no passage {beyond[0]}; the context has {len(case.context)}")


def _check_swap(case: Case, compiled: Compiled, where: str) -> None:
    del compiled
    compared = any(one.kind == ALIKE for one in case.expect)
    if bool(case.swap) != compared:
        raise InvalidInput(f"{where}, swap: `swap` and the expectation `{ALIKE}` go together")
    if case.swap and swapped(case, case.swap) == case:
        raise InvalidInput(f"{where}, swap: none of these words is in the question, the inputs or the context")


def swapped(case: Case, swap: Mapping[str, str]) -> Case:
    """The case with the words of each pair of `swap` put in each other's place."""
    change = exchanger(swap)
    context = case.context and tuple(
        PinnedPassage(title=change(one.title), text=change(one.text)) for one in case.context
    )
    inputs = {name: _changed(value, change) for name, value in case.inputs.items()}
    return replace(case, question=change(case.question), inputs=inputs, context=context)


def exchanger(swap: Mapping[str, str]) -> Callable[[str], str]:
    """A function that exchanges the words of each pair, as whole words, all at once."""
    back = {there: here for here, there in list(swap.items())[::-1]}
    return _replacer({**back, **swap})


def neutral(swap: Mapping[str, str]) -> Callable[[str], str]:
    """A function that puts one mark in the place of both words of a pair: two texts that differ in them alone become
    the same.
    """
    marks: dict[str, str] = {}
    for number, pair in enumerate(swap.items()):
        known = {marks[word] for word in pair if word in marks}
        mark = min(known, default=f"⟨{chr(ord('A') + number)}⟩")  # no digit: it would count as a number of the text
        marks = {word: mark if one in known else one for word, one in marks.items()} | dict.fromkeys(pair, mark)
    return _replacer(marks)


def _replacer(words: Mapping[str, str]) -> Callable[[str], str]:
    if not words:
        return lambda text: text
    longest = sorted(words, key=len, reverse=True)
    found = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(one) for one in longest)})(?!\w)")
    return lambda text: found.sub(lambda match: words[match.group()], text)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(one, change) for one in value]
    if isinstance(value, dict):
        return {name: _changed(one, change) for name, one in value.items()}
    return value
