"""`vouch answers`: what was answered before."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from api.cli.answer_text import show_answer
from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import safe, shortened
from api.views import answer_summary_json, stale_json
from kernel.records import LOCAL_OWNER

commands = group("Past answers.")

AnswerId = Annotated[str, typer.Argument(metavar="ID", help="Id of the answer, ans_….")]
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

    def words(out: Console) -> None:
        if body["question"]:  # an erased answer has none
            out.print(safe(body["question"]), style="bold")
        show_answer(out, body)

    call.show(body, words)
