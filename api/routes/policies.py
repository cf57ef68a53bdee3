"""Versions of the policy, and which one is in force."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import CheckedPolicy, Page, Policy, PolicyCheckRequest, PolicyRequest, PolicyText
from api.services import LARGEST_NUMBER
from api.views import policy_json, policy_text_json
from kernel.errors import NotFound
from kernel.records import Role
from pipeline.oversight.policy_book import tried

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=GuardedRoute)


@router.get("", response_model=Page[Policy], **guarded(Role.REVIEWER, "list_policies", "List versions of the policy"))
def list_policies(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Every version, newest first. Version 0, and those below it, came with the program."""
    book = call.services.workspace.policies
    (start,) = decode_cursor("policies", cursor, 0)
    current = book.in_force().version.sha256
    found = [policy_json(one, current) for one in book.items()[start : start + limit + 1]]
    return JSONResponse(page(found, limit, lambda _: encode_cursor("policies", start + limit)))


@router.get("/{number}", response_model=PolicyText, **guarded(Role.REVIEWER, "get_policy", "Read a policy", 404))
def get_policy(number: int, call: Caller) -> JSONResponse:
    """A version with its text."""
    book = call.services.workspace.policies
    return JSONResponse(policy_text_json(book.get(_known(number)), book.in_force().version.sha256))


@router.post(
    "",
    response_model=Policy,
    **guarded(Role.ADMIN, "add_policy", "Store a version of the policy", 409, 413, status=201),
)
def add_policy(body: PolicyRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Checks a policy and stores it as the next version. It holds once it is released."""
    return once(body.model_dump(), lambda: _add(body, call), 201)


@router.post(
    "/check",
    response_model=CheckedPolicy,
    **guarded(Role.REVIEWER, "check_policy", "Check a policy without storing it", 413),
)
def check_policy(body: PolicyCheckRequest, call: Caller) -> JSONResponse:
    """Whether a text is a policy, and what its input rules say of a question."""
    del call
    return JSONResponse(tried(body.text, body.question, body.stakes))


@router.post(
    "/rollback",
    response_model=Policy,
    **guarded(Role.ADMIN, "rollback_policy", "Put the version before the one in force back", 404, 409),
)
def rollback_policy(call: Caller, once: CarryOut) -> JSONResponse:
    """Moves back to the version that was in force before the last release: a release like any other."""
    return once({}, lambda: _shown(call.services.workspace.policies.rollback(call.principal.id), call))


@router.post(
    "/{number}/release",
    response_model=Policy,
    **guarded(Role.ADMIN, "release_policy", "Put a version of the policy in force", 404, 409),
)
def release_policy(number: int, call: Caller, once: CarryOut) -> JSONResponse:
    """Holds from the next question on."""
    book = call.services.workspace.policies
    return once({}, lambda: _shown(book.release(_known(number), call.principal.id), call))


def _add(body: PolicyRequest, call: Call) -> dict[str, Any]:
    return _shown(call.services.workspace.policies.add(body.text, call.principal.id, body.message), call)


def _shown(version: Any, call: Call) -> dict[str, Any]:
    return policy_json(version, call.services.workspace.policies.in_force().version.sha256)


def _known(number: int) -> int:
    if not -LARGEST_NUMBER <= number <= LARGEST_NUMBER:
        raise NotFound(f"no policy version {number}")
    return number
