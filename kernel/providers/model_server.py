"""Asking a model server over HTTP: one deadline over all tries, and a plain sentence where none succeeds."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import unquote

import httpx

from kernel.errors import GenerationFailed, InvalidInput, Unavailable, UnusableReply
from kernel.providers.openai_stream import FailedTry, read_fault, worth_retrying
from kernel.providers.openai_wire import Deadline, DeadlineTransport

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 8.0
FAULT_BYTES = 64 * 1024
FAULT_SECONDS = 2.0
SENTENCE_CHARACTERS = 400
REFUSALS = frozenset({400, 404, 415, 422, 501})
"""Statuses by which servers say that they do not know a part of a request."""
PLAIN_STATUS = {
    401: "does not accept the API key (401)",
    403: "does not let this API key use the model (403)",
}

_chance = random.SystemRandom()
_Reply = TypeVar("_Reply")


class ModelServer:
    """Posts to one endpoint, `path` below `base_url`, and returns a reply only when it is whole.

    One deadline covers all tries, the waits between them and the whole reply; only looking up the server's
    name is left to the system's own limits. An injected `client` is held to it by its timeouts and between
    the chunks of a reply. Up to `retries` more tries follow a failure that may pass, after full-jitter
    exponential back-off (AWS Architecture Blog, 2015) or, where longer, the server's `Retry-After`.
    `named` is what its errors call the server. Safe to share between threads. Raises InvalidInput where the
    URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        *,
        named: str = "model server",
        error: type[Unavailable] = Unavailable,
        api_key: str | None = None,
        deadline_seconds: float = 60.0,
        retries: int = 3,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = _usable(base_url, named)
        bare = url.copy_with(userinfo=b"")
        self._endpoint = bare.copy_with(path=bare.path.rstrip("/") + path)
        self.shown = str(bare).rstrip("/")
        """The base URL without credentials: safe to show and to record."""
        self._authorization = _authorization(url, api_key, named)
        self._secrets = tuple(filter(None, (self._authorization.rpartition(" ")[2], url.password)))
        self._named = named
        self._error = error
        self._seconds = deadline_seconds
        self._retries = retries
        self._owned = client is None
        self._client = client or httpx.Client(transport=DeadlineTransport(), trust_env=False)
        self._clock = clock
        self._sleep = sleep
        self._plainly = False

    def close(self) -> None:
        """Closes its connections. An injected client stays open: it belongs to whoever made it."""
        if self._owned:
            self._client.close()

    def post(
        self,
        body: bytes,
        accept: str,
        read: Callable[[httpx.Response, Deadline], _Reply],
        *,
        plain: bytes | None = None,
        seconds: float | None = None,
    ) -> _Reply:
        """What `read` makes of the first good response; `read` raises FailedTry for one that is no whole reply.

        `plain` is the same request for a server that refuses `body`: it is sent then at once, and from the next request
        on where that went well. `seconds` may bring the deadline nearer.
        Raises the error given at the start, with what happened, where no try brought one by the deadline.
        """
        allowed = self._seconds if seconds is None else min(seconds, self._seconds)
        deadline = Deadline(self._clock() + allowed, self._clock)
        body = plain if plain is not None and self._plainly else body
        for number in range(1, self._retries + 2):
            outcome = self._try(body, accept, read, deadline, allowed)
            if isinstance(outcome, FailedTry) and outcome.refused and plain not in (None, body):
                body = plain or body
                outcome = self._try(body, accept, read, deadline, allowed)
                self._plainly = not isinstance(outcome, FailedTry)
            if not isinstance(outcome, FailedTry):
                return outcome
            failed = outcome
            wait = max(_back_off(number), outcome.after or 0.0)
            if not outcome.again or number > self._retries or wait >= deadline.left():
                break
            self._sleep(wait)
        error = UnusableReply if failed.replied and self._error is GenerationFailed else self._error
        raise error(self._sentence(str(failed), number))

    def _try(
        self,
        body: bytes,
        accept: str,
        read: Callable[[httpx.Response, Deadline], _Reply],
        deadline: Deadline,
        allowed: float,
    ) -> _Reply | FailedTry:
        """Returned, not raised, so that no error ever carries this one and the server's words along."""
        late = FailedTry(f"gave no whole answer within {allowed:g} s")
        left = deadline.left()
        if left <= 0:
            return late
        try:
            with deadline.held(), self._response(body, accept, httpx.Timeout(left)) as response:
                if not response.is_success:
                    return _refusal(response, deadline)
                return read(response, deadline)
        except FailedTry as failed:
            return failed
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return FailedTry(f"could not be reached: {error}", again=True)
        except httpx.TimeoutException:
            return late
        except httpx.TransportError as error:
            return FailedTry(f"broke the connection off: {error}", again=True)

    def _response(self, body: bytes, accept: str, timeout: httpx.Timeout) -> AbstractContextManager[httpx.Response]:
        headers = {
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "vouch",
            **({"Authorization": self._authorization} if self._authorization else {}),
        }
        return self._client.stream(
            "POST", self._endpoint, content=body, headers=headers, timeout=timeout, follow_redirects=False
        )

    def _sentence(self, what: str, tries: int) -> str:
        for secret in self._secrets:
            what = what.replace(secret, "***")
        plain = " ".join("".join(c if c.isprintable() else " " for c in what).split())
        times = "1 try" if tries == 1 else f"{tries} tries"
        return f"the {self._named} at {self.shown} {plain[:SENTENCE_CHARACTERS]} ({times})"


def _usable(base_url: str, named: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(f"the base URL of the {named} must be a whole http:// or https:// URL")
    if url.query or url.fragment:
        raise InvalidInput(f"the base URL of the {named} must end with its path, such as /v1, without ? or #")
    return url


def _authorization(url: httpx.URL, api_key: str | None, named: str) -> str:
    """The header's value; empty where the server is asked without one."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput(f"the API key of the {named} holds characters that no HTTP header can carry")
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
    again, after = worth_retrying(status), retry_after(response.headers)
    return FailedTry(what, again=again, after=after, refused=status in REFUSALS)


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


def retry_after(headers: httpx.Headers) -> float | None:
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
