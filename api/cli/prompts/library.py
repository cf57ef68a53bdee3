"""Listing prompts."""

from __future__ import annotations

from api.cli.call import Call, command
from api.cli.prompts.group import commands


@command(commands, "list")
def list_prompts(call: Call) -> None:
    """List prompts by name: the newest version of each, and where production is."""
    library = call.workspace.prompts
    items = [
        {
            "name": one.name,
            "version": one.version,
            "state": library.state_of(one),
            "production": library.labels(one.name).get("production"),
        }
        for one in library.newest()
    ]
    call.show_list(items, None, ("name", "version", "state", "production"))
