"""The outermost layer of the server: names each request, caps its body, counts it, and catches what nobody foresaw."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import internal_problem, problem

UNMATCHED = "unmatched"

_log = logging.getLogger("vouch.http")


class Edge:
    """ASGI middleware around the whole application. `largest_body` counts bytes."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, largest_body: int) -> None:
        self._app = app
        self._metrics = metrics
        self._largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        exchange = _Exchange(receive, send, self._largest_body)
        scope.setdefault("state", {})["request_id"] = exchange.id
        try:
            await self._serve(scope, exchange)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._metrics.request(scope["method"], route, exchange.status, time.perf_counter() - begin)

    async def _serve(self, scope: Scope, exchange: _Exchange) -> None:
        declared = Headers(scope=scope).get("content-length", "")
        try:
            if declared.isdecimal() and int(declared) > self._largest_body:
                await too_large(self._largest_body, exchange.id)(scope, exchange.receive, exchange.send)
                return
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            _log.exception("request %s failed", exchange.id)
            if exchange.started:
                raise
            await internal_problem(exchange.id)(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request's channels, watched."""

    def __init__(self, receive: Receive, send: Send, largest_body: int) -> None:
        self.id = secrets.token_hex(8)
        self.status = 500
        self.started = False
        self._receive = receive
        self._send = send
        self._left = largest_body
        self._largest_body = largest_body

    async def receive(self) -> Message:
        """The next part of the body. Raises HTTPException 413 where the body passes the cap."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, _sentence(self._largest_body))
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the response on, with the headers that every response carries."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["Request-Id"] = self.id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def too_large(largest_body: int, request_id: str) -> ASGIApp:
    """The refusal of a body that says itself that it is too large."""
    return problem(413, _sentence(largest_body), request_id=request_id)


def _sentence(largest_body: int) -> str:
    return f"The body is larger than {largest_body >> 20} MB; send less at once, or raise the setting max_body_mb."
