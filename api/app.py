"""The HTTP application of a workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.assembly import Workspace
from api.edge import Edge
from api.flows import Flows
from api.heads import HeadKeeper
from api.jobs import JobRunner
from api.metrics import Metrics
from api.problems import on_http_exception, on_validation_error, on_vouch_error
from api.routes import (
    answers,
    docs,
    documents,
    entities,
    erasures,
    events,
    experiments,
    health,
    impact,
    jobs,
    keys,
    ledger,
    lineage,
    policies,
    prompt_drafts,
    prompt_reviews,
    prompt_runs,
    prompt_tests,
    prompts,
    questions,
    releases,
    reviews,
    runs,
    snapshots,
    sources,
    workflow_reviews,
    workflows,
)
from api.schemas import Problem
from api.services import Services
from api.workflow_worker import WorkflowWorker
from kernel.errors import VouchError

DESCRIPTION = """Answers from an organisation's own documents, with citations that name exact spans, and a record of
every answer. Send an API key as `Authorization: Bearer vouch_…`. Each operation names the role (or roles) that reach it
as `x-vouch-role`. Every refusal is a problem (RFC 9457) with a stable `type`."""

ROUTERS = (
    questions,
    answers,
    impact,
    lineage,
    documents,
    sources,
    jobs,
    snapshots,
    entities,
    policies,
    experiments,
    prompt_drafts,
    prompt_runs,
    releases,
    prompts,
    prompt_reviews,
    prompt_tests,
    workflows,
    workflow_reviews,
    events,
    reviews,
    runs,
    ledger,
    keys,
    erasures,
    health,
    docs,
)

SHARED = (
    "answering",
    "answers",
    "catalog",
    "entities",
    "experiments",
    "feedback",
    "impact",
    "indexer",
    "jobs",
    "keys",
    "lineage",
    "policies",
    "queries",
    "releases",
    "replayer",
    "requests",
    "review_desk",
    "reviews",
    "stale",
    "today",
    "prompts",
    "prompt_desk",
    "erasures",
    "holds",
    "eraser",
    "retention",
    "verifier",
    "prompt_tester",
    "ledger",
    "prover",
    "reporter",
    "prompt_runner",
    "release_desk",
    "prompt_finder",
    "prompt_uses",
    "promoter",
    "improver",
    "playground",
)
"""Parts of the workspace that requests share, in the order in which they are made."""
FLOWS = (
    "library_desk",
    "runner",
    "desk",
    "triggers",
    "secrets",
    "workflow_promoter",
    "people",
    "reader",
    "sweeper",
)
"""Parts of its workflows, likewise."""


def create_app(workspace: Workspace) -> FastAPI:
    """The application that serves `workspace`, which the caller closes after the server has stopped.

    Starting it warms the workspace and takes up jobs; stopping it puts the job in hand back into the queue.
    """
    metrics = Metrics()
    heads = HeadKeeper(workspace.settings.checkpoint_file, lambda: workspace.ledger)
    flows, threads = Flows(workspace), workspace.settings.workflow_threads
    worker = WorkflowWorker(flows, threads) if threads else None
    services = Services(workspace, JobRunner(workspace, metrics), metrics, heads, flows, worker)
    app = FastAPI(
        title="Vouch",
        version=version("vouch-rag"),
        description=DESCRIPTION,
        lifespan=_lifespan(services),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            VouchError: on_vouch_error,
            HTTPException: on_http_exception,
            RequestValidationError: on_validation_error,
        },
    )
    app.state.services = services
    for module in ROUTERS:
        app.include_router(module.router)
    app.include_router(events.signed)
    app.add_middleware(Edge, metrics=metrics, largest_body=workspace.settings.max_body_mb << 20)
    generate = app.openapi
    app.openapi = lambda: _complete(generate())  # type: ignore[method-assign]
    return app


def _lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(_start, services)
        try:
            yield
        finally:
            await run_in_threadpool(services.runner.stop)
            if services.worker is not None:
                await run_in_threadpool(services.worker.stop)
            await run_in_threadpool(services.heads.stop)

    return lifespan


def _start(services: Services) -> None:
    """Make every part before requests share it: they come on several threads."""
    workspace = services.workspace
    workspace.warm()
    for part in SHARED:
        getattr(workspace, part)
    workspace.experiments.warm()
    services.runner.start()
    services.heads.start()
    for part in FLOWS:
        getattr(services.flows, part)
    if services.worker is not None:
        services.worker.start()


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what the framework does not: the schema of problems, and how keys are sent."""
    components = document.setdefault("components", {})
    template = "#/components/schemas/{model}"
    schema = Problem.model_json_schema(mode="serialization", ref_template=template)
    components.setdefault("schemas", {}).update(schema.pop("$defs", {}) | {"Problem": schema})
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "vouch_…"}
    components["securitySchemes"] = {"apiKey": scheme}
    return document
