"""The reference of workflows' files against the code: members, filters and comparisons; its example runs its checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import fast_workspace
from pydantic import BaseModel

from api.flows import Flows
from kernel.errors import InvalidInput
from pipeline.workflows import forms, spec
from pipeline.workflows.contracts import RUN, check_workflow
from pipeline.workflows.expression_filters import COMPARISONS, FILTERS
from pipeline.workflows.reading import read_workflow

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "workflows.md").read_text(encoding="utf-8")
MODELS = [
    *(spec.Workflow, spec.Step, spec.Each, spec.Retry, spec.Undo, spec.Check, spec.Evidence, spec.Range, spec.Former),
    *(spec.Trigger, spec.Documents, spec.Queue, spec.RunAs, spec.Risk, spec.Worth, spec.GoTo),
    *(forms.Form, forms.Costs, forms.Autonomy, forms.Statement),
]


def members() -> Iterator[str]:
    for model in MODELS:
        yield from (field.alias or name for name, field in model.model_fields.items())


@pytest.mark.parametrize("name", sorted({*members(), *FILTERS, *COMPARISONS, *RUN["properties"]}))
def test_everything_that_can_be_written_is_documented(name: str) -> None:
    quoted = " ".join(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", quoted), f"the page does not mention {name}"


def test_every_model_of_a_file_is_among_those_that_are_looked_at() -> None:
    made = {
        one
        for module in (spec, forms)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == module.__name__
    }
    assert made == set(MODELS)


def test_the_example_of_the_page_holds(tmp_path: Path) -> None:
    """With the real kinds of steps: what it reads is what they give."""
    example = re.search(r"```yaml\n(name: .*?)```", PAGE, re.DOTALL)
    assert example is not None
    with fast_workspace(tmp_path) as workspace:
        kinds = Flows(workspace).kinds
        assert check_workflow(read_workflow(example[1]), kinds) == ()
        wrong = example[1].replace("output.answer }}", "output.answr }}")
        with pytest.raises(InvalidInput, match=r"step brief gives .*answer"):
            check_workflow(read_workflow(wrong), kinds)
