"""A workflow's diagram, from its file alone: Mermaid, SVG or plain text; the same file gives the same diagram.

Solid arrows are what follows; dashed ones are where a check or a failure leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from pipeline.workflows import phrases
from pipeline.workflows.spec import GoTo, Step, Workflow

START, END = "start", "end"
"""Marks that are no ids of steps: those of arrows from and to nothing."""
LONGEST = 48
"""Characters of a label."""
_BOX, _GAP, _HIGH, _RISE = 216, 28, 52, 64
"""Pixels of the SVG: the width of a box, the room beside it, its height, the room below it."""
_SAFE = re.compile(r"[^\w .,'()/-]", re.ASCII)
_BRACKETS = {"branch": ("{", "}"), "review": ("[/", "/]"), "agent": ("[[", "]]"), "deliver": ("([", "])")}


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a step to another; `label` says when, where that is not always."""

    origin: str
    target: str
    label: str = ""
    dashed: bool = False


def arrows_of(workflow: Workflow) -> list[Arrow]:
    """The arrows between steps, from the start, and to the end, in the order of the steps."""
    led = [one for one in _led(workflow) if one.target in workflow.by_id]
    found: list[Arrow] = []
    for step in workflow.order:
        if step.id not in workflow.diverted:
            found += [Arrow(one, step.id, _condition(step)) for one in step.needs or [START]]
    left = {one.origin for one in (*found, *led) if not one.dashed}
    return [*found, *led, *(Arrow(step.id, END) for step in workflow.order if step.id not in left)]


def _condition(step: Step) -> str:
    return f"when {step.when}" if step.when is not None else ""


def _led(workflow: Workflow) -> Iterator[Arrow]:
    for step in workflow.order:
        given = step.with_.get("routes") if step.kind == "branch" else None
        for one in given if isinstance(given, list) else ():
            if isinstance(one, Mapping) and isinstance(one.get("to"), str):
                yield Arrow(step.id, one["to"], str(one.get("when", "")))
        if step.kind == "branch" and isinstance(step.with_.get("otherwise"), str):
            yield Arrow(step.id, step.with_["otherwise"], "otherwise")
        for check in step.checks:
            if isinstance(check.otherwise, GoTo):
                yield Arrow(step.id, check.otherwise.go_to, f"not: {check.name}", dashed=True)
        if isinstance(step.on_failure, GoTo):
            yield Arrow(step.id, step.on_failure.go_to, "fails", dashed=True)


def _short(text: str, longest: int = LONGEST) -> str:
    text = phrases.one_line(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _starts(workflow: Workflow) -> list[str]:
    return ["by hand", *("".join(phrases.trigger(one)) for one in workflow.triggers)]


def _title(step: Step) -> str:
    return f"{_short(step.label, 32)} × {step.each.as_}" if step.each is not None else _short(step.label, 32)


# --- Mermaid ----------------------------------------------------------------------------------------------------------


def mermaid_of(workflow: Workflow) -> str:
    """A flowchart in the language of Mermaid."""
    ids = {step.id: f"s{number}" for number, step in enumerate(workflow.order, start=1)} | {START: "s0", END: "z"}
    lines = ["flowchart TD", f'    s0(["{_quoted(_short("; ".join(_starts(workflow)), 120))}"])']
    for step in workflow.order:
        opening, closing = _BRACKETS.get(step.kind, ("[", "]"))
        lines.append(f'    {ids[step.id]}{opening}"{_quoted(_title(step))}<br/>{_quoted(step.kind)}"{closing}')
    lines.append('    z(["done"])')
    for one in arrows_of(workflow):
        line = "-.->" if one.dashed else "-->"
        label = f'|"{_quoted(_short(one.label))}"|' if one.label else ""
        lines.append(f"    {ids[one.origin]} {line}{label} {ids[one.target]}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text in which nothing is markup of Mermaid or HTML: all but plain characters by their number."""
    return _SAFE.sub(lambda found: f"#{ord(found[0])};", text)


# --- Plain text -------------------------------------------------------------------------------------------------------


def text_of(workflow: Workflow) -> str:
    """The steps in order, each with where it leads to."""
    arrows = arrows_of(workflow)
    lines = [*(f"● {_short(one, 100)}" for one in _starts(workflow)), *_leads(START, arrows)]
    for number, step in enumerate(workflow.order, start=1):
        lines.append(f"{number}. {step.id} ({step.kind}){'' if step.title is None else f': {_short(step.title)}'}")
        if step.each is not None:
            lines.append(f"     for each {step.each.as_} in {_short(step.each.in_)}")
        lines += _leads(step.id, arrows)
    return "\n".join([*lines, "■ done"]) + "\n"


def _leads(origin: str, arrows: list[Arrow]) -> list[str]:
    return [
        f"     {'┄►' if one.dashed else '─►'} {'done' if one.target == END else one.target}"
        + (f"   [{_short(one.label)}]" if one.label else "")
        for one in arrows
        if one.origin == origin
    ]


# --- SVG --------------------------------------------------------------------------------------------------------------


def svg_of(workflow: Workflow) -> str:
    """The diagram as an SVG document: rows of boxes, each row after those that lead to it."""
    arrows = arrows_of(workflow)
    rows = _rows(workflow, arrows)
    widest = max(len(row) for row in rows)
    width, height = widest * (_BOX + _GAP) + _GAP, len(rows) * (_HIGH + _RISE)
    at: dict[str, tuple[float, float]] = {}
    for down, row in enumerate(rows):
        left = (width - len(row) * (_BOX + _GAP) + _GAP) / 2
        for across, name in enumerate(row):
            at[name] = (left + across * (_BOX + _GAP), 10.0 + down * (_HIGH + _RISE))
    drawn = [*(_line(one, at) for one in arrows), *(_box(name, workflow, at[name]) for row in rows for name in row)]
    return _FRAME.format(width=width, height=height, title=escape(_short(workflow.title or workflow.name))) + "\n".join(
        [*drawn, "</svg>", ""]
    )


_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"
 font-family="sans-serif" font-size="13">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>
"""


def _rows(workflow: Workflow, arrows: list[Arrow]) -> list[list[str]]:
    """The names of boxes by how far from the start they are; the end is alone at last."""
    depth = {START: 0} | dict.fromkeys((step.id for step in workflow.order), 1)
    for _ in workflow.steps:
        for one in arrows:
            if one.target != END:
                depth[one.target] = max(depth[one.target], depth[one.origin] + 1)
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in (START, *(step.id for step in workflow.order)):
        rows[depth[name]].append(name)
    return [*(row for row in rows if row), [END]]


def _box(name: str, workflow: Workflow, at: tuple[float, float]) -> str:
    left, top = at
    step = workflow.by_id.get(name)
    title = {START: "start", END: "done"}.get(name, name) if step is None else _short(_title(step), 30)
    below = _short("; ".join(_starts(workflow)), 32) if name == START else "" if step is None else step.kind
    colour = {"review": "#fff3d6", "agent": "#e7e3fb", "branch": "#e2f0fb"}.get(below, "#f4f4f4")
    middle = left + _BOX / 2
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{_BOX}" height="{_HIGH}" rx="8" fill="{colour}" stroke="#555"/>'
        f'<text x="{middle:g}" y="{top + 22:g}" text-anchor="middle">{escape(title)}</text>'
        f'<text x="{middle:g}" y="{top + 40:g}" text-anchor="middle" font-size="11" fill="#555">{escape(below)}</text>'
    )


def _line(one: Arrow, at: Mapping[str, tuple[float, float]]) -> str:
    (left, top), (to_left, to_top) = at[one.origin], at[one.target]
    x, y, to_x, to_y = left + _BOX / 2, top + _HIGH, to_left + _BOX / 2, to_top
    bend = max(_RISE / 2, (to_y - y) / 2)
    dashes = ' stroke-dasharray="5 4"' if one.dashed else ""
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
    drawn = f'<path d="{path}" fill="none" stroke="#555"{dashes} marker-end="url(#tip)"/>'
    if not one.label:
        return drawn
    place = f'x="{(x + to_x) / 2:g}" y="{(y + to_y) / 2:g}"'
    label = escape(_short(one.label, 34))
    return f'{drawn}<text {place} text-anchor="middle" font-size="11" fill="#333">{label}</text>'
