"""A workflow's file in pieces as it was written: by member, and within `steps` by step; comments stay in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

HEAD = "head"
"""What stands before the first member."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def sections_of(text: str) -> dict[str, str]:
    """The pieces of a file that was read before, in order; `steps.find` is the step of that id."""
    lines = text.splitlines()
    begins = [(0, HEAD), *_members(yaml.compose(text, Loader=_LOADER))]
    ends = [line for line, _ in begins[1:]] + [len(lines)]
    pieces = {
        name: "\n".join(lines[begin:end]).rstrip()
        for (begin, name), end in zip(begins, ends, strict=True)
        if end > begin
    }
    return {name: piece for name, piece in pieces.items() if piece or name != HEAD}


def _members(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """The line that each piece begins in, from 0, and what it is called."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        yield key.start_mark.line, str(key.value)
        if key.value == "steps" and isinstance(value, yaml.SequenceNode) and not value.flow_style:
            yield from _steps(value.value)


def _steps(items: Sequence[yaml.Node]) -> Iterator[tuple[int, str]]:
    for number, item in enumerate(items, 1):
        found = dict(_scalars(item))
        yield item.start_mark.line, f"steps.{found.get('id', number)}"


def _scalars(node: yaml.Node) -> Iterator[tuple[str, str]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(value, yaml.ScalarNode):
            yield str(key.value), value.value
