"""The kind `http`: one request to a host that the settings allow, and its reply as the output.

A request that changes something carries `Idempotency-Key`, the same for every try at the step: a server that keeps to
it does nothing the second time. Secrets are named, never written: their values are put in when the request is sent, go
only to the hosts that the settings give them, and are taken out of whatever the reply repeats of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import httpx
from pydantic import Field, field_validator, model_validator

from kernel.errors import InvalidInput
from kernel.ids import canonical_json
from kernel.providers.egress import SAFE, Egress, Secret, WebReply, WebRequest, place_of, web_url
from kernel.providers.model_server import retry_after
from pipeline.workflows.breakers import Guards
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
"""Statuses that another try may not meet."""
AWAY = 500
"""From this status on the server serves nobody."""
TOO_MANY = 429
LONGEST_AFTER = 3600.0
SHOWN = 400
"""Characters of a refusal that are shown."""
KEPT_HEADERS = ("content-type", "etag", "last-modified", "link", "location")
OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "idempotency-key", "expect")
"""Headers that a step does not set."""
SHORTEST_MASKED = 6
MASK = "***"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}")
_TEXT = re.compile(r"[\t\x20-\x7e]{0,4000}")

Status = Annotated[int, Field(ge=100, le=599)] | Literal["2xx", "3xx", "4xx", "5xx"]
Plainly = str | int | float | bool


class HttpWith(Strict):
    """What a step of kind `http` says."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=4000)]
    headers: Annotated[dict[str, str], Field(max_length=40)] = Field(default_factory=dict)
    secrets: Annotated[dict[str, str], Field(max_length=10)] = Field(default_factory=dict)
    """Headers whose value is a secret of the settings, by its name there."""
    query: Annotated[dict[str, Plainly | list[Plainly] | None], Field(max_length=100)] = Field(default_factory=dict)
    json_: Annotated[Any, Field(alias="json")] = None
    text: str | None = None
    expect: Annotated[list[Status], Field(min_length=1, max_length=20)] = Field(default=["2xx"])
    """Statuses that are no failure."""
    read: Literal["json", "text", "nothing"] = "json"
    most_bytes: Annotated[int, Field(ge=1, le=32 << 20)] = 1 << 20

    @field_validator("headers", "secrets")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if _TOKEN.fullmatch(name) is None or name.lower() in OWN_HEADERS:
                raise ValueError(f"{name!r} is not a header that a step may set")
            if _TEXT.fullmatch(text) is None:
                raise ValueError(f"the header {name} is not one line of plain characters")
        return value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = {"json_", "text"} & self.model_fields_set
        if len(given) > 1 or (given and self.method in SAFE):
            raise ValueError(f"{self.method} takes {'no body' if self.method in SAFE else 'either json or text'}")
        if {name.lower() for name in self.headers} & {name.lower() for name in self.secrets}:
            raise ValueError("a header is either plain or a secret")
        return self


class HttpKind(Plain):
    """Sends one request. `secrets` are those of the settings, by name."""

    name: ClassVar[str] = "http"
    With: ClassVar[type[Strict]] = HttpWith

    def __init__(self, egress: Egress, secrets: Mapping[str, Secret], guards: Guards) -> None:
        self._egress = egress
        self._secrets = secrets
        self._guards = guards

    def effect(self, given: Mapping[str, Any]) -> bool:
        """Every method that is not known to change nothing is taken to change something."""
        return given.get("method", "GET") not in SAFE

    def output(self, step: Step) -> Mapping[str, Any]:
        """`status`, the address that replied, some headers, and the body as `read` asks."""
        read = step.with_.get("read", "json")
        body: dict[str, Any] = {"json": {}, "text": {"type": "string"}}.get(read, {"type": "null"})
        properties = {"status": {"type": "integer"}, "url": {"type": "string"}, "headers": {"type": "object"}}
        properties |= {"body": body}
        return {"type": "object", "properties": properties, "required": ["status", "url", "headers", "body"]}

    def run(self, given: HttpWith, call: Call) -> Done:
        """Send it once. Raises StepFailed where the reply is not expected, and Unavailable where there is none."""
        request = self._request(given, call)
        with self._guards.guarded(f"http:{place_of(request.url)}") as passage:
            reply = self._egress.send(request)
            if reply.status >= AWAY:
                passage.failed()
        hidden = [secret.value for secret in request.secrets.values()]
        if not _expected(reply.status, given.expect):
            raise _refused(reply, request, hidden)
        headers = {name: reply.headers[name] for name in KEPT_HEADERS if name in reply.headers}
        output = {"status": reply.status, "url": reply.url, "headers": headers, "body": _read(reply, given, request)}
        return Done(masked(output, hidden))

    def _request(self, given: HttpWith, call: Call) -> WebRequest:
        url = web_url(given.url)
        if given.query:
            asked = {name: value for name, value in given.query.items() if value is not None}
            url = url.copy_merge_params(asked)
        body, kind = None, None
        if "json_" in given.model_fields_set:
            body, kind = json_bytes(given.json_), "application/json"
        elif given.text is not None:
            body, kind = given.text.encode(), "text/plain; charset=utf-8"
        headers = {"Content-Type": kind} if kind else {}
        if given.method not in SAFE:
            headers["Idempotency-Key"] = call.key
        own = {name.lower() for name in given.headers}
        headers = {name: value for name, value in headers.items() if name.lower() not in own} | given.headers
        secrets = {header: self._secret(name) for header, name in given.secrets.items()}
        return WebRequest(given.method, url, headers, secrets, body, given.most_bytes, max(0.001, call.left()))

    def _secret(self, name: str) -> Secret:
        found = self._secrets.get(name)
        if found is None:
            raise InvalidInput(f"workflow_secrets has no secret {name}")
        return found


def json_bytes(value: Any) -> bytes:
    """A value as it is sent. Raises InvalidInput where JSON cannot hold it."""
    try:
        return canonical_json(value)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error


def masked(value: Any, secrets: list[str]) -> Any:
    """A JSON value in which no secret is left."""
    if isinstance(value, str):
        for secret in secrets:
            for part in (secret, secret.rpartition(" ")[2]):
                value = value.replace(part, MASK) if len(part) >= SHORTEST_MASKED or part == value else value
        return value
    if isinstance(value, list):
        return [masked(one, secrets) for one in value]
    if isinstance(value, dict):
        return {masked(name, secrets): masked(one, secrets) for name, one in value.items()}
    return value


def refusal(reply: WebReply, place: str, shown: str) -> StepFailed:
    """What a reply of a status that is not expected comes to: trying again helps where the status may pass."""
    passing = reply.status in PASSING
    after = retry_after(httpx.Headers(reply.headers)) if passing else None
    return StepFailed(
        f"{place} answered {reply.status}" + (f": {shown}" if shown else ""),
        slug="busy" if reply.status == TOO_MANY else "status",
        retryable=passing,
        output={"status": reply.status, "body": shown},
        after=min(after or 0.0, LONGEST_AFTER),
    )


def _refused(reply: WebReply, request: WebRequest, hidden: list[str]) -> StepFailed:
    words = " ".join(reply.body[: 4 * SHOWN].decode(errors="replace").split())
    return refusal(reply, place_of(request.url), masked(words, hidden)[:SHOWN])


def _expected(status: int, expect: Sequence[int | str]) -> bool:
    return any(one in (status, f"{status // 100}xx") for one in expect)


def _read(reply: WebReply, given: HttpWith, request: WebRequest) -> Any:
    if given.read == "nothing" or (given.read == "json" and not reply.body):
        return None
    try:
        text = reply.body.decode(_charset(reply))
        return json.loads(text, parse_constant=_no_constant) if given.read == "json" else text
    except (ValueError, LookupError, RecursionError) as error:
        raise StepFailed(
            f"{place_of(request.url)} answered {reply.status} with what is not {given.read}", slug="unreadable"
        ) from error


def _charset(reply: WebReply) -> str:
    found = re.search(r"charset=\"?([\w.:-]{1,40})", reply.headers.get("content-type", ""), re.IGNORECASE)
    return found[1] if found else "utf-8"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
