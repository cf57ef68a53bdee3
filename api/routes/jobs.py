"""Long work that was accepted."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Caller, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import Job, Page
from api.views import job_json
from kernel.records import Role

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=GuardedRoute)


@router.get("", response_model=Page[Job], **guarded(Role.ADMIN, "list_jobs", "List jobs"))
def list_jobs(call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Jobs, newest first."""
    (before,) = decode_cursor("jobs", cursor, "")
    items = [job_json(job) for job in call.services.workspace.jobs.items(limit=limit + 1, before=before or None)]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("jobs", last["id"])))


@router.get("/{job_id}", response_model=Job, **guarded(Role.ADMIN, "get_job", "Read how far a job is", 404))
def get_job(job_id: str, call: Caller) -> JSONResponse:
    """A job: queued, running, done (with its result) or failed (with the reason)."""
    return JSONResponse(job_json(call.services.workspace.jobs.get(job_id)))
