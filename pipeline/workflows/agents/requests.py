"""Requests of agents: through the same allow-list, secrets and circuit breakers as steps of kind `http`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kernel.providers.egress import Egress, WebRequest, place_of, web_url
from pipeline.workflows.agents.ports import HttpRequest
from pipeline.workflows.breakers import Guards
from pipeline.workflows.steps.base import Call

MOST_BYTES = 200_000
AWAY = 500
SAFE = ("GET", "HEAD")


class EgressRequests:
    """Makes requests of agents. What replies is data; nothing of it is followed."""

    def __init__(self, egress: Egress, guards: Guards) -> None:
        self._egress = egress
        self._guards = guards

    def __call__(self, _call: Call, asked: HttpRequest) -> Mapping[str, Any]:
        """`status`, and `json` or `text`. Raises InvalidInput for what may not be reached, Unavailable."""
        url = web_url(asked.url)
        body = json.dumps(asked.body, ensure_ascii=False).encode() if asked.body is not None else None
        headers = dict(asked.headers) | ({"Content-Type": "application/json"} if body is not None else {})
        if asked.method not in SAFE:
            headers["Idempotency-Key"] = asked.key
        request = WebRequest(asked.method, url, headers, {}, body, MOST_BYTES, max(0.001, asked.seconds))
        with self._guards.guarded(f"http:{place_of(url)}") as passage:
            reply = self._egress.send(request)
            if reply.status >= AWAY:
                passage.failed()
        text = reply.body.decode("utf-8", "replace")
        try:
            return {"status": reply.status, "json": json.loads(text)}
        except ValueError:
            return {"status": reply.status, "text": text}
