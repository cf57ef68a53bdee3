"""Published states of the documents."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import LiveSnapshot, Page, Snapshot
from api.services import LARGEST_NUMBER
from api.views import snapshot_json
from kernel.errors import NotFound
from kernel.records import Role, SnapshotInfo

router = APIRouter(prefix="/v1/snapshots", tags=["snapshots"], route_class=GuardedRoute)


@router.get("", response_model=Page[Snapshot], **guarded(Role.APP, "list_snapshots", "List snapshots"))
def list_snapshots(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Snapshots, newest first. Name one in `as_of` to ask about the past."""
    (before,) = decode_cursor("snapshots", cursor, 2**62)
    found = [one for one in call.services.workspace.snapshots.items() if one.number < before]
    items = [_shown(one, call) for one in found[: limit + 1]]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("snapshots", last["number"])))


@router.post(
    "/{number}/rollback",
    response_model=LiveSnapshot,
    **guarded(Role.ADMIN, "rollback_snapshot", "Make another snapshot the live one", 404, 409),
)
def rollback_snapshot(number: int, call: Caller, once: CarryOut) -> JSONResponse:
    """Moves the live pointer: holds from the next question on. 0 is the empty snapshot that everything began with."""
    return once({}, lambda: _roll_back(number, call))


def _roll_back(number: int, call: Call) -> dict[str, Any]:
    if not 0 <= number <= LARGEST_NUMBER:
        raise NotFound(f"no snapshot {number}")
    call.services.workspace.snapshots.rollback(number)
    return {"live": number}


def _shown(snapshot: SnapshotInfo, call: Call) -> dict[str, Any]:
    """Names and counts of documents are for keys that may see them all."""
    hidden = {"reason": None, "documents": None} if call.restricted else {}
    return snapshot_json(snapshot) | hidden
