"""`vouch snapshots`: the published states of the documents, and going back to one."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.views import snapshot_json

commands = group("Published states of the documents.")


@command(commands, "list")
def list_snapshots(call: Call, limit: Limit = 50, cursor: Cursor = None) -> None:
    """List snapshots, newest first."""
    before = number_cursor(cursor)
    found = [one for one in call.workspace.snapshots.items() if before is None or one.number < before]
    items, rest = page_of([snapshot_json(one) for one in found], limit, "number")
    call.show_list(items, rest, ("number", "live", "documents", "reason", "created_at"))


@command(commands, "rollback")
def rollback(
    call: Call,
    number: Annotated[int, typer.Argument(min=0, metavar="N", help="The snapshot to make live; 0 is the empty one.")],
) -> None:
    """Make an earlier (or later) snapshot the live one. Nothing is deleted: roll forward the same way."""
    snapshots = call.workspace.snapshots
    before = snapshots.live().snapshot
    snapshots.rollback(number)
    call.show(
        {"snapshot": number, "previous": before},
        lambda out: out.print(f"snapshot {number} is live; it was {before}"),
    )
