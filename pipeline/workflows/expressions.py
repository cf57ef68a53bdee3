"""Expressions and templates of workflows: the language of prompts, plus arithmetic, and filters over lists.

An expression gives a JSON value (`evaluate`). A template is a text with `{{ … }}` in it; a text that is one `{{ … }}`
and nothing else gives its value as it is, not as text (`fill`). What is missing is an error that names it. Work is
bounded: a number has at most 300 bits, a value at most LONGEST characters or items, and nothing repeats a text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.parser import Parser
from jinja2.runtime import Undefined

from kernel.errors import InvalidInput
from pipeline.language import (
    NODES,
    Dialect,
    Sandbox,
    bounded_work,
    check_tree,
    count_turns,
    gathered,
    spend,
)
from pipeline.workflows.expression_filters import BY_ATTRIBUTE, FILTERS, number, shown, sized
from pipeline.workflows.expression_paths import Path, absent, path_of, reads_of

DEEPEST = 64
"""How deep a value of templates may be nested."""
KEPT = 2048
_RESULT = "value_of_the_expression"
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_NODES: tuple[type[nodes.Node], ...] = (
    *(one for one in NODES if one is not nodes.Tuple),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Slice, nodes.Dict, nodes.Pair),
)
_FAILURES = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError)


class _Arithmetic(Sandbox):
    """The sandbox, with sums that cannot grow without end."""

    intercepted_binops = frozenset(_ARITHMETIC)
    intercepted_unops = frozenset("+-")

    def call_binop(self, _context: Any, symbol: str, left: Any, right: Any) -> Any:
        """A sum of numbers; `+` also puts two texts or two lists together. Raises TypeError for anything else."""
        if symbol == "+" and type(left) is type(right) and isinstance(left, (str, list)):
            spend(left)
            spend(right)
            made = left + right
        else:
            made = sized(_ARITHMETIC[symbol](number(left), number(right)))
        spend(made)
        return made

    def call_unop(self, _context: Any, symbol: str, value: Any) -> Any:
        """A number with its sign."""
        return -number(value) if symbol == "-" else number(value)


def _check(node: nodes.Node) -> None:
    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)):
        try:
            sized(node.value)
        except OverflowError as error:
            raise TemplateSyntaxError(str(error), node.lineno) from error
    if isinstance(node, nodes.Pair) and not (isinstance(node.key, nodes.Const) and isinstance(node.key.value, str)):
        raise TemplateSyntaxError("the names of an object are texts", node.lineno)
    if isinstance(node, nodes.Filter) and node.name in BY_ATTRIBUTE:
        _check_attribute(node)


def _check_attribute(node: nodes.Filter) -> None:
    by_place = node.name in ("selectattr", "rejectattr")
    given = [one.value for one in node.kwargs if one.key == "attribute"] + (list(node.args[:1]) if by_place else [])
    if not all(isinstance(one, nodes.Const) and isinstance(one.value, str) for one in given):
        raise TemplateSyntaxError(f"the attribute that {node.name!r} looks at is a text", node.lineno)
    if not given and (by_place or node.name == "map"):
        how = '("name", …)' if by_place else '(attribute="name")'
        raise TemplateSyntaxError(f"{node.name!r} names the attribute that it looks at: {node.name}{how}", node.lineno)


_ENVIRONMENT = _Arithmetic(FILTERS, shown=shown)
_EXPRESSION = Dialect(tuple(one for one in _NODES if not issubclass(one, nodes.Stmt)), FILTERS, _check)
_TEMPLATE = Dialect((*_NODES, nodes.Tuple), FILTERS, _check)


@dataclass(frozen=True)
class _Compiled:
    """What an expression or template becomes: what it reads, and where its value lies if it is just read."""

    text: str
    template: Template
    reads: frozenset[Path]
    path: Path | None
    native: bool
    builds: bool = False

    def value(self, visible: Mapping[str, Any]) -> Any:
        with bounded_work():
            if not self.native:
                return gathered(self.template.generate(visible), "it")
            context = self.template.new_context(dict(visible))
            for _ in self.template.root_render_func(context):
                pass
            found = context.vars[_RESULT]
        _defined(found, deep=self.builds)
        return found


def _defined(value: Any, *, deep: bool) -> None:
    """Raises UndefinedError for what is not there, or is not there within a list or object."""
    if isinstance(value, Undefined):
        raise UndefinedError(str(value._undefined_message))
    if deep and isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            _defined(one, deep=True)


def _builds(tree: nodes.Expr) -> bool:
    """Whether an expression may make a list or object of its own, so that something in it may be missing."""
    return any(True for _ in tree.find_all((nodes.List, nodes.Dict, nodes.Filter))) or isinstance(
        tree, (nodes.List, nodes.Dict, nodes.Filter)
    )


def evaluate(expression: str, visible: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises InvalidInput that names what is missing or does not fit."""
    return _value(_expression(expression), visible)


def fill(value: Any, visible: Mapping[str, Any]) -> Any:
    """A value with its templates filled in, however deep they lie; names of members are left as they are.

    Raises InvalidInput that names what is missing or does not fit.
    """
    return _filled(value, visible, DEEPEST)


def holds_template(value: Any) -> bool:
    """Whether a value is or holds a template."""
    return any(True for _ in _templates(value, DEEPEST))


def names_of(expression: str) -> frozenset[Path]:
    """The paths that an expression reads: `("steps", "find", "output", "results")`; ITEM stands for any item of a list.

    Raises InvalidInput where it cannot be used.
    """
    return _expression(expression).reads


def names_in(value: Any) -> frozenset[Path]:
    """The paths that the templates of a value read. Raises InvalidInput where one cannot be used."""
    return frozenset(path for one in _templates(value, DEEPEST) for path in _template(one).reads)


def source_of(expression: str) -> Path | None:
    """Where the value of an expression lies, if it is taken from there as it is, or is a part of a list there."""
    return _expression(expression).path


def source_of_template(value: Any) -> Path | None:
    """The same for a template that is one `{{ … }}`."""
    return _template(value).path if isinstance(value, str) and _is_template(value) else None


def is_text(template: str) -> bool:
    """Whether a template gives a text, and not a value as it is. Raises InvalidInput where it cannot be used."""
    return not _template(template).native


def _filled(value: Any, visible: Mapping[str, Any], depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"a value is nested deeper than {DEEPEST}")
    if isinstance(value, str):
        return _value(_template(value), visible) if _is_template(value) else value
    if isinstance(value, Mapping):
        return {name: _filled(one, visible, depth - 1) for name, one in value.items()}
    return [_filled(one, visible, depth - 1) for one in value] if isinstance(value, (list, tuple)) else value


def _templates(value: Any, depth: int) -> Iterator[str]:
    if depth == 0:
        raise InvalidInput(f"a value is nested deeper than {DEEPEST}")
    if isinstance(value, str):
        if _is_template(value):
            yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _templates(one, depth - 1)


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def _value(compiled: _Compiled, visible: Mapping[str, Any]) -> Any:
    try:
        return compiled.value(visible)
    except UndefinedError as error:
        missing = next((found for path in sorted(compiled.reads) if (found := absent(path, visible))), None)
        raise InvalidInput(f"{_quoted(compiled.text)}: {missing or error.message}") from error
    except ZeroDivisionError as error:
        raise InvalidInput(f"{_quoted(compiled.text)} divides by zero") from error
    except _FAILURES as error:
        raise InvalidInput(f"{_quoted(compiled.text)}: {error}") from error


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return f"`{text if len(text) <= 80 else text[:80] + '…'}`"


@lru_cache(maxsize=KEPT)
def _expression(text: str) -> _Compiled:
    return _made(text, lambda: _parsed(text))


@lru_cache(maxsize=KEPT)
def _template(text: str) -> _Compiled:
    return _made(text, lambda: _of_template(text))


def _made(text: str, parsed: Callable[[], nodes.Expr | nodes.Template]) -> _Compiled:
    try:
        tree = parsed()
        reads = reads_of(tree)
        if isinstance(tree, nodes.Template):
            count_turns(tree)
            return _Compiled(text, _ENVIRONMENT.from_string(tree), reads, None, native=False)
        path = path_of(tree)
        body: list[nodes.Node] = [nodes.Assign(nodes.Name(_RESULT, "store"), tree, lineno=1)]
        whole = nodes.Template(body, lineno=1)
        whole.set_environment(_ENVIRONMENT)
        return _Compiled(text, _ENVIRONMENT.from_string(whole), reads, path, native=True, builds=_builds(tree))
    except TemplateSyntaxError as error:
        line = f", line {error.lineno} of it" if error.lineno > 1 else ""
        raise InvalidInput(f"{_quoted(text)}{line}: {error.message}") from error
    except (RecursionError, SyntaxError, MemoryError) as error:  # of the Python that it becomes
        raise InvalidInput(f"{_quoted(text)} is nested too deeply") from error
    except ValueError as error:
        raise InvalidInput(f"{_quoted(text)}: {error}") from error


def _parsed(text: str) -> nodes.Expr:
    """The tree of an expression, checked."""
    if text.lstrip().startswith(("{{", "{%")):
        raise TemplateSyntaxError("an expression stands without braces", 1)
    parser = Parser(_ENVIRONMENT, text, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError("an expression ends before this does", parser.stream.current.lineno)
    check_tree(tree, _EXPRESSION)
    return tree


def _of_template(text: str) -> nodes.Expr | nodes.Template:
    """The tree of a template, checked; of one `{{ … }}` and nothing else, that of the expression."""
    tree = _ENVIRONMENT.parse(text.strip())
    alone = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(alone, nodes.Output) and len(alone.nodes) == 1 and not isinstance(alone.nodes[0], nodes.TemplateData):
        check_tree(alone.nodes[0], _EXPRESSION)
        return alone.nodes[0]
    tree = _ENVIRONMENT.parse(text)
    check_tree(tree, _TEMPLATE)
    return tree
