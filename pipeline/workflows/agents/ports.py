"""What agents need of the rest: a model, prompts, the corpus, people, sums and requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from kernel.ports import Generator
from kernel.records import PromptVersion
from pipeline.workflows.steps.base import Call

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call of a tool, JSON values. `seen` are the passages whose text was shown: `[chunk, document]`."""

    ok: bool
    output: Any
    seen: tuple[tuple[str, str], ...] = ()


class Reach(Protocol):
    """The corpus as the principal of a call sees it in the snapshot that its run is pinned to.

    Each raises InvalidInput or NotFound in words that the agent may read. `about` is what the policy is asked about.
    """

    def search(self, call: Call, about: str, query: str, top_k: int, chars: int) -> Outcome: ...

    def read(self, call: Call, about: str, name: str, start: int, chars: int) -> Outcome: ...

    def neighbours(self, call: Call, entity: str, limit: int) -> Outcome: ...

    def path(self, call: Call, start: str, end: str) -> Outcome: ...


class AsksPeople(Protocol):
    """Puts things before people. Opening twice under one `call.key` and `part` is opening once."""

    def open(
        self,
        call: Call,
        title: str,
        form: Mapping[str, Any],
        shown: Mapping[str, Any],
        sort: Literal["question", "review"],
        part: str,
        seconds: float,
    ) -> str:
        """The reference of what is to be decided within so many seconds: a `question` for who started the run, a
        `review` for others.
        """
        ...

    def decision(self, ref: str) -> Mapping[str, Any] | None:
        """`decision` (approved, answered, rejected, expired, cancelled), `values`, `comment`; None while it is open."""
        ...

    def until(self, ref: str) -> str | None:
        """When to look again at the latest (ISO 8601, UTC)."""
        ...


class PromptSource(Protocol):
    """Prompts by what a run was pinned to."""

    def chosen(self, reference: str, call: Call) -> PromptVersion:
        """The version that a reference means in this run. Raises NotFound."""
        ...

    def pinned(self, name: str, version: int, sha256: str) -> PromptVersion:
        """Exactly that version. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy says: why something is `refused`, or why a person must look at it (`review`), or neither."""

    refused: str | None = None
    review: str | None = None


class Guard(Protocol):
    """The policy that a run is pinned to."""

    def before(self, call: Call, text: str) -> Ruling:
        """Whether a goal, with what it is about, may be worked on."""
        ...

    def after(self, call: Call, about: str, result: str) -> Ruling:
        """Whether a result may be given."""
        ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request of an agent; `key` is the same each time that it is made again."""

    method: str
    url: str
    headers: Mapping[str, str]
    secrets: Mapping[str, str]
    body: Mapping[str, Any] | None
    key: str
    seconds: float


Requests = Callable[[Call, HttpRequest], Mapping[str, Any]]
"""Makes a request within the egress allow-list; its `status` and `body`. Raises a VouchError or StepFailed."""
Evaluate = Callable[[str, Mapping[str, Any]], Any]
"""The value of an expression over what is visible. Raises InvalidInput."""
Price = Callable[[str, int, int], float | None]
"""What a model's prompt and completion tokens cost; None where nobody knows."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """All that agents are made of. `models` gives the model of a name, or the configured one for None."""

    models: Callable[[str | None], AbstractContextManager[Generator]]
    prompts: PromptSource
    reach: Reach
    people: AsksPeople
    evaluate: Evaluate
    requests: Requests | None = None
    guard: Guard | None = None
    price: Price | None = None
    now: Callable[[], datetime] = _now
    clock: Callable[[], float] = time.monotonic
