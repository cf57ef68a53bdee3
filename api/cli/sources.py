"""`vouch sources`: where documents come from."""

from __future__ import annotations

from api.cli.call import Call, command, group, page_of
from api.cli.options import Cursor, Limit
from api.views import source_json

commands = group("Where documents come from.")


@command(commands, "list")
def list_sources(call: Call, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List sources by name, with the documents of each that are live."""
    found = call.workspace.catalog.sources(call.snapshot(None))
    items = [source_json(source) for source in found if source.name > (cursor or "")]
    shown, rest = page_of(items, limit, "name")
    call.show_list(shown, rest, ("name", "documents", "location"))
