"""Events that start workflows: by a key, or signed with the secret of the event; and those secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api import workflow_schemas as shapes
from api.auth import Caller, CarryOut, GuardedRoute, authorise, guarded
from api.prompt_run_schemas import storable_inputs
from api.services import Services
from kernel.errors import InvalidInput, NotFound, Unauthenticated
from kernel.records import Principal, Role
from pipeline.workflows.signatures import HEADER, is_signed
from pipeline.workflows.triggers import EVENT_NAME, event_key

LARGEST_EVENT = 256 * 1024
"""Bytes of an event's body."""


class EventRoute(GuardedRoute):
    """A route that takes, instead of a key, the signature of its body with the secret of the event that it names."""

    async def principal(self, request: Request, roles: Collection[Role]) -> Principal:
        """The owner of the key, or who signed. Raises Unauthenticated, Forbidden, and HTTPException 413."""
        header = request.headers.get(HEADER)
        if header is None or "authorization" in request.headers:
            return await run_in_threadpool(authorise, request, roles)
        body = await body_of(request)
        services: Services = request.app.state.services
        name = str(request.path_params["name"])
        named = EVENT_NAME.fullmatch(name) is not None
        known = await run_in_threadpool(services.flows.secrets.valid, name, datetime.now(UTC)) if named else ()
        if not any(is_signed(secret, body, header, time.time()) for secret in known):
            raise Unauthenticated(f"{HEADER} is no signature of this body that holds now; send a key, or sign it anew.")
        return Principal(f"event:{name}", Role.APP)


router = APIRouter(prefix="/v1/events", tags=["workflows"], route_class=GuardedRoute)
signed = APIRouter(prefix="/v1/events", tags=["workflows"], route_class=EventRoute)


_SENDING = guarded(Role.EDITOR, "send_event", "Tell of an event", 404, 409, 413, status=202)
_SENDING["openapi_extra"]["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}


@signed.post("/{name}", response_model=shapes.EventAccepted, **_SENDING)
async def send_event(
    name: str,
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="What comes again under it starts nothing new.")
    ] = None,
) -> JSONResponse:
    """Starts every live workflow that waits for the event and whose condition holds; the body is a JSON object.

    Needs a key of role editor, or `Vouch-Signature: t=SECONDS,v1=HEX` instead. What comes again under the same
    `Idempotency-Key`, member `id`, or signature starts nothing new. A signature covers the body alone, so with one
    the header does not count: who overheard the request could send it again under another.
    """
    body = _object(await body_of(request))
    services: Services = request.app.state.services
    signature = None if "authorization" in request.headers else request.headers.get(HEADER)
    key = event_key(body, None if signature is not None else idempotency_key, signature)
    came = await run_in_threadpool(services.flows.triggers.event, name, body, key)
    runs = [{"id": run.id, "workflow": run.workflow} for run in came.runs]
    refused = [{"workflow": workflow, "reason": reason} for workflow, reason in came.refused.items()]
    return JSONResponse({"event": name, "runs": runs, "refused": refused}, 202)


@router.get(
    "", response_model=shapes.EventSecrets, **guarded(Role.ADMIN, "list_event_secrets", "List secrets of events")
)
def list_secrets(call: Caller) -> JSONResponse:
    """What was last done with the secret of each event, without the secrets."""
    return JSONResponse({"items": [asdict(one) for one in call.services.flows.secrets.items()]})


@router.post(
    "/{name}/secret",
    response_model=shapes.NewEventSecret,
    **guarded(Role.ADMIN, "make_event_secret", "Make a secret that senders of an event sign with", 409, status=201),
)
def make_secret(name: str, body: shapes.EventSecretRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Shows a new secret this once; the one before it holds for another day, so that senders can change over."""
    _check_name(name)

    def made() -> dict[str, Any]:
        item, secret = call.services.flows.secrets.make(name, call.principal.id, body.reason)
        return asdict(item) | {"secret": secret}

    return once(body.model_dump(), made, 201, secret="secret")  # noqa: S106  # the name of a member


@router.delete(
    "/{name}/secret",
    response_model=shapes.EventSecretItem,
    **guarded(Role.ADMIN, "end_event_secret", "End the secret of an event", 404),
)
def end_secret(name: str, call: Caller) -> JSONResponse:
    """From now on only keys send the event."""
    if not EVENT_NAME.fullmatch(name):
        raise NotFound(f"the event {name} has no secret")
    return JSONResponse(asdict(call.services.flows.secrets.end(name, call.principal.id)))


async def body_of(request: Request) -> bytes:
    """The body of a request, kept for whoever reads it next. Raises HTTPException 413 where it is too large."""
    known: bytes | None = getattr(request.state, "event_body", None)
    if known is not None:
        return known
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > LARGEST_EVENT:
            raise HTTPException(413, f"An event's body is at most {LARGEST_EVENT // 1024} KiB.")
    request.state.event_body = bytes(found)
    return request.state.event_body  # type: ignore[no-any-return]


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the body is no JSON") from error
    if not isinstance(found, dict):
        raise InvalidInput("the body of an event is a JSON object")
    return storable_inputs(found)


def _no_number(name: str) -> None:
    raise ValueError(name)


def _check_name(name: str) -> None:
    if not EVENT_NAME.fullmatch(name):
        raise InvalidInput("the name of an event is up to 80 small letters, digits, dots, dashes and underscores")
