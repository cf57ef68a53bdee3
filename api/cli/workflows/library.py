"""Looking at workflows: listings, one workflow, its versions, sheet and diagram, differences, its history, triggers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.call import Call, command, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import changes, safe, show_fields
from api.cli.workflows.group import Name, Reference, commands, flows_of, text_or_version, version_of
from pipeline.histories import next_of
from pipeline.workflows.desk import Wanted
from pipeline.workflows.diagram import mermaid_of, svg_of, text_of
from pipeline.workflows.library import spec_of
from pipeline.workflows.sheet import sheet_of
from pipeline.workflows.triggers import triggers_json

_COLUMNS = ("name", "version", "state", "live", "stakes", "owner", "title")
_STYLES = {"+ ": "green", "- ": "red"}


class State(StrEnum):
    """Where a version may stand."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    PILOT = "pilot"
    LIVE = "live"
    RETIRED = "retired"


class Form(StrEnum):
    """How a diagram is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    SVG = "svg"


@command(commands, "list")
def list_workflows(
    call: Call,
    words: Annotated[str, typer.Option("--words", help="Words of name, title, description, tags, owner.")] = "",
    tag: Annotated[str | None, typer.Option(help="Workflows with this tag.")] = None,
    owner: Annotated[str | None, typer.Option(help="Workflows of this owner.")] = None,
    state: Annotated[State | None, typer.Option(help="Workflows with a version in this state.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Workflows whose review_by date is past.")] = False,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> None:
    """List workflows: the newest version of each, and the live one."""
    _list(call, Wanted(words, tag, owner, state.value if state else None, overdue), limit, cursor)


@command(commands, "overdue")
def overdue(call: Call, limit: Limit = 1000, cursor: Cursor = None) -> None:
    """List workflows whose review_by date is past.

    Look at them again, and save a version with a later date.
    """
    _list(call, Wanted(overdue=True), limit, cursor, (*_COLUMNS[:4], "owner", "review_by"))


def _list(call: Call, wanted: Wanted, limit: int, cursor: str | None, columns: tuple[str, ...] = _COLUMNS) -> None:
    items = next_of(flows_of(call).library_desk.items(wanted), cursor or "")
    shown, rest = page_of([one | {"live": one["labels"].get("live")} for one in items], limit, "name")
    call.show_list(shown, rest, columns)


@command(commands, "show")
def show(
    call: Call,
    reference: Reference,
    text: Annotated[bool, typer.Option("--text", help="Write the text of its file alone.")] = False,
) -> None:
    """Show a workflow: text, labels, and what it lacks to go live."""
    flows = flows_of(call)
    version = version_of(flows, reference)
    desk = flows.library_desk
    found = desk.show(version.name)
    newest = found["version"]
    if version.version != newest:
        item = desk.version_item(version.name, version.version)
        item.pop("labels")
        found |= desk.text(version.name, version.version) | item
    found["newest"] = newest

    def words(out: Console) -> None:
        if text:
            out.print(Text(safe(version.text.rstrip("\n"))), soft_wrap=True)
        else:
            _show(out, found)

    call.show(found, words)


@command(commands, "sheet")
def sheet(
    call: Call,
    reference: Annotated[
        str, typer.Argument(metavar="NAME[@LABEL|@VERSION]|FILE", help="A workflow, one version of it, or a file.")
    ],
) -> None:
    """Write what a workflow does, for people, as Markdown.

    Triggers, inputs, steps with their checks, people, effects, what happens on failure, owner.
    """
    version = text_or_version(flows_of(call), reference)
    made = sheet_of(spec_of(version))
    call.show(_reference(version, sheet=made), lambda out: out.print(Text(safe(made.rstrip("\n"))), soft_wrap=True))


@command(commands, "diagram")
def diagram(
    call: Call,
    reference: Annotated[
        str, typer.Argument(metavar="NAME[@LABEL|@VERSION]|FILE", help="A workflow, one version of it, or a file.")
    ],
    form: Annotated[Form, typer.Option("--format", help="Lines of text, Mermaid, or an SVG image.")] = Form.TEXT,
) -> None:
    """Draw the steps of a workflow and what leads to what."""
    version = text_or_version(flows_of(call), reference)
    spec = spec_of(version)
    made = {Form.TEXT: text_of, Form.MERMAID: mermaid_of, Form.SVG: svg_of}[form](spec)
    call.show(_reference(version, diagram=made), lambda out: out.print(Text(safe(made.rstrip("\n"))), soft_wrap=True))


@command(commands, "versions")
def versions(call: Call, name: Name, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List the versions of a workflow, newest first."""
    before = number_cursor(cursor)
    items = flows_of(call).library_desk.versions(name)
    shown, rest = page_of([one for one in items if before is None or one["version"] < before], limit, "version")
    call.show_list(shown, rest, ("version", "state", "labels", "author", "message", "created_at"))


@command(commands, "diff")
def diff(
    call: Call,
    one: Annotated[str, typer.Argument(metavar="A", help="A workflow, one version of it, or a file.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another of these.")],
) -> None:
    """Show how A became B, member by member and step by step.

    Lines around a change are shown; with --json, all lines of what differs.
    """
    flows = flows_of(call)
    found = flows.library_desk.difference(text_or_version(flows, one), text_or_version(flows, other))

    def words(out: Console) -> None:
        if found["same"]:
            out.print("nothing differs")
        for section in found["sections"]:
            out.print(Text(safe(f"{section['section']} ({section['change']})"), style="bold"))
            for line in changes(section["lines"]):
                out.print(Text(safe(line), style=_STYLES.get(line[:2], "dim")), soft_wrap=True)

    call.show(found, words)


@command(commands, "history")
def history(call: Call, name: Name, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List what happened to a workflow, newest first, and by whom."""
    start = number_cursor(cursor) or 0
    desk = flows_of(call).library_desk
    items = [one | {"place": place} for place, one in enumerate(desk.history(name), 1)]
    found, rest = page_of(items[start:], limit, "place")
    shown = desk.with_words([{member: value for member, value in one.items() if member != "place"} for one in found])
    call.show_list(shown, rest, ("created_at", "kind", "version", "label", "by", "comment"))


@command(commands, "triggers")
def triggers(call: Call) -> None:
    """List what starts live workflows without a person."""
    items = triggers_json(flows_of(call).triggers.held())
    call.show_list(items, None, ("name", "kind", "detail", "when", "version", "paused"))


def _reference(version: Any, **members: str) -> dict[str, Any]:
    return {"name": version.name, "version": version.version, "sha256": version.sha256} | members


def _show(out: Console, found: dict[str, Any]) -> None:
    names = ("name", "version", "newest", "state", "sha256", "author", "message", "created_at", "labels")
    show_fields(out, {name: found[name] for name in (*names, "owner", "stakes", "tags", "review_by", "paused")})
    standing = found["standing"]
    out.print(f"green unattended runs: {standing['green_runs']} of {standing['green_runs_needed']}")
    if standing["approvers"]:
        out.print(Text(safe(f"approved by {', '.join(standing['approvers'])}")), soft_wrap=True)
    for clause in standing["missing"]:
        out.print(Text(safe(f"to go live: {clause}"), style="yellow"), soft_wrap=True)
    if found["overdue"]:
        out.print(Text(safe(f"to be looked at again since {found['review_by']}"), style="yellow"), soft_wrap=True)
    out.print()
    out.print(Text(safe(found["text"].rstrip("\n"))), soft_wrap=True)
