"""Running prompts that answer from their inputs alone."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.prompt_run_schemas import PromptRunBody, PromptRunRequest, storable_inputs
from api.schemas import Page
from kernel.records import Role
from pipeline.prompts.runs import RunRequest, run_shown

router = APIRouter(prefix="/v1", tags=["prompts"], route_class=GuardedRoute)


@router.post(
    "/prompts/{name}/run",
    response_model=PromptRunBody,
    **guarded(Role.APP, "run_prompt", "Run a prompt on inputs", 404, 409, 413),
)
def run_prompt(name: str, body: PromptRunRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """For prompts that answer from their inputs alone; one that answers from documents is named in `POST /v1/query`.

    The run is recorded before it is sent. A model's failure is a run too: its status is `failed`.
    """
    reference = name if body.label is None else f"{name}@{body.label}"
    request = RunRequest(reference, storable_inputs(body.inputs), call.principal, body.session, body.stakes)
    return once(body.model_dump(), lambda: call.services.workspace.prompt_runner.run(request))


@router.get(
    "/prompt-runs", response_model=Page[PromptRunBody], **guarded(Role.APP, "list_prompt_runs", "List runs of prompts")
)
def list_prompt_runs(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Newest first: those of the key itself; all of them for reviewers and admins."""
    (before,) = decode_cursor("prompt-runs", cursor, 2**62)
    runs = call.services.workspace.prompt_runner.stored
    found = runs.items(call.principal, limit=limit + 1, before=before)
    items = [run_shown(one, call.principal) | {"number": one.number} for one in found]
    shown = page(items, limit, lambda last: encode_cursor("prompt-runs", last["number"]))
    for one in shown["items"]:
        del one["number"]
    return JSONResponse(shown)


@router.get(
    "/prompt-runs/{run_id}",
    response_model=PromptRunBody,
    **guarded(Role.APP, "get_prompt_run", "Read a run of a prompt", 404),
)
def get_prompt_run(run_id: str, call: Caller) -> JSONResponse:
    """A run as it was recorded. Runs of others look as if there were none, but to reviewers and admins."""
    runs = call.services.workspace.prompt_runner.stored
    return JSONResponse(run_shown(runs.get(run_id, call.principal), call.principal))
