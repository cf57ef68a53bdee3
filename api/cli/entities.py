"""`vouch entities`: what the documents name, and what is named with it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group, page_of
from api.cli.options import AsOf, Cursor, Limit
from api.cli.output import safe, write_json
from api.views import Json
from graph.export import to_graphml, to_turtle
from graph.names import name_key
from kernel.errors import NotFound
from kernel.records import LOCAL_OWNER, LiveState

commands = group("What the documents name, and how it is tied together.")

PREFIX = "ent_"


class Form(StrEnum):
    """What a graph can be exported as."""

    TURTLE = "turtle"
    GRAPHML = "graphml"


EntityName = Annotated[str, typer.Argument(metavar="ENTITY", help="Id of the entity, ent_…, or its name.")]


@command(commands, "list")
def list_entities(
    call: Call,
    prefix: Annotated[str, typer.Option(help="Only names that begin so.")] = "",
    as_of: AsOf = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List entities by name, with the number of passages that name each."""
    browser = call.with_model.entities
    found = browser.items(_state(call, as_of), LOCAL_OWNER, prefix=prefix, limit=limit + 1, after=cursor or "")
    items, rest = page_of(found, limit, "name")
    call.show_list(items, rest, ("id", "name", "passages"))


@command(commands, "show")
def show(call: Call, entity: EntityName, as_of: AsOf = None) -> None:
    """Show an entity: its other names, its relations, and the passages that name it."""
    state = _state(call, as_of)
    found = call.with_model.entities.get(_id(call, entity, state), state, LOCAL_OWNER)
    call.show(found, lambda out: _show_entity(out, found))


@command(commands, "neighbours")
def neighbours(call: Call, entity: EntityName, as_of: AsOf = None, limit: Limit = 50) -> None:
    """List what is named in the same passages, the strongest ties first, with passages that support each."""
    state = _state(call, as_of)
    items = call.with_model.entities.neighbours(_id(call, entity, state), state, LOCAL_OWNER, limit)
    call.show_list(items, None, ("id", "name", "together", "strength"))


@command(commands, "export")
def export(
    call: Call,
    form: Annotated[Form, typer.Option("--format", help="RDF in Turtle, or GraphML for graph tools.")] = Form.TURTLE,
    as_of: AsOf = None,
) -> None:
    """Print the whole graph: entities, the passages that name them, and relations with what states each."""
    graph = call.with_model.entities.graph(_state(call, as_of), LOCAL_OWNER)
    text = to_turtle(graph) if form is Form.TURTLE else to_graphml(graph)
    if call.flags.json:
        write_json({"format": form.value, "graph": text})
    else:
        sys.stdout.write(text)


def _state(call: Call, as_of: str | None) -> LiveState:
    snapshots = call.workspace.snapshots
    live = snapshots.live()
    if as_of is None:
        return live
    number = snapshots.resolve(as_of)
    return LiveState(number, snapshots.last_chunk(number), live.access_version)


def _id(call: Call, entity: str, state: LiveState) -> str:
    if entity.startswith(PREFIX):
        return entity
    key = name_key(entity)
    found = call.with_model.entities.items(state, LOCAL_OWNER, prefix=key, limit=1)
    if not found or found[0]["name"] != key:
        raise NotFound(f"no entity is named {entity!r}; see: vouch entities list --prefix {entity[:3]}")
    return str(found[0]["id"])


def _show_entity(out: Console, found: Json) -> None:
    out.print(safe(f"{found['name']}  ({found['id']}, named in {found['passages']} passages)"), style="bold")
    if found["aliases"]:
        out.print(safe("also: " + ", ".join(alias["name"] for alias in found["aliases"])), soft_wrap=True)
    for relation in found["relations"]:
        said = f"  {relation['subject']['name']} {relation['predicate']} {relation['object']['name']}"
        out.print(safe(f"{said}  [{relation['chunk_id']}]"), soft_wrap=True)
    out.print(safe("passages: " + ", ".join(found["chunks"])), soft_wrap=True)
