"""The corpus as agents reach it: as the run's principal, in the run's snapshot, as the run's policy leaves it.

Which documents may be seen is asked anew each time, as for a new question: what was withdrawn since the run began is
gone for its agents too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from graph.names import name_key
from kernel.errors import NotFound
from kernel.records import Evidence, LiveState, Passage
from kernel.storage.snapshots import Snapshots
from pipeline.oversight.policy_book import PolicyBook
from pipeline.oversight.rules import judge_context, matter_of
from pipeline.workflows.agents.ports import Outcome
from pipeline.workflows.steps.base import Call
from retrieval.documents import PART, DocumentReader
from retrieval.entities import EntityBrowser
from retrieval.search import Searcher

Json = dict[str, Any]
T = TypeVar("T")
TRIES = 3
NAMED = 5
MORE = 2
"""So many times as many passages are looked for as are wanted: some may repeat others, or be dropped."""


class CorpusReach:
    """Search, reading and the graph for agents."""

    def __init__(
        self,
        snapshots: Snapshots,
        searcher: Callable[[], Searcher],
        reader: Callable[[], DocumentReader],
        entities: Callable[[], EntityBrowser],
        book: PolicyBook,
    ) -> None:
        self._snapshots = snapshots
        self._searcher = searcher
        self._reader = reader
        self._entities = entities
        self._book = book

    def search(self, call: Call, about: str, query: str, top_k: int, chars: int) -> Outcome:
        """The best passages for a query, in order, without those that say nearly the same as one before."""

        def found() -> Sequence[Passage]:
            best = self._searcher().search(query, self._state(call), call.principal, MORE * top_k).passages
            return [one for one in best if one.duplicate_of is None]

        passages = self._allowed(call, f"{about}\n{query}", self._steadily(found))[:top_k]
        return Outcome(True, {"passages": [_shown(one, one.start, chars) for one in passages]}, _seen(passages))

    def read(self, call: Call, about: str, name: str, start: int, chars: int) -> Outcome:
        """At most `chars` characters of a document, and where to go on."""
        read = self._steadily(lambda: self._reader().passages(name, start, self._state(call), call.principal))
        if not read:
            raise NotFound(f"the document ends before character {start}")
        allowed = {one.chunk_id for one in self._allowed(call, about, read)}
        shown, left = list[tuple[Passage, Json]](), chars
        goes_on = read[-1].end if len(read) == PART else None
        for one in read:
            if left <= 0:
                goes_on = one.start
                break
            if one.chunk_id not in allowed:
                continue
            begin = max(one.start, start)
            shown.append((one, _shown(one, begin, left)))
            if one.end - begin > left:
                goes_on = begin + left
                break
            left -= one.end - begin
        output: Json = {"document": read[0].document_id, "passages": [part for _, part in shown]}
        return Outcome(True, output | {"goes_on_at": goes_on}, _seen([one for one, _ in shown]))

    def neighbours(self, call: Call, entity: str, limit: int) -> Outcome:
        """What is named together with an entity, the rarest ties first."""
        state, browser = self._state(call), self._entities()
        found = browser.neighbours(self._named(call, state, entity), state, call.principal, limit)
        shown = [{"name": one["name"], "together": one["together"], "passages": one["chunks"][:3]} for one in found]
        return Outcome(True, {"neighbours": shown})

    def path(self, call: Call, start: str, end: str) -> Outcome:
        """A shortest way between two entities through the passages that name them together."""
        state, browser = self._state(call), self._entities()
        ends = [self._named(call, state, one) for one in (start, end)]
        found = browser.path(ends[0], ends[1], state, call.principal)
        shown = [{"name": one["entity"]["name"]} if "entity" in one else {"passage": one["chunk_id"]} for one in found]
        return Outcome(True, {"path": shown})

    def _named(self, call: Call, state: LiveState, name: str) -> str:
        """The id of an entity; where there is none of that name, the error names some that begin with its word."""
        browser = self._entities()
        try:
            return browser.named(name, state, call.principal)
        except NotFound as error:
            first = (name_key(name).split() or [""])[0]
            near = browser.items(state, call.principal, prefix=first, limit=NAMED) if first else []
            words = f"; these begin so: {', '.join(one['name'] for one in near)}" if near else ""
            raise NotFound(f"no entity named {name!r}{words}") from error

    def _state(self, call: Call) -> LiveState:
        """The pinned snapshot under the access rules of now."""
        number = call.pins.snapshot
        return replace(self._snapshots.live(), snapshot=number, last_chunk=self._snapshots.last_chunk(number))

    def _allowed(self, call: Call, about: str, passages: Sequence[Passage]) -> Sequence[Passage]:
        """Those that the policy does not keep from answers."""
        policy, state = self._book.by_sha256(call.pins.policy), self._state(call)
        matter = matter_of(policy, about, call.stakes)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        whole = Evidence(state.snapshot, tuple(passages))
        kept, _ = judge_context(policy, matter, whole, self._book.stored.standings, state.access_version, at)
        return kept.passages

    def _steadily(self, act: Callable[[], T]) -> T:
        """Again where documents were taken away meanwhile."""
        for _ in range(TRIES):
            try:
                return act()
            except (KeyError, IndexError):
                continue
        raise NotFound("documents are being taken away just now; try again")


def _seen(passages: Sequence[Passage]) -> tuple[tuple[str, str], ...]:
    return tuple((one.chunk_id, one.document_id) for one in passages)


def _shown(passage: Passage, begin: int, chars: int) -> Json:
    """A passage from character `begin` of its document on, cut where it is long."""
    text = passage.text[begin - passage.start :]
    shown: Json = {"passage": passage.chunk_id, "document": passage.document_id, "title": passage.title}
    if passage.notices:
        shown["standing"] = [f"{one.kind} by {one.by}" if one.by else one.kind for one in passage.notices]
    return shown | {"start": begin, "text": text if len(text) <= chars else f"{text[:chars]}…"}
