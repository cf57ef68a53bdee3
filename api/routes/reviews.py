"""The inbox: answers that wait for a person, what runs of workflows ask, and deciding on both."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.prompt_run_schemas import storable_inputs
from api.schemas import (
    ApproveRequest,
    AssignRequest,
    CommentRequest,
    EditRequest,
    Page,
    RejectRequest,
    Review,
    ReviewDetail,
    Text,
)
from api.task_schemas import (
    AnswerRequest,
    Breach,
    DelegateRequest,
    EscalateRequest,
    MarkRequest,
    PreviewRequest,
    Task,
    TaskDetail,
    TaskFigures,
    TaskPreview,
)
from kernel.moments import bound_of
from kernel.records import Role
from pipeline.workflows.inbox import Inbox

router = APIRouter(prefix="/v1/reviews", tags=["reviews"], route_class=GuardedRoute)

State = Annotated[
    Literal["open", "approved", "edited", "rejected", "expired", "answered", "cancelled"] | None,
    Query(description="What stands so."),
]
Mine = Annotated[bool, Query(description="What is assigned to the key.")]
RunId = Annotated[Text | None, Query(max_length=40, description="What this run asked.")]
Sort = Annotated[
    Literal["answer", "review", "question"] | None, Query(description="Answers; reviews or questions of runs.")
]
Since = Annotated[str | None, Query(max_length=64, description="From this moment on; an ISO 8601 moment.")]


@router.get("", response_model=Page[Review | Task], **guarded(Role.APP, "list_reviews", "List reviews"))
def list_reviews(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: State = None,
    mine: Mine = False,
    run: RunId = None,
    sort: Sort = None,
) -> JSONResponse:
    """Reviews and questions, newest first. Keys of role app or editor see those that they may decide on."""
    (before,) = decode_cursor("reviews", cursor, "")
    found = _inbox(call).items(
        call.principal, limit=limit + 1, state=state, mine=mine, run_id=run, sort=sort, before=before or None
    )
    return JSONResponse(page(found, limit, lambda last: encode_cursor("reviews", last["id"])))


@router.get(
    "/figures", response_model=TaskFigures, **guarded(Role.REVIEWER, "review_figures", "How reviews of runs go")
)
def review_figures(call: Caller, since: Since = None) -> JSONResponse:
    """Of what runs asked: counts by state and label; minutes in the queue, and minutes worked on, by step."""
    return JSONResponse(_inbox(call).people.figures(call.principal, bound_of("since", since) or ""))


@router.get(
    "/breaches", response_model=Page[Breach], **guarded(Role.REVIEWER, "review_breaches", "List missed deadlines")
)
def review_breaches(call: Caller, limit: Limit = 50, cursor: Cursor = None, since: Since = None) -> JSONResponse:
    """What runs asked and nobody decided before its deadline, newest first."""
    (before,) = decode_cursor("breaches", cursor, "")
    found = _inbox(call).people.breaches(
        call.principal, limit=limit + 1, since=bound_of("since", since) or "", before=before or None
    )
    return JSONResponse(page(found, limit, lambda last: encode_cursor("breaches", last["id"])))


@router.get(
    "/{review_id}", response_model=ReviewDetail | TaskDetail, **guarded(Role.APP, "get_review", "Read a review", 404)
)
def get_review(review_id: str, call: Caller) -> JSONResponse:
    """Of an answer: the draft, every step, and `text_of`, which names the text that an approval now would be of. Of a
    run: what it shows, its evidence, what will happen, and `payload_sha256`, which names that.
    """
    return JSONResponse(_inbox(call).show(review_id, call.principal))


@router.post(
    "/{review_id}/preview",
    response_model=TaskPreview,
    **guarded(Role.APP, "preview_review", "Preview an approval", 404, 409),
)
def preview_review(review_id: str, body: PreviewRequest, call: Caller) -> JSONResponse:
    """What exactly will happen where the form of a run's review is filled in so. Nothing is decided."""
    values = storable_inputs(body.values)
    return JSONResponse(_inbox(call).people.preview(review_id, values, call.principal))


@router.post(
    "/{review_id}/assign",
    response_model=Review | Task,
    **guarded(Role.REVIEWER, "assign_review", "Assign a review", 404, 409),
)
def assign_review(review_id: str, body: AssignRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Gives a review to a key that may decide on it, other than the asker's or starter's."""
    return once(body.model_dump(), lambda: _inbox(call).assign(review_id, body.key, call.principal))


@router.post(
    "/{review_id}/delegate",
    response_model=Task,
    **guarded(Role.APP, "delegate_review", "Pass a review on", 404, 409),
)
def delegate_review(review_id: str, body: DelegateRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Passes what a run asks on to another holder of its role, where the workflow lets that be."""
    return once(body.model_dump(), lambda: _inbox(call).people.delegate(review_id, body.key, call.principal))


@router.post(
    "/{review_id}/escalate", response_model=Task, **guarded(Role.APP, "escalate_review", "Escalate a review", 404, 409)
)
def escalate_review(review_id: str, body: EscalateRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Lets others decide, too, on what a run asks: whom the workflow names for that, or a role, or a person."""
    return once(
        body.model_dump(), lambda: _inbox(call).people.escalate(review_id, call.principal, body.to, body.reason)
    )


@router.post(
    "/{review_id}/comment",
    response_model=Review | Task,
    **guarded(Role.APP, "comment_review", "Comment on a review", 404, 409),
)
def comment_review(review_id: str, body: CommentRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Adds a comment, which reviewers see."""
    return once(body.model_dump(), lambda: _inbox(call).comment(review_id, body.text, call.principal))


@router.post(
    "/{review_id}/mark", response_model=Task, **guarded(Role.APP, "mark_review", "Label what a run asks", 404, 409)
)
def mark_review(review_id: str, body: MarkRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts a label on what a run asks, or takes it off."""
    return once(
        body.model_dump(), lambda: _inbox(call).people.mark(review_id, body.label, call.principal, off=body.off)
    )


@router.post(
    "/{review_id}/approve",
    response_model=Review | Task,
    **guarded(Role.APP, "approve_review", "Approve a review", 404, 409, 428),
)
def approve_review(review_id: str, body: ApproveRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Of an answer: approves the text as it is; once enough people did, the asker sees it. Of a run: lets exactly that
    happen which `seen` names, or what follows from `values`. Who asked, started the run or wrote it gets 403.
    """
    values = storable_inputs(body.values)
    return once(
        body.model_dump(),
        lambda: _inbox(call).approve(
            review_id, call.principal, body.comment, text_of=body.text_of, seen=body.seen, values=values
        ),
    )


@router.post(
    "/{review_id}/answer", response_model=Task, **guarded(Role.APP, "answer_review", "Answer a question", 404, 409)
)
def answer_review(review_id: str, body: AnswerRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Answers the question of a run, which goes on with it."""
    values = storable_inputs(body.values)
    return once(body.model_dump(), lambda: _inbox(call).people.answer(review_id, values, call.principal, body.comment))


@router.post(
    "/{review_id}/edit", response_model=Review, **guarded(Role.REVIEWER, "edit_review", "Edit an answer", 404, 409, 413)
)
def edit_review(review_id: str, body: EditRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Puts another text in the answer's place, grounded in the same passages. It counts as its author's approval."""
    return once(body.model_dump(), lambda: _inbox(call).edit(review_id, body.text, call.principal, body.comment))


@router.post(
    "/{review_id}/reject",
    response_model=Review | Task,
    **guarded(Role.APP, "reject_review", "Reject a review", 404, 409),
)
def reject_review(review_id: str, body: RejectRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Rejects an answer for good, of which the asker is told the reason; or what a run is about to do."""
    return once(body.model_dump(), lambda: _inbox(call).reject(review_id, body.reason, call.principal))


def _inbox(call: Call) -> Inbox:
    return call.services.flows.inbox
