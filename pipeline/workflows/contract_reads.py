"""Whether what a template or an expression reads is there: the input's members, and outputs of steps in `needs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from kernel.errors import InvalidInput
from pipeline.workflows.expression_paths import ITEM, Path, words
from pipeline.workflows.expressions import holds_template, is_text, names_in, names_of, source_of, source_of_template
from pipeline.workflows.lines import Place
from pipeline.workflows.schema_paths import TEMPLATE, UNKNOWN, NoSuchMember, Schema, schema_at, types_of

REFERENCE = "$ref"
OF_A_STEP = ("error", "output", "status")
"""What a step shows of itself."""


@dataclass(frozen=True)
class Source:
    """Where a value is taken from: a path within a schema that describes the whole."""

    whole: Schema
    path: Path
    schema: Schema

    @property
    def types(self) -> frozenset[str] | None:
        """The JSON types that it may have; None: any."""
        return types_of(self.schema, self.whole)


@dataclass(frozen=True)
class Scope:
    """What a template sees: names with their schemas, and of the outputs of all steps those of the needed ones."""

    roots: Mapping[str, Schema]
    needs: Set[str]
    outputs: Mapping[str, Schema]
    reader: str

    def with_roots(self, roots: Mapping[str, Schema]) -> Scope:
        """The same, and more names."""
        return Scope({**self.roots, **roots}, self.needs, self.outputs, self.reader)

    def source(self, expression: str) -> Source | None:
        """Where an expression's value is taken from as it is, if that is known."""
        try:
            path = source_of(expression)
        except InvalidInput:
            return None
        return None if path is None else self.at(path)

    def template_source(self, template: Any) -> Source | None:
        """The same of a template that is one `{{ … }}`."""
        try:
            path = source_of_template(template)
        except InvalidInput:
            return None
        return None if path is None else self.at(path)

    def sourced(self, schema: Any) -> Any:
        """A schema in which what templates come to is known as far as what they read is."""
        if isinstance(schema, list):
            return [self.sourced(one) for one in schema]
        if not isinstance(schema, Mapping):
            return schema
        template = schema.get(TEMPLATE)
        if not isinstance(template, str):
            return {name: self.sourced(one) for name, one in schema.items()}
        source = self.template_source(template)
        if source is not None:
            return UNKNOWN if _refers(source.schema) else source.schema
        try:
            return {"type": "string"} if is_text(template) else UNKNOWN
        except InvalidInput:
            return UNKNOWN

    def at(self, path: Path) -> Source | None:
        """What is known of a path; None where nothing is."""
        if path[0] == "steps":
            whole, rest = self.outputs.get(path[1], UNKNOWN) if len(path) > 2 else UNKNOWN, path[3:]
        else:
            whole, rest = self.roots.get(path[0], UNKNOWN), path[1:]
        try:
            found = schema_at(whole, rest)
        except NoSuchMember:
            return None
        return Source(whole, rest, found) if found else None

    def fault(self, path: Path) -> str | None:
        """What is wrong with reading a path, in words."""
        if path[0] == "steps":
            return self._step_fault(path)
        if path[0] not in self.roots:
            return f"there is no {path[0]} here; there are: {', '.join(sorted([*self.roots, 'steps']))}"
        return _member_fault(self.roots[path[0]], path, 1, f"{path[0]} has")

    def _step_fault(self, path: Path) -> str | None:
        if len(path) == 1 or path[1] == ITEM:
            return "an expression names the step that it reads: steps.ID.output"
        if path[1] not in self.outputs:
            return f"{words(path)}: there is no step {path[1]!r}"
        if path[1] not in self.needs:
            return f"{words(path)}: {self.reader} does not name {path[1]!r} in its `needs`"
        if len(path) > 2 and path[2] not in OF_A_STEP:
            return f"{words(path)}: a step shows its {', '.join(OF_A_STEP)}"
        return _member_fault(self.outputs[path[1]], path, 3, f"step {path[1]} gives")


def _refers(schema: Any) -> bool:
    """Whether a schema holds references, which only hold within the whole that it is a part of."""
    if isinstance(schema, Mapping):
        return REFERENCE in schema or any(_refers(one) for one in schema.values())
    return isinstance(schema, list) and any(_refers(one) for one in schema)


def _member_fault(schema: Schema, path: Path, begin: int, whose: str) -> str | None:
    try:
        schema_at(schema, path[begin:])
    except NoSuchMember as error:
        at = begin + error.place
        if error.why:
            return f"{words(path[: at + 1])}: {words(path[:at])} {error.why}"
        said = whose if at == begin else f"{words(path[:at])} has"
        return f"{words(path[: at + 1])}: {said} {', '.join(error.there) or 'nothing'}"
    return None


def expression_faults(expression: str, scope: Scope, place: Place) -> Iterator[tuple[Place, str]]:
    """What is wrong with an expression: its grammar, or what it reads."""
    try:
        reads = names_of(expression)
    except InvalidInput as error:
        yield place, str(error)
        return
    yield from _faults(reads, scope, place)


def template_faults(value: Any, scope: Scope, place: Place) -> Iterator[tuple[Place, str]]:
    """What is wrong with the templates of a value, each where it stands."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from template_faults(one, scope, (*place, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from template_faults(one, scope, (*place, number))
    elif isinstance(value, str) and holds_template(value):
        try:
            reads = names_in(value)
        except InvalidInput as error:
            yield place, str(error)
            return
        yield from _faults(reads, scope, place)


def _faults(reads: Set[Path], scope: Scope, place: Place) -> Iterator[tuple[Place, str]]:
    said = [found for path in sorted(reads) if (found := scope.fault(path)) is not None]
    yield from ((place, one) for one in dict.fromkeys(said))
