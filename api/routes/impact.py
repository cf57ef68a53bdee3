"""What depends on a document, source, entity or prompt; taking documents back, and asking again what stood on them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.schemas import ImpactAnswer, ImpactRequest
from api.views import impact_scope
from kernel.errors import Forbidden
from kernel.records import Role

router = APIRouter(prefix="/v1", tags=["impact"], route_class=GuardedRoute)


@router.post("/impact", response_model=ImpactAnswer, **guarded(Role.REVIEWER, "impact", "Find what depends", 404, 409))
def impact(body: ImpactRequest, call: Caller, once: CarryOut) -> JSONResponse:
    """Passages, edges, snapshots and answers that depend on one thing: counts and a page of each, or one page of one
    `part`. `withdraw`, `restore` and `reask` need a key of role admin.

    A withdrawn document is in no answer from then on, whatever snapshot is asked; the answers that stood on it are
    stale until it is restored. `reask` asks up to `limit` of these again, each as who asked it.
    """
    if not (body.withdraw or body.restore or body.reask):
        return JSONResponse(_report(body, call))
    if call.principal.role != Role.ADMIN:
        raise Forbidden("To withdraw, restore or ask again needs a key of role admin.")
    return once(body.model_dump(), lambda: _act(body, call))


def _report(body: ImpactRequest, call: Call) -> dict[str, Any]:
    desk, scope = call.services.workspace.impact, impact_scope(body.named)
    if body.part is None:
        return desk.report(scope, body.limit)
    return {body.part: desk.page(scope, body.part, body.limit, body.cursor)}


def _act(body: ImpactRequest, call: Call) -> dict[str, Any]:
    desk, scope = call.services.workspace.impact, impact_scope(body.named)
    done: dict[str, Any] = {}
    if body.withdraw:
        done["withdrawal"] = desk.withdraw(scope, body.reason, call.principal)
    if body.restore:
        done["restoration"] = desk.restore(scope, body.reason, call.principal)
    if body.reask:
        done["reasked"] = list(desk.reask(scope, body.limit))
    return desk.report(scope, body.limit) | done
