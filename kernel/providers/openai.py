"""Answers from any server that speaks OpenAI's chat completions: whole ones, by a deadline, or none."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import httpx

from kernel.errors import GenerationFailed, InvalidInput
from kernel.ports import GenerationRequest
from kernel.providers.openai_stream import FailedTry, read_fault, read_reply, worth_retrying
from kernel.providers.openai_wire import Deadline, DeadlineTransport
from kernel.records import Generation, ModelInfo

SEED = 7
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 8.0
FAULT_BYTES = 64 * 1024
FAULT_SECONDS = 2.0
SENTENCE_CHARACTERS = 400
PLAIN_STATUS = {
    401: "does not accept the API key (401)",
    403: "does not let this API key use the model (403)",
}

_chance = random.SystemRandom()


class OpenAIGenerator:
    """Asks a model server at `base_url` (up to `/v1`) and returns an answer only when it is whole.

    One deadline covers all tries, the waits between them and the whole stream; only looking up the server's
    name is left to the system's own limits. An injected `client` is held to it by its timeouts and between
    the chunks of a reply. Up to `retries` more tries follow a failure that may pass, after full-jitter
    exponential back-off (AWS Architecture Blog, 2015) or, where longer, the server's `Retry-After`.
    Safe to share between threads. Raises InvalidInput where the URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        deadline_seconds: float = 60.0,
        retries: int = 3,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = _usable(base_url)
        bare = url.copy_with(userinfo=b"")
        self._endpoint = bare.copy_with(path=bare.path.rstrip("/") + "/chat/completions")
        self._shown = str(bare).rstrip("/")
        self._authorization = _authorization(url, api_key)
        self._secrets = tuple(filter(None, (self._authorization.rpartition(" ")[2], url.password)))
        self._model = model
        self._parameters = {"temperature": temperature, "max_tokens": max_tokens, "seed": SEED}
        self._seconds = deadline_seconds
        self._retries = retries
        self._owned = client is None
        self._client = client or httpx.Client(transport=DeadlineTransport(), trust_env=False)
        self._clock = clock
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"OpenAIGenerator({self._shown!r}, {self._model!r})"

    @property
    def info(self) -> ModelInfo:
        """The model as asked for, and all that is sent to steer it."""
        return ModelInfo("openai", self._model, {**self._parameters, "base_url": self._shown})

    def close(self) -> None:
        """Closes its connections. An injected client stays open: it belongs to whoever made it."""
        if self._owned:
            self._client.close()

    def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer. Raises GenerationFailed, with what happened, where none came by the deadline."""
        deadline = Deadline(self._clock() + self._seconds, self._clock)
        body = self._body(request)
        for number in range(1, self._retries + 2):
            outcome = self._try(body, deadline)
            if isinstance(outcome, Generation):
                return outcome
            wait = max(_back_off(number), outcome.after or 0.0)
            if not outcome.again or number > self._retries or wait >= deadline.left():
                break
            self._sleep(wait)
        raise GenerationFailed(self._sentence(str(outcome), number))

    def _body(self, request: GenerationRequest) -> bytes:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps({"model": self._model, "messages": messages, **self._parameters, **stream}).encode()

    def _try(self, body: bytes, deadline: Deadline) -> Generation | FailedTry:
        """Returned, not raised, so that no error ever carries this one and the server's words along."""
        late = FailedTry(f"gave no whole answer within {self._seconds:g} s")
        left = deadline.left()
        if left <= 0:
            return late
        try:
            with deadline.held():
                return self._exchange(body, deadline, httpx.Timeout(left))
        except FailedTry as failed:
            return failed
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return FailedTry(f"could not be reached: {error}", again=True)
        except httpx.TimeoutException:
            return late
        except httpx.TransportError as error:
            return FailedTry(f"broke the connection off: {error}", again=True)

    def _exchange(self, body: bytes, deadline: Deadline, timeout: httpx.Timeout) -> Generation:
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "vouch",
            **({"Authorization": self._authorization} if self._authorization else {}),
        }
        with self._client.stream(
            "POST", self._endpoint, content=body, headers=headers, timeout=timeout, follow_redirects=False
        ) as response:
            if not response.is_success:
                raise _refusal(response, deadline)
            return read_reply(response, deadline)

    def _sentence(self, what: str, tries: int) -> str:
        for secret in self._secrets:
            what = what.replace(secret, "***")
        plain = " ".join("".join(c if c.isprintable() else " " for c in what).split())
        times = "1 try" if tries == 1 else f"{tries} tries"
        return f"the model server at {self._shown} {plain[:SENTENCE_CHARACTERS]} ({times})"


def _usable(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput("the base URL of the model server must be a whole http:// or https:// URL")
    if url.query or url.fragment:
        raise InvalidInput("the base URL of the model server must end with its path, such as /v1, without ? or #")
    return url


def _authorization(url: httpx.URL, api_key: str | None) -> str:
    """The header's value; empty where the server is asked without one."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput("the API key of the model server holds characters that no HTTP header can carry")
    if key:
        return f"Bearer {key}"
    if not url.userinfo:
        return ""
    return "Basic " + base64.b64encode(unquote(url.userinfo.decode()).encode()).decode()


def _refusal(response: httpx.Response, deadline: Deadline) -> FailedTry:
    status = response.status_code
    if status in PLAIN_STATUS:
        return FailedTry(PLAIN_STATUS[status])
    if response.is_redirect:
        return FailedTry(f"redirects elsewhere ({status}), which is not followed")
    words = read_fault(_start(response, deadline))
    what = f"answered {status}" + (f": {words}" if words else "")
    return FailedTry(what, again=worth_retrying(status), after=_retry_after(response.headers))


def _start(response: httpx.Response, deadline: Deadline) -> bytes:
    """The first part of an error's body; a body that does not come soon is done without."""
    body = b""
    try:
        with deadline.within(FAULT_SECONDS).held():
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > FAULT_BYTES:
                    break
    except httpx.TransportError:
        pass
    return body[:FAULT_BYTES]


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds to wait as the server asks (RFC 9110, 10.2.3), a date counted from the server's own clock."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = _date(value)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _back_off(number: int) -> float:
    """Seconds before the try after the `number`th: anywhere up to a ceiling that doubles with each."""
    return _chance.uniform(0.0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (number - 1)))
