"""Requests of agents, made as steps of kind `http` make them: the same allow-list, secrets and circuit breakers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.workflows.agents.declared import MOST_BYTES
from pipeline.workflows.agents.ports import HttpRequest
from pipeline.workflows.steps.base import Call
from pipeline.workflows.steps.http import HttpKind, HttpWith

ANY_STATUS = ("2xx", "3xx", "4xx", "5xx")


class EgressRequests:
    """Makes requests of agents. What replies is data; nothing of it is followed."""

    def __init__(self, kind: HttpKind) -> None:
        self._kind = kind

    def __call__(self, call: Call, asked: HttpRequest) -> Mapping[str, Any]:
        """`status` and `body`, whatever the status is. Raises InvalidInput for what may not be reached, Unavailable,
        and StepFailed.
        """
        body = {} if asked.body is None else {"json": dict(asked.body)}
        given = HttpWith.model_validate(
            {
                "method": asked.method,
                "url": asked.url,
                "headers": dict(asked.headers),
                "secrets": dict(asked.secrets),
                "expect": list(ANY_STATUS),
                "read": "text",
                "most_bytes": MOST_BYTES,
                **body,
            }
        )
        done = self._kind.run(given, replace(call, key=asked.key, left=lambda: asked.seconds))
        return {"status": done.output["status"], "body": _read(done.output["body"])}


def _read(text: str | None) -> Any:
    """A body as JSON where it is some, else as text."""
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return text
