"""What the tests of steps that reach outside share: calls, an HTTP server and a mail server on loopback."""

from __future__ import annotations

import json
import re
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kernel.records import Principal, Role
from kernel.storage.breakers import BreakerRule, Breakers
from kernel.storage.database import Database
from pipeline.workflows.breakers import Guards
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import Call, Pins

STARTER = Principal("key_starter", Role.APP)
PINS = Pins("spec", "policy", 1, 0, "toy/one")


def call_of(kind: str, key: str = "run_one:step:0", *, seconds: float = 10.0, with_: Any = None) -> Call:
    """A first try at a step."""
    run_id, step_id, item = key.split(":")
    end = time.monotonic() + seconds
    return Call(
        run_id=run_id,
        workflow="weekly",
        mode="live",
        principal=STARTER,
        pins=PINS,
        step=Step.model_validate({"id": step_id, "kind": kind, "with": with_ or {}}),
        item=int(item),
        attempt=1,
        key=key,
        stakes="low",
        visible={},
        preview=lambda _: {},
        notes=(),
        note=lambda _kind, _data: None,
        left=lambda: end - time.monotonic(),
    )


def no_guards(database: Database) -> Guards:
    """Guards that never close."""
    return Guards(Breakers(database), BreakerRule(failures=1000))


@dataclass
class Heard:
    """A request as a server saw it."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What a server replies. A `hold` is waited for before it does."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    hold: float = 0.0


class WebServer:
    """Replies to each request as `reply` says, and keeps what it heard. On a free port of 127.0.0.1."""

    def __init__(self, reply: Callable[[Heard], Answer] = lambda _: Answer()) -> None:
        self.heard: list[Heard] = []
        self.reply = reply
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                one = Heard(self.command, parts.path, parse_qs(parts.query), headers, self.rfile.read(length))
                outer.heard.append(one)
                answer = outer.reply(one)
                time.sleep(answer.hold)
                with suppress(OSError):  # a client that went away
                    self._reply(answer)

            def _reply(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON reply."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | named)


@dataclass
class Mail:
    """A message as a mail server took it."""

    sender: str
    to: list[str]
    data: bytes


class MailServer:
    """Speaks enough SMTP (RFC 5321) to take mail on loopback. `replies` maps a command, or the address of a RCPT, to a
    reply that is given instead; `drop` is how many messages it takes and then breaks off without a word.
    """

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.replies: dict[str, str] = {}
        self.drop = 0
        outer = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._session(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Session)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _session(self, handler: socketserver.StreamRequestHandler) -> None:
        def say(line: str) -> None:
            handler.wfile.write(f"{line}\r\n".encode())

        say(self.replies.get("CONNECT", "220 mail.test ready"))
        mail = Mail("", [], b"")
        for raw in handler.rfile:
            line = raw.decode().strip()
            word = line.split(" ")[0].upper()
            address = (re.search(r"<([^>]*)>", line) or [None, ""])[1] or ""
            special = self.replies.get(address) if word == "RCPT" else self.replies.get(word)
            if special is not None:
                say(special)
            elif word == "EHLO":
                say("250-mail.test")
                say("250 8BITMIME")
            elif word == "MAIL":
                mail = Mail(address, [], b"")
                say("250 ok")
            elif word == "RCPT":
                mail.to.append(address)
                say("250 ok")
            elif word == "DATA":
                say("354 go on")
                mail.data = _message(handler)
                self.mails.append(mail)
                if self.drop:
                    self.drop -= 1
                    return
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _message(handler: socketserver.StreamRequestHandler) -> bytes:
    lines = []
    for raw in handler.rfile:
        if raw == b".\r\n":
            break
        lines.append(raw[1:] if raw.startswith(b"..") else raw)
    return b"".join(lines)
