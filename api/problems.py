"""Errors as RFC 9457 problem details: one shape for every refusal, and nothing in it that was not meant to be read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from kernel.errors import VouchError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:vouch:problem:"

_log = logging.getLogger("vouch.http")

_SLUGS = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    409: "conflict",
    412: "precondition-failed",
    413: "too-large",
    422: "invalid-input",
    428: "precondition-required",
    500: "internal",
    502: "generation-failed",
    503: "unavailable",
}
TITLES = {
    "bad-request": "The request could not be read",
    "unauthenticated": "An API key is needed",
    "forbidden": "The key's role does not allow this",
    "not-found": "There is no such thing",
    "method-not-allowed": "This address does not take this method",
    "not-acceptable": "None of the accepted media types is offered",
    "conflict": "The request does not fit the present state",
    "precondition-failed": "The thing was changed since it was read",
    "precondition-required": "The request must say what it changes",
    "too-large": "The request body is too large",
    "invalid-input": "The request is not valid",
    "parse-failure": "The file cannot become text",
    "integrity": "Stored data does not match its hash",
    "generation-failed": "The model gave no whole answer",
    "unavailable": "A dependency is away",
    "no-model": "No model is configured",
    "internal": "Something went wrong in the server",
}
_SERVER_DETAILS = {
    "integrity": "Stored data does not match its hash. An administrator can find out more with `vouch verify`.",
    "generation-failed": "The model server gave no whole answer. Try again later.",
    "unavailable": "A dependency of the server is away. Try again later.",
    "no-model": "This takes a model, and the server has none: set generator, openai_base_url and openai_model.",
    "internal": "The request failed for a reason in the server. Its log tells more under this request's id.",
}
"""What is told of failures on our side: their own words may name hosts, users or files, and go to the log alone."""


class ProblemResponse(JSONResponse):
    """A JSON response of the media type for problems."""

    media_type = MEDIA_TYPE


def problem(
    status: int,
    detail: str,
    *,
    slug: str | None = None,
    request_id: str | None = None,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """A problem response. `request_id` becomes its `instance`; `errors` names the fields at fault."""
    name = slug or _SLUGS.get(status, "internal" if status >= 500 else "bad-request")
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + name,
        "title": TITLES[name],
        "status": status,
        "detail": detail,
    }
    if request_id:
        body["instance"] = f"urn:vouch:request:{request_id}"
    if errors is not None:
        body["errors"] = errors
    return ProblemResponse(body, status, headers=dict(headers or {}))


def internal_problem(request_id: str | None) -> ProblemResponse:
    """What a caller sees of a failure that nobody foresaw."""
    return problem(500, _SERVER_DETAILS["internal"], request_id=request_id)


async def on_vouch_error(request: Request, error: Exception) -> ProblemResponse:
    """A refusal or failure that was raised on purpose."""
    if not isinstance(error, VouchError):
        raise error
    request_id = request_id_of(request)
    headers = {"Retry-After": "5"} if error.retryable else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    detail = str(error)
    if error.status >= 500:
        _log.error("%s: %s: %s", request_id, error.slug, error)
        detail = _SERVER_DETAILS.get(error.slug, _SERVER_DETAILS["internal"])
    return problem(error.status, detail, slug=error.slug, request_id=request_id, headers=headers)


async def on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    """A refusal by the framework: no such address, method, or body."""
    if not isinstance(error, HTTPException):
        raise error
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = "There is nothing at this address; /docs lists what there is."
    elif error.status_code == 405:
        detail = f"This address does not take {request.method}."
    return problem(error.status_code, detail, request_id=request_id_of(request), headers=error.headers)


async def on_validation_error(request: Request, error: Exception) -> ProblemResponse:
    """A request that does not fit its schema: says which field and why, without repeating what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [{"loc": list(one["loc"]), "msg": one["msg"]} for one in error.errors()]
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({len(errors) - 1} more in `errors`)" if len(errors) > 1 else ""
    return problem(422, f"{where}: {first['msg']}{more}", request_id=request_id_of(request), errors=errors)


def request_id_of(request: Request) -> str | None:
    """The id under which the log knows this request."""
    found: str | None = getattr(request.state, "request_id", None)
    return found


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals as the OpenAPI document shows them."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    slug = _SLUGS[status]
    example = {"type": TYPE_PREFIX + slug, "title": TITLES[slug], "status": status, "detail": TITLES[slug] + "."}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": TITLES[slug], "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
