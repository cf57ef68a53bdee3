"""A version's way to callers: review by another person, labels, rules, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api import prompt_schemas as shapes
from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.routes.prompts import INSIDERS, changing, known
from kernel.errors import Conflict
from kernel.records import Role
from pipeline.prompts.library import PromptLibrary

router = APIRouter(prefix="/v1/prompts", tags=["prompts"], route_class=GuardedRoute)


@router.post(
    "/{name}/versions/{number}/submit",
    response_model=shapes.PromptVersionItem,
    **guarded(Role.EDITOR, "submit_prompt", "Ask for the review of a version", 404, 409),
)
def submit(name: str, number: int, body: shapes.NoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Asks for another person's review of a draft."""
    act = _version(call, name, number, lambda own: own.submit(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/approve",
    response_model=shapes.PromptVersionItem,
    **guarded(Role.REVIEWER, "approve_prompt", "Approve a version", 404, 409),
)
def approve(name: str, number: int, body: shapes.NoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Approves a version in review. Who wrote or submitted it gets 403."""
    act = _version(call, name, number, lambda own: own.approve(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/reject",
    response_model=shapes.PromptVersionItem,
    **guarded(Role.REVIEWER, "reject_prompt", "Reject a version", 404, 409),
)
def reject(name: str, number: int, body: shapes.RejectionRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Sends a version in review back to its author, who reads why in its history."""
    act = _version(call, name, number, lambda own: own.reject(name, number, call.principal, body.reason))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/versions/{number}/comment",
    response_model=shapes.PromptVersionItem,
    **guarded(INSIDERS, "comment_prompt_version", "Comment on a version", 404, 409),
)
def comment_version(name: str, number: int, body: shapes.SayRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Adds a comment, which the history of the prompt shows."""
    act = _version(call, name, number, lambda own: own.comment(name, number, call.principal, body.comment))
    return once(body.model_dump(), act)


@router.post(
    "/{name}/comment",
    response_model=shapes.PromptItem,
    **guarded(INSIDERS, "comment_prompt", "Comment on a prompt", 404, 409),
)
def comment(name: str, body: shapes.SayRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Adds a comment on the prompt as a whole."""

    def say(own: PromptLibrary) -> None:
        own.versions(name)
        own.comment(name, 0, call.principal, body.comment)

    return once(body.model_dump(), changing(call, name, say))


@router.post(
    "/{name}/versions/{number}/retire",
    response_model=shapes.PromptVersionItem,
    **guarded(Role.ADMIN, "retire_prompt_version", "Retire a version", 404, 409),
)
def retire_version(name: str, number: int, body: shapes.RetireRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Takes a version out of use, or with `undo` back into it. One that a label is on gets 409."""
    act = _version(
        call, name, number, lambda own: own.retire(name, number, call.principal, body.reason, undo=body.undo)
    )
    return once(body.model_dump(), act)


@router.post(
    "/{name}/retire",
    response_model=shapes.PromptItem,
    **guarded(Role.ADMIN, "retire_prompt", "Retire a prompt", 404, 409),
)
def retire(name: str, body: shapes.RetireRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Takes a whole prompt out of use: nobody gets it any more. `undo` brings it back."""
    act = changing(call, name, lambda own: own.retire(name, 0, call.principal, body.reason, undo=body.undo))
    return once(body.model_dump(), act)


@router.put(
    "/{name}/labels/{label}",
    response_model=shapes.PromptItem,
    **guarded(Role.ADMIN, "label_prompt", "Put a label on a version", 404, 409),
)
def put_label(name: str, label: str, body: shapes.LabelRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts a label on a version, from the next question on, in every process; again on the same version changes
    nothing. `production`, and labels that rules choose, take only versions that passed the gates: 409 says what is
    missing.
    """

    def put(own: PromptLibrary) -> None:
        try:
            own.label(name, body.version, label, call.principal, body.comment)
        except Conflict:
            if own.labels(name).get(label) != body.version:
                raise

    return once(body.model_dump(), changing(call, name, put))


@router.delete(
    "/{name}/labels/{label}",
    response_model=shapes.PromptItem,
    **guarded(Role.ADMIN, "unlabel_prompt", "Take a label off", 404, 409),
)
def delete_label(name: str, label: str, call: Caller) -> JSONResponse:
    """Takes a label off. One that callers get without naming it gets 409: retire the prompt, or change its rules."""
    return JSONResponse(changing(call, name, lambda own: own.unlabel(name, label, call.principal))())


@router.post(
    "/{name}/labels/{label}/rollback",
    response_model=shapes.PromptItem,
    **guarded(Role.ADMIN, "rollback_prompt", "Move a label back", 404, 409),
)
def rollback(name: str, label: str, body: shapes.RollbackRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts a label back on the version that it was on before, at once and without a new approval."""
    act = changing(call, name, lambda own: own.rollback(name, call.principal, label, body.reason))
    return once(body.model_dump(), act)


@router.get(
    "/{name}/rules",
    response_model=shapes.PromptRules,
    **guarded(INSIDERS, "get_prompt_rules", "Read the rules of a prompt", 404),
)
def get_rules(name: str, call: Caller) -> JSONResponse:
    """Which label callers get who name none: that of the first rule that applies, else `production`."""
    return JSONResponse({"name": name, "rules": call.services.workspace.prompt_desk.rules(name)})


@router.put(
    "/{name}/rules",
    response_model=shapes.PromptRules,
    **guarded(Role.ADMIN, "set_prompt_rules", "Declare the rules of a prompt", 404, 409),
)
def put_rules(name: str, body: shapes.RulesRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts rules in place of those that the prompt has. A label whose version did not pass the gates gets 409."""

    def put() -> dict[str, Any]:
        call.services.workspace.prompts.set_rules(name, body.rules, call.principal)
        return {"name": name, "rules": call.services.workspace.prompt_desk.rules(name)}

    return once(body.model_dump(), put)


def _version(
    call: Call, name: str, number: int, act: Callable[[PromptLibrary], object]
) -> Callable[[], dict[str, Any]]:
    """Carry out what concerns a version; then, the version and where it stands."""

    def done() -> dict[str, Any]:
        known(number)
        act(call.services.workspace.prompts)
        return call.services.workspace.prompt_desk.version_item(name, number)

    return done
