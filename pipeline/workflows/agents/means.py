"""What agents do things with, out of what the rest of the program has: prompts, tasks for people, requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kernel.errors import NotFound
from kernel.records import PromptVersion
from pipeline.prompts.library import PromptLibrary, shipped_prompts
from pipeline.workflows.agents.declared import MOST_BYTES
from pipeline.workflows.agents.ports import HttpRequest, Requests
from pipeline.workflows.asking import Asks, drafts_of
from pipeline.workflows.asking import Request as Asked
from pipeline.workflows.steps.base import Call
from pipeline.workflows.steps.http import HttpKind, HttpWith
from pipeline.workflows.steps.pinned import chosen

ANY_STATUS = ("2xx", "3xx", "4xx", "5xx")


class LibraryPrompts:
    """Prompts of the library, in the versions that a run was started with."""

    def __init__(self, library: PromptLibrary) -> None:
        self._library = library

    def chosen(self, reference: str, call: Call) -> PromptVersion:
        """The version that the run pinned for a reference. Raises StepFailed where it pinned none."""
        found = chosen(call, reference)
        return self.pinned(reference.partition("@")[0], found.number, found.sha256)

    def pinned(self, name: str, version: int, sha256: str) -> PromptVersion:
        """A version by its hash. Raises NotFound where it is not there any more."""
        shipped = shipped_prompts().get(name)
        if shipped is not None and shipped.sha256 == sha256:
            return replace(shipped, version=version)
        text = self._library.texts([sha256]).get(sha256)
        if text is None:
            raise NotFound(f"version {version} of prompt {name}, which the run was started with, is not there")
        return PromptVersion(name, version, sha256, "", text)


class TaskPeople:
    """People, through the tasks of runs."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    def open(
        self,
        call: Call,
        title: str,
        form: Mapping[str, Any],
        shown: Mapping[str, Any],
        sort: str,
        part: str,
        seconds: float,
    ) -> str:
        """Open a task, once a part of a call."""
        asked = Asked(title, sort, shown, form, drafts_of(form), deadline=seconds)
        return self._asks.ask(call, asked, part)

    def decision(self, ref: str) -> Mapping[str, Any] | None:
        """What became of it."""
        return self._asks.decision(ref)

    def until(self, ref: str) -> str | None:
        """When to look again."""
        return self._asks.until(ref)


def requests_by(kind: HttpKind) -> Requests:
    """Requests of agents as steps of kind `http` make them: within its allow-list, its breakers and its secrets."""

    def request(call: Call, wanted: HttpRequest) -> Mapping[str, Any]:
        body = {} if wanted.body is None else {"json": dict(wanted.body)}
        given = HttpWith.model_validate(
            {
                "method": wanted.method,
                "url": wanted.url,
                "headers": dict(wanted.headers),
                "secrets": dict(wanted.secrets),
                "expect": list(ANY_STATUS),
                "read": "text",
                "most_bytes": MOST_BYTES,
                **body,
            }
        )
        left = call.left()
        done = kind.run(given, replace(call, key=wanted.key, left=lambda: min(wanted.seconds, left)))
        return {"status": done.output["status"], "body": _read(done.output["body"])}

    return request


def _read(text: str) -> Any:
    """A body as JSON where it is some, else as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
