"""Sockets that keep one deadline over a whole exchange; a timeout of httpx restarts with each operation."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from socket import SOCK_STREAM, gaierror, getaddrinfo
from typing import Any

import httpcore
import httpx

WRITE_BYTES = 16 * 1024
CONNECTIONS = 256

Addresses = Callable[[str, int], list[str]]
SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, `at`, on a monotonic clock, in seconds."""

    at: float
    clock: Callable[[], float]

    def left(self) -> float:
        """Seconds left; zero or less once it has passed."""
        return self.at - self.clock()

    def within(self, seconds: float) -> Deadline:
        """This deadline, or one in `seconds` where that is sooner."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds every socket of a `DeadlineTransport` that this thread uses meanwhile to this deadline."""
        token = _HELD.set(self)
        try:
            yield
        finally:
            _HELD.reset(token)


_HELD: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _wait(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """How long one socket operation may take."""
    held = _HELD.get()
    if held is None:
        return timeout
    left = held.left()
    if left <= 0:
        raise late("the deadline has passed")
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    """A socket whose every operation ends by the deadline, however slowly bytes drip."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _wait(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            self._inner.write(buffer[start : start + WRITE_BYTES], _wait(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait = _wait(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, wait))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Connects by the deadline: addresses that do not answer share the time that is left."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for position, address in enumerate(addresses):
            wait = _wait(timeout, httpcore.ConnectTimeout)
            share = None if wait is None else wait / (len(addresses) - position)
            try:
                return _Stream(super().connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a host, looked up once. Raises httpcore.ConnectError where there is none."""
    try:
        found = getaddrinfo(host, port, type=SOCK_STREAM)
    except (gaierror, UnicodeError) as error:
        raise httpcore.ConnectError(f"its name does not resolve ({error})") from error
    return [str(entry[4][0]) for entry in found]


class DeadlineTransport(httpx.BaseTransport):
    """HTTP/1.1 held to the `Deadline` of the calling thread, past any proxy.

    A connection serves one request: the server may close one that is kept just as it is used again, and that
    would cost a try. `addresses` says where a host and port lead; only these are connected to.
    """

    def __init__(self, addresses: Addresses = addresses_of) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=CONNECTIONS,
            max_keepalive_connections=0,
            network_backend=_Backend(addresses),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with _as_httpx():
            reply = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.read(),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply), extensions=reply.extensions)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._reply.iter_stream()

    def close(self) -> None:
        self._reply.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """httpcore names its errors as httpx does."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
