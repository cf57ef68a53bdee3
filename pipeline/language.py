"""The small part of Jinja's language that prompts and workflows share, in its sandbox.

Values are JSON values and are put in once: nothing in a value is ever read as template. A member of a mapping is all
that a dot reaches: no attribute of an object is one. There are no calls, assignments, macros or includes. A `Dialect`
says which nodes, filters and tests a use of the language has beyond that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST = 2_000_000
"""Characters or items that one value may come to."""
MOST_PIECES = 2_000_000
"""Pieces that one text may be put together from; each turn of a loop is one, even where it shows nothing."""
MOST_SECONDS = 30.0
"""For one text: far more than any needs, so that it only ends what compares long lists in long loops."""
LOOPS = 2
"""Loops may be nested so deep."""
MOST_WORK = 4_000_000
"""Items, and hundreds of characters, that the filters and sums of one use may go through."""
OF_A_LOOP = ("index", "first", "last", "length")
"""What a loop tells of itself, as `loop.index`."""
OWN_NAMES = ("self", "super", "caller", "varargs", "kwargs")
FILTERS = ("capitalize", "default", "first", "join", "last", "length", "lower", "title", "tojson", "trim", "upper")
TESTS = ("defined", "none", "string", "number", "boolean", "mapping", "sequence", "true", "false")
NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.If,
    nodes.For,
    nodes.Filter,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.List,
    nodes.Tuple,
    nodes.CondExpr,
    nodes.Test,
    nodes.Keyword,
)
_LEFT: ContextVar[list[int] | None] = ContextVar("_LEFT", default=None)


@dataclass(frozen=True)
class Dialect:
    """What a use of the language has: node types, filters, and a check of its own for each node."""

    types: tuple[type[nodes.Node], ...] = NODES
    filters: Collection[str] = FILTERS
    check: Callable[[nodes.Node], None] = field(default=lambda _node: None)


class Sandbox(ImmutableSandboxedEnvironment):
    """Keeps templates from everything but the values that they are given."""

    def __init__(self, filters: Mapping[str, Callable[..., Any]], *, shown: Callable[[Any], Any]) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            finalize=shown,
            optimized=False,  # it would try each filter on constants once for every filter around it
        )
        self.filters = {name: _bounded(made) for name, made in filters.items()}
        self.tests = {name: self.tests[name] for name in TESTS}
        self.globals = {}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A member of a mapping, by name; or what a loop tells of itself."""
        if isinstance(obj, LoopContext) and attribute in OF_A_LOOP:
            return getattr(obj, attribute)
        return (
            obj[attribute] if isinstance(obj, Mapping) and attribute in obj else self.undefined(obj=obj, name=attribute)
        )

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A member of a mapping or a list."""
        try:
            return obj[argument]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)


def jinja_filters() -> dict[str, Callable[..., Any]]:
    """The filters of FILTERS, as Jinja has them, but JSON as a prompt shows it."""
    made = ImmutableSandboxedEnvironment().filters
    return {name: made[name] for name in FILTERS} | {"tojson": json_text}


def json_text(value: Any) -> str:
    """A value as JSON, the same everywhere."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@contextmanager
def bounded_work() -> Iterator[None]:
    """Within it, filters and sums take their work from one sum; SecurityError where that is used up."""
    token = _LEFT.set([MOST_WORK])
    try:
        yield
    finally:
        _LEFT.reset(token)


def spend(value: Any) -> None:
    """Count going through a value, and refuse one that is too large. Raises SecurityError."""
    size = len(value) if isinstance(value, (str, list, tuple, dict)) else 0
    if size > LONGEST:
        raise SecurityError(f"it comes to more than {LONGEST:,} characters or items")
    left = _LEFT.get()
    if left is not None:
        left[0] -= 1 + (size // 100 if isinstance(value, str) else size)
        if left[0] < 0:
            raise SecurityError("it takes too much work")


def _bounded(made: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, which counts what it goes through and what it makes."""

    @wraps(made)
    def applied(*given: Any, **named: Any) -> Any:
        for one in given:
            spend(one)
        found = made(*given, **named)
        spend(found)
        return found

    return applied


def check_tree(node: nodes.Node, dialect: Dialect, loops: int = 0) -> None:
    """Raises TemplateSyntaxError for what is not part of a dialect."""
    if not isinstance(node, dialect.types):
        raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not part of the template language", node.lineno)
    if isinstance(node, nodes.Name) and node.name in OWN_NAMES:
        raise TemplateSyntaxError(f"{node.name!r} is not a variable", node.lineno)
    if isinstance(node, nodes.Filter) and node.name not in dialect.filters:
        known = ", ".join(sorted(dialect.filters))
        raise TemplateSyntaxError(f"no filter {node.name!r}; there are: {known}", node.lineno)
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise TemplateSyntaxError(f"no test {node.name!r}; there are: {', '.join(TESTS)}", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        _check_loop(node, loops)
    dialect.check(node)
    for child in node.iter_child_nodes():
        check_tree(child, dialect, loops)


def _check_loop(node: nodes.For, loops: int) -> None:
    if loops > LOOPS or node.recursive or node.test is not None:
        raise TemplateSyntaxError(f"loops are plain, and nested at most {LOOPS} deep", node.lineno)
    if not isinstance(node.iter, (nodes.Name, nodes.Getattr, nodes.Getitem)):
        raise TemplateSyntaxError("a loop runs over a variable", node.lineno)


def count_turns(tree: nodes.Template) -> None:
    """Make each turn of a loop a piece of its text, even where it shows nothing, so that turns are counted."""
    for loop in tree.find_all(nodes.For):
        loop.body.insert(0, nodes.Output([nodes.TemplateData("")], lineno=loop.lineno))


def gathered(pieces: Iterator[str], what: str, seconds: float = MOST_SECONDS) -> str:
    """The text of pieces. Raises SecurityError where it grows too long, or takes too many pieces or too much time."""
    written, length, end = [], 0, time.monotonic() + seconds
    for count, piece in enumerate(pieces):
        length += len(piece)
        if length > LONGEST:
            raise SecurityError(f"{what} renders to more than {LONGEST:,} characters")
        if count > MOST_PIECES:
            raise SecurityError(f"the loops of {what} take more than {MOST_PIECES:,} steps")
        if time.monotonic() > end:
            raise SecurityError(f"the loops of {what} take longer than {seconds:g} seconds")
        written.append(piece)
    return "".join(written)
