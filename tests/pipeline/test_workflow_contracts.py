"""Specs checked before a run: steps that do not fit each other, effects that no person allows, what cannot run."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workflow_kinds import KINDS

from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.diagram import mermaid_of, svg_of, text_of
from pipeline.workflows.lines import Fault, InvalidWorkflow
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.schema_paths import NoSuchMember, schema_at, types_of
from pipeline.workflows.sheet import sheet_of
from pipeline.workflows.spec import Workflow
from pipeline.workflows.steps.transform import TransformKind

TRIAGE = """name: triage
stakes: medium
inputs: {type: object, required: [ticket], properties: {ticket: {type: string}, most: {type: integer}}}
example: {ticket: It does not print., most: 3}
triggers:
  - {cron: 0 8 * * mon, timezone: Europe/Berlin, input: {ticket: weekly, most: "{{ event.most }}"}}
  - {event: ticket.opened, when: event.open}
risks: [{what: a wrong class, met_by: sure}, {what: a bad reply, met_by: look}]
steps:
  - id: find
    kind: find
    with: {query: "{{ input.ticket }}", top_k: "{{ input.most }}"}
  - id: sort
    kind: classify
    needs: [find]
    each: {in: steps.find.output.results, as: row, limit: 500}
    with: {text: "{{ row.text }} ({{ run.id }})", labels: [known, odd]}
    checks:
      - {name: sure, that: output.score > 0.5 and row.score > 0, otherwise: {go_to: dig}}
  - id: way
    kind: branch
    needs: [sort]
    with:
      routes: [{when: "(steps.sort.output | first).label == 'odd'", to: ask}]
      otherwise: look
  - {id: dig, kind: agent, needs: [sort], with: {goal: "{{ input.ticket }}", success: result.why | length > 3}}
  - {id: ask, kind: find, with: {query: x}}
  - id: look
    kind: review
    needs: [sort]
    with: {about: "{{ (steps.sort.output | first).label }}", effects: [reply]}
  - id: reply
    kind: send
    needs: [look]
    with: {to: mail, body: "{{ steps.look.output.values }}"}
    undo: {kind: send, with: {to: mail, body: "sorry for {{ output }}"}}
output: {labels: "{{ steps.sort.output | map(attribute='label') }}"}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidWorkflow) as caught:
        check_workflow(read_workflow(text), KINDS)
    return [str(one) for one in caught.value.faults]


def test_a_workflow_that_holds() -> None:
    assert check_workflow(read_workflow(TRIAGE), KINDS) == ()


CASES = r"""
kind: find\n
kind: fund\n
line 11, steps.find.kind: there is no kind 'fund'; there are: agent, branch,

needs: [find]
needs: [fund]
line 15, steps.sort.needs.0: it needs 'fund', and there is no such step

needs: [find]
needs: []
line 16, steps.sort.each.in: steps.find.output.results: step sort does not name

go_to: dig
go_to: dug
line 19, steps.sort.checks.0.otherwise.go_to: it leads to 'dug', and there is no

to: ask}
to: asks}
line 24, steps.way.with.routes.0.to: it leads to 'asks', and there is no such step

otherwise: look
otherwise: nobody
line 25, steps.way.with.otherwise: it leads to 'nobody'

effects: [reply]
effects: [replay]
line 31, steps.look.with.effects.0: there is no step 'replay'

effects: [reply]
effects: [sort]
effects.0: the step 'sort' has no effect that a review could allow

effects: [reply]
effects: []
line 32, steps.reply: what it does is felt outside, and stakes are medium

needs: [look]
needs: [sort]
effects.0: the step 'reply' does not need 'look'

needs: [find]
needs: [find, way]
steps need each other in a circle: sort, way

needs: [find]
needs: [find, sort]
steps need each other in a circle: sort

to: ask}
to: sort}
routes.0.to: it leads back to 'sort', which comes before it

go_to: dig
go_to: sort
otherwise.go_to: it leads back to 'sort'

kind: find, with: {query: x}
kind: find, when: 1 > 2, with: {query: x}
`1 > 2` never holds: nothing

id: ask
id: find
there are two steps 'find'

(steps.sort.output | first).label }}
(steps.sort.output | first).labell }}
line 31, steps.look.with.about: steps.sort.output[].labell: steps.sort.output[] has label, score

output.score > 0.5
output.scor > 0.5
line 19, steps.sort.checks.0.that: output.scor: output has label, score

row.text }}
row.txt }}
line 17, steps.sort.with.text: row.txt: row has text, score

{{ row.text }}
{{ item.text }}
steps.sort.with.text: there is no item here; there are: input, place, row, run, steps

run.id
run.ident
run.ident: run has id, workflow,

input.ticket }}", top
input.tickets }}", top
line 12, steps.find.with.query: input.tickets: input has ticket, most

steps.look.output.values
steps.look.outcome
a step shows its error, output, status

steps.look.output.values
steps
an expression names the step that it reads

(steps.sort.output | first).label == 'odd'
steps.find.output.results
routes.0.when: steps.find.output.results: step way

{{ output }}
{{ outputs }}
line 36, steps.reply.undo.with.body: there is no outputs here

map(attribute='label')
map(attribute='labels')
line 37, output.labels: steps.sort.output[].labels: steps.sort.output[] has

{{ run.id }}
{{ run.id | shout }}
steps.sort.with.text: `{{ row.text }} ({{ run.id | shout }})`: no filter

output.score > 0.5
output.score >
checks.0.that: `output.score > and row.score > 0`

event.open
input.ticket
line 7, triggers.1.when: there is no input here; there are: event, steps

success: result.why
success: answer.why
with.success: there is no answer here

top_k: "{{ input.most }}"
top: 3
line 12, steps.find.with.top: there is no such member; query, top_k, wait may

top_k: "{{ input.most }}"
top_k: 99
line 12, steps.find.with.top_k: Input should be less than or equal to 50

top_k: "{{ input.most }}"
top_k: "{{ input.ticket }}"
line 12, steps.find.with.top_k: {{ input.ticket }} is string, and integer stands here

query: "{{ input.ticket }}", top_k
top_k
line 12, steps.find.with.query: is missing

query: "{{ input.ticket }}"
query: "{{ input }}"
with.query: {{ input }} is object, and string stands here

labels: [known, odd]
labels: [known]
steps.sort.with.labels: List should have at least 2 items

labels: [known, odd]
labels: [known, odd], prompt: nosuch
steps.sort.with: there is no prompt 'nosuch'

to: mail, body: "{{
to: nail, body: "{{
line 35, steps.reply.with.to: Input should be 'file' or 'mail'

in: steps.find.output.results
in: input.ticket
line 16, steps.sort.each.in: `input.ticket` is string, not a list

limit: 500
limit: 50
steps.sort.each.limit: the list may hold 500 items, and the loop takes 50

as: row
as: input
'input' is the name of something else

most: 3}
most: three}
line 4, example.most: 'three' is not of type 'integer'

ticket: weekly, most
most
line 6, triggers.0.input: as a run's input, 'ticket' is a required property

Berlin, input: {ticket: weekly, most: "{{ event.most }}"}
Berlin
'ticket' is a required property

0 8 * * mon
0 8 * * mon2
line 6, triggers.0.cron: '0 8 * * mon2' is not a timetable

0 8 * * mon
0 8 31 2 *
triggers.0.cron: '0 8 31 2 *' never comes

0 8 * * mon
R 8 * * *
is not a timetable

Europe/Berlin
Europe/Nowhere
triggers.0.timezone: there is no time zone 'Europe/Nowhere'

cron: 0 8 * * mon, timezone: Europe/Berlin
after: triage
a workflow that starts after itself never ends

met_by: look
met_by: luck
line 8, risks.1.met_by: there is no step and no check 'luck'

kind: send, with: {to: mail
kind: sent, with: {to: mail
steps.reply.undo.kind: there is no kind 'sent'

kind: send, with: {to: mail
kind: send, with: {to: file
undo.kind: a step of kind 'send' has no effect

with: {query: x}
with: {query: x}, undo: {kind: send, with: {to: mail}}
a step of kind 'find' does nothing

type: object, required
type: array, required
line 3, inputs: a run's input is an object

effects: [reply]}
effects: [reply], form: {properties: {n: {type: integer, default: "{{ input.ticket }}"}}}}
form.properties.n.default: {{ input.ticket }} is string, and the form asks for integer

kind: review\n
kind: review\n    on_failure: continue\n
goes on where it fails, so 'reply' could run
"""
"""Three lines each: what is taken out of the file above, what is put in its place, what is then said."""


@pytest.mark.parametrize("case", CASES.strip().split("\n\n"))
def test_what_does_not_hold_is_named_with_line_and_field(case: str) -> None:
    old, new, wanted = (line.replace("\\n", "\n") for line in case.split("\n"))
    assert old in TRIAGE
    found = faults(TRIAGE.replace(old, new, 1))
    assert any(wanted in one for one in found), found


def test_low_stakes_need_no_people_and_high_ones_do() -> None:
    alone = TRIAGE.replace("effects: [reply]", "effects: []")
    assert check_workflow(read_workflow(alone.replace("stakes: medium", "stakes: low")), KINDS) == ()
    assert "stakes are high" in faults(alone.replace("stakes: medium", "stakes: high"))[0]


def test_a_review_far_before_an_effect_allows_it_only_if_nothing_goes_around_it() -> None:
    """A review that may be left out, beside another need that may then do, does not."""
    far = TRIAGE.replace("needs: [look]", "needs: [mid]") + ""
    far = far.replace("  - id: reply\n", "  - {id: mid, kind: find, needs: [look], with: {query: x}}\n  - id: reply\n")
    far = far.replace("steps.look.output.values", "steps.mid.output.results")
    assert check_workflow(read_workflow(far), KINDS) == ()
    around = TRIAGE.replace("    kind: review\n", "    kind: review\n    when: input.most > 2\n")
    assert check_workflow(read_workflow(around), KINDS) == ()
    assert "may be left out by its `when`" in faults(around.replace("needs: [look]", "needs: [look, find]"))[0]


def test_expressions_of_kinds_are_found_where_they_stand() -> None:
    text = TRIAGE.replace('to: mail, body: "{{', 'to: mail, when_sent: steps.nosuch.output, body: "{{', 1)
    assert "line 35, steps.reply.with.when_sent: steps.nosuch.output: there is no step 'nosuch'" in faults(text)[0]


PAIRS = """name: pairs
stakes: low
inputs: {type: object, properties: {rows: {type: array, items: {type: object, properties: {sum: {type: number}}}}}}
steps:
  - id: shape
    kind: transform
    with:
      value:
        high: "{{ input.rows | selectattr('sum', '>', 3) | sort(attribute='sum') }}"
        said: of {{ input.rows | length }}
        fixed: [1]
  - id: each
    kind: transform
    needs: [shape]
    each: {in: steps.shape.output.high}
    with: {value: {own: "{{ item.sum }}"}}
  - {id: last, kind: find, needs: [shape, each], with: {query: "{{ steps.shape.output.said }}", top_k: 3}}
output: {all: "{% for one in steps.each.output %}{{ one.own }}{% endfor %}"}
"""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("item.sum", "item.sun", "steps.each.with.value.own: item.sun: item has sum"),
        (
            "output.high}",
            "output.hig}",
            "steps.each.each.in: steps.shape.output.hig: step shape gives fixed, high, said",
        ),
        ("output.high}", "output.said}", "`steps.shape.output.said` is string, not a list"),
        ("output.said }", "output.high }", "{{ steps.shape.output.high }} is array, and string stands here"),
        ("one.own", "one.owns", "output.all: steps.each.output[].owns: steps.each.output[] has own"),
    ],
)
def test_what_is_shaped_by_templates_is_known_by_what_they_read(old: str, new: str, wanted: str) -> None:
    kinds = {**KINDS, "transform": TransformKind()}
    assert check_workflow(read_workflow(PAIRS), kinds) == ()
    with pytest.raises(InvalidWorkflow) as caught:
        check_workflow(read_workflow(PAIRS.replace(old, new, 1)), kinds)
    assert any(wanted in str(one) for one in caught.value.faults), caught.value.faults


def test_what_a_kind_reads_from_another_type_is_not_judged_by_its_type() -> None:
    """A duration is a number that is read from a text: a template of either may stand there."""
    for name in ("ticket", "most"):
        text = TRIAGE.replace('top_k: "{{ input.most }}"', f'wait: "{{{{ input.{name} }}}}"')
        assert check_workflow(read_workflow(text), KINDS) == ()


def test_a_workflow_that_was_not_read_from_a_text_is_checked_too() -> None:
    data = {"name": "bare", "steps": [{"id": "a", "kind": "find", "with": {"query": "{{ input.x }}"}}]}
    with pytest.raises(InvalidWorkflow, match=r"steps\.a\.with\.query: input\.x: input has nothing"):
        check_workflow(Workflow.model_validate(data), KINDS)


_PIECES = re.findall(r"[\w.]+|[^\w\s]", TRIAGE)


@settings(deadline=None, max_examples=400, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, len(_PIECES) - 1), st.sampled_from(_PIECES)), min_size=1, max_size=4))
def test_any_workflow_is_checked_or_refused_with_lines(changes: list[tuple[int, str]]) -> None:
    """Words of a file put in each other's places: it is refused with a line, or it holds, and then it can be drawn."""
    pieces = [one.span() for one in re.finditer(r"[\w.]+|[^\w\s]", TRIAGE)]
    text = TRIAGE
    for place, new in sorted(changes, reverse=True):
        begin, end = pieces[place]
        text = text[:begin] + new + text[end:]
    refused: tuple[Fault, ...] = ()
    try:
        workflow = read_workflow(text)
        check_workflow(workflow, KINDS)
        assert all(drawn(workflow) for drawn in (sheet_of, mermaid_of, svg_of, text_of))
    except InvalidWorkflow as error:
        refused = error.faults
    assert all(one.line >= 1 and one.message for one in refused)


@pytest.mark.parametrize(
    ("schema", "path", "found"),
    [
        ({}, ("a", "[]", "b"), {}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"a": {"type": "string"}}}}}, ("a",), {"type": "string"}),
        ({"anyOf": [{"type": "null"}, {"properties": {"a": {"const": 1}}}]}, ("a",), {"const": 1}),
        ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, ("a",), {}),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {}}}]}, ("a",), {"const": 1}),
        ({"properties": {"a": {}}, "additionalProperties": True}, ("b",), {}),
        ({"additionalProperties": {"const": 2}}, ("b",), {"const": 2}),
        ({"type": "array", "items": {"properties": {"a": {"const": 3}}}}, ("[]", "a"), {"const": 3}),
        ({"properties": {"a": {}}}, ("b",), None),
        ({"type": "object", "additionalProperties": False}, ("b",), None),
        ({"type": "string"}, ("b",), None),
        ({"enum": ["x", "y"]}, ("b",), None),
        ({"type": "integer"}, ("[]",), None),
        ({"anyOf": [{"type": "string"}, {"properties": {"a": {}}}]}, ("b",), None),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, ("c",), None),
        ({"$ref": "#"}, ("a",), {}),
    ],
)
def test_what_a_schema_says_of_a_member(schema: dict, path: tuple, found: dict | None) -> None:  # type: ignore[type-arg]
    if found is not None:
        assert schema_at(schema, path) == found
        return
    with pytest.raises(NoSuchMember):
        schema_at(schema, path)


def test_the_types_that_a_schema_lets_through() -> None:
    assert types_of({"anyOf": [{"type": "string"}, {"enum": [1, None]}]}) == {"string", "integer", "null"}
    assert types_of({"anyOf": [{"type": "string"}, {}]}) is None
    assert types_of({"type": ["array", "null"]}) == {"array", "null"}
