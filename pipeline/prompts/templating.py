"""The template language of prompts: a small part of Jinja's, in its sandbox, where every variable must be given.

Allowed: `{{ name }}`, members (`order.id`, `order["id"]`), `{% if %}`, `{% for x in list %}` (with `loop.index`),
comparisons, `and`/`or`/`not`, `in`, and the filters of FILTERS. Not allowed: calls, arithmetic, assignments, macros,
includes: so a template costs no more than its text and its inputs are long, and cannot reach anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError, UndefinedError

from kernel.errors import InvalidInput
from pipeline.language import Dialect, Sandbox, check_tree, count_turns, gathered, jinja_filters, json_text

KEPT = 512


def _shown(value: Any) -> Any:
    """A list or an object is shown as JSON, so that a prompt reads the same everywhere."""
    return json_text(value) if isinstance(value, (dict, list, tuple)) or value is None else value


def _check(node: nodes.Node) -> None:
    """What a template of a prompt may not do besides: join by anything but a constant, list anything but constants."""
    if isinstance(node, nodes.Filter) and node.name == "join":
        given = [*node.args, *(one.value for one in node.kwargs)]
        if not all(isinstance(one, nodes.Const) for one in given):
            raise TemplateSyntaxError("what `join` puts between items is a constant", node.lineno)
    read = isinstance(node, nodes.List) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
    if read and not all(isinstance(one, nodes.Const) for one in node.iter_child_nodes()):
        raise TemplateSyntaxError("a list in a template holds constants", node.lineno)


_ENVIRONMENT = Sandbox(jinja_filters(), shown=_shown)
_DIALECT = Dialect(check=_check)


def variables_of(template: str) -> frozenset[str]:
    """The variables that a template needs. Raises InvalidInput where it cannot be used, with the line."""
    return _compiled(template)[1]


def render_template(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template. Raises InvalidInput for a variable that is not given, or a text that grows too long."""
    compiled, _ = _compiled(template)
    try:
        return gathered(compiled.generate(**values), "the prompt")
    except UndefinedError as error:
        raise InvalidInput(f"the prompt template uses an unknown variable: {error.message}") from error
    except (SecurityError, TemplateError, TypeError, ValueError) as error:
        raise InvalidInput(f"the prompt template cannot be rendered: {error}") from error


@lru_cache(maxsize=KEPT)
def _compiled(template: str) -> tuple[Template, frozenset[str]]:
    try:
        tree = _ENVIRONMENT.parse(template)
        check_tree(tree, _DIALECT)
        needed = frozenset(_free(tree, frozenset()))
        count_turns(tree)
        return _ENVIRONMENT.from_string(tree), needed
    except TemplateSyntaxError as error:
        raise InvalidInput(f"the prompt template, line {error.lineno} of the section: {error.message}") from error
    except (RecursionError, SyntaxError, MemoryError) as error:  # of the Python that it becomes
        raise InvalidInput("the prompt template is nested too deeply") from error
    except ValueError as error:
        raise InvalidInput(f"the prompt template: {error}") from error


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
