"""Experiments and canaries on versions of prompts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Caller, CarryOut, GuardedRoute, guarded
from api.experiment_schemas import Experiment, ExperimentRequest, ExperimentStatus, PromoteRequest, StopRequest
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import Page
from kernel.records import Role
from pipeline.prompts.declaration import read_declaration

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=GuardedRoute)

OfPrompt = Annotated[str | None, Query(max_length=100, description="Those of this prompt.")]


@router.get(
    "", response_model=Page[Experiment], **guarded(Role.REVIEWER, "list_experiments", "List experiments and canaries")
)
def list_experiments(call: Caller, limit: Limit = 50, cursor: Cursor = None, prompt: OfPrompt = None) -> JSONResponse:
    """Experiments and canaries, newest first, without figures."""
    (before,) = decode_cursor("experiments", cursor, 2**62)
    found = [one for one in call.services.workspace.experiments.items(prompt) if one["leaf"] < before]
    return JSONResponse(page(found[: limit + 1], limit, lambda last: encode_cursor("experiments", last["leaf"])))


@router.post(
    "",
    response_model=ExperimentStatus,
    **guarded(Role.ADMIN, "start_experiment", "Start an experiment or a canary", 404, 409, status=201),
)
def start_experiment(body: ExperimentRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Draws callers who name the prompt alone to its arms, from the next question on. Each arm must be approved."""
    experiments, declared = call.services.workspace.experiments, read_declaration(body.declared())
    return once(
        body.model_dump(), lambda: experiments.start(body.prompt, declared, call.principal, body.comment), status=201
    )


@router.get(
    "/{experiment_id}",
    response_model=ExperimentStatus,
    **guarded(Role.REVIEWER, "get_experiment", "Read an experiment with its figures", 404),
)
def get_experiment(experiment_id: str, call: Caller) -> JSONResponse:
    """The arms in figures, what decides, the guards and the history. Looking often makes no winner likelier."""
    return JSONResponse(call.services.workspace.experiments.status(experiment_id))


@router.post(
    "/{experiment_id}/stop",
    response_model=ExperimentStatus,
    **guarded(Role.ADMIN, "stop_experiment", "Stop an experiment", 404, 409),
)
def stop_experiment(experiment_id: str, body: StopRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Everybody gets the version in production again, from the next question on."""
    experiments = call.services.workspace.experiments
    return once(body.model_dump(), lambda: experiments.stop(experiment_id, call.principal, body.reason))


@router.post(
    "/{experiment_id}/promote",
    response_model=ExperimentStatus,
    **guarded(Role.ADMIN, "promote_experiment", "Put an arm into production", 404, 409),
)
def promote_experiment(experiment_id: str, body: PromoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Ends the experiment and puts `production` on the arm's version, in one step."""
    experiments = call.services.workspace.experiments
    return once(body.model_dump(), lambda: experiments.promote(experiment_id, call.principal, body.arm, body.comment))
