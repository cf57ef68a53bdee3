"""The graph of names: entities, what they are tied to, and the passages that support each tie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Call, Caller, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.routes.documents import AsOfQuery
from api.schemas import Entity, EntityDetail, EntityPath, Neighbour, Page
from api.views import page_json
from kernel.records import LiveState, Role

router = APIRouter(prefix="/v1", tags=["graph"], route_class=GuardedRoute)

EntityId = Annotated[str, Query(max_length=64)]


@router.get("/entities", response_model=Page[Entity], **guarded(Role.APP, "list_entities", "List entities", 404))
def list_entities(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    prefix: Annotated[str, Query(max_length=200, description="How their names begin.")] = "",
    as_of: AsOfQuery = None,
) -> JSONResponse:
    """Entities of the documents that the key may see, by name."""
    snapshot, after = decode_cursor("entities", cursor, _state(call, as_of).snapshot, "")
    state = call.services.state(snapshot)
    items = call.services.workspace.entities.items(state, call.principal, prefix=prefix, limit=limit + 1, after=after)
    return JSONResponse(page(items, limit, lambda last: encode_cursor("entities", snapshot, last["name"])))


@router.get(
    "/entities/{entity_id}", response_model=EntityDetail, **guarded(Role.APP, "get_entity", "Read an entity", 404)
)
def get_entity(entity_id: str, call: Caller, as_of: AsOfQuery = None) -> JSONResponse:
    """An entity with its other names, its relations, and passages that name it."""
    return JSONResponse(call.services.workspace.entities.get(entity_id, _state(call, as_of), call.principal))


@router.get(
    "/entities/{entity_id}/neighbours",
    response_model=Page[Neighbour],
    **guarded(Role.APP, "list_neighbours", "List an entity's neighbours", 404),
)
def list_neighbours(entity_id: str, call: Caller, limit: Limit = 50, as_of: AsOfQuery = None) -> JSONResponse:
    """Entities named in the same passages, the strongest ties first; one page."""
    state = _state(call, as_of)
    return JSONResponse(page_json(call.services.workspace.entities.neighbours(entity_id, state, call.principal, limit)))


@router.get("/graph/path", response_model=EntityPath, **guarded(Role.APP, "find_path", "Find a path", 404))
def find_path(
    call: Caller,
    start: Annotated[EntityId, Query(alias="from", description="Id of the entity to begin at.")],
    end: Annotated[EntityId, Query(alias="to", description="Id of the entity to reach.")],
    as_of: AsOfQuery = None,
) -> JSONResponse:
    """A shortest path between two entities, with the passage that ties each pair on it."""
    return JSONResponse(
        {"path": call.services.workspace.entities.path(start, end, _state(call, as_of), call.principal)}
    )


def _state(call: Call, as_of: str | None) -> LiveState:
    return call.services.state(call.services.snapshot(as_of))
