"""Replies of an OpenAI-compatible server, read to their declared end: a whole answer, or why there is none.

The format is the event stream of the HTML standard (server-sent events); its events are chat completion
chunks. What the standard lets a reader skip (unknown fields, unknown events) fails here: it might be text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from kernel.errors import Unavailable
from kernel.providers.openai_wire import Deadline
from kernel.records import Generation

MAX_REPLY_BYTES = 4 * 1024 * 1024
DONE = b"[DONE]"
LINE_END = re.compile(rb"\r\n|\r|\n")
RETRIED = frozenset({408, 409, 425, 429})
RETRIED_FAULTS = frozenset({"server_error", "overloaded_error", "rate_limit_exceeded", "timeout"})
ENDINGS = {
    "length": "reached the limit of tokens (finish_reason length), so that its answer is cut short",
    "content_filter": "withheld the answer (finish_reason content_filter)",
}

_Model = TypeVar("_Model", bound=BaseModel)


class FailedTry(Unavailable):
    """One try gave no whole answer. Its text completes "the model server at X …" and may quote the server.

    `again` says whether another try may help; `after` is how many seconds the server asks to wait before it. `replied`:
    the model ended its reply as it meant to, and there is no answer in it. `refused`: the server does not take such a
    request.
    """

    def __init__(
        self,
        what: str,
        *,
        again: bool = False,
        after: float | None = None,
        replied: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(what)
        self.refused = refused
        self.again = again
        self.after = after
        self.replied = replied


def worth_retrying(status: int) -> bool:
    """Whether the same request may succeed later, as far as its HTTP status tells."""
    return status in RETRIED or status >= 500


def read_reply(response: httpx.Response, deadline: Deadline) -> Generation:
    """The whole answer in a successful response, streamed or not. Raises FailedTry, or what httpx raises."""
    kind, chunks = _opened(response, deadline)
    answer = _Answer()
    if kind == "text/event-stream":
        answer.read(chunks)
    elif kind == "application/json":
        answer.take(_parse(_Event, b"".join(chunks), "a reply"))
        answer.ended = True
    else:
        raise FailedTry(f"sent {kind or 'no content type'} where an event stream was expected")
    return answer.whole()


def read_json(model: type[_Model], response: httpx.Response, deadline: Deadline) -> _Model:
    """A successful response that is JSON, as a `model`. Raises FailedTry, or what httpx raises."""
    kind, chunks = _opened(response, deadline)
    if kind != "application/json":
        raise FailedTry(f"sent {kind or 'no content type'} where JSON was expected")
    return _parse(model, b"".join(chunks), "a reply")


def read_fault(body: bytes) -> str:
    """The server's own words in the body of an error response; empty where there are none."""
    with suppress(ValidationError):
        return _said(_FaultBody.model_validate_json(body))
    return ""


class _Words(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    index: int = 0
    delta: _Words | None = None
    message: _Words | None = None
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = Field(default=0, ge=0, le=10**9)
    completion_tokens: int | None = Field(default=0, ge=0, le=10**9)


class _Fault(BaseModel):
    message: str = ""
    type: str | None = None
    code: int | str | None = None

    @property
    def passing(self) -> bool:
        """Whether the fault may have gone when asked again."""
        if isinstance(self.code, int):
            return worth_retrying(self.code)
        return not RETRIED_FAULTS.isdisjoint((self.type, self.code))


class _FaultBody(BaseModel):
    error: _Fault | str | None = None
    message: object = None
    detail: object = None


class _Event(_FaultBody):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


def _said(body: _FaultBody) -> str:
    named = body.error.message if isinstance(body.error, _Fault) else body.error
    return next((words for words in (named, body.message, body.detail) if words and isinstance(words, str)), "")


def _parse(model: type[_Model], data: bytes, what: str) -> _Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise FailedTry(f"sent {what} that is not JSON") from None
        where = ".".join(str(part) for part in first["loc"])
        raise FailedTry(f"sent {what} of an unknown shape: {where}: {first['msg']}") from None


@dataclass(slots=True)
class _Answer:
    """What has come of an answer so far."""

    parts: list[str] = field(default_factory=list)
    finish: str | None = None
    ended: bool = False
    usage: _Usage = field(default_factory=_Usage)

    def read(self, chunks: Iterable[bytes]) -> None:
        """Takes every event up to `[DONE]`; forgives a stream that breaks once the answer is finished."""
        try:
            for data in _events(chunks):
                if data == DONE:
                    self.ended = True
                    return
                self.take(_parse(_Event, data, "an event"))
        except httpx.TransportError:
            if self.finish is None:
                raise

    def take(self, event: _Event) -> None:
        """Adds what an event or a reply that was not streamed brings."""
        if event.error is not None or (event.choices is None and event.usage is None):
            words = _said(event)
            what = f"reported an error: {words}" if words else "sent an event of an unknown kind"
            raise FailedTry(what, again=isinstance(event.error, _Fault) and event.error.passing)
        self.usage = event.usage or self.usage
        for choice in event.choices or ():
            if choice.index == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: _Choice) -> None:
        words = choice.delta or choice.message or _Words()
        if words.refusal:
            raise FailedTry("refused to answer", replied=True)
        if words.content:
            if self.finish is not None:
                raise FailedTry("went on writing after it had declared its answer finished")
            self.parts.append(words.content)
        self.finish = choice.finish_reason or self.finish

    def whole(self) -> Generation:
        """The answer, where the server has declared it finished and it says something."""
        if self.finish is None and not self.ended:
            raise FailedTry("broke its reply off before the end", again=True)
        if self.finish is None:
            raise FailedTry("never said why its reply ended (no finish_reason), so that it may be cut short")
        if self.finish != "stop":
            other = f"ended with finish_reason {self.finish[:40]!r}, which is no whole answer"
            raise FailedTry(ENDINGS.get(self.finish, other), replied=True)
        text = "".join(self.parts)
        if not text.strip():
            raise FailedTry("sent an empty answer", replied=True)
        if "\0" in text:
            raise FailedTry("sent an answer with NUL characters in it", replied=True)
        usage = self.usage
        return Generation(text, prompt_tokens=usage.prompt_tokens or 0, completion_tokens=usage.completion_tokens or 0)


def _opened(response: httpx.Response, deadline: Deadline) -> tuple[str, Iterator[bytes]]:
    """The content type of a response, and its body as it comes."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FailedTry("compressed its reply although it was asked not to")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind, _bounded(response, deadline)


def _bounded(response: httpx.Response, deadline: Deadline) -> Iterator[bytes]:
    """The body as it comes, up to the cap, and up to the deadline also where the transport knows none."""
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise FailedTry(f"sent more than {MAX_REPLY_BYTES // 1024**2} MiB")
        if deadline.left() <= 0:
            raise httpx.ReadTimeout("the deadline has passed")
        yield chunk


def _events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event that came whole, its closing blank line included."""
    data: list[bytes] = []
    for line in _lines(chunks):
        if not line and data:
            yield b"\n".join(data)
            data = []
        name, _, value = line.partition(b":")
        if name not in (b"", b"data", b"event", b"id", b"retry"):
            raise FailedTry("sent a line that belongs to no event stream")
        if name == b"data":
            data.append(value.removeprefix(b" "))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Complete lines without their ends; a last line without an end was cut and is left out."""
    rest, bom = bytearray(), b"\xef\xbb\xbf"
    for chunk in chunks:
        rest += chunk
        if b"\n" not in chunk:
            continue
        whole, _, last = bytes(rest).rpartition(b"\n")
        yield from LINE_END.split(whole.removeprefix(bom).removesuffix(b"\r"))
        rest, bom = bytearray(last), b""
