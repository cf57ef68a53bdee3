"""`vouch answers`: what was answered before."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from api.cli.answer_text import show_answer
from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import safe, shortened
from api.views import answer_summary_json, feedback_json, opinion_json, stale_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER

commands = group("Past answers.")

AnswerId = Annotated[str, typer.Argument(metavar="ID", help="Id of the answer, ans_….")]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="SECRET", help="Key of who acts; - reads it from standard input.")
]
QUESTION_LENGTH = 80


@command(commands, "list")
def list_answers(call: Call, limit: Limit = 20, cursor: Cursor = None) -> None:
    """List past answers, newest first."""
    found = call.workspace.releases.items(LOCAL_OWNER, limit=limit + 1, before=number_cursor(cursor))
    items, rest = page_of([answer_summary_json(record) for _, record in found], limit, "index")
    shown = items if call.flags.json else [i | {"question": shortened(i["question"], QUESTION_LENGTH)} for i in items]
    call.show_list(shown, rest, ("id", "created_at", "status", "question"))


@command(commands, "show")
def show(call: Call, answer_id: AnswerId) -> None:
    """Show an answer exactly as it was given, and how its review and what it stood on stand now."""
    record = call.workspace.releases.record(answer_id, LOCAL_OWNER)
    body = stale_json(record.body, call.workspace.stale.marks([record.number]).get(record.number))
    said = call.workspace.feedback.of([record.number]).get(record.number, ())
    body |= feedback_json(said, LOCAL_OWNER)

    def words(out: Console) -> None:
        if body["question"]:  # an erased answer has none
            out.print(safe(body["question"]), style="bold")
        show_answer(out, body)
        for one in said:
            words = " ".join((f"{one.score:g}", *one.labels, one.comment)).rstrip()
            out.print(safe(f"Feedback by {one.actor or 'somebody erased'}: {words}"), soft_wrap=True)

    call.show(body, words)


@command(commands, "feedback")
def feedback(
    call: Call,
    answer_id: AnswerId,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="0: useless, 1: just right.")] = None,
    up: Annotated[bool, typer.Option("--up", help="The same as --score 1.")] = False,
    down: Annotated[bool, typer.Option("--down", help="The same as --score 0.")] = False,
    comment: Annotated[str, typer.Option(help="Words for people; recorded.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="A word to sort by; may be repeated.")] = None,
    key: KeyOption = None,
) -> None:
    """Say how good an answer was. Your last word counts."""
    if (score is not None) + up + down != 1:
        raise InvalidInput("give one of --score, --up and --down")
    secret = sys.stdin.readline().strip() if key == "-" else key
    actor = LOCAL_OWNER if secret is None else call.workspace.keys.authenticate(secret)
    call.workspace.releases.record(answer_id, actor)
    value = float(up) if score is None else score
    made = opinion_json(call.workspace.feedback.give(answer_id, actor.id, value, comment, label or ()))
    call.show(made, lambda out: out.print(f"recorded: a score of {value:g}"))
