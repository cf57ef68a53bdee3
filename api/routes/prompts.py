"""The library of prompts: reading it, and saving versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from api import prompt_schemas as shapes
from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.negotiation import best_type
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.preconditions import changed_from, unchanged
from api.schemas import Page
from api.services import LARGEST_NUMBER
from kernel.errors import InvalidInput, NotFound
from kernel.records import Evidence, Passage, PromptVersion, Question, Role
from pipeline.histories import next_of
from pipeline.prompts.desk import PromptDesk, Wanted
from pipeline.prompts.exchange import Incoming, brought_in, exported
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.views import anatomy_of, checked, unsaved

router = APIRouter(prefix="/v1/prompts", tags=["prompts"], route_class=GuardedRoute)

INSIDERS = (Role.EDITOR, Role.REVIEWER)
"""Who sees drafts."""
MARKDOWN, JSON = "text/markdown", "application/json"
Word = Annotated[str | None, Query(max_length=200)]
Reference = Annotated[str, Query(max_length=64, description="A version's number, or a label.")]


@router.get(
    "",
    response_model=Page[shapes.PromptItem] | Page[shapes.PromptCard],
    **guarded(Role.APP, "list_prompts", "List prompts"),
)
def list_prompts(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: Word = None,
    tag: Word = None,
    folder: Annotated[str | None, Query(max_length=300, description="Also what is below it.")] = None,
    owner: Word = None,
    state: Annotated[shapes.State | None, Query(description="Prompts with a version in this state.")] = None,
    overdue: Annotated[bool, Query(description="Prompts whose review_by date is past.")] = False,
) -> JSONResponse:
    """Prompts by name. Keys of role app see cards of those that are live; other keys the newest version of each."""
    (after,) = decode_cursor("prompts", cursor, "")
    wanted = Wanted(kind, tag, folder, owner, state, overdue)
    desk = call.services.workspace.prompt_desk
    items = desk.items(wanted) if _inside(call) else desk.cards(wanted)
    found = next_of(items, after)[: limit + 1]
    return JSONResponse(page(found, limit, lambda last: encode_cursor("prompts", last["name"])))


@router.get("/export", response_model=shapes.PromptExport, **guarded(INSIDERS, "export_prompts", "Export the library"))
def export_prompts(
    call: Caller, versions: Annotated[Literal["newest", "all"], Query(description="Which of each prompt.")] = "newest"
) -> JSONResponse:
    """Every prompt with its text, as an import takes it."""
    return JSONResponse(exported(call.services.workspace.prompts, every=versions == "all"))


@router.post(
    "/import",
    response_model=shapes.ImportReport,
    **guarded(Role.EDITOR, "import_prompts", "Bring prompts in", 409, 413),
)
def import_prompts(body: shapes.ImportRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Saves each text that is not a version yet, as a draft of the key's owner; the same again changes nothing. A text
    that cannot come in is listed with the reason, and keeps no other from coming in.
    """
    texts = [
        Incoming(one.text, f"{one.name}@{one.version}" if one.name else f"items[{place}]", one.message)
        for place, one in enumerate(body.items)
    ]
    library = call.services.workspace.prompts
    return once(body.model_dump(), lambda: brought_in(library, texts, call.principal.id))


@router.post(
    "/check",
    response_model=shapes.CheckedPrompt,
    **guarded(INSIDERS, "check_prompt", "Check a prompt without storing it", 413),
)
def check_prompt(body: shapes.CheckRequest, call: Caller) -> JSONResponse:
    """Whether a text is a prompt, and what it is made of; 422 says what is wrong and where."""
    del call
    return JSONResponse(checked(body.text))


@router.get(
    "/{name}",
    response_model=shapes.Prompt | shapes.PromptCard,
    **guarded(Role.APP, "get_prompt", "Read a prompt", 404),
)
def get_prompt(name: str, call: Caller) -> JSONResponse:
    """The newest version with its text, and what is in force. `ETag` names that version: send it as `If-Match` with a
    change. Keys of role app see a card of what is live; a prompt that is not live is none to them.
    """
    desk = call.services.workspace.prompt_desk
    found = desk.show(name) if _inside(call) else desk.card(name)
    return JSONResponse(found, headers={"ETag": tag_of(found["version"], found["sha256"])})


@router.put(
    "/{name}",
    response_model=shapes.PromptVersionItem,
    **guarded(Role.EDITOR, "save_prompt", "Save a version of a prompt", 404, 409, 412, 413, 428, status=201),
)
def save_prompt(name: str, body: shapes.SaveRequest, call: Caller, once: CarryOut, request: Request) -> Response:
    """Stores a text as the next version; it changes no answer until a label is put on it.

    `If-Match` must carry the ETag of the version that was changed, or `If-None-Match: *` for a new prompt: 428 without
    either, 412 where somebody saved meanwhile, 409 where the text is a version already.
    """
    conditions = {one: request.headers.getlist(one) for one in ("if-match", "if-none-match")}
    made = once(body.model_dump() | conditions, lambda: _save(name, body, call, request), 201)
    shown = json.loads(bytes(made.body))
    made.headers["ETag"] = tag_of(shown["version"], shown["sha256"])
    made.headers["Location"] = f"/v1/prompts/{name}/versions/{shown['version']}"
    return made


@router.get(
    "/{name}/versions",
    response_model=Page[shapes.PromptVersionItem],
    **guarded(INSIDERS, "list_prompt_versions", "List versions of a prompt", 404),
)
def list_versions(name: str, call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Versions, newest first, with where each stands and what it lacks to be released."""
    (before,) = decode_cursor("prompt-versions", cursor, LARGEST_NUMBER)
    desk = call.services.workspace.prompt_desk
    found = [one for one in desk.versions(name) if one["version"] < before][: limit + 1]
    return JSONResponse(page(found, limit, lambda last: encode_cursor("prompt-versions", last["version"])))


@router.get(
    "/{name}/versions/{number}",
    response_model=shapes.PromptVersionText,
    **guarded(INSIDERS, "get_prompt_version", "Read a version of a prompt", 404, 406),
)
def get_version(name: str, number: int, call: Caller, request: Request) -> Response:
    """A version as it is for good: nothing of this ever changes, so `ETag` is the hash of its text and `If-None-Match`
    spares its repetition (304). `Accept: text/markdown` gives the file itself.
    """
    found = call.services.workspace.prompt_desk.text(name, known(number))
    wanted = best_type(request.headers.getlist("accept"), (JSON, MARKDOWN))
    if wanted is None:
        raise HTTPException(406, f"A version is offered as {JSON} and {MARKDOWN}.")
    tag = f'"{found["sha256"]}{".md" if wanted == MARKDOWN else ""}"'
    headers = {"ETag": tag, "Vary": "Accept"}
    if unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    if wanted == MARKDOWN:
        return Response(found["text"], headers=headers, media_type="text/markdown; charset=utf-8")
    return JSONResponse(found, headers=headers)


@router.get(
    "/{name}/diff",
    response_model=shapes.PromptDifference,
    **guarded(INSIDERS, "compare_prompts", "Compare two versions of a prompt", 404),
)
def compare(
    name: str,
    call: Caller,
    one: Annotated[Reference, Query(alias="from")],
    other: Annotated[Reference, Query(alias="to")] = "",
) -> JSONResponse:
    """How version `from` became version `to` (default: the newest), section by section."""
    library, desk = call.services.workspace.prompts, call.services.workspace.prompt_desk
    newest = library.versions(name)[0]
    return JSONResponse(desk.difference(_named(library, name, one), _named(library, name, other) if other else newest))


@router.get(
    "/{name}/history",
    response_model=Page[shapes.PromptHappening],
    **guarded(INSIDERS, "get_prompt_history", "Read the history of a prompt", 404),
)
def history(name: str, call: Caller, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Everything that happened to a prompt, newest first: what, when, by whom and what they said."""
    (length,) = decode_cursor("prompt-history", cursor, LARGEST_NUMBER)
    desk = call.services.workspace.prompt_desk
    rows = desk.history(name)
    left = min(length, len(rows))
    found = desk.with_words(rows[len(rows) - left :][: limit + 1])
    return JSONResponse(page(found, limit, lambda _: encode_cursor("prompt-history", left - limit)))


@router.post(
    "/{name}/render",
    response_model=shapes.RenderedPrompt,
    **guarded(INSIDERS, "render_prompt", "Render a prompt", 404, 413),
)
def render(name: str, body: shapes.RenderRequest, call: Caller) -> JSONResponse:
    """What each section of a version renders to, with data between its tags, and the messages that a model would get.
    No model is asked and nothing is recorded.
    """
    version = _rendered_version(name, body, call)
    evidence = Evidence(0, ())
    if body.context is not None:
        evidence = Evidence(0, tuple(_passage(number, one) for number, one in enumerate(body.context, 1)))
    elif body.question and anatomy_of(version).grounded:
        evidence = call.services.workspace.answering.context(Question(body.question, call.principal))
    desk = call.services.workspace.prompt_desk
    return JSONResponse(desk.rendered(version, body.question, evidence, body.inputs))


def tag_of(version: int, sha256: str) -> str:
    """The entity tag of a prompt whose newest version this is."""
    return f'"{version}-{sha256}"'


def known(number: int) -> int:
    """A number that a version may have. Raises NotFound for one that no database holds."""
    if not 0 < number <= LARGEST_NUMBER:
        raise NotFound(f"no version {number}")
    return number


def changing(call: Call, name: str, act: Callable[[PromptLibrary], object]) -> Callable[[], dict[str, Any]]:
    """Carry out a change of a prompt's state; then, the prompt as listings show it."""

    def done() -> dict[str, Any]:
        act(call.services.workspace.prompts)
        desk: PromptDesk = call.services.workspace.prompt_desk
        return desk.item(name)

    return done


def _inside(call: Call) -> bool:
    return call.principal.role != Role.APP


def _save(name: str, body: shapes.SaveRequest, call: Call, request: Request) -> dict[str, Any]:
    library, desk = call.services.workspace.prompts, call.services.workspace.prompt_desk
    expected = changed_from(request, lambda: _newest(library, name))
    if unsaved(body.text).name != name:
        raise InvalidInput(f"the text is of prompt {unsaved(body.text).name}, and the address of {name}")
    made = library.save(body.text, call.principal.id, body.message, expected)
    return desk.version_item(made.name, made.version)


def _newest(library: PromptLibrary, name: str) -> tuple[int, str] | None:
    try:
        found = library.versions(name)[0]
    except NotFound:
        return None
    return found.version, tag_of(found.version, found.sha256)


def _named(library: PromptLibrary, name: str, reference: str) -> PromptVersion:
    if reference.isdecimal():
        known(int(reference))
    return library.find(f"{name}@{reference}")


def _rendered_version(name: str, body: shapes.RenderRequest, call: Call) -> PromptVersion:
    library = call.services.workspace.prompts
    if sum(one is not None for one in (body.version, body.label, body.text)) > 1:
        raise InvalidInput("give one of version, label and text")
    if body.text is not None:
        return unsaved(body.text)
    if body.version is None and body.label is None:
        return library.versions(name)[0]
    return _named(library, name, str(body.version or body.label))


def _passage(number: int, one: shapes.ShownPassage) -> Passage:
    return Passage(f"chk_{number}", "", None, 0, "", one.title, "", (), one.text, 0, len(one.text), None, 0.0)
