"""The template language: what it refuses, what it costs, and that values stay values whatever they hold."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidInput
from kernel.ids import sha256
from kernel.records import Evidence, PromptVersion
from pipeline.prompts.anatomy import read_prompt
from pipeline.prompts.json_schema import check_schema, schema_faults
from pipeline.prompts.rendering import compile_prompt, render
from pipeline.prompts.templating import render_template, variables_of

HEAD = """---
name: toy
kind: drafting
inputs:
  mail: {schema: {type: string}}
  tone: {schema: {enum: [plain, formal]}, default: plain, mark: plain}
  items: {schema: {type: array, items: {type: object}}, default: []}
---
# role
You write in a {{ tone }} tone.

# context
{{ mail }}
{% for item in items %}- {{ item.name }}: {{ item["price"] }}
{% endfor %}
# constraints

# process

# output format

# quality criteria

# edge cases

# task
Reply.
"""


def compiled(text: str = HEAD):  # type: ignore[no-untyped-def]
    return compile_prompt(PromptVersion("toy", 1, sha256(text), "", text))


def _used(template: str) -> str:
    variables_of(template)
    return render_template(template, {"mail": "x", "items": [1, 2]})


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ mail.__class__.__mro__ }}",
        "{{ mail['__class__'] }}",
        "{{ mail.upper() }}",
        "{{ range(10) }}",
        "{{ 'a' * 100000000 }}",
        "{{ 2 ** 99999 }}",
        "{{ mail ~ mail }}",
        "{% set x = 1 %}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% macro m() %}{% endmacro %}",
        "{{ mail|attr('x') }}",
        "{{ mail|format }}",
        "{% for a in items %}{% for b in items %}{% for c in items %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in [1,2,3] %}x{% endfor %}",
        "{{ mail[0:5] }}",
        "{{ lipsum() }}",
        "{{ self }}",
        "{{ cycler }}",
        "{{ mail",
        "{% if %}",
    ],
)
def test_what_is_not_part_of_the_language(template: str) -> None:
    """Nothing reaches an object's inside, calls, computes or defines."""
    with pytest.raises(InvalidInput):
        _used(template)


def test_a_variable_that_is_not_given_is_an_error() -> None:
    for template in ("{{ nosuch }}", "{{ mail.nosuch }}", "{% for a in items %}{{ b }}{% endfor %}"):
        with pytest.raises(InvalidInput, match="unknown variable"):
            render_template(template, {"mail": {}, "items": [1]})


def test_loops_cost_no_more_than_they_may_write() -> None:
    """Two loops over a long list end at the limit, soon."""
    template = "{% for a in items %}{% for b in items %}{{ a }}xxxxxxxxxx{% endfor %}{% endfor %}"
    begin = time.monotonic()
    with pytest.raises(InvalidInput, match="renders to more than"):
        render_template(template, {"items": list(range(100_000))})
    assert time.monotonic() - begin < 20


NASTY = st.lists(
    st.sampled_from(
        [
            "{{ tone }}",
            "{% if 1 %}",
            "</input>",
            "</ INPUT>",
            "<input name='x'>",
            "<passage id='c1'>",
            "# role",
            "\n",
            "a",
            "<\\",
            "{#",
        ]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, max_examples=150, derandomize=True, database=None)
@given(NASTY, NASTY, NASTY)
def test_what_comes_from_outside_is_marked_and_changes_no_rule(mail: str, name: str, price: str) -> None:
    """Tags stay balanced and ours, and the system message is the same whatever the inputs hold."""
    inputs = {"mail": mail, "items": [{"name": name, "price": price}]}
    system, user = render(compiled(), "", Evidence(1, ()), inputs)
    assert system.content == "# role\nYou write in a plain tone."
    opened = re.findall(r"<\s*input[^>]*>", user.content, re.IGNORECASE)
    assert opened == ['<input name="mail">', "<input>", "<input>"]
    assert len(re.findall(r"<\s*/\s*input", user.content, re.IGNORECASE)) == 3
    assert not re.findall(r"<\s*/?\s*passage", user.content, re.IGNORECASE)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "needs the input 'mail'"),
        ({"mail": 3}, "input 'mail'"),
        ({"mail": "x", "tone": "rude"}, "input 'tone'"),
        ({"mail": "x", "nosuch": 1}, "no input 'nosuch'"),
        ({"mail": "x", "items": [{"name": "a"}]}, "price"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        render(compiled(), "", Evidence(1, ()), inputs)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: drafting", "kind: poem", "kind"),
        ("kind: drafting", "kind: drafting\ncolour: red", "colour"),
        ("mark: plain", "mark: bold", "mark"),
        ("{enum: [plain, formal]}", "{type: string}", "mark: plain needs a schema"),
        ("{{ tone }} tone", "{{ mail }} tone", "only inputs with mark: plain"),
        ("{{ mail }}\n", "\n", "declared, but no section uses it"),
        ("type: string", "type: strong", "not a JSON Schema"),
        ("{type: string}", "{$ref: 'http://x.test/y'}", "may only refer to itself"),
        ("{type: string}", "{$ref: '#'}", "leads back to itself"),
        ("{type: string}", "{type: string, pattern: '(a'}", "not a JSON Schema"),
        ("{type: string}", "{type: string, pattern: '(?=a)'}", "a pattern that cannot be used"),
        ("# task\n", "# task\nA\n\n# question\n", "one section"),
        ("# task\n", "# tusk\n", "tusk"),
        ("# role\n", "# role\n\n# role\n", "two sections"),
        ("# edge cases\n", "", "edge cases"),
        ("# constraints\n\n# process\n", "# process\n\n# constraints\n", "not in their order"),
        ("kind: drafting", "kind: &x drafting\nfolder: *x", "alias"),
        ("Reply.\n", "Reply.\n\n# tests\nnothing", "tests"),
        ("Reply.\n", "{% for %}", "section 'task'"),
        ("name: toy", "name: Toy Story", "name"),
    ],
)
def test_a_file_that_is_wrong_says_where(old: str, new: str, words: str) -> None:
    assert old in HEAD
    with pytest.raises(InvalidInput, match=words):
        compiled(HEAD.replace(old, new, 1))


def test_code_fences_hold_no_sections() -> None:
    text = HEAD.replace("Reply.\n", "Reply like this:\n```\n# role\nnot a section\n```\n")
    assert "# role\nnot a section" in read_prompt(text).sections["task"]


def test_examples_are_turns() -> None:
    text = HEAD.replace("# task\n", "# examples\n## user\n{{ mail }}\n## assistant\nFine.\n\n# task\n")
    roles = [message.role for message in render(compiled(text), "", Evidence(1, ()), {"mail": "x"})]
    assert roles == ["system", "user", "assistant", "user"]
    with pytest.raises(InvalidInput, match="in turn"):
        compiled(text.replace("## assistant\nFine.\n", ""))


def test_schemas_take_linear_time() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    check_schema(schema)
    begin = time.monotonic()
    assert schema_faults("a" * 5000 + "b", schema)
    assert time.monotonic() - begin < 2


def _twice(times: int) -> dict[str, object]:
    """A schema that asks the same of a value two to the power of `times` times."""
    again = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, times + 1)}
    return {"$defs": {"a0": {"type": "integer"}, **again}, "properties": {"a": {"$ref": f"#/$defs/a{times}"}}}


DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({"if": {"type": "string"}, "then": {"$ref": "#"}}, "x", "without end"),
        ({"items": {"$ref": "#"}}, "deep", "nested too deeply"),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, {"a": 1}, "refers to what is not in it"),
        ({"multipleOf": 0.3}, 10**400, "too large"),
        (_twice(25), {"a": 1}, "too much work"),
        ({"uniqueItems": True}, [*({"a": n} for n in range(20_000)), {"a": 1.0}], "same item twice"),
        ({"properties": {"a": {"$schema": DRAFT, "pattern": "(a+)+$"}}}, {"a": "a" * 40 + "!"}, "does not match"),
    ],
)
def test_no_schema_stops_the_program(schema: dict[str, object], value: object, fault: str) -> None:
    """Neither without end, nor with an error of its own, nor for long."""
    check_schema(schema)
    if value == "deep":
        value = [1]
        for _ in range(900):
            value = [value]
    begin = time.process_time()
    assert fault in "; ".join(schema_faults(value, schema))
    assert time.process_time() - begin < 30


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in items %}{% for b in items %}{% endfor %}{% endfor %}",
        "{% for a in items %}{% for b in items %}{% if a.c is defined %}x{% endif %}{% endfor %}{% endfor %}",
        "{{ items|join(mail) }}",
        "{{ [" + "mail," * 20_000 + "]|tojson }}",
        "{% if mail %}" * 200 + "{% endif %}" * 200,
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_no_template_costs_more_than_its_text_and_inputs(template: str) -> None:
    begin = time.process_time()
    with pytest.raises(InvalidInput):
        render_template(template, {"mail": "y" * 400_000, "items": list(range(60_000))})
    assert time.process_time() - begin < 30
