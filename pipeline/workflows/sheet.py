"""A workflow's sheet: what starts it, what it takes and does, who decides, and where it may fail, drawn from its file.

Markdown that says the same for the same file; nothing that people wrote can become markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.workflows import phrases
from pipeline.workflows.chooser import REVIEW, autonomy_of, pattern_of, recommend, way_for
from pipeline.workflows.phrases import Code, Phrase, Said, one_line
from pipeline.workflows.schema_paths import types_of
from pipeline.workflows.spec import Step, Workflow

LONGEST = 300
"""Characters of a value that are shown."""
_MARKUP = re.compile(r"[\\`*_\[\]|~@#]|(?<=www)\.|:(?=//)|^[-+=]|(?<=\d)[.)](?= |$)")
"""What Markdown would read within a line, or at its beginning; and what makes a link of an address."""
_TICKS = re.compile(r"`+")


def sheet_of(workflow: Workflow) -> str:
    """The sheet of a workflow, as Markdown."""
    parts = [
        "\n\n".join(_head(workflow)),
        _section("What starts it", _starts(workflow)),
        _section("What it takes", _takes(workflow)),
        _section("Steps", _steps(workflow)),
        _section("People", _people(workflow)),
        _section("Effects", _effects(workflow)),
        _section("Where it may fail", _failures(workflow)),
        _section("What it gives", _gives(workflow)),
        _section("Why it is built so", _form(workflow)),
        _section("Checklist for its agents", _checklist(workflow)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """What people wrote, on one line, with nothing in it that Markdown or HTML would read."""
    text = _MARKUP.sub(lambda found: f"\\{found[0]}", one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(value: Any) -> str:
    """A value as code, on one line: a text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    text = one_line(text)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    fence = "`" * (1 + max((len(one) for one in _TICKS.findall(text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _shown(phrase: Phrase) -> str:
    return "".join(
        code(one) if isinstance(one, Code) else plain(one) if isinstance(one, Said) else one for one in phrase
    )


def _section(title: str, lines: Iterable[str]) -> str:
    found = list(lines)
    return f"## {title}\n\n" + "\n".join(found) if found else ""


def _cell(text: str) -> str:
    """A text within a table: a bar would end its cell, even in code."""
    return text.replace("\\|", "|").replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(one) for one in row)} |"


def _head(workflow: Workflow) -> Iterator[str]:
    yield f"# {plain(workflow.title or workflow.name)}"
    if workflow.description:
        yield plain(workflow.description)
    yield "\n".join(_table(("", ""), ((name, said) for name, said in _facts(workflow) if said)))


def _facts(workflow: Workflow) -> Iterator[tuple[str, str]]:
    yield "name", code(workflow.name)
    yield "version", str(workflow.version or "")
    yield "owner", plain(workflow.owner or "nobody yet")
    yield "stakes", f"{workflow.stakes} ({way_for(workflow.stakes)})"
    yield (
        "it is a",
        {"workflow": "workflow without agents", "agent": "single agent"}.get(pattern_of(workflow), "hybrid"),
    )
    yield "deadline of a run", phrases.duration(workflow.deadline) if workflow.deadline else ""
    yield "looked at again by", workflow.review_by.isoformat() if workflow.review_by else ""
    yield "unattended runs see", _groups(workflow)
    limit = f", at most {workflow.queue.limit} at once" if workflow.queue.limit else ""
    yield "queue", f"{code(workflow.queue.name)}, priority {workflow.queue.priority}{limit}"
    yield "goes live after", f"{workflow.pilot_runs} green unattended runs"
    yield "tags", ", ".join(code(tag) for tag in workflow.tags)
    if workflow.worth is not None:
        cost = f", at {workflow.worth.cost_per_hour:g} an hour" if workflow.worth.cost_per_hour else ""
        yield "saves", f"{workflow.worth.minutes_by_hand:g} minutes by hand a run{cost}"


def _groups(workflow: Workflow) -> str:
    groups = ", ".join(plain(one) for one in workflow.run_as.groups)
    return f"documents of {groups}, and those open to everyone" if groups else "documents that are open to everyone"


def _starts(workflow: Workflow) -> Iterator[str]:
    yield "- by hand"
    for one in workflow.triggers:
        given = f"; its input: {code(one.input)}" if one.input is not None else ""
        yield f"- {_shown(phrases.trigger(one))}{given}"


def _takes(workflow: Workflow) -> Iterator[str]:
    members = workflow.inputs.get("properties")
    if not isinstance(members, Mapping) or not members:
        yield "Nothing." if workflow.inputs.get("additionalProperties") is False else "Anything."
        return
    needed = workflow.inputs.get("required", ())
    yield from _table(
        ("input", "type", "", ""),
        (
            (code(name), _type(one, workflow), "needed" if name in needed else "", plain(_described(one)))
            for name, one in members.items()
        ),
    )
    if workflow.example is not None:
        yield f"\nFor example: {code(workflow.example)}"


def _type(schema: Any, workflow: Workflow) -> str:
    if not isinstance(schema, Mapping):
        return "anything"
    if "enum" in schema:
        return "one of " + ", ".join(code(one) for one in schema["enum"])
    return " or ".join(sorted(types_of(schema, workflow.inputs) or {"anything"}))


def _described(schema: Any) -> str:
    said = schema.get("description", "") if isinstance(schema, Mapping) else ""
    return said if isinstance(said, str) else ""


def _steps(workflow: Workflow) -> Iterator[str]:
    for number, step in enumerate(workflow.order, start=1):
        title = f" {plain(step.title)}" if step.title is not None else ""
        yield f"{number}. **{code(step.id)}**{title} ({code(step.kind)})"
        yield from (f"   - {line}" for line in _step(workflow, step))


def _step(workflow: Workflow, step: Step) -> Iterator[str]:
    if step.id in workflow.diverted:
        yield "only where " + " or ".join(sorted(code(one.id) for one in _leading(workflow, step))) + " leads to it"
    if step.needs:
        yield f"after {', '.join(code(one) for one in step.needs)}"
    if step.when is not None:
        yield f"only when {code(step.when)}"
    if step.each is not None:
        each = f"once for each {code(step.each.as_)} in {code(step.each.in_)}, at most {step.each.limit}"
        yield each + (", without those that fail" if step.each.on_failure == "skip" else "")
    yield f"sees: {', '.join(code(one) for one in phrases.sees(step)) or 'nothing'}"
    for name, value in step.with_.items():
        yield f"{code(name)}: {code(value)}"
    for one in step.checks:
        yield f"check {plain(one.name)}: {_shown(phrases.check(one))}; else {_shown(phrases.otherwise(one.otherwise))}"
    yield f"{phrases.retry(step.retry)}; given up after {phrases.duration(step.timeout)}"
    if step.undo is not None:
        yield f"taken back by {code(step.undo.kind)}: {code(step.undo.with_)}"


def _leading(workflow: Workflow, step: Step) -> Iterator[Step]:
    return (one for one in workflow.steps if step.id in phrases.leads_to(one))


def _people(workflow: Workflow) -> Iterator[str]:
    for step in workflow.order:
        if step.kind == REVIEW:
            who = step.with_.get("person") or step.with_.get("role") or "reviewer"
            by = f", by {code(step.with_['deadline'])}" if "deadline" in step.with_ else ""
            yield f"- {code(step.id)}: {plain(str(who))} decides{by}: {code(step.with_.get('about', step.label))}"
        yield from (f"- {code(step.id)}: {what}" for what in _asked(step))


def _asked(step: Step) -> Iterator[str]:
    for one in step.checks:
        if one.otherwise == REVIEW:
            yield f"a person decides where {plain(one.name)} does not hold"
    if step.on_failure == REVIEW:
        yield "a person decides where it fails"


def _effects(workflow: Workflow) -> Iterator[str]:
    for name, reviews in phrases.effects(workflow).items():
        allowed = (
            f"after {', '.join(code(one) for one in reviews)} allowed exactly that" if reviews else "without a review"
        )
        back = "" if workflow.by_id[name].undo is None else "; it can be taken back"
        yield f"- {code(name)} acts on the outside {allowed}{back}"


def _failures(workflow: Workflow) -> Iterator[str]:
    for risk in workflow.risks:
        yield f"- {plain(risk.what)}: met by {plain(risk.met_by)}"
    ends: dict[str, list[str]] = {}
    for step in workflow.order:
        ends.setdefault(_shown(phrases.otherwise(step.on_failure)), []).append(code(step.id))
    for end, steps in ends.items():
        yield f"- where {' or '.join(steps)} fails, {end}"


def _gives(workflow: Workflow) -> Iterator[str]:
    return (f"- {code(name)}: {code(value)}" for name, value in workflow.output.items())


def _form(workflow: Workflow) -> Iterator[str]:
    if workflow.form is None:
        return
    advised = recommend(workflow.form)
    yield f"The form of seven questions recommends: {advised.pattern}, {advised.way}.\n"
    yield from (f"- {reason}" for reason in advised.reasons)


def _checklist(workflow: Workflow) -> Iterator[str]:
    return (f"- {'green' if item.green else 'red'}: {item.name}: {plain(item.why)}" for item in autonomy_of(workflow))
