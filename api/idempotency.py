"""Requests that carry an `Idempotency-Key` are carried out once; their repetition gets the answer of the first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

from kernel.ids import canonical_json, sha256
from kernel.storage.keys import Requests

Json = dict[str, Any]


class KeyedLocks:
    """A lock a key, kept only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, str], tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, key: tuple[str, str]) -> Iterator[None]:
        """Wait until nobody else holds `key`, then hold it."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[key]
                if users == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = (lock, users - 1)

    def __len__(self) -> int:
        return len(self._locks)


@dataclass(frozen=True, slots=True)
class Once:
    """Carries out a changing request: at most once, in this process, where it has an idempotency key.

    A request that fails leaves nothing behind, so it may be sent again under the same key.
    """

    requests: Requests
    locks: KeyedLocks
    principal: str
    target: str
    key: str | None
    """`target` is the method, path and query string: part of what makes two requests the same."""

    def __call__(
        self, body: Mapping[str, Any], act: Callable[[], Json], status: int = 200, secret: str | None = None
    ) -> JSONResponse:
        """The response of `act`, or the stored one. A member named `secret` is never stored: a replay shows null.

        Raises Conflict where the key came with another request before.
        """
        if self.key is None:
            return respond(status, act())
        digest = sha256(canonical_json({"target": self.target, "body": dict(body)}))
        with self.locks.hold((self.principal, self.key)):
            seen = self.requests.seen(self.principal, self.key, digest)
            if seen is not None:
                return respond(*seen, replayed=True)
            begun = self.requests.begun()
            made = act()
            kept = made if secret is None else made | {secret: None}
            self.requests.keep(self.principal, self.key, digest, status, kept, begun)
            return respond(status, made)


def respond(status: int, body: Json, *, replayed: bool = False) -> JSONResponse:
    """A JSON response; accepted work says where its job or run is, and a replay says that it is one."""
    headers = {}
    if status == 202:
        where = "runs" if str(body["id"]).startswith("wfr_") else "jobs"
        headers["Location"] = f"/v1/{where}/{body['id']}"
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(body, status, headers=headers)
