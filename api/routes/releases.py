"""Releases: sets of pinned versions that go live together and are taken back together."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.release_schemas import ReleaseBody, ReleaseDifferences, ReleaseMoved, ReleaseReason, ReleaseRequest
from api.schemas import Page
from api.services import LARGEST_NUMBER
from api.views import moved_json, release_json
from kernel.errors import NotFound
from kernel.records import Role

router = APIRouter(prefix="/v1/releases", tags=["releases"], route_class=GuardedRoute)


@router.get("", response_model=Page[ReleaseBody], **guarded(Role.ADMIN, "list_releases", "List releases"))
def list_releases(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Every release, newest first."""
    desk = call.services.workspace.release_desk
    (before,) = decode_cursor("releases", cursor, LARGEST_NUMBER)
    current = desk.in_force()
    found = [release_json(one, current) for one in desk.items() if one.number < before][: limit + 1]
    return JSONResponse(page(found, limit, lambda last: encode_cursor("releases", last["number"])))


@router.post(
    "",
    response_model=ReleaseBody,
    **guarded(Role.ADMIN, "add_release", "Store a release", 404, 409, 413, status=201),
)
def add_release(body: ReleaseRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Stores a set of versions that all exist. It goes live when another person activates it."""
    desk = call.services.workspace.release_desk
    manifest = body.manifest.model_dump()
    return once(
        body.model_dump(), lambda: release_json(desk.add(manifest, call.principal, body.message), desk.in_force()), 201
    )


@router.post(
    "/rollback",
    response_model=ReleaseMoved,
    **guarded(Role.ADMIN, "rollback_release", "Put back what was before the release in force", 409),
)
def rollback_release(body: ReleaseReason, call: Caller, once: CarryOut) -> JSONResponse:
    """One call puts every prompt and the policy back, for every process from the next question on."""
    desk = call.services.workspace.release_desk
    return once(body.model_dump(), lambda: moved_json(desk.rollback(call.principal, body.reason)))


@router.get("/{number}", response_model=ReleaseBody, **guarded(Role.ADMIN, "get_release", "Read a release", 404))
def get_release(number: int, call: Caller) -> JSONResponse:
    """A release, and what it lacks before it can go live."""
    desk = call.services.workspace.release_desk
    found = release_json(desk.get(_known(number)), desk.in_force())
    return JSONResponse(found | {"missing": desk.missing(number)})


@router.get(
    "/{number}/diff",
    response_model=ReleaseDifferences,
    **guarded(Role.ADMIN, "diff_release", "What a release changes", 404),
)
def diff_release(
    number: int,
    call: Caller,
    since: Annotated[
        int | None, Query(alias="from", description="Number of another release. Default: what is in force now.")
    ] = None,
) -> JSONResponse:
    """Pairs of before and after, from another release or from what is in force."""
    other = None if since is None else _known(since)
    return JSONResponse(call.services.workspace.release_desk.differences(_known(number), other))


@router.post(
    "/{number}/activate",
    response_model=ReleaseMoved,
    **guarded(Role.ADMIN, "activate_release", "Put a release in force", 404, 409),
)
def activate_release(number: int, body: ReleaseReason, call: Caller, once: CarryOut) -> JSONResponse:
    """Moves `production` of every prompt of the set, and the policy, in one transaction.

    Each prompt must have passed its gates; where approvals are asked for, the set's author cannot activate it.
    """
    desk = call.services.workspace.release_desk
    return once(body.model_dump(), lambda: moved_json(desk.activate(_known(number), call.principal, body.reason)))


def _known(number: int) -> int:
    if not 1 <= number <= LARGEST_NUMBER:
        raise NotFound(f"no release {number}; see: vouch releases list")
    return number
