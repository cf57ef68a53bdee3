"""Looking at prompts: listings, one prompt, its versions, differences, what it renders to, its history."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.call import Call, command, number_cursor, page_of
from api.cli.inputs import InputOption, InputsOption, read_inputs
from api.cli.options import Cursor, Limit
from api.cli.output import changes, safe, show_fields
from api.cli.prompts.group import Name, Reference, commands, text_or_version, version_of
from kernel.records import Evidence, Question
from pipeline.histories import next_of
from pipeline.prompts.desk import Wanted
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.runs import given_inputs
from pipeline.prompts.views import anatomy_of

_COLUMNS = ("name", "version", "state", "production", "kind", "folder", "owner", "description")
_STYLES = {"+ ": "green", "- ": "red"}


class State(StrEnum):
    """Where a version may stand."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    LIVE = "live"
    RETIRED = "retired"


@command(commands, "list")
def list_prompts(
    call: Call,
    kind: Annotated[str | None, typer.Option(help="Prompts of this kind.")] = None,
    tag: Annotated[str | None, typer.Option(help="Prompts with this tag.")] = None,
    folder: Annotated[str | None, typer.Option(help="Prompts in this folder or below it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Prompts of this owner.")] = None,
    state: Annotated[State | None, typer.Option(help="Prompts with a version in this state.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Prompts whose review_by date is past.")] = False,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> None:
    """List prompts: the newest version of each, and production's."""
    wanted = Wanted(kind, tag, folder, owner, state.value if state else None, overdue)
    _list(call, wanted, limit, cursor)


@command(commands, "overdue")
def overdue(call: Call, limit: Limit = 1000, cursor: Cursor = None) -> None:
    """List prompts whose review_by date is past.

    Look at them again, and save a version with a later date.
    """
    _list(call, Wanted(overdue=True), limit, cursor, (*_COLUMNS[:4], "owner", "review_by"))


def _list(call: Call, wanted: Wanted, limit: int, cursor: str | None, columns: tuple[str, ...] = _COLUMNS) -> None:
    items = next_of(call.workspace.prompt_desk.items(wanted), cursor or "")
    shown, rest = page_of([one | {"production": one["labels"].get("production")} for one in items], limit, "name")
    call.show_list(shown, rest, columns)


@command(commands, "show")
def show(
    call: Call,
    reference: Reference,
    text: Annotated[bool, typer.Option("--text", help="Write the text of its file alone.")] = False,
) -> None:
    """Show a prompt: text, labels, and what it lacks to go live."""
    version = version_of(call, reference)
    desk, library = call.workspace.prompt_desk, call.workspace.prompts
    newest = library.versions(version.name)[0].version
    found = desk.show(version.name)
    if version.version != newest:
        item = desk.version_item(version.name, version.version)
        item.pop("labels")
        found |= desk.text(version.name, version.version) | item
    found["newest"] = newest

    def words(out: Console) -> None:
        if text:
            out.print(Text(safe(version.template.rstrip("\n"))), soft_wrap=True)
        else:
            _show(out, found)

    call.show(found, words)


@command(commands, "versions")
def versions(call: Call, name: Name, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List the versions of a prompt, newest first."""
    before = number_cursor(cursor)
    items = call.workspace.prompt_desk.versions(name)
    shown, rest = page_of([one for one in items if before is None or one["version"] < before], limit, "version")
    call.show_list(shown, rest, ("version", "state", "labels", "author", "message", "created_at"))


@command(commands, "diff")
def diff(
    call: Call,
    one: Annotated[str, typer.Argument(metavar="A", help="A prompt, one version of it, or a file.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another of these.")],
) -> None:
    """Show how A became B, section by section.

    Lines around a change are shown; with --json, all lines of the sections that differ.
    """
    old, new = text_or_version(call, one), text_or_version(call, other)
    found = call.workspace.prompt_desk.difference(old, new)

    def words(out: Console) -> None:
        if found["same"]:
            out.print("no section differs")
        for section in found["sections"]:
            out.print(Text(safe(f"# {section['section']} ({section['change']})"), style="bold"))
            for line in changes(section["lines"]):
                out.print(Text(safe(line), style=_STYLES.get(line[:2], "dim")), soft_wrap=True)

    call.show(found, words)


@command(commands, "render")
def render(
    call: Call,
    reference: Annotated[
        str, typer.Argument(metavar="NAME[@LABEL|@VERSION]|FILE", help="A prompt, one version of it, or a file.")
    ],
    given: InputOption = None,
    inputs: InputsOption = None,
    question: Annotated[str, typer.Option(help="A question; its passages are retrieved.")] = "",
) -> None:
    """Show what each section renders to, with data between its tags.

    No model is asked and nothing is recorded.
    """
    version = text_or_version(call, reference)
    values = read_inputs(inputs) if inputs else {}
    values |= given_inputs(given or (), compile_prompt(version).inputs)
    evidence = Evidence(0, ())
    if question and anatomy_of(version).grounded:
        evidence = call.with_model.answering.context(Question(question))
    found = call.workspace.prompt_desk.rendered(version, question, evidence, values)

    def words(out: Console) -> None:
        for section in found["sections"]:
            out.print(Text(safe(f"# {section['section']}"), style="bold"))
            out.print(Text(safe(f"{section['text']}\n")), soft_wrap=True)

    call.show(found, words)


@command(commands, "history")
def history(call: Call, name: Name, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List what happened to a prompt, newest first, and by whom."""
    start = number_cursor(cursor) or 0
    desk = call.workspace.prompt_desk
    items = [one | {"place": place} for place, one in enumerate(desk.history(name), 1)]
    found, rest = page_of(items[start:], limit, "place")
    shown = desk.with_words([{member: value for member, value in one.items() if member != "place"} for one in found])
    rows = shown if call.flags.json else [one | {"comment": _happened(one)} for one in shown]
    call.show_list(rows, rest, ("created_at", "kind", "version", "label", "by", "comment"))


def _happened(row: dict[str, Any]) -> str:
    """What a row of a history says beside its kind, version and label: outcomes, and what the person said."""
    data, said = row["data"], [row["comment"]] if row["comment"] else []
    if row["kind"] == "experiment":
        spec = data.get("spec")
        told = f"{spec['kind']} started" if spec else f"{data['state']}: {data['reason']}"
        return "; ".join([f"{data['id']} {told}", *said])
    if row["kind"] == "tested":
        return "; ".join([f"{'passed' if data.get('passed') else 'failed'} with {data.get('model', '-')}", *said])
    return "; ".join(said)


def _show(out: Console, found: dict[str, Any]) -> None:
    names = ("name", "version", "newest", "state", "sha256", "author", "message", "created_at", "labels", "kind")
    show_fields(out, {name: found[name] for name in (*names, "owner", "folder", "tags", "review_by")})
    standing = found["standing"]
    for outcome in standing["tests"]:
        word = "passed" if outcome.get("passed") else "failed"
        out.print(Text(safe(f"tests {word} with {outcome['model']}, {outcome['created_at']}")), soft_wrap=True)
    if standing["approvers"]:
        out.print(Text(safe(f"approved by {', '.join(standing['approvers'])}")), soft_wrap=True)
    for clause in standing["missing"]:
        out.print(Text(safe(f"to be released: {clause}"), style="yellow"), soft_wrap=True)
    if found["overdue"]:
        out.print(Text(safe(f"to be looked at again since {found['review_by']}"), style="yellow"), soft_wrap=True)
    for rule in found["rules"]:
        out.print(Text(safe(f"rule: {rule['when']} get {rule['label']}")), soft_wrap=True)
    if found["experiment"]:
        out.print(Text(safe(f"experiment {found['experiment']} runs")), soft_wrap=True)
    out.print()
    out.print(Text(safe(found["text"].rstrip("\n"))), soft_wrap=True)
