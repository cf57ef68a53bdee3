"""`vouch erasures`: past erasures and expiries, and their certificates."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.call import Call, command, group, page_of
from api.cli.erase import show_erasure
from api.cli.options import Cursor, Limit
from api.views import erasure_json
from kernel.errors import InvalidInput

commands = group("Past erasures and their certificates.")


@command(commands, "list")
def list_erasures(call: Call, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List erasures and expiries, newest first."""
    items = [erasure_json(one) for one in call.workspace.erasures.items()]
    if cursor is not None:
        known = [item["id"] for item in items]
        if cursor not in known:
            raise InvalidInput(f"{cursor!r} is not a cursor of this list; use the `next_cursor` of the page before")
        items = items[known.index(cursor) + 1 :]
    shown, rest = page_of(items, limit, "id")
    call.show_list(shown, rest, ("id", "kind", "state", "entry", "created_at"))


@command(commands, "show")
def show(call: Call, erasure_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the erasure.")]) -> None:
    """Show the certificate of an erasure."""
    show_erasure(call, call.workspace.erasures.get(erasure_id))


@command(commands, "resume")
def resume(call: Call) -> None:
    """Finish erasures that were interrupted: index, database files, backups, certificate.

    A server does so by itself when it starts.
    """
    done = call.with_model.eraser.resume()
    call.show(
        {"items": [erasure_json(one) for one in done]},
        lambda out: out.print(f"{len(done)} erasures finished" if done else "nothing was left unfinished"),
    )
