"""The prompts that come with the program: all kinds, each one complete, and its examples keep its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from kernel.records import Evidence, Passage
from pipeline.prompts.anatomy import RULES, SECTIONS, Kind
from pipeline.prompts.json_schema import schema_faults
from pipeline.prompts.library import DEFAULT, shipped_prompts
from pipeline.prompts.output import output_faults
from pipeline.prompts.rendering import Compiled, compile_prompt, render

RECORDED = "3e434b14594801b883f4cdc33ee8922e25e0cd2403d47c38fdb603f78edf3d33"
"""SHA-256 of the text that answers were recorded with before there was a library."""
STARTERS = sorted(shipped_prompts().keys() - {DEFAULT})
_CITED = re.compile(r"\[c(\d+)\]")


def compiled(name: str) -> Compiled:
    return compile_prompt(shipped_prompts()[name])


def evidence_of(case: Mapping[str, Any]) -> Evidence:
    passages = tuple(
        Passage(
            chunk_id=f"chk_{number}",
            document_id=f"doc_{number}",
            external_id=None,
            revision=1,
            source="case",
            title=one["title"],
            uri="",
            heading=(),
            text=one["text"],
            start=0,
            end=len(one["text"]),
            page=None,
            score=1.0,
        )
        for number, one in enumerate(case.get("context", ()), 1)
    )
    return Evidence(0, passages)


def test_the_library_covers_every_kind() -> None:
    kinds = {compiled(name).anatomy.header.kind for name in STARTERS}
    assert kinds == set(get_args(Kind))
    assert len(STARTERS) >= 26
    assert sum(compiled(name).anatomy.grounded for name in STARTERS) >= 8


def test_the_text_that_answers_were_recorded_with_is_unchanged() -> None:
    assert shipped_prompts()[DEFAULT].sha256 == RECORDED


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_is_complete(name: str) -> None:
    anatomy = compiled(name).anatomy
    header = anatomy.header
    assert header.owner == "vouch"
    assert all((header.description, header.folder, header.tags, header.review_by, header.audience))
    assert all(anatomy.sections[section] for section in SECTIONS)
    assert all(one.required or one.default is not None for one in header.inputs.values())
    assert anatomy.grounded or header.inputs
    names = [case["name"] for case in anatomy.cases]
    assert len(names) >= 2
    assert len(set(names)) == len(names)
    assert all(case["expect"] for case in anatomy.cases)


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_says_that_what_it_is_given_is_no_instruction(name: str) -> None:
    """In the part that the model gets as rules or right before the data."""
    anatomy = compiled(name).anatomy
    told = " ".join((anatomy.sections["context"], *(anatomy.sections[one] for one in RULES)))
    assert "instruction" in told


@pytest.mark.parametrize("name", STARTERS)
def test_every_case_renders(name: str) -> None:
    prompt = compiled(name)
    for case in prompt.anatomy.cases:
        assert prompt.anatomy.grounded == ("question" in case)
        messages = render(prompt, case.get("question", ""), evidence_of(case), case.get("inputs"))
        assert [message.role for message in messages] == [
            "system",
            *(turn.role for turn in prompt.anatomy.turns),
            "user",
        ]
        last = messages[-1].content
        texts = [case["question"]] if prompt.anatomy.grounded else list(_texts(case["inputs"]))
        plain = {str(case.get("inputs", {}).get(one, "")) for one in prompt.plain}
        assert all(text in last for text in texts if text not in plain)
        for text in texts:
            last = last.replace(text, "")
        assert not re.search(r"\{[{%]", last)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value.strip()] if isinstance(value, str) else []


@pytest.mark.parametrize("name", STARTERS)
def test_the_examples_keep_to_the_output_format(name: str) -> None:
    """A model learns from them, so they must be replies that the checks accept."""
    anatomy = compiled(name).anatomy
    for asked, reply in zip(anatomy.turns[::2], anatomy.turns[1::2], strict=True):
        if anatomy.grounded:
            shown = set(re.findall(r'<passage id="c(\d+)">', asked.text))
            lines = [line for line in re.split(r"\n|(?<=\]) ", reply.text) if line]
            assert reply.text == "NOT FOUND" or all(_CITED.search(line) for line in lines)
            assert {*_CITED.findall(reply.text)} <= shown
        else:
            named = set(re.findall(r'<input name="(\w+)">', asked.text))
            assert "<input" in asked.text or not anatomy.header.inputs, "an example looks like what the model gets"
            assert named <= anatomy.header.inputs.keys()
            assert "<input" not in reply.text
        if reply.text != "NOT FOUND":
            assert output_faults(anatomy.header.output, reply.text) == []


@pytest.mark.parametrize("name", STARTERS)
def test_the_output_schema_accepts_what_the_cases_expect(name: str) -> None:
    anatomy = compiled(name).anatomy
    schema = anatomy.header.output.json_schema
    expected = [one["at"] for case in anatomy.cases for one in case["expect"] if "at" in one]
    assert not expected or schema is not None
    for at in expected:
        part = _part(schema or {}, at["path"])
        for value in [*([at["equals"]] if "equals" in at else []), *at.get("in", [])]:
            assert schema_faults(value, part) == [], (at, part)


def _part(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The part of a schema that a path leads to; a schema that says nothing about a member allows anything."""
    for step in re.findall(r"[^.\[\]]+", path):
        if step.isdecimal():
            schema = schema["items"]
        else:
            assert "properties" not in schema or step in schema["properties"], f"{path}: no {step}"
            schema = schema.get("properties", {}).get(step, {})
    return schema


@pytest.mark.parametrize("name", STARTERS)
def test_the_cases_of_a_grounded_starter_ask_also_for_what_is_not_there(name: str) -> None:
    anatomy = compiled(name).anatomy
    if anatomy.grounded:
        kinds = {key for case in anatomy.cases for one in case["expect"] for key in one}
        assert {"abstains", "cites"} <= kinds
