"""Finding prompts, what they are used for, and drafts: of an answer, of suggestions, and in the playground."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.prompt_draft_schemas import (
    FavouritePrompts,
    ImproveRequest,
    PlaygroundRequest,
    PlaygroundResult,
    PromotedPrompt,
    PromoteRequest,
    PromptDependents,
    PromptHits,
    PromptSuggestions,
    PromptUsage,
)
from api.prompt_run_schemas import storable_inputs
from kernel.errors import InvalidInput
from kernel.records import Role
from pipeline.prompts.playground import Trial

router = APIRouter(prefix="/v1/prompts", tags=["prompts"], route_class=GuardedRoute)


@router.get("/search", response_model=PromptHits, **guarded(Role.APP, "search_prompts", "Search prompts"))
def search_prompts(
    call: Caller,
    q: Annotated[str, Query(min_length=1, max_length=400, description="Words, or what the prompt is for.")],
    limit: Annotated[int, Query(ge=1, le=200, description="How many.")] = 20,
) -> JSONResponse:
    """By words and by meaning, best first. Keys of role app find what is live, by what they may see of it."""
    workspace = call.services.workspace
    marked = set(workspace.prompt_uses.favourites(call.principal))
    hits = workspace.prompt_finder.search(q, call.principal, limit)
    items = [asdict(one) | {"tags": list(one.tags), "favourite": one.name in marked} for one in hits]
    return JSONResponse({"items": items})


@router.get(
    "/favourites", response_model=FavouritePrompts, **guarded(Role.APP, "list_favourites", "List favourite prompts")
)
def list_favourites(call: Caller) -> JSONResponse:
    """The key's own."""
    return JSONResponse({"favourites": call.services.workspace.prompt_uses.favourites(call.principal)})


@router.post(
    "/promote",
    response_model=PromotedPrompt,
    **guarded(Role.EDITOR, "promote_answer", "Make a draft of a prompt from an answer", 404, 409, 413, status=201),
)
def promote_answer(body: PromoteRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """The prompt that answered, under a new name, with the question as its first test case."""
    return once(body.model_dump(), lambda: _promoted(body, call), 201)


@router.post(
    "/playground",
    response_model=PlaygroundResult,
    **guarded(Role.EDITOR, "try_prompt", "Try a draft beside the live version", 404, 409, 413),
)
def try_prompt(body: PlaygroundRequest, call: Caller) -> JSONResponse:
    """Both answer the same question from the same passages, or the same inputs. Nothing is recorded."""
    trial = Trial(
        call.principal,
        body.text,
        body.prompt,
        body.against,
        body.question,
        storable_inputs(body.inputs),
        body.top_k,
        call.services.snapshot(body.as_of),
    )
    return JSONResponse(call.services.workspace.playground.compare(trial))


@router.put(
    "/{name}/favourite",
    response_model=FavouritePrompts,
    **guarded(Role.APP, "mark_favourite", "Mark a prompt as a favourite", 404),
)
def mark_favourite(name: str, call: Caller) -> JSONResponse:
    """For the key itself; doing so again changes nothing."""
    return JSONResponse({"favourites": call.services.workspace.prompt_uses.mark(name, call.principal)})


@router.delete(
    "/{name}/favourite",
    response_model=FavouritePrompts,
    **guarded(Role.APP, "unmark_favourite", "Take the mark of a favourite off"),
)
def unmark_favourite(name: str, call: Caller) -> JSONResponse:
    """For the key itself; doing so again changes nothing."""
    return JSONResponse({"favourites": call.services.workspace.prompt_uses.mark(name, call.principal, on=False)})


@router.get(
    "/{name}/usage", response_model=PromptUsage, **guarded(Role.APP, "prompt_usage", "How often a prompt is used", 404)
)
def prompt_usage(name: str, call: Caller) -> JSONResponse:
    """Answers and runs by version and user: of all users for reviewers and admins, else the key's own."""
    return JSONResponse(call.services.workspace.prompt_uses.usage(name, call.principal))


@router.get(
    "/{name}/used-by",
    response_model=PromptDependents,
    **guarded((Role.EDITOR, Role.REVIEWER), "prompt_dependents", "What depends on a prompt", 404),
)
def prompt_dependents(name: str, call: Caller) -> JSONResponse:
    """Rules, experiments and releases that hold a version of it, and workflows whose steps name it."""
    services = call.services
    found = services.workspace.prompt_uses.used_by(name, call.principal, (services.flows.dependents,))
    return JSONResponse({"items": [asdict(one) for one in found]})


@router.post(
    "/{name}/improve",
    response_model=PromptSuggestions,
    **guarded(Role.EDITOR, "improve_prompt", "Suggest what can be better in a prompt", 404, 409, 502),
)
def improve_prompt(name: str, body: ImproveRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Saves a draft in which it is better, by rules or by the configured model, for a person to review."""
    if "@" in name:
        raise InvalidInput("name the version in the body")
    reference = name if body.version is None else f"{name}@{body.version}"
    improver = call.services.workspace.improver
    return once(body.model_dump(), lambda: improver.improve(reference, call.principal, rules_only=body.rules_only))


def _promoted(body: PromoteRequest, call: Call) -> dict[str, Any]:
    made = call.services.workspace.promoter.promote(body.answer, body.name, call.principal, body.message)
    version = made.version
    return {
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "pinned": made.pinned,
        "text": made.text,
    }
