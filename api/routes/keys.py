"""API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import Key, KeyRequest, NewKey, Page
from api.views import key_json
from kernel.errors import InvalidInput
from kernel.records import Role

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=GuardedRoute)


@router.get("", response_model=Page[Key], **guarded(Role.ADMIN, "list_keys", "List API keys"))
def list_keys(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Every key that was ever made, oldest first, without secrets."""
    (number,) = decode_cursor("keys", cursor, 0)
    found = [key_json(key) for key in call.services.workspace.keys.items()[number : number + limit + 1]]
    return JSONResponse(page(found, limit, lambda _: encode_cursor("keys", number + limit)))


@router.post("", response_model=NewKey, **guarded(Role.ADMIN, "create_key", "Make an API key", 409, 413, status=201))
def create_key(body: KeyRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Makes a key and shows its secret, this once: only its hash is kept."""
    return once(body.model_dump(mode="json"), lambda: _create(body, call), 201, secret="key")  # noqa: S106


@router.delete("/{key_id}", response_model=Key, **guarded(Role.ADMIN, "revoke_key", "End an API key", 404))
def revoke_key(key_id: str, call: Caller) -> JSONResponse:
    """Ends a key at once. It stays in the list, with the moment of its end."""
    return JSONResponse(key_json(call.services.workspace.keys.revoke(key_id)))


def _create(body: KeyRequest, call: Call) -> dict[str, Any]:
    if body.groups and body.all_groups:
        raise InvalidInput("give groups or all_groups, not both")
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise InvalidInput("expires_at lies in the past")
    everything = body.role == "admin" and body.groups is None if body.all_groups is None else body.all_groups
    groups = None if everything else body.groups or ()
    try:
        info, secret = call.services.workspace.keys.create(Role(body.role), groups, body.name, body.expires_at)
    except OverflowError as error:
        raise InvalidInput("expires_at lies outside the calendar") from error
    return key_json(info, secret)
