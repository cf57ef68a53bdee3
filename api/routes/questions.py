"""Asking: answers, and passages alone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.prompt_run_schemas import storable_inputs
from api.schemas import Answer, QueryRequest, Retrieval, RetrieveRequest
from api.views import retrieved_json
from kernel.errors import InvalidInput
from kernel.records import Question, Role

router = APIRouter(prefix="/v1", tags=["questions"], route_class=GuardedRoute)


@router.post("/query", response_model=Answer, **guarded(Role.APP, "query", "Ask a question", 404, 409, 413))
def query(body: QueryRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Answers from the documents that the key may see, cites exact spans, and records the answer before it is sent.

    A question that the documents do not answer is an answer too: its status is `abstained`, with a reason. So is one
    that the model failed on: its status is `failed`. One that the policy holds back has status `pending_review` and no
    text until a person other than the asker has decided: read it again under its id.
    """
    if body.stream:
        raise InvalidInput("stream: streaming is not offered in this release; leave it out or send false")
    return once(body.model_dump(), lambda: _answer(body, call))


@router.post("/retrieve", response_model=Retrieval, **guarded(Role.APP, "retrieve", "Find passages", 404, 413))
def retrieve(body: RetrieveRequest, call: Caller) -> JSONResponse:
    """The passages that bear on a question, best first, without an answer and without a record.

    `why_not` names a document: then the response also tells how far it came, and what held it back.
    """
    workspace = call.services.workspace
    snapshot = call.services.snapshot(body.as_of)
    if body.why_not is None:
        question, document = Question(body.question, call.principal, body.top_k, snapshot), None
    else:  # both look at one snapshot, whatever is published meanwhile
        snapshot = call.services.state(snapshot).snapshot
        question = Question(body.question, call.principal, body.top_k, snapshot)
        document = workspace.catalog.document(body.why_not, snapshot, call.principal)
    found = workspace.answering.retrieve(question, explain=body.explain)
    why_not = workspace.answering.why_not(question, document) if document is not None else None
    shown = retrieved_json(found, body.explain, why_not)
    call.services.metrics.stages(found.timings_ms)
    call.services.metrics.helpers(shown)
    return JSONResponse(shown)


def _answer(body: QueryRequest, call: Call) -> dict[str, Any]:
    as_of = call.services.snapshot(body.as_of)
    inputs = storable_inputs(body.inputs)
    question = Question(
        body.question, call.principal, body.top_k, as_of, body.prompt, body.session, body.stakes, inputs
    )
    workspace = call.services.workspace
    made = workspace.answering.ask(question)
    call.services.metrics.answer(made)
    return workspace.releases.made(made, call.principal)
