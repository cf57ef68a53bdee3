"""`vouch holds`: what may be neither erased nor expired while a hold is on it."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.call import Call, command, group, page_of
from api.cli.options import Cursor, Limit
from api.views import hold_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER

commands = group("Legal holds: what may be neither erased nor expired.")

Reason = Annotated[str, typer.Option(help="Why; recorded in the ledger.")]


@command(commands, "list")
def list_holds(call: Call, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List holds, newest first; released ones stay in the list."""
    items = [hold_json(one) for one in call.workspace.holds.items()]
    if cursor is not None:
        known = [item["id"] for item in items]
        if cursor not in known:
            raise InvalidInput(f"{cursor!r} is not a cursor of this list; use the `next_cursor` of the page before")
        items = items[known.index(cursor) + 1 :]
    shown, rest = page_of(items, limit, "id")
    call.show_list(shown, rest, ("id", "scope", "value", "reason", "created_at", "released"))


@command(commands, "place")
def place(
    call: Call,
    reason: Reason,
    document: Annotated[str | None, typer.Option(metavar="ID", help="Hold a document, and answers from it.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Hold all documents of a source.")] = None,
    principal: Annotated[str | None, typer.Option(metavar="KEY_ID", help="Hold what a person asked.")] = None,
    answer: Annotated[str | None, typer.Option(metavar="ID", help="Hold an answer.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Hold the whole workspace.")] = False,
) -> None:
    """Place a hold on one thing."""
    named = {"document": document, "source": source, "principal": principal, "answer": answer}
    given = [(scope, value) for scope, value in named.items() if value is not None] + [("all", "")] * everything
    if len(given) != 1:
        raise InvalidInput("name one of --document, --source, --principal, --answer and --all")
    made = call.workspace.holds.place(*given[0], reason, LOCAL_OWNER.id)
    call.show(hold_json(made), lambda out: out.print(f"{made.id} is on {made.scope} {made.value}".rstrip()))


@command(commands, "release")
def release(
    call: Call,
    hold_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the hold, hld_….")],
    reason: Annotated[str, typer.Option(help="Why; recorded in the ledger.")] = "",
) -> None:
    """End a hold."""
    found = call.workspace.holds.release(hold_id, reason, LOCAL_OWNER.id)
    call.show(hold_json(found), lambda out: out.print(f"{hold_id} was released"))
