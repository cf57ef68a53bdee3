"""Runs of workflows: started, watched, steered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.prompt_run_schemas import storable_inputs
from api.run_schemas import (
    CancelRequest,
    ForkRequest,
    RunChain,
    RunComparison,
    RunCost,
    RunEstimate,
    RunEvents,
    RunId,
    RunListed,
    RunRequest,
    RunWhole,
)
from api.schemas import Page, Text
from kernel.records import Role
from kernel.storage.runs import ENDS, Run, RunEvent
from pipeline.workflows.run_views import compared, event_json, run_json
from pipeline.workflows.starting import Wanted

router = APIRouter(prefix="/v1", tags=["runs"], route_class=GuardedRoute)

POLL_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 3600.0
Status = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]


@router.post(
    "/workflows/{name}/runs",
    response_model=RunListed,
    **guarded(Role.APP, "start_run", "Start a run of a workflow", 404, 409, 413, status=202),
)
def start_run(name: str, body: RunRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """The run is stored before this answers: from then on it will be done. `GET /v1/runs/{id}/events` follows it.

    With an `Idempotency-Key` the same request starts one run, however often and to whichever server it is sent.
    """
    reference = name if body.label is None else f"{name}@{body.label}"
    given, dedup = storable_inputs(body.input), f"{call.principal.id}\0{once.key}" if once.key else None

    def start() -> dict[str, Any]:
        wanted = Wanted(reference, given, call.principal, dedup=dedup, priority=body.priority)
        return run_json(call.services.flows.desk.start(wanted))

    return once(body.model_dump(), start, 202)


@router.post(
    "/workflows/{name}/estimate",
    response_model=RunEstimate,
    **guarded(Role.APP, "estimate_run", "Estimate what a run will take", 404, 413),
)
def estimate_run(name: str, body: RunRequest, call: Caller) -> JSONResponse:
    """By former runs of the workflow; where there are none, by the size of its prompts. Nothing is started."""
    reference = name if body.label is None else f"{name}@{body.label}"
    return JSONResponse(call.services.flows.costing.before(reference, storable_inputs(body.input), call.principal))


@router.get(
    "/runs/{run_id}/cost",
    response_model=RunCost,
    **guarded(Role.APP, "get_run_cost", "Read what a run took, beside its estimate", 404, 409),
)
def get_run_cost(run_id: RunId, call: Caller) -> JSONResponse:
    """Tokens, seconds and cost, and how far off an estimate by the runs before would have been."""
    flows = call.services.flows
    return JSONResponse(flows.costing.after(flows.desk.get(run_id, call.principal)))


@router.get("/runs", response_model=Page[RunListed], **guarded(Role.APP, "list_runs", "List runs of workflows"))
def list_runs(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    workflow: Annotated[Text | None, Query(max_length=48)] = None,
    status: Annotated[list[Status] | None, Query(description="One or more.")] = None,
    text: Annotated[Text, Query(max_length=200, description="What the run's input holds.")] = "",
) -> JSONResponse:
    """Newest first: those of the key itself; all of them for reviewers and admins."""
    (before,) = decode_cursor("runs", cursor, 2**62)
    runs = call.services.workspace.runs
    mine = None if call.principal.role.oversees else call.principal.id
    found = runs.items(
        limit=limit + 1, before=before, workflow=workflow, status=status or (), principal=mine, text=text
    )
    numbers = {run.id: run.number for run in found}
    items = [run_json(run) for run in found]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("runs", numbers[last["id"]])))


@router.get("/runs/{run_id}", response_model=RunWhole, **guarded(Role.APP, "get_run", "Read a run", 404))
def get_run(run_id: RunId, call: Caller) -> JSONResponse:
    """A run with its input, what it was pinned to, every step with its output, and what it made."""
    return JSONResponse(call.services.flows.reader.whole(run_id, call.principal))


@router.get(
    "/runs/{run_id}/events",
    response_model=RunEvents,
    **guarded(Role.APP, "follow_run", "Read or follow the journal of a run", 404),
)
async def follow_run(
    run_id: RunId,
    call: Caller,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """As JSON: the journal so far. As `text/event-stream`: each row as it is written, until the run ends, with
    heartbeats; `Last-Event-ID` goes on after a row.
    """
    run = await run_in_threadpool(call.services.flows.desk.get, run_id, call.principal)
    after = min(int(last_event_id), 2**62) if last_event_id and last_event_id.isdecimal() else -1
    if "text/event-stream" not in accept:
        events = await run_in_threadpool(call.services.workspace.runs.events, run_id, after)
        return JSONResponse({"items": [event_json(one) for one in events]})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(call, run, after), media_type="text/event-stream", headers=headers)


async def _stream(call: Call, run: Run, after: int) -> AsyncIterator[str]:
    runs = call.services.workspace.runs
    begin = spoke = time.monotonic()
    while time.monotonic() - begin < LONGEST_STREAM_SECONDS:
        standing = await run_in_threadpool(runs.get, run.id)
        events = await run_in_threadpool(runs.events, run.id, after)
        for one in events:
            after, spoke = one.leaf, time.monotonic()
            yield _event(one)
        if not await run_in_threadpool(call.services.workspace.keys.holds, call.principal.id):
            return
        if standing.status in ENDS:
            yield f"event: run\ndata: {json.dumps(run_json(standing), ensure_ascii=False)}\n\n"
            return
        if time.monotonic() - spoke > HEARTBEAT_SECONDS:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _event(event: RunEvent) -> str:
    body = json.dumps(event_json(event), ensure_ascii=False)
    return f"id: {event.leaf}\nevent: {event.kind}\ndata: {body}\n\n"


@router.get(
    "/runs/{run_id}/chain",
    response_model=RunChain,
    **guarded(Role.APP, "open_chain", "Open the whole chain of a run", 404),
)
def open_chain(run_id: RunId, call: Caller) -> JSONResponse:
    """The run, its spec and pins, the answers and documents it stood on, what people decided, the runs it started."""
    return JSONResponse(call.services.flows.reader.chain(run_id, call.principal))


@router.get(
    "/runs/{run_id}/comparison",
    response_model=RunComparison,
    **guarded(Role.APP, "compare_runs", "Compare a run with another one", 404),
)
def compare_runs(
    run_id: RunId, call: Caller, other: Annotated[Text, Query(alias="with", max_length=40)]
) -> JSONResponse:
    """What differs: input, pins, each step's output and time."""
    reader = call.services.flows.reader
    one, former = reader.whole(run_id, call.principal), reader.whole(other, call.principal)
    return JSONResponse(compared(one, former))


@router.post(
    "/runs/{run_id}/cancel", response_model=RunListed, **guarded(Role.APP, "cancel_run", "Cancel a run", 404, 409)
)
def cancel_run(run_id: RunId, body: CancelRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Nothing more is begun; what was done is taken back where the workflow says how. Reviewers and admins may any."""
    desk = call.services.flows.desk
    return once(body.model_dump(), lambda: run_json(desk.cancel(run_id, call.principal, body.reason)))


@router.post(
    "/runs/{run_id}/resume", response_model=RunListed, **guarded(Role.APP, "resume_run", "Resume a run", 404, 409)
)
def resume_run(run_id: RunId, call: Caller, once: CarryOut) -> JSONResponse:
    """A run that failed or was cancelled goes on: what failed is done again, what was done is kept."""
    return once({}, lambda: run_json(call.services.flows.desk.resume(run_id, call.principal)))


@router.post(
    "/runs/{run_id}/fork",
    response_model=RunListed,
    **guarded(Role.APP, "fork_run", "Go on from a step of a finished run, in a new run", 404, 409, status=202),
)
def fork_run(run_id: RunId, body: ForkRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Outputs that do not follow from that step are kept, with the same pins."""
    desk = call.services.flows.desk
    return once(body.model_dump(), lambda: run_json(desk.fork(run_id, body.step, call.principal)), 202)
