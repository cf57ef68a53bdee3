"""A version's way to be live: review by another person, pilot, release, and back; and triggers that rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api import workflow_schemas as shapes
from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.prompt_schemas import NoteRequest, RejectionRequest, RetireRequest, SayRequest
from api.routes.prompts import INSIDERS, known
from api.routes.workflows import changing
from kernel.records import Role
from pipeline.workflows.library import WorkflowLibrary

router = APIRouter(prefix="/v1/workflows", tags=["workflows"], route_class=GuardedRoute)


@router.post(
    "/{name}/versions/{number}/submit",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.EDITOR, "submit_workflow", "Ask for the review of a version", 404, 409),
)
def submit(name: str, number: int, body: NoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Asks for another person's review of a version."""
    act = _version(call, name, number, lambda own: own.submit(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/approve",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.REVIEWER, "approve_workflow", "Approve a version", 404, 409),
)
def approve(name: str, number: int, body: NoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Approves a version in review. Who wrote or submitted it gets 403."""
    act = _version(call, name, number, lambda own: own.approve(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/reject",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.REVIEWER, "reject_workflow", "Reject a version", 404, 409),
)
def reject(name: str, number: int, body: RejectionRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Sends a version in review back to its author, who reads why in its history."""
    act = _version(call, name, number, lambda own: own.reject(name, number, call.principal, body.reason))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/comment",
    response_model=shapes.WorkflowItem,
    **guarded(INSIDERS, "comment_workflow", "Comment on a workflow", 404, 409),
)
def comment(name: str, body: SayRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Adds a comment, which the history of the workflow shows."""
    act = changing(call, name, lambda own: own.comment(name, 0, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/pilot",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.REVIEWER, "pilot_workflow", "Make a version the pilot", 404, 409),
)
def pilot(name: str, number: int, body: shapes.PilotRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Lets its owner and reviewers run a version, or (`off`) nobody any more. One without an owner gets 409."""

    def act(own: WorkflowLibrary) -> None:
        if body.off:
            own.end_pilot(name, call.principal, body.comment)
        else:
            own.pilot(name, number, call.principal, body.comment)

    return once(body.model_dump(), _version(call, name, number, act))


@router.post(
    "/{name}/versions/{number}/live",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.ADMIN, "release_workflow", "Put a version live", 404, 409),
)
def put_live(name: str, number: int, body: NoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts a version live, from the next run and trigger on, in every process: 409 says what it lacks."""
    act = _version(call, name, number, lambda own: own.release(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/rollback",
    response_model=shapes.WorkflowItem,
    **guarded(Role.ADMIN, "rollback_workflow", "Put the version before live again", 404, 409),
)
def rollback(name: str, body: shapes.WorkflowRollback, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts `live` back on the version before, at once and without a new approval. Runs under way go on with theirs."""
    act = changing(call, name, lambda own: own.rollback(name, call.principal, body.reason))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/retire",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.ADMIN, "retire_workflow_version", "Retire a version", 404, 409),
)
def retire_version(name: str, number: int, body: RetireRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Takes a version out of use, or with `undo` back into it. One that is live or a pilot gets 409."""
    act = _version(
        call, name, number, lambda own: own.retire(name, number, call.principal, body.reason, undo=body.undo)
    )
    return once(body.model_dump(), act)


@router.post(
    "/{name}/retire",
    response_model=shapes.WorkflowItem,
    **guarded(Role.ADMIN, "retire_workflow", "Retire a workflow", 404, 409),
)
def retire(name: str, body: RetireRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Takes a whole workflow out of use: nothing starts it any more. `undo` brings it back."""
    act = changing(call, name, lambda own: own.retire(name, 0, call.principal, body.reason, undo=body.undo))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/pause",
    response_model=shapes.WorkflowItem,
    **guarded(Role.ADMIN, "pause_workflow", "Let the triggers of a workflow rest", 404, 409),
)
def pause(name: str, body: shapes.PauseRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Only people start it until they are resumed (`resume`); what documents change meanwhile starts it then."""
    act = changing(call, name, lambda own: own.pause(name, call.principal, body.reason, resume=body.resume))
    return once(body.model_dump(), act)


def _version(
    call: Call, name: str, number: int, act: Callable[[WorkflowLibrary], object]
) -> Callable[[], dict[str, Any]]:
    """Carry out what concerns a version; then, the version and where it stands."""

    def done() -> dict[str, Any]:
        known(number)
        act(call.services.flows.library)
        return call.services.flows.library_desk.version_item(name, number)

    return done
