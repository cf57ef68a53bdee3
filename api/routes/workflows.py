"""The library of workflows: reading it, and saving versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from api import workflow_schemas as shapes
from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.negotiation import best_type
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.preconditions import changed_from, unchanged
from api.prompt_schemas import ImportReport, PromptDifference, PromptHappening
from api.routes.prompts import INSIDERS, Word, known, tag_of
from api.schemas import Page
from api.services import LARGEST_NUMBER
from kernel.errors import InvalidInput, NotFound
from kernel.records import Role, WorkflowVersion
from pipeline.histories import next_of
from pipeline.prompts.exchange import Incoming
from pipeline.workflows.desk import Wanted, WorkflowDesk
from pipeline.workflows.diagram import mermaid_of
from pipeline.workflows.exchange import brought_in, exported
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.sheet import sheet_of
from pipeline.workflows.triggers import triggers_json

router = APIRouter(prefix="/v1/workflows", tags=["workflows"], route_class=GuardedRoute)

YAML, JSON, MARKDOWN, DIAGRAM = "application/yaml", "application/json", "text/markdown", "text/vnd.mermaid"
Reference = Annotated[str, Query(max_length=64, description="A version's number, or `live` or `pilot`.")]


@router.get(
    "",
    response_model=Page[shapes.WorkflowItem] | Page[shapes.WorkflowCard],
    **guarded(Role.APP, "list_workflows", "List workflows"),
)
def list_workflows(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    q: Annotated[str, Query(max_length=400, description="Words of name, title, description, tags, owner, kinds.")] = "",
    tag: Word = None,
    owner: Word = None,
    state: Annotated[shapes.State | None, Query(description="Workflows with a version in this state.")] = None,
    overdue: Annotated[bool, Query(description="Workflows whose review_by date is past.")] = False,
) -> JSONResponse:
    """Workflows by name. Keys of role app see cards of those that are live; other keys the newest version of each."""
    (after,) = decode_cursor("workflows", cursor, "")
    wanted, desk = Wanted(q, tag, owner, state, overdue), _desk(call)
    items = desk.items(wanted) if _inside(call) else desk.cards(wanted)
    found = next_of(items, after)[: limit + 1]
    return JSONResponse(page(found, limit, lambda last: encode_cursor("workflows", last["name"])))


@router.get(
    "/triggers",
    response_model=shapes.WorkflowTriggers,
    **guarded(INSIDERS, "list_triggers", "List what starts live workflows"),
)
def list_triggers(call: Caller) -> JSONResponse:
    """Every trigger of every live version, and whether it rests."""
    return JSONResponse({"items": triggers_json(call.services.flows.triggers.held())})


@router.get(
    "/export", response_model=shapes.WorkflowExport, **guarded(INSIDERS, "export_workflows", "Export the library")
)
def export_workflows(
    call: Caller,
    versions: Annotated[Literal["newest", "all"], Query(description="Which of each workflow.")] = "newest",
) -> JSONResponse:
    """Every workflow with its text, as an import takes it."""
    return JSONResponse(exported(_library(call), every=versions == "all"))


@router.post(
    "/import",
    response_model=ImportReport,
    **guarded(Role.EDITOR, "import_workflows", "Bring workflows in", 409, 413),
)
def import_workflows(body: shapes.WorkflowImport, call: Caller, once: CarryOut) -> JSONResponse:
    """Saves each text that is not a version yet, as a draft of the key's owner; the same again changes nothing. A text
    that cannot come in is listed with the reason, and keeps no other from coming in.
    """
    texts = [
        Incoming(one.text, f"{one.name}@{one.version}" if one.name else f"items[{place}]", one.message)
        for place, one in enumerate(body.items)
    ]
    return once(body.model_dump(), lambda: brought_in(_library(call), texts, call.principal.id))


@router.post(
    "/check",
    response_model=shapes.CheckedWorkflow,
    **guarded(INSIDERS, "check_workflow", "Check a workflow without storing it", 413),
)
def check_workflow(body: shapes.WorkflowCheck, call: Caller) -> JSONResponse:
    """Whether a text can be saved, and what it might do better; 422 names line and field of what is wrong."""
    return JSONResponse(_desk(call).checked(body.text))


@router.post(
    "/promote",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.EDITOR, "promote_to_workflow", "Make a workflow of an answer", 404, 409, 412, 413, status=201),
)
def promote(body: shapes.WorkflowPromotion, call: Caller, once: CarryOut) -> JSONResponse:
    """Saves a draft that does again what was asked or run once; the question or inputs become its example."""

    def made() -> dict[str, Any]:
        flows = call.services.flows
        version = flows.workflow_promoter.promote(body.source, body.name, call.principal, body.message)
        return flows.library_desk.version_item(version.name, version.version)

    return once(body.model_dump(), made, 201)


@router.get(
    "/{name}",
    response_model=shapes.WorkflowBody | shapes.WorkflowCard,
    **guarded(Role.APP, "get_workflow", "Read a workflow", 404),
)
def get_workflow(name: str, call: Caller) -> JSONResponse:
    """The newest version with its text, and what is in force. `ETag` names that version: send it as `If-Match` with a
    change. Keys of role app see a card of what is live; a workflow that is not live is none to them.
    """
    found = _desk(call).show(name) if _inside(call) else _desk(call).card(name)
    return JSONResponse(found, headers={"ETag": tag_of(found["version"], found["sha256"])})


@router.put(
    "/{name}",
    response_model=shapes.WorkflowVersionItem,
    **guarded(Role.EDITOR, "save_workflow", "Save a version of a workflow", 404, 409, 412, 413, 428, status=201),
)
def save_workflow(name: str, body: shapes.WorkflowSave, call: Caller, once: CarryOut, request: Request) -> Response:
    """Stores a text as the next version, a draft: nothing runs it yet.

    `If-Match` must carry the ETag of the version that was changed, or `If-None-Match: *` for a new workflow: 428
    without either, 412 where somebody saved meanwhile, 409 where the text is a version already.
    """
    conditions = {one: request.headers.getlist(one) for one in ("if-match", "if-none-match")}
    made = once(body.model_dump() | conditions, lambda: _save(name, body, call, request), 201)
    shown = json.loads(bytes(made.body))
    made.headers["ETag"] = tag_of(shown["version"], shown["sha256"])
    made.headers["Location"] = f"/v1/workflows/{name}/versions/{shown['version']}"
    return made


@router.get(
    "/{name}/versions",
    response_model=Page[shapes.WorkflowVersionItem],
    **guarded(INSIDERS, "list_workflow_versions", "List versions of a workflow", 404),
)
def list_versions(name: str, call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Versions, newest first, with where each stands and what it lacks to go live."""
    (before,) = decode_cursor("workflow-versions", cursor, LARGEST_NUMBER)
    found = [one for one in _desk(call).versions(name) if one["version"] < before][: limit + 1]
    return JSONResponse(page(found, limit, lambda last: encode_cursor("workflow-versions", last["version"])))


@router.get(
    "/{name}/versions/{number}",
    response_model=shapes.WorkflowVersionText,
    **guarded(INSIDERS, "get_workflow_version", "Read a version of a workflow", 404, 406),
)
def get_version(name: str, number: int, call: Caller, request: Request) -> Response:
    """A version as it is for good: nothing of this ever changes, so `If-None-Match` spares its repetition (304).
    `Accept` gives the file itself (`application/yaml`), its sheet (`text/markdown`) or diagram (`text/vnd.mermaid`).
    """
    found = _desk(call).text(name, known(number))
    wanted = best_type(request.headers.getlist("accept"), (JSON, YAML, MARKDOWN, DIAGRAM))
    if wanted is None:
        raise HTTPException(406, f"A version is offered as {JSON}, {YAML}, {MARKDOWN} and {DIAGRAM}.")
    form = "" if wanted == JSON else f".{wanted.rpartition('/')[2]}"
    tag = f'"{found["sha256"]}{form}"'
    headers = {"ETag": tag, "Vary": "Accept"}
    if unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    if wanted == JSON:
        return JSONResponse(found, headers=headers)
    spec = spec_of(_library(call).find(f"{name}@{number}"))
    text = found["text"] if wanted == YAML else sheet_of(spec) if wanted == MARKDOWN else mermaid_of(spec)
    return Response(text, headers=headers, media_type=f"{wanted}; charset=utf-8")


@router.get(
    "/{name}/diff",
    response_model=PromptDifference,
    **guarded(INSIDERS, "compare_workflows", "Compare two versions of a workflow", 404),
)
def compare(
    name: str,
    call: Caller,
    one: Annotated[Reference, Query(alias="from")],
    other: Annotated[Reference, Query(alias="to")] = "",
) -> JSONResponse:
    """How version `from` became version `to` (default: the newest), member by member and step by step."""
    library = _library(call)
    newest = library.versions(name)[0]
    to = _named(library, name, other) if other else newest
    return JSONResponse(_desk(call).difference(_named(library, name, one), to))


@router.get(
    "/{name}/history",
    response_model=Page[PromptHappening],
    **guarded(INSIDERS, "get_workflow_history", "Read the history of a workflow", 404),
)
def history(name: str, call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Everything that happened to a workflow, newest first: what, when, by whom and what they said."""
    (length,) = decode_cursor("workflow-history", cursor, LARGEST_NUMBER)
    rows = _desk(call).history(name)
    left = min(length, len(rows))
    found = _desk(call).with_words(rows[len(rows) - left :][: limit + 1])
    return JSONResponse(page(found, limit, lambda _: encode_cursor("workflow-history", left - limit)))


def changing(call: Call, name: str, act: Callable[[WorkflowLibrary], object]) -> Callable[[], dict[str, Any]]:
    """Carry out a change of a workflow's state; then, the workflow as listings show it."""

    def done() -> dict[str, Any]:
        act(_library(call))
        return _desk(call).item(name)

    return done


def _library(call: Call) -> WorkflowLibrary:
    return call.services.flows.library


def _desk(call: Call) -> WorkflowDesk:
    return call.services.flows.library_desk


def _inside(call: Call) -> bool:
    return call.principal.role != Role.APP


def _save(name: str, body: shapes.WorkflowSave, call: Call, request: Request) -> dict[str, Any]:
    library = _library(call)
    expected = changed_from(request, lambda: _newest(library, name))
    draft, _ = library.draft(body.text)
    if draft.name != name:
        raise InvalidInput(f"the text is of workflow {draft.name}, and the address of {name}")
    made = library.save(body.text, call.principal.id, body.message, expected)
    return _desk(call).version_item(made.name, made.version)


def _newest(library: WorkflowLibrary, name: str) -> tuple[int, str] | None:
    try:
        found = library.versions(name)[0]
    except NotFound:
        return None
    return found.version, tag_of(found.version, found.sha256)


def _named(library: WorkflowLibrary, name: str, reference: str) -> WorkflowVersion:
    if reference.isdecimal():
        known(int(reference))
    return library.find(f"{name}@{reference}")
