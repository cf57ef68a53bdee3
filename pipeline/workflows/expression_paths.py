"""What an expression reads, found in its tree: so that a spec can be checked before it runs, and a failure be named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import nodes

from pipeline.workflows.expression_filters import BY_ATTRIBUTE, ONE, SAME

Path = tuple[str, ...]
ITEM = "[]"
"""Stands in a path for any item of a list, or a member that is only known when the expression is evaluated."""
_Scope = Mapping[str, Path | None]


def reads_of(tree: nodes.Node) -> frozenset[Path]:
    """The longest paths that a tree reads; what a loop binds is resolved to what it runs over."""
    found: set[Path] = set()
    _use(tree, {}, found)
    return frozenset(found)


def path_of(tree: nodes.Node) -> Path | None:
    """Where the value of a tree lies, if it is taken from there as it is, or is a part of a list there."""
    return _walk(tree, {}, set())


def words(path: Path) -> str:
    """A path as people write it."""
    return ".".join(path).replace(f".{ITEM}", ITEM)


def absent(path: Path, visible: Mapping[str, Any]) -> str | None:
    """What a path leads to that is not there, in words; None where it is, or where only an item could tell."""
    at: Any = visible
    for place, part in enumerate(path):
        if part == ITEM:
            return None
        if not isinstance(at, Mapping):
            return f"{words(path[:place])} is no object and has no {part!r}"
        if part not in at:
            there = ", ".join(sorted(str(name) for name in at)[:12]) or "nothing"
            return f"there is no {words(path[: place + 1])}; {words(path[:place]) or 'it'} has: {there}"
        at = at[part]
    return None


def _use(node: nodes.Node, scope: _Scope, found: set[Path]) -> None:
    path = _walk(node, scope, found)
    if path is not None:
        found.add(path)


def _walk(node: nodes.Node, scope: _Scope, found: set[Path]) -> Path | None:
    """The path of a node's value, if it has one; what its parts read is added to `found`."""
    if isinstance(node, nodes.Name):
        return scope.get(node.name, (node.name,)) if node.ctx == "load" else None
    if isinstance(node, nodes.Getattr):
        base = _walk(node.node, scope, found)
        return None if base is None else (*base, node.attr)
    if isinstance(node, nodes.Getitem):
        return _getitem(node, scope, found)
    if isinstance(node, nodes.Filter):
        return _filter(node, scope, found)
    if isinstance(node, nodes.For):
        _for(node, scope, found)
        return None
    for child in node.iter_child_nodes():
        _use(child, scope, found)
    return None


def _getitem(node: nodes.Getitem, scope: _Scope, found: set[Path]) -> Path | None:
    base = _walk(node.node, scope, found)
    constant = isinstance(node.arg, nodes.Const)
    if not constant:
        _use(node.arg, scope, found)
    if base is None or isinstance(node.arg, nodes.Slice):
        return base
    return (*base, node.arg.value) if constant and isinstance(node.arg.value, str) else (*base, ITEM)  # type: ignore[attr-defined]


def _filter(node: nodes.Filter, scope: _Scope, found: set[Path]) -> Path | None:
    named: dict[str, nodes.Node] = {str(one.key): one.value for one in node.kwargs}
    for one in (*node.args, *named.values()):
        _use(one, scope, found)
    base = None if node.node is None else _walk(node.node, scope, found)
    if base is None:
        return None
    found.add(base)
    attribute = named.get("attribute")
    if attribute is None and node.name in ("selectattr", "rejectattr") and node.args:
        attribute = node.args[0]
    if node.name in BY_ATTRIBUTE and isinstance(attribute, nodes.Const) and "default" not in named:
        found.add((*base, ITEM, *str(attribute.value).split(".")))
    if node.name in SAME:
        return base
    return (*base, ITEM) if node.name in ONE else None


def _for(node: nodes.For, scope: _Scope, found: set[Path]) -> None:
    base = _walk(node.iter, scope, found)
    if base is not None:
        found.add(base)
    bound: dict[str, Path | None] = {"loop": None}
    if isinstance(node.target, nodes.Name):
        bound[node.target.name] = None if base is None else (*base, ITEM)
    else:
        bound.update(dict.fromkeys([name.name for name in node.target.find_all(nodes.Name)]))
    for one in node.body:
        _use(one, {**scope, **bound}, found)
    for one in node.else_:
        _use(one, scope, found)
