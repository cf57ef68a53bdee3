"""Running the cases of a prompt.

A run is answered in the request itself and not as a job: jobs wait behind ingests, and only admins see them, while
whoever runs tests waits for the verdict. So a request is bounded: in replies, in seconds, in how many run at a time.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.prompt_test_schemas import PromptTestReport, PromptTestRequest
from api.services import LARGEST_NUMBER
from kernel.errors import NotFound, Unavailable
from kernel.records import Role
from pipeline.prompts.results import report_json
from pipeline.prompts.testing import Asked

router = APIRouter(prefix="/v1/prompts", tags=["prompts"], route_class=GuardedRoute)

MOST_REPLIES = 500
"""Replies that one request may take; a case that compares two takes two, and so does one beside a baseline."""
MOST_SECONDS = 120.0
AT_A_TIME = 2
"""Runs at a time: they share threads and the model server with people who ask."""
_places = threading.BoundedSemaphore(AT_A_TIME)


@router.post(
    "/{name}/versions/{number}/test",
    response_model=PromptTestReport,
    **guarded(Role.EDITOR, "test_prompt", "Run the cases of a version", 404, 409, 413, 502),
)
def test_prompt(name: str, number: int, body: PromptTestRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Runs the version's cases beside the version in production, and records what came of them for each model.

    `passed` is false where a case failed, or none was run. 502 or 503: a model server is away, or the cases take too
    long for a request; then nothing is recorded.
    """
    return once(body.model_dump(), lambda: _tested(name, number, body, call))


def _tested(name: str, number: int, body: PromptTestRequest, call: Call) -> dict[str, Any]:
    if not 0 < number <= LARGEST_NUMBER:
        raise NotFound(f"prompt {name} has no version {number}")
    if not _places.acquire(blocking=False):
        raise Unavailable(f"{AT_A_TIME} runs of tests are under way already: try again when they have ended")
    try:
        asked = Asked(
            tuple(body.models),
            body.baseline,
            tuple(body.cases),
            tuple(body.suites),
            body.record,
            MOST_REPLIES,
            time.monotonic() + MOST_SECONDS,
        )
        return report_json(call.services.workspace.prompt_tester.run(f"{name}@{number}", call.principal, asked))
    finally:
        _places.release()
