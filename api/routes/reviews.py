"""The reviewers' inbox: answers that wait for a person, and deciding on them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import (
    ApproveRequest,
    AssignRequest,
    CommentRequest,
    EditRequest,
    Page,
    RejectRequest,
    Review,
    ReviewDetail,
)
from kernel.records import Role

router = APIRouter(prefix="/v1/reviews", tags=["reviews"], route_class=GuardedRoute)

State = Annotated[
    Literal["open", "approved", "edited", "rejected", "expired"] | None, Query(description="Reviews in this state.")
]
Mine = Annotated[bool, Query(description="Reviews that are assigned to the key.")]
_LAST = "rew"
"""Sorts after every id of a review."""


@router.get("", response_model=Page[Review], **guarded(Role.REVIEWER, "list_reviews", "List reviews"))
def list_reviews(
    call: Caller, limit: Limit = 50, cursor: Cursor = None, state: State = None, mine: Mine = False
) -> JSONResponse:
    """Reviews, newest first."""
    (before,) = decode_cursor("reviews", cursor, _LAST)
    desk = call.services.workspace.review_desk
    found = desk.items(call.principal, limit=limit + 1, state=state, mine=mine, before=before)
    return JSONResponse(page(found, limit, lambda last: encode_cursor("reviews", last["id"])))


@router.get("/{review_id}", response_model=ReviewDetail, **guarded(Role.REVIEWER, "get_review", "Read a review", 404))
def get_review(review_id: str, call: Caller) -> JSONResponse:
    """A review with the draft and every step. `text_of` names the text that an approval now would be of."""
    return JSONResponse(call.services.workspace.review_desk.show(review_id, call.principal))


@router.post(
    "/{review_id}/assign", response_model=Review, **guarded(Role.REVIEWER, "assign_review", "Assign a review", 404, 409)
)
def assign_review(review_id: str, body: AssignRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Gives a review to a key of role reviewer or admin, other than the asker's. Anybody else may still decide."""
    desk = call.services.workspace.review_desk
    return once(body.model_dump(), lambda: desk.assign(review_id, body.key, call.principal))


@router.post(
    "/{review_id}/comment",
    response_model=Review,
    **guarded(Role.REVIEWER, "comment_review", "Comment on a review", 404, 409),
)
def comment_review(review_id: str, body: CommentRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Adds a comment, which reviewers see."""
    desk = call.services.workspace.review_desk
    return once(body.model_dump(), lambda: desk.comment(review_id, body.text, call.principal))


@router.post(
    "/{review_id}/approve",
    response_model=Review,
    **guarded(Role.REVIEWER, "approve_review", "Approve an answer", 404, 409),
)
def approve_review(review_id: str, body: ApproveRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Approves the text as it is; once enough people did, the asker sees it. Who asked gets 403."""
    desk = call.services.workspace.review_desk
    return once(body.model_dump(), lambda: desk.approve(review_id, call.principal, body.comment, body.text_of))


@router.post(
    "/{review_id}/edit", response_model=Review, **guarded(Role.REVIEWER, "edit_review", "Edit an answer", 404, 409, 413)
)
def edit_review(review_id: str, body: EditRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts another text in the answer's place, grounded in the same passages. It counts as its author's approval."""
    desk = call.services.workspace.review_desk
    return once(body.model_dump(), lambda: desk.edit(review_id, body.text, call.principal, body.comment))


@router.post(
    "/{review_id}/reject",
    response_model=Review,
    **guarded(Role.REVIEWER, "reject_review", "Reject an answer", 404, 409),
)
def reject_review(review_id: str, body: RejectRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Rejects the answer for good. The asker is told the reason."""
    desk = call.services.workspace.review_desk
    return once(body.model_dump(), lambda: desk.reject(review_id, body.reason, call.principal))
