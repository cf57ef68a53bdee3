"""`vouch reviews`: answers that wait for a person, and deciding on them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.answer_text import marked
from api.cli.call import Call, command, group, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import safe, show_fields
from api.cli.policies import read_text
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER, Principal
from pipeline.oversight.reviews import ReviewDesk

commands = group("Answers that wait for a person, and deciding on them.")

ReviewId = Annotated[str, typer.Argument(metavar="ID", help="Id of the review, rev_….")]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="SECRET", help="Key of who acts; - reads it from standard input.")
]
Comment = Annotated[str, typer.Option(help="A comment, which reviewers see.")]


class State(StrEnum):
    """How a review stands."""

    OPEN = "open"
    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    EXPIRED = "expired"


@command(commands, "list")
def list_reviews(
    call: Call,
    state: Annotated[State | None, typer.Option(help="Reviews in this state.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Those assigned to who acts.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    key: KeyOption = None,
) -> None:
    """List reviews, newest first."""
    desk, actor = _desk(call, key)
    wanted = state.value if state else None
    found = desk.items(actor, limit=limit + 1, state=wanted, mine=mine, before=cursor)
    items, rest = page_of(found, limit, "id")
    call.show_list(items, rest, ("id", "state", "reason", "approvals", "assignee", "deadline", "answer_id"))


@command(commands, "show")
def show(call: Call, review_id: ReviewId, key: KeyOption = None) -> None:
    """Show a review: the draft that waits, what the policy said of it, and every step."""
    desk, actor = _desk(call, key)
    found = desk.show(review_id, actor)
    call.show(found, lambda out: _show(out, found))


@command(commands, "assign")
def assign(
    call: Call,
    review_id: ReviewId,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of a key, key_…, of role reviewer or admin.")],
    key: KeyOption = None,
) -> None:
    """Give a review to somebody; anybody else may still decide."""
    desk, actor = _desk(call, key)
    _tell(call, desk.assign(review_id, key_id, actor))


@command(commands, "comment")
def comment(
    call: Call,
    review_id: ReviewId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The comment.")],
    key: KeyOption = None,
) -> None:
    """Add a comment."""
    desk, actor = _desk(call, key)
    _tell(call, desk.comment(review_id, text, actor))


@command(commands, "approve")
def approve(call: Call, review_id: ReviewId, comment: Comment = "", key: KeyOption = None) -> None:
    """Approve the text as it is. Who asked cannot: the local owner needs --key for own questions."""
    desk, actor = _desk(call, key)
    _tell(call, desk.approve(review_id, actor, comment))


@command(commands, "edit")
def edit(
    call: Call,
    review_id: ReviewId,
    file: Annotated[Path, typer.Option(metavar="FILE", help="A text that cites passages as [c1].")],
    comment: Comment = "",
    key: KeyOption = None,
) -> None:
    """Put another text in the answer's place, grounded in the same passages."""
    desk, actor = _desk(call, key)
    _tell(call, desk.edit(review_id, read_text(file), actor, comment))


@command(commands, "reject")
def reject(
    call: Call,
    review_id: ReviewId,
    reason: Annotated[str, typer.Option(help="Why; the asker is told.")],
    key: KeyOption = None,
) -> None:
    """Reject the answer for good."""
    desk, actor = _desk(call, key)
    _tell(call, desk.reject(review_id, reason, actor))


def _desk(call: Call, key: str | None) -> tuple[ReviewDesk, Principal]:
    """The desk, after expiries were written down, and who acts: the local owner, or the owner of a key."""
    workspace = call.workspace
    workspace.reviews.expire()
    if key is None:
        return workspace.review_desk, LOCAL_OWNER
    secret = sys.stdin.readline().strip() if key == "-" else key
    if not secret:
        raise InvalidInput("there is no key on standard input")
    return workspace.review_desk, workspace.keys.authenticate(secret)


def _tell(call: Call, review: dict[str, Any]) -> None:
    call.show(review, lambda out: out.print(safe(f"{review['id']} is {review['state']}")))


def _show(out: Console, found: dict[str, Any]) -> None:
    nested = ("answer", "edit", "events", "text_of")
    show_fields(out, {name: value for name, value in found.items() if name not in nested})
    answer = found["answer"]
    out.print()
    out.print(Text(safe(answer["question"]), style="bold"))
    out.print(Text(marked((found["edit"] or answer)["sentences"])))
    for citation in (found["edit"] or answer)["citations"]:
        out.print(Text(safe(f"[{citation['id']}] {citation['title']}: “{citation['quote']}”"), style="dim"))
    for verdict in answer.get("policy", {}).get("verdicts", ()):
        out.print(Text(safe(f"policy: {verdict['verdict']} by {verdict['rule']} {verdict['detail']}".rstrip())))
    out.print()
    for event in found["events"]:
        said = event.get("comment") or event.get("reason") or event.get("assignee") or ""
        out.print(Text(safe(f"{event['created_at']} {event['kind']} by {event['actor']} {said}".rstrip())))
