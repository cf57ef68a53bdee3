"""The template language of prompts: a small part of Jinja's, in its sandbox, where every variable must be given.

Allowed: `{{ name }}`, members (`order.id`, `order["id"]`), `{% if %}`, `{% for x in list %}` (with `loop.index`),
comparisons, `and`/`or`/`not`, `in`, and the filters of FILTERS. Not allowed: calls, arithmetic, assignments, macros,
includes: so a template costs no more than its text and its inputs are long, and cannot reach anything else. Values are
put in once: nothing in a value is ever read as template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kernel.errors import InvalidInput

FILTERS = ("capitalize", "default", "first", "join", "last", "length", "lower", "title", "tojson", "trim", "upper")
LONGEST = 2_000_000
"""Characters that one section may render to."""
MOST_PIECES = 2_000_000
"""Pieces that one section may be put together from; each turn of a loop is one, even where it shows nothing."""
LOOPS = 2
"""Loops may be nested so deep."""
OF_A_LOOP = ("index", "first", "last", "length")
"""What a loop tells of itself, as `loop.index`."""
KEPT = 512
_ALLOWED = (
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
_OWN_NAMES = ("self", "super", "caller", "varargs", "kwargs")
_TESTS = ("defined", "none", "string", "number", "boolean", "mapping", "sequence", "true", "false")


class _Environment(ImmutableSandboxedEnvironment):
    """Keeps templates from everything but the values that they are given: no attribute of an object is one."""

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


def _environment() -> _Environment:
    made = _Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=_shown)
    made.filters = {name: made.filters[name] for name in FILTERS} | {"tojson": _json}
    made.tests = {name: made.tests[name] for name in _TESTS}
    made.globals = {}
    return made


def _shown(value: Any) -> Any:
    """A list or an object is shown as JSON, so that a prompt reads the same everywhere."""
    return _json(value) if isinstance(value, (dict, list, tuple)) or value is None else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


_ENVIRONMENT = _environment()


def variables_of(template: str) -> frozenset[str]:
    """The variables that a template needs. Raises InvalidInput where it cannot be used, with the line."""
    return _compiled(template)[1]


def render_template(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template. Raises InvalidInput for a variable that is not given, or a text that grows too long."""
    compiled, _ = _compiled(template)
    written, length = [], 0
    try:
        for count, piece in enumerate(compiled.generate(**values)):
            length += len(piece)
            if length > LONGEST:
                raise InvalidInput(f"the prompt renders to more than {LONGEST:,} characters")
            if count > MOST_PIECES:
                raise InvalidInput(f"the loops of the prompt take more than {MOST_PIECES:,} steps")
            written.append(piece)
    except UndefinedError as error:
        raise InvalidInput(f"the prompt template uses an unknown variable: {error.message}") from error
    except (SecurityError, TemplateError, TypeError, ValueError) as error:
        raise InvalidInput(f"the prompt template cannot be rendered: {error}") from error
    return "".join(written)


@lru_cache(maxsize=KEPT)
def _compiled(template: str) -> tuple[Template, frozenset[str]]:
    try:
        tree = _ENVIRONMENT.parse(template)
        _check(tree, 0)
        needed = frozenset(_free(tree, frozenset()))
        for loop in tree.find_all(nodes.For):
            loop.body.insert(0, nodes.Output([nodes.TemplateData("")], lineno=loop.lineno))
        return _ENVIRONMENT.from_string(tree), needed
    except TemplateSyntaxError as error:
        raise InvalidInput(f"the prompt template, line {error.lineno} of the section: {error.message}") from error
    except (RecursionError, SyntaxError, MemoryError) as error:  # of the Python that it becomes
        raise InvalidInput("the prompt template is nested too deeply") from error
    except ValueError as error:
        raise InvalidInput(f"the prompt template: {error}") from error


def _check(node: nodes.Node, loops: int) -> None:
    if not isinstance(node, _ALLOWED):
        raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not part of the template language", node.lineno)
    if isinstance(node, nodes.Name) and node.name in _OWN_NAMES:
        raise TemplateSyntaxError(f"{node.name!r} is not a variable", node.lineno)
    if isinstance(node, nodes.Filter):
        _check_filter(node)
    read = isinstance(node, nodes.List) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
    if read and not all(isinstance(one, nodes.Const) for one in node.iter_child_nodes()):
        raise TemplateSyntaxError("a list in a template holds constants", node.lineno)
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        raise TemplateSyntaxError(f"no test {node.name!r}; there are: {', '.join(_TESTS)}", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if loops > LOOPS or node.recursive or node.test is not None:
            raise TemplateSyntaxError(f"loops are plain, and nested at most {LOOPS} deep", node.lineno)
        if not isinstance(node.iter, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            raise TemplateSyntaxError("a loop runs over a variable", node.lineno)
    for child in node.iter_child_nodes():
        _check(child, loops)


def _check_filter(node: nodes.Filter) -> None:
    if node.name not in FILTERS:
        raise TemplateSyntaxError(f"no filter {node.name!r}; there are: {', '.join(FILTERS)}", node.lineno)
    given = [*node.args, *(one.value for one in node.kwargs)]
    if node.name == "join" and not all(isinstance(one, nodes.Const) for one in given):
        raise TemplateSyntaxError("what `join` puts between items is a constant", node.lineno)


def _free(node: nodes.Node, bound: frozenset[str]) -> Iterator[str]:
    """Names that a node reads and no loop around it binds."""
    if isinstance(node, nodes.Name):
        if node.ctx == "load" and node.name not in bound:
            yield node.name
        return
    if isinstance(node, nodes.For):
        yield from _free(node.iter, bound)
        inner = bound | {"loop"} | {one.name for one in node.target.find_all(nodes.Name)} | _target(node.target)
        for one in (*node.body, *node.else_):
            yield from _free(one, inner)
        return
    for child in node.iter_child_nodes():
        yield from _free(child, bound)


def _target(node: nodes.Node) -> set[str]:
    return {node.name} if isinstance(node, nodes.Name) else set()


def joined(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(sorted(names)) or "none"
