"""Sources: files and folders of the server's machine that the workspace keeps up with."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import Job, Page, Source, SourceRequest
from api.uploads import UploadFolder
from api.views import job_json, source_json
from ingest.sources import plan_sources
from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.records import JobInfo, Role, SourceInfo

router = APIRouter(prefix="/v1/sources", tags=["sources"], route_class=GuardedRoute)


@router.get("", response_model=Page[Source], **guarded(Role.ADMIN, "list_sources", "List sources"))
def list_sources(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Every source by name, with the number of its live documents."""
    (after,) = decode_cursor("sources", cursor, "")
    items = [source_json(source) for source in all_sources(call) if source.name > after]
    return JSONResponse(page(items[: limit + 1], limit, lambda last: encode_cursor("sources", last["name"])))


@router.post(
    "",
    response_model=Job,
    **guarded(Role.ADMIN, "create_source", "Register a source and bring it in", 409, 413, status=202),
)
def create_source(body: SourceRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Registers a file or folder on the server's machine and accepts the job of indexing it.

    A source of the same name is pointed at the new path; what the path does not hold is withdrawn from it.
    """
    return once(body.model_dump(), lambda: job_json(_register(body, call)), 202)


@router.post(
    "/{name:path}/sync",
    response_model=Job,
    **guarded(Role.ADMIN, "sync_source", "Bring a source up to date", 404, 409, status=202),
)
def sync_source(name: str, call: Caller, once: CarryOut) -> JSONResponse:
    """Accepts the job of comparing a source with its files: what is new is added, what is gone is withdrawn."""
    return once({}, lambda: job_json(_sync(name, call)), 202)


def all_sources(call: Call) -> list[SourceInfo]:
    """All sources as the live snapshot counts them."""
    workspace = call.services.workspace
    return sorted(workspace.catalog.sources(workspace.snapshots.live().snapshot), key=lambda source: source.name)


def upload_folder(call: Call) -> UploadFolder:
    """Where uploaded files lie."""
    return UploadFolder(call.services.workspace.settings.workspace_folder / "uploads")


def _register(body: SourceRequest, call: Call) -> JobInfo:
    path = Path(body.path)
    if not path.is_absolute():
        raise InvalidInput("path: give the absolute path of a file or folder on the server's machine")
    (plan,) = plan_sources([path], body.name)
    known = next((source for source in all_sources(call) if source.name == plan.name), None)
    if known and known.location != plan.location and upload_folder(call).holds(known.name, known.location):
        raise Conflict(f"the source {plan.name} holds uploaded files; choose another name")
    call.services.workspace.catalog.source_id(plan.name, plan.location)
    return call.services.runner.ingest(plan.name, [str(root) for root in plan.roots])


def _sync(name: str, call: Call) -> JobInfo:
    source = next((source for source in all_sources(call) if source.name == name), None)
    if source is None:
        raise NotFound(f"no source {name}")
    if upload_folder(call).holds(source.name, source.location):
        paths = [str(upload_folder(call).of(source.name))]
    else:
        paths = [source.location] if Path(source.location).exists() else source.location.split(", ")
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise Conflict(f"{missing[0]} is not there; bring it back, or register the source with another path")
    return call.services.runner.ingest(source.name, paths)
