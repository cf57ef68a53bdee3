"""Reading a workflow's file: what it says, and that any other text is refused with line and field."""

from __future__ import annotations

import re
from datetime import date

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidInput
from pipeline.workflows.lines import InvalidWorkflow
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.spec import Workflow

TOY = """# A toy
name: toy
review_by: 2027-01-31
deadline: 2d
inputs:
  type: object
  properties: {on: {enum: [yes, no]}, at: {const: 12:30}}
steps:
  - id: find
    kind: retrieve
    retry: &often {attempts: 5, wait: 500ms}
    with: {query: "{{ input.on }}", code: 007, day: 2026-01-01, many: 0x10}
  - id: tell
    kind: deliver
    needs: [find]
    retry: *often
    checks:
      - {name: short, that: output | length < 9}
    on_failure: {go_to: find}
"""


def faults(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(InvalidWorkflow) as caught:
        read_workflow(text)
    assert str(caught.value).startswith("the workflow is not valid: line ")
    return [(one.line, one.field, one.message) for one in caught.value.faults]


def test_a_file_says_what_it_says() -> None:
    """Durations are seconds, dates and times and codes are texts, `on` and `yes` are words."""
    toy = read_workflow(TOY)
    assert (toy.name, toy.review_by, toy.deadline) == ("toy", date(2027, 1, 31), 172800)
    assert toy.inputs["properties"] == {"on": {"enum": ["yes", "no"]}, "at": {"const": "12:30"}}
    assert toy.steps[0].with_ == {"query": "{{ input.on }}", "code": "007", "day": "2026-01-01", "many": 16}
    assert toy.steps[1].retry == toy.steps[0].retry
    assert toy.steps[1].retry.wait == 0.5
    assert toy.lines.line(("steps", 1, "checks", 0, "that")) == 18
    assert toy.lines.line(("steps", 1, "checks", 0, "nosuch", 3)) == 18
    assert toy.lines.words(("steps", 1, "with", "to")) == "steps.tell.with.to"


def test_where_a_file_says_it_is_no_part_of_what_it_says() -> None:
    assert read_workflow(TOY) == read_workflow(TOY.replace("# A toy", "\n\n"))
    assert read_workflow(TOY) == Workflow.model_validate(
        yaml.safe_load(
            TOY.replace("yes, no", "'yes', 'no'")
            .replace("on:", "'on':")
            .replace("12:30", "'12:30'")
            .replace("007", "'007'")
            .replace("2026-01-01", "'2026-01-01'")
        )
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("name: toy", "name: Toy", 2, "name", "pattern"),
        ("name: toy", "nome: toy", 2, "name", "is missing"),
        ("name: toy", "nome: toy", 2, "nome", "there is no such member"),
        ("deadline: 2d", "deadline: 2 days", 4, "deadline", "a duration is a number and a unit"),
        ("2027-01-31", "2027-13-31", 3, "review_by", "month"),
        ("type: object", "type: thing", 5, "inputs", "not a JSON Schema"),
        ("kind: retrieve", "kind: [a]", 10, "steps.find.kind", "valid string"),
        ("attempts: 5", "attempts: 500", 11, "steps.find.retry.attempts", "less than or equal to 10"),
        ("attempts: 5", "attempts: five", 11, "steps.tell.retry.attempts", "valid integer"),
        ("needs: [find]", "needs: find", 15, "steps.tell.needs", "valid list"),
        ("that: output | length < 9", "that: a, judge: b", 18, "steps.tell.checks.0", "a check has one rule"),
        ("{go_to: find}", "maybe", 19, "steps.tell.on_failure", "'stop', 'continue' or 'review'; or: "),
        ("{go_to: find}", "{go_to: Find}", 19, "steps.tell.on_failure.go_to", "pattern"),
        ("  - id: tell", "  - ident: tell", 13, "steps.1.id", "is missing"),
        ("deadline: 2d", "name: again", 4, "", "the name 'name' stands twice"),
        ("deadline: 2d", "<<: {a: b}", 4, "", "merge keys"),
        ("deadline: 2d", "2: d", 4, "", "a name is a text"),
        ("deadline: 2d", "deadline: !!python/object:os.system d", 4, "", "the tag"),
        ("deadline: 2d", "deadline: .nan", 4, "", "a number that is too large, or none"),
        ("deadline: 2d", "deadline: " + "9" * 6000, 4, "", "too large"),
        ("deadline: 2d", "deadline: *nobody", 4, "", "undefined alias"),
        ("deadline: 2d", "deadline: &me [*me]", 4, "", "within itself"),
        ("deadline: 2d", "deadline: " + "[" * 5000, 4, "", "nested deeper"),
        ("deadline: 2d", "deadline: [" + "*often," * 200 + "]", 4, "", "more than 100 aliases"),
        ("deadline: 2d", "deadline: {", 6, "", "not YAML"),
        ("deadline: 2d", "deadline: \x07", 4, "", "not YAML"),
        ("deadline: 2d", "deadline: \ud800", 4, "", "a character that no file can hold"),
        ("deadline: 2d", "---", 4, "", "another document"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_field(old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in TOY
    found = faults(TOY.replace(old, new, 1))
    assert any(one[:2] == (line, field) and words in one[2] for one in found), found


def test_many_faults_are_counted() -> None:
    text = TOY.replace("on_failure", "a: 1\n    b: 2\n    c: 3\n    d: 4\n    e: 5\n    f: 6\n    on_failure")
    with pytest.raises(InvalidInput, match=r"line 19, steps.tell.a: .*; and 1 more$"):
        read_workflow(text)


def test_aliases_cannot_blow_a_file_up() -> None:
    rows = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 10)}]" for name in "bcdefgh"]
    assert "members" in faults("\n".join(rows))[0][2]
    assert "larger than 256 KiB" in faults("name: toy\n" + "# \n" * 90_000)[0][2]


_SCALARS = st.one_of(
    st.sampled_from(["toy", "find", "retrieve", "2d", "{{ x }}", "true", "null", "~", "1", "1.5", "*a", "&a 1", "!x y"])
    | st.sampled_from(["2027-01-01", "12:30", ".inf", "{}", "[]", "'", '"', "|", "- a", "? b", "<<", "%", "\t", "low"]),
    st.text(max_size=6),
)
_NAMES = """name version steps inputs triggers stakes deadline form id kind with needs each checks retry on_failure undo
go_to that judge schema range value attempts type properties cron event after risks what met_by example output"""
_MEMBERS = st.sampled_from(_NAMES.split())
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(_MEMBERS, _SCALARS), inner, max_size=5)
    ),
    max_leaves=14,
)


def _refused_or_read(text: str) -> None:
    said = ""
    try:
        assert isinstance(read_workflow(text), Workflow)
    except InvalidInput as error:
        said = str(error)
    assert not said or re.match(r"the workflow is not valid: line \d+", said)


@settings(deadline=None, max_examples=500, derandomize=True, database=None)
@given(_TREES)
def test_any_yaml_is_a_workflow_or_refused_with_a_line(tree: object) -> None:
    _refused_or_read(yaml.safe_dump(tree, allow_unicode=True))
    _refused_or_read(yaml.safe_dump({"name": "toy", "steps": [{"id": "a", "kind": "b", "with": {"x": tree}}, tree]}))


@settings(deadline=None, max_examples=500, derandomize=True, database=None)
@given(st.text(max_size=80), st.integers(0, len(TOY)), st.integers(0, 12))
def test_any_text_is_a_workflow_or_refused_with_a_line(text: str, begin: int, length: int) -> None:
    """Any text by itself, and put into a file in the place of a part of it."""
    _refused_or_read(text)
    _refused_or_read(TOY[:begin] + text + TOY[begin + length :])


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(_TREES, _MEMBERS)
def test_any_member_is_read_or_refused_with_a_line(tree: object, name: str) -> None:
    data = yaml.safe_load(TOY)
    _refused_or_read(yaml.safe_dump({**data, name: tree}))
    data["steps"][1][name] = tree
    _refused_or_read(yaml.safe_dump(data))
