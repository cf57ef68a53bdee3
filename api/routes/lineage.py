"""Lineage as one graph: fixed queries over answers, people, documents, entities, prompts and reviews."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.auth import Caller, GuardedRoute, guarded
from api.negotiation import best_type
from api.paging import Cursor, Limit, decode_cursor, encode_cursor
from api.routes.answers import LINEAGE_FORMS
from api.schemas import LineagePage, LineageQuery, Page
from api.views import page_json
from kernel.errors import InvalidInput
from kernel.records import Role
from pipeline.oversight.queries import PARAMETERS

router = APIRouter(prefix="/v1/lineage", tags=["lineage"], route_class=GuardedRoute)

_PAGING = ("limit", "cursor")
_RUN = guarded(Role.REVIEWER, "run_lineage_query", "Run a lineage query", 404, 406)
_RUN["responses"] |= {
    200: {
        "description": "A page of the query's items; of answers also their lineage as one PROV-O graph, by `Accept`",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/LineagePage"}},
            "text/turtle": {"schema": {"type": "string"}},
            "application/ld+json": {"schema": {"type": "object"}},
        },
    }
}
_RUN["openapi_extra"] |= {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": about}
        for name, about in PARAMETERS.items()
    ]
}


@router.get(
    "/queries",
    response_model=Page[LineageQuery],
    **guarded(Role.REVIEWER, "list_lineage_queries", "List lineage queries"),
)
def list_lineage_queries(call: Caller) -> JSONResponse:
    """Every query with the parameters that it takes."""
    return JSONResponse(page_json(call.services.workspace.queries.catalogue()))


@router.get("/queries/{name}", response_model=LineagePage, **_RUN)
def run_lineage_query(name: str, request: Request, call: Caller, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Runs a query. Its parameters are those that the list of queries names; `since` and `until` are ISO 8601 moments.

    Of a query that lists answers, `Accept: text/turtle` or `application/ld+json` gives the lineage of the page's
    answers as one PROV-O graph; the `Link` header then leads to the next page.
    """
    given = _given(request)
    (after,) = decode_cursor(f"lineage {name}", cursor, "")
    chosen = best_type(request.headers.getlist("accept"), tuple(LINEAGE_FORMS))
    if chosen is None:
        raise HTTPException(406, f"A query's answers are offered as {', '.join(LINEAGE_FORMS)}.")
    desk, headers = call.services.workspace.queries, {"Vary": "Accept"}
    if chosen == "application/json":
        found = desk.run(name, given, limit, after or None)
        following = _encoded(name, found["next_cursor"])
        return JSONResponse(found | {"next_cursor": following}, headers=headers)
    text, rest = desk.export(name, given, limit, after or None, call.principal, LINEAGE_FORMS[chosen])
    if rest is not None:
        address = request.url.include_query_params(cursor=_encoded(name, rest)).replace(scheme="", netloc="")
        headers["Link"] = f'<{address}>; rel="next"'
    return Response(text, media_type=chosen, headers=headers)


def _encoded(name: str, cursor: str | None) -> str | None:
    return None if cursor is None else encode_cursor(f"lineage {name}", cursor)


def _given(request: Request) -> dict[str, str]:
    """The query's own parameters. Raises InvalidInput where one is given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in _PAGING:
            continue
        if name in found:
            raise InvalidInput(f"{name} is given twice")
        if "\x00" in value or any("\ud800" <= one <= "\udfff" for one in value):
            raise InvalidInput(f"{name} holds characters that are not text")
        found[name] = value
    return found
