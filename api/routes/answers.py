"""Past answers and their lineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.auth import Caller, CarryOut, GuardedRoute, guarded
from api.experiment_schemas import FeedbackRequest
from api.negotiation import best_type
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import Answer, AnswerSummary, Opinion, Page, Replay, ReplayRequest, TodayAnswer
from api.views import feedback_json, opinion_json, stale_json
from kernel.records import Role

router = APIRouter(prefix="/v1/answers", tags=["answers"], route_class=GuardedRoute)

LINEAGE_FORMS = {"application/json": "json", "text/turtle": "turtle", "application/ld+json": "jsonld"}
_LINEAGE = guarded(Role.APP, "get_answer_lineage", "Read the lineage of an answer", 404, 406)
_LINEAGE["responses"] |= {
    200: {
        "description": "The lineage, in the form that `Accept` prefers",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/turtle": {"schema": {"type": "string"}},
            "application/ld+json": {"schema": {"type": "object"}},
        },
    }
}


@router.get("", response_model=Page[AnswerSummary], **guarded(Role.APP, "list_answers", "List past answers"))
def list_answers(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Answers, newest first: those that the key asked for; every answer for reviewers and admins."""
    (before,) = decode_cursor("answers", cursor, 2**62)
    records = call.services.workspace.releases.items(call.principal, limit=limit + 1, before=before)
    items = [_summary(record.body) for _, record in records]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("answers", last["index"])))


@router.get("/{answer_id}", response_model=Answer, **guarded(Role.APP, "get_answer", "Read an answer", 404))
def get_answer(answer_id: str, call: Caller) -> JSONResponse:
    """A past answer as it was recorded; one that waits for a person, without its text until it is released.

    `stale` is there where it stood on something that is withdrawn now, `feedback` where somebody gave some.
    """
    workspace = call.services.workspace
    record = workspace.releases.record(answer_id, call.principal)
    body = stale_json(record.body, workspace.stale.marks([record.number]).get(record.number))
    said = workspace.feedback.of([record.number]).get(record.number, ())
    return JSONResponse(body | feedback_json(said, call.principal))


@router.post(
    "/{answer_id}/feedback",
    response_model=Opinion,
    **guarded(Role.APP, "give_feedback", "Say how good an answer was", 404, 409, status=201),
)
def give_feedback(answer_id: str, body: FeedbackRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Records a score; the last word of each key counts. Whoever may read the answer may say it."""
    workspace, actor = call.services.workspace, call.principal

    def give() -> dict[str, Any]:
        workspace.releases.record(answer_id, actor)
        return opinion_json(workspace.feedback.give(answer_id, actor.id, body.value, body.comment, body.labels))

    return once(body.model_dump(), give, status=201)


@router.post(
    "/{answer_id}/replay",
    response_model=Replay | TodayAnswer,
    **guarded(Role.APP, "replay_answer", "Make an answer again", 404, 409),
)
def replay_answer(answer_id: str, body: ReplayRequest, call: Caller) -> JSONResponse:
    """Makes the answer again from what its record pins, and says of each stage whether it is the same byte for byte.

    With `current`, the question is answered with today's documents, prompt and model instead, and every change is
    named. Nothing is recorded either way.
    """
    workspace = call.services.workspace
    if body.current:
        return JSONResponse(workspace.today.compare(answer_id, call.principal))
    return JSONResponse(workspace.replayer.replay(answer_id, call.principal))


@router.get("/{answer_id}/lineage", **_LINEAGE)
def get_answer_lineage(answer_id: str, request: Request, call: Caller) -> Response:
    """From the answer's sentences through citations, passages and documents to their sources: as plain JSON, or as
    PROV-O in Turtle or JSON-LD.
    """
    lineage = call.services.workspace.lineage
    chosen = best_type(request.headers.getlist("accept"), tuple(LINEAGE_FORMS))
    if chosen is None:
        raise HTTPException(406, f"The lineage is offered as {', '.join(LINEAGE_FORMS)}.")
    vary = {"Vary": "Accept"}
    if chosen == "application/json":
        return JSONResponse(lineage.lineage(answer_id, call.principal), headers=vary)
    text = lineage.text(answer_id, call.principal, LINEAGE_FORMS[chosen])
    return Response(text, media_type=chosen, headers=vary)


def _summary(body: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "status", "question", "answer", "confidence", "created_at")
    return {name: body[name] for name in kept} | {
        "snapshot": body["retrieval"]["snapshot"],
        "index": body["ledger"]["index"],
    }
