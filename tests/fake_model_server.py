"""A model server on loopback that answers, or fails, try by try as it is told: real sockets, no patches."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = "text/event-stream; charset=utf-8"


@dataclass
class Seen:
    """One request as the server saw it, and when it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


class Reply:
    """How a step of a script talks to the client."""

    def __init__(self, handler: BaseHTTPRequestHandler, released: threading.Event, request: Seen) -> None:
        self._handler = handler
        self._released = released
        self.request = request

    def head(self, status: int = 200, kind: str | None = EVENTS, *, chunked: bool = True, **headers: str) -> None:
        """Status line and headers; without `chunked` the body ends where the connection does."""
        lines = [f"HTTP/1.1 {status} Scripted"]
        lines += [f"Content-Type: {kind}"] if kind else []
        lines += ["Transfer-Encoding: chunked" if chunked else "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join([*lines, "", ""]).encode())

    def raw(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """The end of a chunked body."""
        self.raw(b"0\r\n\r\n")

    def body(self, status: int, kind: str, data: bytes, **headers: str) -> None:
        """A whole reply at once."""
        self.head(status, kind, **headers)
        self.chunk(data)
        self.end()

    def stream(self, *events: bytes) -> None:
        """A whole event stream, one chunk an event."""
        self.head()
        for event in events:
            self.chunk(event)
        self.end()

    def pause(self, seconds: float) -> None:
        """Waits, though not past the server's own end."""
        self._released.wait(seconds)

    def hang(self) -> None:
        self._released.wait(30.0)

    def reset(self) -> None:
        """Sends RST, as a server that dies does."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.connection.close()


Step = Callable[[Reply], None]


def event(value: object) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def token(text: str, finish: str | None = None) -> bytes:
    """A chunk that brings some text."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


def finish(reason: str = "stop") -> bytes:
    """The chunk that says why the text ends."""
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}})
DONE = b"data: [DONE]\n\n"
TEXT = "Größe: 5 m [c1]. 答案 🙂"
WORDS = [token("Größe: "), token("5 m [c1]. "), token("答案 🙂")]


def good(reply: Reply) -> None:
    """A whole answer, as a faithful server streams it."""
    reply.stream(*WORDS, finish(), USAGE, DONE)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class FakeModelServer:
    """Takes the next step of the script for each request; the last one answers all that follow."""

    def __init__(self, *script: Step) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.faults: list[BaseException] = []
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", 0), self._handler())
        self._http.handle_error = self._note  # type: ignore[method-assign]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def _note(self, *_: object) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.faults.append(error)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                seen = Seen(self.path, dict(self.headers), json.loads(body))
                with server._lock:
                    step = server.script[min(len(server.seen), len(server.script) - 1)]
                    server.seen.append(seen)
                self.close_connection = step is not good
                step(Reply(self, server._released, seen))

            def log_message(self, *_: object) -> None:
                return

        return Handler
