"""`vouch impact`: what depends on something, withdrawing it, and asking again what stood on it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.call import Call, command, number_cursor
from api.cli.naming import PREFIX
from api.cli.output import counted, safe, shortened, table
from api.views import Json, impact_scope
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER
from pipeline.oversight.impact import MOST_REASKED

commands = typer.Typer(rich_markup_mode=None)
QUESTION_LENGTH = 70


class Part(StrEnum):
    """A kind of dependents."""

    CHUNKS = "chunks"
    EDGES = "edges"
    SNAPSHOTS = "snapshots"
    ANSWERS = "answers"


@command(commands)
def impact(
    call: Call,
    document: Annotated[str | None, typer.Option(metavar="ID", help="Id of a document, doc_….")] = None,
    revision: Annotated[str | None, typer.Option(metavar="ID:N", help="A revision of a document.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="All documents of a source.")] = None,
    entity: Annotated[str | None, typer.Option(metavar="NAME", help="A name that documents use.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="NAME[@VERSION]", help="A prompt.")] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Hide the documents from every question from now on.")
    ] = False,
    restore: Annotated[bool, typer.Option("--restore", help="Show withdrawn documents again.")] = False,
    reask: Annotated[
        bool, typer.Option("--reask", help="Ask the stale questions again, each as who asked it, and compare.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: needed to withdraw or restore.")] = "",
    part: Annotated[Part | None, typer.Option(help="List only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of each to list.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on after a page of --part: its `next_cursor`.")] = None,
) -> None:
    """Show what depends on a document, revision, source, entity or prompt; withdraw documents, or restore them.

    A withdrawn document is in no answer from then on, as-of questions included, and ingesting it again does not bring
    it back; answers that stood on it are marked as stale until it is restored.
    """
    given = {"document": document, "revision": revision, "source": source, "entity": entity, "prompt": prompt}
    scope = impact_scope(given)
    if withdraw and restore:
        raise InvalidInput("give --withdraw or --restore, not both")
    if part is not None and (withdraw or restore or reask):
        raise InvalidInput("--part only lists; leave it out to withdraw, restore or ask again")
    if document is not None and not document.startswith(PREFIX):
        raise InvalidInput("--document takes an id, doc_…; `vouch documents list` shows them")
    workspace = call.with_model if reask else call.workspace
    desk = workspace.impact
    if part is not None:
        page = desk.page(scope, part.value, limit, number_cursor(cursor))
        call.show({part.value: page}, lambda out: _show_page(out, part.value, page))
        return
    done: Json = {}
    if withdraw:
        done["withdrawal"] = desk.withdraw(scope, reason, LOCAL_OWNER)
    if restore:
        done["restoration"] = desk.restore(scope, reason, LOCAL_OWNER)
    if reask:
        done["reasked"] = list(desk.reask(scope, MOST_REASKED))
    report = desk.report(scope, limit) | done
    call.show(report, lambda out: _show(out, report))


def _show(out: Console, report: Json) -> None:
    for what, word in (("withdrawal", "withdrawn"), ("restoration", "restored")):
        if what in report:
            one = report[what]
            stale = f"; stale: {counted(one['stale_answers'], 'answer')}" if "stale_answers" in one else ""
            out.print(f"{counted(len(one['documents']), 'document')} {word}, entry {one['leaf']} of the ledger{stale}")
    answers = report["answers"]
    nouns = {"chunks": "passage", "edges": "edge", "snapshots": "snapshot", "answers": "answer"}
    found = ", ".join(counted(report[part]["count"], noun) for part, noun in nouns.items())
    cited = f" ({answers['cited']} citing it, {answers['context_only']} that only read it)"
    out.print(f"What depends on it: {found}{'' if answers['cited'] is None else cited}")
    if report["withdrawn"]:
        out.print(Text(f"withdrawn: {counted(report['withdrawn'], 'document')}", style="yellow"))
    _show_page(out, "answers", answers)
    for one in report.get("reasked", ()):
        _show_reasked(out, one)


def _show_page(out: Console, part: str, page: Mapping[str, Any]) -> None:
    items = page["items"]
    if part == "answers" and items:
        rows = [
            [
                one["id"],
                one["created_at"][:19],
                one["status"],
                _standing(one),
                shortened(one["question"], QUESTION_LENGTH),
            ]
            for one in items
        ]
        out.print(table(["id", "created at", "status", "", "question"], rows))
    elif items:
        out.print(table(list(items[0]), [list(one.values()) for one in items]))
    if page["next_cursor"] is not None:
        out.print(Text(f"there are more: --part {part} --cursor {page['next_cursor']}", style="dim"))


def _standing(one: Mapping[str, Any]) -> str:
    words = [] if one.get("cited") is None else ["cites it" if one["cited"] else "read it"]
    return ", ".join([*words, *(["stale"] if one["stale"] else [])])


def _show_reasked(out: Console, one: Json) -> None:
    out.print()
    out.print(Text(safe(one["question"]), style="bold"))
    if one["error"] is not None:
        out.print(Text(safe(f"could not be asked again: {one['error']}"), style="red"), soft_wrap=True)
        return
    words = "the answer is the same" if one["same"] else f"{one['status'][0]} became {one['status'][1]}"
    out.print(safe(f"{one['answer_id']} -> {one['new_id']}: {words}"), soft_wrap=True)
    for line in one["diff"]:
        out.print(Text(f"  {safe(line)}", style={"-": "red", "+": "green"}.get(line[:1], "dim")), soft_wrap=True)
