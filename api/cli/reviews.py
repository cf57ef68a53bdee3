"""`vouch reviews`: answers and steps of runs that wait for a person, and deciding on them."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group, page_of
from api.cli.flows import flows_of
from api.cli.options import Cursor, Limit
from api.cli.output import safe, table
from api.cli.policies import read_text
from api.cli.review_text import LISTED, listed, show_answer, show_figures, show_preview, show_task
from api.views import page_json
from kernel.errors import InvalidInput
from kernel.moments import bound_of
from kernel.records import Principal
from pipeline.workflows.inbox import TASK, Inbox

commands = group("Answers and steps of runs that wait for a person, and deciding on them.")

ItemId = Annotated[str, typer.Argument(metavar="ID", help="Id of the review, rev_… of an answer or tsk_… of a run.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="Id of what a run asks, tsk_….")]
Comment = Annotated[str, typer.Option(help="A comment, which reviewers see.")]
Values = Annotated[
    Path | None, typer.Option("--values", metavar="FILE", help="JSON object of members of the form; - reads it.")
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A member of the form; repeatable.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="From this moment on.")]


class State(StrEnum):
    """How something stands."""

    OPEN = "open"
    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ANSWERED = "answered"
    CANCELLED = "cancelled"


class Sort(StrEnum):
    """What waits."""

    ANSWER = "answer"
    REVIEW = "review"
    QUESTION = "question"


@command(commands, "list")
def list_reviews(
    call: Call,
    state: Annotated[State | None, typer.Option(help="What stands so.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="What is assigned to who acts.")] = False,
    run: Annotated[str | None, typer.Option(metavar="ID", help="What this run asked.")] = None,
    sort: Annotated[Sort | None, typer.Option(help="Answers; reviews or questions of runs.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    key: KeyOption = None,
) -> None:
    """List reviews and questions, newest first."""
    inbox, actor = _inbox(call, key)
    found = inbox.items(
        actor,
        limit=limit + 1,
        state=state.value if state else None,
        mine=mine,
        run_id=run,
        sort=sort.value if sort else None,
        before=cursor,
    )
    items, rest = page_of(found, limit, "id")
    if call.flags.json or not items:
        call.show_list(items, rest, ())
        return
    call.show(page_json(items, rest), lambda out: out.print(table(LISTED, [listed(one) for one in items])))
    if rest is not None:
        call.note(f"there are more: --cursor {rest}")


@command(commands, "show")
def show(call: Call, item_id: ItemId, key: KeyOption = None) -> None:
    """Show all that is needed to decide: texts, evidence, what the policy said, what will happen, and every step."""
    inbox, actor = _inbox(call, key)
    found = inbox.show(item_id, actor)
    words = show_task if item_id.startswith(TASK) else show_answer
    call.show(found, lambda out: words(out, found))


@command(commands, "preview")
def preview(call: Call, task_id: TaskId, values: Values = None, put: Set = None, key: KeyOption = None) -> None:
    """Show what would happen where the form of a run's review is filled in so. Nothing is decided."""
    inbox, actor = _inbox(call, key)
    found = inbox.people.preview(task_id, _values(inbox, task_id, actor, values, put), actor)
    call.show(found, lambda out: show_preview(out, found))


@command(commands, "assign")
def assign(
    call: Call,
    item_id: ItemId,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of a key, key_…, that may decide on it.")],
    key: KeyOption = None,
) -> None:
    """Give a review to somebody; whoever else holds its role may still decide."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.assign(item_id, key_id, actor))


@command(commands, "delegate")
def delegate(
    call: Call,
    task_id: TaskId,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of a key, key_…, that holds its role.")],
    key: KeyOption = None,
) -> None:
    """Pass what a run asks on to another holder of its role, where the workflow lets that be."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.people.delegate(task_id, key_id, actor))


@command(commands, "escalate")
def escalate(
    call: Call,
    task_id: TaskId,
    to: Annotated[str, typer.Option(help="A role or the id of a key. Default: whom the workflow names.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    key: KeyOption = None,
) -> None:
    """Let others decide, too, on what a run asks."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.people.escalate(task_id, actor, to, reason))


@command(commands, "comment")
def comment(
    call: Call,
    item_id: ItemId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The comment.")],
    key: KeyOption = None,
) -> None:
    """Add a comment."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.comment(item_id, text, actor))


@command(commands, "mark")
def mark(
    call: Call,
    task_id: TaskId,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="Such as needs-action.")],
    off: Annotated[bool, typer.Option("--off", help="Take the label off.")] = False,
    key: KeyOption = None,
) -> None:
    """Label what a run asks; labels are counted."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.people.mark(task_id, label, actor, off=off))


@command(commands, "approve")
def approve(
    call: Call,
    item_id: ItemId,
    comment: Comment = "",
    seen: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Of a run: the hash that show or preview gave, or 12 of it.")
    ] = None,
    values: Values = None,
    put: Set = None,
    key: KeyOption = None,
) -> None:
    """Approve an answer as it is, or what a run is about to do. Who asked or started it cannot: the local owner needs
    --key for own questions and runs.
    """
    inbox, actor = _inbox(call, key)
    given = _values(inbox, item_id, actor, values, put)
    _tell_decided(call, inbox.approve(item_id, actor, comment, seen=seen, values=given))


@command(commands, "answer")
def answer(
    call: Call, task_id: TaskId, comment: Comment = "", values: Values = None, put: Set = None, key: KeyOption = None
) -> None:
    """Answer the question of a run, which goes on with it."""
    inbox, actor = _inbox(call, key)
    _tell_decided(call, inbox.people.answer(task_id, _values(inbox, task_id, actor, values, put), actor, comment))


@command(commands, "edit")
def edit(
    call: Call,
    item_id: ItemId,
    file: Annotated[Path, typer.Option(metavar="FILE", help="A text that cites passages as [c1].")],
    comment: Comment = "",
    key: KeyOption = None,
) -> None:
    """Put another text in an answer's place, grounded in the same passages."""
    inbox, actor = _inbox(call, key)
    _tell(call, inbox.edit(item_id, read_text(file), actor, comment))


@command(commands, "reject")
def reject(
    call: Call,
    item_id: ItemId,
    reason: Annotated[str, typer.Option(help="Why; the asker is told, or the run fails with it.")],
    key: KeyOption = None,
) -> None:
    """Reject an answer for good, or what a run is about to do."""
    inbox, actor = _inbox(call, key)
    _tell_decided(call, inbox.reject(item_id, reason, actor))


@command(commands, "figures")
def figures(call: Call, since: Since = None, key: KeyOption = None) -> None:
    """Count what runs asked, by state and label; and how long decisions took, by step."""
    inbox, actor = _inbox(call, key)
    found = inbox.people.figures(actor, bound_of("--since", since) or "")
    call.show(found, lambda out: show_figures(out, found))


@command(commands, "breaches")
def breaches(call: Call, since: Since = None, limit: Limit = 50, cursor: Cursor = None, key: KeyOption = None) -> None:
    """List what runs asked and nobody decided before its deadline, newest first."""
    inbox, actor = _inbox(call, key)
    found = inbox.people.breaches(actor, limit=limit + 1, since=bound_of("--since", since) or "", before=cursor)
    items, rest = page_of(found, limit, "id")
    call.show_list(items, rest, ("id", "deadline", "workflow", "step", "assignee", "run_id"))


def _inbox(call: Call, key: str | None) -> tuple[Inbox, Principal]:
    """The inbox, after expiries were written down, and who acts."""
    call.workspace.reviews.expire()
    return flows_of(call).inbox, actor_of(call, key)


def _values(inbox: Inbox, item_id: str, actor: Principal, file: Path | None, put: list[str] | None) -> dict[str, Any]:
    """Members of a form from a file and from options. One that is no text is written as JSON. Raises InvalidInput."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = json.loads(typer.get_text_stream("stdin").read() if str(file) == "-" else read_text(file))
        except ValueError as error:
            raise InvalidInput(f"--values: {file} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise InvalidInput(f"--values: {file} is not a JSON object")
    members = inbox.people.form(item_id, actor).get("properties", {}) if put and item_id.startswith(TASK) else {}
    for one in put or ():
        name, found, text = one.partition("=")
        if not found:
            raise InvalidInput(f"--set {one}: write NAME=VALUE")
        values[name] = _member(members.get(name), text)
    return values


def _member(schema: Any, text: str) -> Any:
    if isinstance(schema, dict) and schema.get("type", "string") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tell(call: Call, item: dict[str, Any]) -> None:
    call.show(item, lambda out: out.print(safe(f"{item['id']} is {item['state']}")))


def _tell_decided(call: Call, item: dict[str, Any]) -> None:
    """As `_tell`, and how to see what follows of it."""
    _tell(call, item)
    if item["id"].startswith(TASK):
        call.note(f"its run goes on with the next worker; or here: vouch runs watch {item['run_id']}")
