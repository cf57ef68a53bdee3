"""The sheet and the diagrams of a workflow: the same for the same file, and nothing that people wrote is markup."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.workflows.diagram import mermaid_of, svg_of, text_of
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.sheet import sheet_of
from pipeline.workflows.spec import Workflow

GOLDEN = Path(__file__).with_name("workflow_sheet.md")
WEEKLY = """name: weekly-review
title: Weekly performance review
description: Compares the numbers of the week with those of the four weeks before, and tells the team.
owner: mia
tags: [numbers, weekly]
stakes: high
review_by: 2027-06-30
deadline: 2d
run_as: {groups: [sales, ops]}
queue: {name: reports, limit: 2, priority: 3}
pilot_runs: 4
worth: {minutes_by_hand: 90, cost_per_hour: 60}
form: {steps_known: yes, repetitive: yes, risky: high, tools: [search], cost: {mistake: medium, run: 2},
       approval: before-effects, exceptions: frequent}
autonomy: {guardrails: {ready: true, why: It may only search.}, rollback: {ready: false, why: not tried yet}}
inputs:
  type: object
  required: [week]
  properties:
    week: {type: string, description: "ISO week, as 2026-W47"}
    drop: {type: number, default: 0.15}
    tone: {enum: [plain, formal]}
example: {week: 2026-W47}
risks:
  - {what: The numbers are old., met_by: fresh}
  - {what: The brief is wrong., met_by: agree}
triggers:
  - {cron: 0 8 * * mon, timezone: Europe/Berlin, input: {week: "{{ event.week }}"}}
  - {event: numbers.ready, when: event.final}
  - {documents: {source: numbers, debounce: 5m}}
  - {after: import-numbers, input: {week: "{{ run.output.week }}"}}
steps:
  - id: numbers
    kind: sql
    title: This week's numbers
    with: {query: "select * from n where week = :week", values: {week: "{{ input.week }}"}}
    checks:
      - {name: fresh, that: output.rows | length > 0}
      - {name: steady, former: {value: output.rows | sum(attribute='sum'), drop: 0.15}, otherwise: {go_to: dig}}
    retry: {attempts: 5, wait: 1m, factor: 1}
  - id: each_team
    kind: prompt
    needs: [numbers]
    each: {in: steps.numbers.output.rows, as: row, limit: 20, on_failure: skip}
    with: {prompt: brief, inputs: {row: "{{ row }}", tone: "{{ input.tone | default('plain') }}"}}
    checks: [{name: grounded, evidence: {supported: 0.9, confidence: 0.5}, otherwise: review}]
    timeout: 90s
  - {id: dig, kind: agent, needs: [numbers], with: {goal: Find out why., tools: {search: {}}}, on_failure: continue}
  - id: way
    kind: branch
    needs: [each_team]
    with: {routes: [{when: steps.each_team.output | length > 5, to: agree}], otherwise: note}
  - id: agree
    kind: review
    needs: [each_team]
    with: {about: "{{ steps.each_team.output | join }}", role: reviewer, deadline: 1d, effects: [send]}
    on_failure: {go_to: note}
  - id: send
    kind: deliver
    needs: [agree]
    when: input.week != "2026-W01"
    with: {to: mail, body: "{{ steps.agree.output.values }}"}
    undo: {kind: deliver, with: {to: mail, body: Sorry.}}
    retry: {attempts: 1}
  - {id: note, kind: deliver, with: {to: file, path: "notes/{{ input.week }}.md"}}
output: {sent: "{{ steps.send.output | default(none) }}"}
"""


def test_the_sheet_of_a_workflow() -> None:
    """Read it when it changes: this is what people read."""
    assert sheet_of(read_workflow(WEEKLY)) == GOLDEN.read_text(encoding="utf-8")


def test_a_diagram_shows_what_follows_what() -> None:
    drawn = text_of(read_workflow(WEEKLY))
    assert drawn == (
        "● by hand\n"
        "● by the timetable 0 8 * * mon (Europe/Berlin)\n"
        "● at the event numbers.ready, when event.final\n"
        "● at new or changed documents of numbers, once nothing has changed for 5 minutes\n"
        "● after a run of the workflow import-numbers\n"
        "     ─► numbers\n"
        "1. numbers (sql): This week's numbers\n"
        "     ─► each_team\n"
        "     ┄► dig   [not: steady]\n"
        "2. each_team (prompt)\n"
        "     for each row in steps.numbers.output.rows\n"
        "     ─► way\n"
        "3. dig (agent)\n"
        "     ─► done\n"
        "4. way (branch)\n"
        "     ─► agree   [steps.each_team.output | length > 5]\n"
        "     ─► note   [otherwise]\n"
        "5. agree (review)\n"
        '     ─► send   [when input.week != "2026-W01"]\n'
        "     ┄► note   [fails]\n"
        "6. send (deliver)\n"
        "     ─► done\n"
        "7. note (deliver)\n"
        "     ─► done\n"
        "■ done\n"
    )
    lines = mermaid_of(read_workflow(WEEKLY)).splitlines()
    assert lines[0] == "flowchart TD"
    assert '    s4{"way<br/>branch"}' in lines
    assert '    s4 -->|"otherwise"| s7' in lines
    assert '    s5 -.->|"fails"| s7' in lines


def tree(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own drawing


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    found = [one.attrib for one in tree(svg).iter("{http://www.w3.org/2000/svg}rect")]
    return [tuple(float(one[name]) for name in ("x", "y", "width", "height")) for one in found]  # type: ignore[misc]


def test_boxes_of_the_drawing_lie_beside_each_other_and_within_it() -> None:
    svg = svg_of(read_workflow(WEEKLY))
    view = [float(one) for one in tree(svg).attrib["viewBox"].split()]
    drawn = boxes(svg)
    assert len(drawn) == 9
    for left, top, width, height in drawn:
        assert min(left, top) >= 0
        assert left + width <= view[2]
        assert top + height <= view[3]
    for one, other in combinations(drawn, 2):
        assert abs(one[0] - other[0]) >= one[2] or abs(one[1] - other[1]) >= one[3]


def told(text: str) -> Workflow:
    """A workflow in which somebody wrote a text wherever texts may stand."""
    words = text.strip()[:80] or "x"
    step = {"id": "one", "kind": "sql", "title": words, "with": {text: words}, "when": words, "on_failure": "review"}
    step |= {"each": {"in": words}, "checks": [{"name": words, "judge": words}, {"name": words, "that": words}]}
    said = {"name": "told", "title": words, "description": words, "owner": words, "output": {text: words}}
    said |= {"run_as": {"groups": [words]}, "risks": [{"what": words, "met_by": words}], "example": {text: words}}
    said |= {"inputs": {"type": "object", "properties": {text: {"enum": [words], "description": words}}}}
    said |= {"triggers": [{"documents": {"source": words}, "when": words}, {"cron": words, "timezone": words[:64]}]}
    said |= {"steps": [step, {"id": "two", "kind": "review", "with": {"about": words, "person": words}}]}
    return Workflow.model_validate(said)


_TRAPS = r"""https://x.test www.x.test <script> <!-- ](x) ![ ``` ~~~ --- &lt; &#35; #quot; %%{init}%% end ]]
a@b.test "] \` </title> </svg> ]]> **a** _a_ ` * _ [ ] ( ) # + - . ! | ~ < > & { } : @ / \ " ' = ; % 1 a é"""
MARKUP = st.lists(
    st.sampled_from([*_TRAPS.split(), " ", "\n", "| a |", "- ", "1. ", "# ", "> ", "\u202e", "\x07"]),
    min_size=1,
    max_size=10,
).map("".join)
RENDER = MarkdownIt("gfm-like", {"linkify": False})


def shape(page: str) -> list[str]:
    """The tags of a rendered page, without its texts, and without what steps see: that depends on the expressions."""
    kept = "\n".join(line for line in page.split("\n") if not line.startswith("   - sees: "))
    return re.findall(r"</?\w+", RENDER.render(kept))


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(MARKUP)
@example("1. ")
def test_what_people_write_is_no_markup(text: str) -> None:
    """The page has the same tags as that of a harmless text, whatever was written; drawings stay whole."""
    nasty, harmless = told(text), told("x")
    assert shape(sheet_of(nasty)) == shape(sheet_of(harmless))
    assert len(boxes(svg_of(nasty))) == 4
    assert [one.tag for one in tree(svg_of(nasty)).iter()] == [one.tag for one in tree(svg_of(harmless)).iter()]
    for line, other in zip(mermaid_of(nasty).splitlines(), mermaid_of(harmless).splitlines(), strict=True):
        assert re.sub(r'"[^"]*"', '""', line) == re.sub(r'"[^"]*"', '""', other)
    assert text_of(nasty).count("\n") == text_of(harmless).count("\n")
