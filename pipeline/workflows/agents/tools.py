"""The tools of an agent, and the one place where they are called.

Whatever a model writes, `Toolbox.call` runs a tool of the agent's own list, with arguments that fit its schema, as
often as it may, and where a person must allow it, once one has. Tools act as the run's principal in the run's snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from kernel.errors import InvalidInput, VouchError
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.agents.declared import CHANGING, Http, Limits, Mission
from pipeline.workflows.agents.memory import Memory
from pipeline.workflows.agents.ports import HttpRequest, Outcome, Parts
from pipeline.workflows.steps.base import Call, StepFailed

Json = dict[str, Any]
SECONDS = 60.0
"""How long a request may take."""
LONGEST = 20_000
"""Characters of an outcome, as JSON, that an agent gets to see."""


@dataclass(frozen=True, slots=True)
class At:
    """Where a tool is called: the step's call, what the policy is asked about, what was done, and the call's key.
    `shown` are the turns whose outcome the model still sees.
    """

    call: Call
    about: str
    memory: Memory
    key: str
    seconds: float
    shown: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of an agent: what it is for, in words for the model; the schema of its arguments; what it does."""

    limits: Limits
    use: str
    schema: Mapping[str, Any]
    run: Callable[[Json, At], Outcome]
    asks: bool = False
    request: Http | None = None

    @property
    def steady(self) -> bool:
        """Whether the same arguments give the same: in a pinned snapshot all but requests do."""
        return self.request is None


class Toolbox:
    """The tools that a spec lists for an agent, and no others."""

    def __init__(self, mission: Mission, parts: Parts) -> None:
        self._tools = _tools(mission, parts)

    @property
    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each tool's arguments, by name."""
        return {name: tool.schema for name, tool in self._tools.items()}

    @property
    def described(self) -> list[Json]:
        """Each tool in words, for the prompt."""
        return [
            {"name": name, "use": tool.use, "arguments": arguments_words(tool.schema)}
            for name, tool in self._tools.items()
        ]

    def asks(self, name: str) -> bool:
        """Whether a person must allow a call of this tool."""
        return self._tools[name].asks if name in self._tools else False

    def effect(self, decision: Mapping[str, Any]) -> Json:
        """The request that a decision would make, for the person who must allow it; nothing for any other."""
        tool = self._tools.get(str(decision.get("tool")))
        if tool is None or tool.request is None or schema_faults(decision["arguments"], tool.schema):
            return {}
        try:
            made = request_of(tool.request, decision["arguments"], "", SECONDS)
        except InvalidInput:
            return {}
        return {"request": {"method": made.method, "url": made.url, "body": made.body}}

    def call(self, name: str, arguments: Any, at: At) -> Outcome:
        """What a tool gives. What it may not do, or cannot, is an outcome that is not `ok`; nothing was done then.
        Errors of a tool that may pass are raised while the step has tries left.
        """
        tool = self._tools.get(name)
        if tool is None:
            return _refused(f"there is no tool {name} here")
        faults = schema_faults(arguments, tool.schema, quote=False)
        if faults:
            return _refused(f"the arguments do not fit: {'; '.join(faults)}")
        if at.memory.calls[name] > tool.limits.calls:
            return _refused(f"{name} may be called {tool.limits.calls} times, and was")
        before = at.memory.turn_of(name, arguments) if tool.steady else None
        if before is not None and before in at.shown:
            return _refused(f"that was done in turn {before}, and gives the same: use what came of it, or end")
        if tool.asks and not at.memory.allowed:
            return _refused(f"nobody allowed this call of {name}")
        try:
            return _bounded(tool.run(arguments, at))
        except (VouchError, StepFailed) as error:
            if error.retryable and at.call.attempt < at.call.step.retry.attempts:
                raise
            return _refused(str(error))


def _refused(why: str) -> Outcome:
    return Outcome(False, {"error": why})


def _bounded(outcome: Outcome) -> Outcome:
    """An outcome that is JSON and not too long."""
    try:
        text = json.dumps(outcome.output, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()
    except (TypeError, ValueError, RecursionError):
        return _refused("the tool gave something that is no JSON")
    if len(text) > LONGEST * 2:
        return Outcome(outcome.ok, f"{text[:LONGEST]}… (cut)", outcome.seen)
    return Outcome(outcome.ok, json.loads(text), outcome.seen)


def arguments_words(schema: Mapping[str, Any]) -> str:
    """A schema of arguments in a line: `query (string), top_k (integer, if wanted)`."""
    required = schema.get("required", ())
    words = []
    for name, one in schema.get("properties", {}).items():
        kind = " or ".join(map(str, one["enum"])) if "enum" in one else str(one.get("type", "any"))
        words.append(f"{name} ({kind}{'' if name in required else ', if wanted'})")
    return ", ".join(words)[:1000] or "none"


def _object(required: tuple[str, ...], **members: Mapping[str, Any]) -> Json:
    return {
        "type": "object",
        "properties": members,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(longest: int) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": longest}


def _tools(mission: Mission, parts: Parts) -> dict[str, Tool]:
    listed, reach, found = mission.tools, parts.reach, dict[str, Tool]()
    if (search := listed.search) is not None:
        schema = _object(("query",), query=_text(400), top_k={"type": "integer", "minimum": 1, "maximum": search.top_k})

        def searched(given: Json, at: At) -> Outcome:
            most = given.get("top_k", search.top_k)
            return reach.search(at.call, at.about, given["query"], most, search.chars)

        found["search"] = _own(search, "finds passages of the documents for a question or words.", schema, searched)
    if (read := listed.read) is not None:
        schema = _object(("document",), document=_text(80), start={"type": "integer", "minimum": 0, "maximum": 10**9})

        def opened(given: Json, at: At) -> Outcome:
            name = _meant(given["document"], at.memory)
            return reach.read(at.call, at.about, name, given.get("start", 0), read.chars)

        use = f"reads {read.chars} characters of a document from `start` on; name a document, or a passage such as c1."
        found["read"] = _own(read, use, schema, opened)
    found |= _graph_tools(mission, parts)
    if (calculator := listed.calculator) is not None:
        schema = _object(("expression",), expression=_text(400))

        def computed(given: Json, _at: At) -> Outcome:
            return Outcome(True, {"value": parts.evaluate(given["expression"], {})})

        found["calculator"] = _own(
            calculator, "works out an arithmetic expression, like (3 + 4) * 2.5.", schema, computed
        )
    return found | {one.name: _request_tool(one, parts) for one in listed.http}


def _graph_tools(mission: Mission, parts: Parts) -> dict[str, Tool]:
    reach, found = parts.reach, dict[str, Tool]()
    if (near := mission.tools.neighbours) is not None:

        def neighbours(given: Json, at: At) -> Outcome:
            return reach.neighbours(at.call, given["entity"], near.limit)

        use = "lists what is named together with a person, thing or code."
        found["neighbours"] = _own(near, use, _object(("entity",), entity=_text(200)), neighbours)
    if (path := mission.tools.path) is not None:

        def tied(given: Json, at: At) -> Outcome:
            return reach.path(at.call, given["start"], given["end"])

        schema = _object(("start", "end"), start=_text(200), end=_text(200))
        found["path"] = _own(path, "shows how two persons, things or codes are tied.", schema, tied)
    return found


def _own(limits: Limits, use: str, schema: Json, run: Callable[[Json, At], Outcome]) -> Tool:
    return Tool(limits, use, schema, run, limits.permission == "ask")


def _meant(name: str, memory: Memory) -> str:
    """The passage that a number such as `c1` means, or the name itself."""
    return {number: chunk for chunk, number in memory.numbers.items()}.get(name.strip("[] "), name)


def _request_tool(declared: Http, parts: Parts) -> Tool:
    schema = {**declared.arguments, "additionalProperties": False}

    def requested(given: Json, at: At) -> Outcome:
        if parts.requests is None:
            raise InvalidInput("requests are not possible here")
        reply = dict(parts.requests(at.call, request_of(declared, given, at.key, min(SECONDS, at.seconds))))
        status = int(reply.get("status", 0))
        return Outcome(200 <= status < 300, {"status": status, "body": _cut(reply.get("body"), declared.chars)})

    return Tool(declared, declared.use, schema, requested, declared.asks, declared)


def request_of(declared: Http, given: Mapping[str, Any], key: str, seconds: float) -> HttpRequest:
    """The request that a declared one is with these arguments. What stands in the URL is escaped, so that no argument
    reaches another host, path or parameter. Raises InvalidInput.
    """
    url = declared.url
    for name in declared.places:
        value = _plain(given[name])
        if value in ("", ".", ".."):
            raise InvalidInput(f"{name} must be more than {value!r}")
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    rest = {name: value for name, value in given.items() if name not in declared.places}
    changes = declared.method in CHANGING
    if rest and not changes:
        url += ("&" if "?" in url else "?") + urlencode({name: _plain(value) for name, value in rest.items()})
    headers, secrets = dict(declared.headers), dict(declared.secrets)
    return HttpRequest(declared.method, url, headers, secrets, rest if changes else None, key, seconds)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(body: Any, chars: int) -> Any:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return body if len(text) <= chars else f"{text[:chars]}… (cut)"
