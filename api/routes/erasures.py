"""Erasing, legal holds and retention."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import (
    Erasure,
    ErasureReach,
    ErasureRequest,
    Hold,
    HoldRequest,
    Page,
    ReleaseRequest,
    RetentionRequest,
    RetentionState,
)
from api.views import erasure_json, hold_json, retention_json
from kernel.records import Role
from kernel.storage.erasure import ErasureRequest as Wanted
from kernel.storage.retention import RetentionRules

router = APIRouter(prefix="/v1", tags=["erasure"], route_class=GuardedRoute)


@router.post(
    "/erasures",
    response_model=Erasure | ErasureReach,
    **guarded(Role.ADMIN, "erase", "Erase documents, people or answers", 404, 409, status=201),
)
def erase(body: ErasureRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Deletes every row at once. The index, the database's files and backups are seen to soon after: read the erasure
    again until its `state` is `done` for its certificate. 409 names the legal hold that forbids it."""
    return once(body.model_dump(mode="json"), lambda: _erase(body, call), 200 if body.dry_run else 201)


@router.get("/erasures", response_model=Page[Erasure], **guarded(Role.ADMIN, "list_erasures", "List erasures"))
def list_erasures(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Erasures and expiries, newest first."""
    (number,) = decode_cursor("erasures", cursor, 2**62)
    found = [one for one in call.services.workspace.erasures.items() if one.leaf < number]
    items = [erasure_json(one) for one in found[: limit + 1]]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("erasures", last["entry"])))


@router.get(
    "/erasures/{erasure_id}",
    response_model=Erasure,
    **guarded(Role.ADMIN, "get_erasure", "Read the certificate of an erasure", 404),
)
def get_erasure(erasure_id: str, call: Caller) -> JSONResponse:
    """One erasure or expiry, with its certificate."""
    return JSONResponse(erasure_json(call.services.workspace.erasures.get(erasure_id)))


@router.get("/holds", response_model=Page[Hold], **guarded(Role.ADMIN, "list_holds", "List legal holds"))
def list_holds(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Holds, newest first; released ones stay in the list."""
    (number,) = decode_cursor("holds", cursor, 2**62)
    found = [one for one in call.services.workspace.holds.items() if one.placed < number]
    items = [hold_json(one) for one in found[: limit + 1]]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("holds", last["placed"])))


@router.post(
    "/holds", response_model=Hold, **guarded(Role.ADMIN, "place_hold", "Place a legal hold", 404, 409, status=201)
)
def place_hold(body: HoldRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Nothing that it covers can be erased or expires until it is released."""
    holds, who = call.services.workspace.holds, call.principal.id
    values = body.model_dump(mode="json")
    return once(values, lambda: hold_json(holds.place(body.scope, body.value, body.reason, who)), 201)


@router.post(
    "/holds/{hold_id}/release",
    response_model=Hold,
    **guarded(Role.ADMIN, "release_hold", "Release a legal hold", 404, 409),
)
def release_hold(hold_id: str, body: ReleaseRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Ends a hold. It stays in the list."""
    holds, who = call.services.workspace.holds, call.principal.id
    return once(body.model_dump(mode="json"), lambda: hold_json(holds.release(hold_id, body.reason, who)))


@router.get(
    "/retention", response_model=RetentionState, **guarded(Role.ADMIN, "get_retention", "Read the rules of retention")
)
def get_retention(call: Caller) -> JSONResponse:
    """How long answers are kept, and what would expire now."""
    workspace = call.services.workspace
    return JSONResponse(retention_json(workspace.retention_rules, workspace.retention) | {"applied": None})


@router.post(
    "/retention/apply",
    response_model=RetentionState,
    **guarded(Role.ADMIN, "apply_retention", "Let answers expire", 409),
)
def apply_retention(body: RetentionRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Deletes question, text, quotes and prompt of answers that are too old and that no hold covers."""
    return once(body.model_dump(mode="json"), lambda: _apply(body, call))


def _erase(body: ErasureRequest, call: Call) -> dict[str, Any]:
    eraser = call.services.workspace.eraser
    wanted = Wanted(tuple(body.documents), tuple(body.principals), tuple(body.answers))
    if body.dry_run:
        return eraser.preview(wanted)
    begun = eraser.begin(wanted, body.reason, call.principal.id)
    call.services.runner.erased()
    return erasure_json(begun)


def _apply(body: RetentionRequest, call: Call) -> dict[str, Any]:
    workspace = call.services.workspace
    rules = workspace.retention_rules if body.days is None else RetentionRules(answers_days=body.days)
    before = retention_json(rules, workspace.retention)
    made = None if body.dry_run else workspace.retention.expire(rules, call.principal.id)
    if made is not None:
        call.services.runner.erased()
    return before | {"applied": made and erasure_json(made)}
