"""Contracts between the steps of the workflows that come with the program, with the real kinds of steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fast_parts import fast_workspace

from api.flows import Flows
from kernel.errors import InvalidInput
from pipeline.workflows.chooser import autonomy_of
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.diagram import mermaid_of, svg_of, text_of
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.sheet import sheet_of
from pipeline.workflows.steps.base import Kind

SHIPPED = sorted((Path(__file__).parents[2] / "pipeline" / "workflows" / "shipped").glob("*.yaml"))
_READ = re.compile(r"(?:steps\.\w+\.output|input)(?:\.\w+)+")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Kind]]:
    with fast_workspace(tmp_path_factory.mktemp("kinds")) as workspace:
        yield Flows(workspace).kinds


def reads(text: str) -> dict[str, int]:
    """Each member that is read of a step, the input or an item, and where it first stands."""
    items = set(re.findall(r"as: (\w+)", text)) | set(re.findall(r"{% for (\w+) in", text))
    spans = [one.span() for one in _READ.finditer(text)]
    spans += [one.span() for name in items for one in re.finditer(rf"(?<![\w.]){name}(?:\.[a-z_]\w*)+", text)]
    return {text[begin:end]: end for begin, end in sorted(spans, reverse=True)}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_member_of_an_output_can_be_misspelt(path: Path, kinds: Mapping[str, Kind]) -> None:
    """Each workflow holds as it is, and with any one member that it reads misspelt it does not."""
    text = path.read_text(encoding="utf-8")
    check_workflow(read_workflow(text), kinds)
    found = reads(text)
    assert found
    missed = []
    for read, end in found.items():
        try:
            check_workflow(read_workflow(text[:end] + "x" + text[end:]), kinds)
            missed.append(read)
        except InvalidInput:
            continue
    assert missed == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_is_drawn_and_its_agents_are_ready(path: Path) -> None:
    workflow = read_workflow(path.read_text(encoding="utf-8"))
    assert [item for item in autonomy_of(workflow) if not item.green] == []
    for step in workflow.steps:
        assert all(step.id in drawn for drawn in (sheet_of(workflow), text_of(workflow)))
    assert all(drawn(workflow) == drawn(workflow) for drawn in (sheet_of, text_of, mermaid_of, svg_of))
