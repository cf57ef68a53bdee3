"""`vouch query`: fixed questions to the graph of lineage."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from api.cli.call import Call, command, group
from api.cli.options import Cursor, Limit
from api.cli.output import shortened
from api.views import page_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER

commands = group("Fixed questions about answers, people, documents and prompts.")
CELL_LENGTH = 70
COLUMNS = {
    "answers": ("id", "created_at", "status", "principal", "question"),
    "approvals": ("answer_id", "event", "reason", "state", "created_at"),
}


class Form(StrEnum):
    """How the answers of a query are written."""

    JSON = "json"
    TURTLE = "turtle"
    JSONLD = "jsonld"


@command(commands, "list")
def list_queries(call: Call) -> None:
    """List the queries and the parameters that each takes."""
    items = call.workspace.queries.catalogue()
    shown = [
        one
        | {
            "parameters": ", ".join(p["name"] if p["required"] else f"[{p['name']}]" for p in one["parameters"])
            if not call.flags.json
            else one["parameters"]
        }
        for one in items
    ]
    if call.flags.json:
        call.show(page_json(items), lambda _: None)
    else:
        call.show_list(shown, None, ("name", "parameters", "about"))


@command(commands, "run")
def run(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the query; `vouch query list` shows them.")],
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter; give it as often as there are some.")
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Of a query of answers: their lineage as one W3C PROV-O graph."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """Run a query: a page of answers, nodes or documents, newest first where they have a time."""
    desk, given = call.workspace.queries, _given(param or [])
    if form in (Form.TURTLE, Form.JSONLD):
        if call.flags.json and form == Form.TURTLE:
            raise InvalidInput("turtle is not JSON; leave out --json")
        text, rest = desk.export(name, given, limit, cursor, LOCAL_OWNER, form.value)
        sys.stdout.write(text.rstrip("\n") + "\n")
        if rest is not None:
            call.note(f"there are more: --cursor {rest}")
        return
    found = desk.run(name, given, limit, cursor)
    if call.flags.json or form == Form.JSON:
        call.flags = type(call.flags)(True, call.flags.home, call.flags.workspace)
        call.show(found, lambda _: None)
        return
    items = [{k: _cell(v) for k, v in item.items()} for item in found["items"]]
    columns = COLUMNS.get(found["lists"], tuple(items[0]) if items else ())
    call.show_list(items, found["next_cursor"], columns)


def _cell(value: object) -> object:
    return shortened(value, CELL_LENGTH) if isinstance(value, str) else value


def _given(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or name in found:
            raise InvalidInput(f"--param takes NAME=VALUE, each name once, not {pair!r}")
        found[name] = value
    return found
