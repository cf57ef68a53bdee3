"""What runs the server looks at: whether it lives, whether it is ready, and what it counted."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from api.metrics import CONTENT_TYPE
from api.schemas import Live, Ready
from api.services import Services
from kernel.errors import VouchError

router = APIRouter(tags=["health"])

_log = logging.getLogger("vouch.http")


@router.get("/livez", response_model=Live, operation_id="livez", summary="Whether the process answers")
async def livez() -> JSONResponse:
    """Always true; asks nothing of the database."""
    return JSONResponse({"live": True})


@router.get(
    "/readyz",
    response_model=Ready,
    operation_id="readyz",
    summary="Whether questions can be answered",
    responses={503: {"model": Ready, "description": "Not ready; `checks` says why"}},
)
def readyz(request: Request) -> JSONResponse:
    """Each check says `ok` or what is wrong."""
    services: Services = request.app.state.services
    checks = {
        "database": _database(services),
        "index": _index(services),
        "jobs": "ok" if services.runner.alive else "jobs are not being worked on",
    }
    ready = all(found == "ok" for found in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """Counts and durations of requests, answers, stages and jobs, in Prometheus' text format."""
    services: Services = request.app.state.services
    return Response(services.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _database(services: Services) -> str:
    try:
        services.workspace.snapshots.live()
    except VouchError as error:
        _log.warning("not ready: %s", error)
        return "the database cannot be read"
    return "ok"


def _index(services: Services) -> str:
    try:
        services.workspace.library.reach(services.workspace.snapshots.live().last_chunk)
    except VouchError as error:
        _log.warning("not ready: %s", error)
        return "the index cannot be opened"
    return "ok"
