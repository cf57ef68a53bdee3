"""Who asks, and whether they may: every route under /v1 names the roles that reach it, or cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from api.idempotency import Once
from api.problems import problem_responses
from api.services import Services
from kernel.errors import Forbidden, InvalidInput, Unauthenticated
from kernel.records import Principal, Role

ROLE = "x-vouch-role"
"""Where a route, and so the OpenAPI document, names the least role that it needs."""
_OR = " or "
LONGEST_SECRET = 256


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request."""

    services: Services
    principal: Principal

    @property
    def restricted(self) -> bool:
        """Whether there are documents that this caller may not see."""
        return self.principal.groups is not None


def authorise(request: Request, roles: Collection[Role]) -> Principal:
    """The owner of the request's key. Raises Unauthenticated without a key that holds, Forbidden for one that reaches
    the routes of none of `roles`.

    The key is read from the store each time, so that a revoked one ends at once.
    """
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > LONGEST_SECRET:
        raise Unauthenticated("Send an API key as `Authorization: Bearer vouch_…`; `vouch keys create` makes one.")
    services: Services = request.app.state.services
    principal = services.workspace.keys.authenticate(secret)
    if principal.role.reaches.isdisjoint(roles):
        raise Forbidden(f"This needs a key of role {_OR.join(roles)}; yours has role {principal.role.value}.")
    return principal


class GuardedRoute(APIRoute):
    """A route that authorises before it reads the body. Raises ValueError when made without a role."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler behind the guard."""
        named = (self.openapi_extra or {}).get(ROLE)
        if named is None:
            raise ValueError(f"{self.path} does not say which role it needs")
        roles = [Role(one) for one in str(named).split(_OR)]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.principal = await self.principal(request, roles)
            if "\x00" in request.scope["path"] or b"%00" in request.scope.get("query_string", b""):
                raise InvalidInput("The address holds a NUL character.")
            return await handle(request)

        return guarded

    async def principal(self, request: Request, roles: Collection[Role]) -> Principal:
        """Who asks. Raises Unauthenticated or Forbidden where they may not reach a route of these roles."""
        return await run_in_threadpool(authorise, request, roles)


def guarded(
    least: Role | Sequence[Role], operation_id: str, summary: str, *refusals: int, status: int = 200
) -> dict[str, Any]:
    """What every guarded route declares of itself: role, name, summary, and the refusals that it documents. Of several
    roles, each reaches it: `editor or reviewer`.
    """
    roles = [least] if isinstance(least, Role) else least
    return {
        "operation_id": operation_id,
        "summary": summary,
        "status_code": status,
        "responses": problem_responses(*sorted({401, 403, 422, 500, 503, *refusals})),
        "openapi_extra": {ROLE: _OR.join(roles), "security": [{"apiKey": []}]},
    }


async def _call(request: Request) -> Call:
    return Call(request.app.state.services, request.state.principal)


async def _once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="Any text that is yours alone; the same request under the same key is carried out once.",
        ),
    ] = None,
) -> Once:
    services: Services = request.app.state.services
    principal: Principal = request.state.principal
    target = f"{request.method} {request.scope['path']}?{request.scope.get('query_string', b'').decode('latin-1')}"
    return Once(services.workspace.requests, services.locks, principal.id, target, idempotency_key)


Caller = Annotated[Call, Depends(_call)]
CarryOut = Annotated[Once, Depends(_once)]
