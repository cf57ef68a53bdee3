"""A question's way to its passages: understand it, gather candidates, rank them, and say why each came up."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kernel.ports import Embedder
from kernel.records import Decomposed, LiveState, Notice, Passage, Principal, Reranked, SentenceScore, Span
from kernel.storage.corpus import Corpus
from retrieval.candidates import find_candidates, search_words
from retrieval.dense import DenseIndex
from retrieval.features import FIRST, Candidates
from retrieval.helpers import Helpers, reordered
from retrieval.library import Library
from retrieval.pairs import SECOND
from retrieval.paths import held_by, path_to
from retrieval.question import Asked
from retrieval.ranker import Ranker, Ranking
from retrieval.standing import Standing, standings_of
from retrieval.view import View
from retrieval.why_not import Search, WhyNot, why_not

PASSAGES_KEPT = 4096
ENCODERS = 4
"""Questions that are encoded at a time; each is encoded while its words are looked up."""
DUPLICATE = 0.85
"""Share of equal MinHash places from which two passages count as near-duplicates."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: passages best first, how many candidates there were, and what the question names.

    `reranker` and `decomposer` say what optional steps did; None where they are off.
    """

    passages: tuple[Passage, ...]
    candidates: tuple[tuple[str, float], ...]
    entities: tuple[str, ...]
    rarity: dict[str, float]
    view: View
    places: tuple[int, ...]
    timings_ms: dict[str, float]
    reranker: Reranked | None = None
    decomposer: Decomposed | None = None


@dataclass(frozen=True, slots=True)
class WhyNotFound:
    """What became of a document: its best passage, and the last passage shown where that one is ahead of it."""

    why: WhyNot
    passage: Passage | None = None
    ahead: Passage | None = None


class Searcher:
    """Searches what a principal may see of a snapshot. Safe to use from several threads."""

    def __init__(
        self,
        library: Library,
        corpus: Corpus,
        embedder: Embedder,
        ranker: Ranker,
        each: int,
        helpers: Helpers | None = None,
    ) -> None:
        self._library = library
        self._corpus = corpus
        self._embedder = embedder
        self._ranker = ranker
        self._each = each
        self._helpers = helpers or Helpers()
        self._passages: OrderedDict[int, tuple[Passage, tuple[Span, ...]]] = OrderedDict()
        self._lock = threading.Lock()
        self._encoding = ThreadPoolExecutor(ENCODERS, thread_name_prefix="vouch-encode")

    @property
    def method(self) -> dict[str, object]:
        """What ranks: part of what a record pins."""
        own = {
            "ranker": self._ranker.sha256,
            "embedder": self._embedder.model,
            "each": self._each,
            "search": self._library.search,
        }
        return own | self._helpers.method

    def search(
        self,
        text: str,
        state: LiveState,
        principal: Principal,
        top_k: int,
        *,
        explain: bool = False,
        within: frozenset[str] | None = None,
    ) -> Found:
        """The `top_k` best passages of `state.snapshot` that `principal` may see: of all documents, or of those with
        the ids in `within` as if there were no others.

        With `explain`, each carries its signals and what they contribute to its score.
        """
        begin = time.perf_counter()
        vector = self._encoding.submit(self._embedder.embed, [text])
        view, dense = self._library.view(state, principal, within)
        wording = search_words(view, text, self._each)
        asked = Asked(text, vector.result()[0], wording.entities)
        encoded = time.perf_counter()
        decomposed = self._helpers.decompose(text)
        apart = time.perf_counter()
        candidates = find_candidates(view, dense, asked, wording, self._each, self._led_to(view, dense, decomposed))
        gathered = time.perf_counter()
        ranking = self._ranker.rank(view, asked, candidates)
        ranked = time.perf_counter()
        ranking, reranked = self._rerank(view, text, ranking)
        final = time.perf_counter()
        shown = ranking.places[:top_k].tolist()
        passages = self._read(view, asked, ranking, shown, explain)
        fetched = time.perf_counter()
        timings = {
            "embed": encoded - begin,
            **({"decompose": apart - encoded} if decomposed else {}),
            "candidates": gathered - apart,
            "rank": ranked - gathered,
            **({"rerank": final - ranked} if reranked else {}),
            "fetch": fetched - final,
        }
        if explain:
            passages = self._explained(view, asked, candidates, shown, passages)
            timings["explain"] = time.perf_counter() - fetched
        return Found(
            passages=_with_scores(passages, reranked) if explain else tuple(passages),
            candidates=tuple(
                (view.index.chunk_name(place), score)
                for place, score in zip(ranking.places.tolist(), ranking.scores.tolist(), strict=True)
            ),
            entities=tuple(sorted(view.index.name(node) for node in asked.entities.nodes.tolist())),
            rarity=candidates.rarity,
            view=view,
            places=tuple(shown),
            timings_ms={name: round(seconds * 1000, 3) for name, seconds in timings.items()},
            reranker=reranked,
            decomposer=decomposed,
        )

    def _led_to(self, view: View, dense: DenseIndex, decomposed: Decomposed | None) -> NDArray[np.int64] | None:
        """The best passages of each sub-question, by our own ranking; None where there is none."""
        if decomposed is None or not decomposed.parts:
            return None
        vectors = self._encoding.submit(self._embedder.embed, decomposed.parts).result()
        found = []
        for part, vector in zip(decomposed.parts, vectors, strict=True):
            wording = search_words(view, part, self._each)
            asked = Asked(part, vector, wording.entities)
            candidates = find_candidates(view, dense, asked, wording, self._each)
            found.append(self._ranker.rank(view, asked, candidates).places[: self._each])
        return np.unique(np.concatenate(found))

    def _rerank(self, view: View, text: str, ranking: Ranking) -> tuple[Ranking, Reranked | None]:
        """The ranking as the reranker has it, if it is configured and answers."""
        if self._helpers.reranker is None:
            return ranking, None
        best = ranking.places[: self._helpers.passages].tolist()
        stored = self._fetch(view, best)
        reranked = self._helpers.rerank(text, [stored[place][0] for place in best])
        return (reordered(ranking, reranked) if reranked and reranked.scores else ranking), reranked

    def why_not(self, text: str, state: LiveState, principal: Principal, top_k: int, document_id: str) -> WhyNotFound:
        """How far a document comes when `search` looks for the same, and what holds it back.

        One without passages that `principal` may see is told from an unknown one by the caller.
        """
        view, dense = self._library.view(state, principal)
        wording = search_words(view, text, self._each)
        asked = Asked(text, self._embedder.embed([text])[0], wording.entities)
        row = self._corpus.document_row(document_id)
        places = np.flatnonzero(view.mask & (view.index.document_id == (-1 if row is None else row)))
        found = why_not(Search(view, dense, asked, wording, self._ranker, self._each, top_k), places)
        best = found.best
        if best is None:
            return WhyNotFound(found)
        stored = self._fetch(view, [best.place, *(standing.place for standing in best.standing)])
        passage = stored[best.place][0]
        notices = tuple(_notice(passage, standing, stored) for standing in best.standing)
        ahead = self._fetch(view, [best.behind.place])[best.behind.place][0] if best.behind else None
        return WhyNotFound(found, replace(passage, notices=notices, path=best.path), ahead)

    def _explained(
        self, view: View, asked: Asked, candidates: Candidates, shown: Sequence[int], passages: Sequence[Passage]
    ) -> list[Passage]:
        known = self._ranker.known(view, asked, candidates) if shown else None
        rows = np.searchsorted(candidates.places, shown).tolist()
        return [
            replace(passage, contributions=self._ranker.contributions(known, row) if known else {})
            for passage, row in zip(passages, rows, strict=True)
        ]

    def _read(self, view: View, asked: Asked, ranking: Ranking, shown: Sequence[int], explain: bool) -> list[Passage]:
        """The passages that are shown, from the store, with what is said of their standing."""
        stored = self._fetch(view, shown)
        standings = standings_of(view, shown)
        stored |= self._fetch(view, [standing.place for found in standings.values() for standing in found])
        return [
            replace(passage, notices=tuple(_notice(passage, standing, stored) for standing in standings[place]))
            for passage, place in zip(self._present(view, asked, ranking, shown, stored, explain), shown, strict=True)
        ]

    def _present(
        self,
        view: View,
        asked: Asked,
        ranking: Ranking,
        shown: Sequence[int],
        stored: dict[int, tuple[Passage, tuple[Span, ...]]],
        explain: bool,
    ) -> list[Passage]:
        ids = {place: stored[place][0].chunk_id for place in shown}
        duplicates = _duplicates(view, shown, ids)
        held = held_by(view, shown)
        found: list[Passage] = []
        for rank, place in enumerate(shown):
            passage, spans = stored[place]
            found.append(
                replace(
                    passage,
                    score=float(ranking.scores[rank]),
                    signals=_signals(ranking, rank) if explain else {},
                    sentences=_sentences(view, place, spans, asked),
                    path=path_to(view, asked, place, shown[:rank], ids, held),
                    duplicate_of=duplicates[rank],
                )
            )
        return found

    def _fetch(self, view: View, places: Sequence[int]) -> dict[int, tuple[Passage, tuple[Span, ...]]]:
        rows = {place: int(view.index.chunk_id[place]) for place in places}
        with self._lock:
            known = {row: self._passages[row] for row in rows.values() if row in self._passages}
        missing = [row for row in rows.values() if row not in known]
        if missing:
            read = self._corpus.passages(missing)
            known |= read
            with self._lock:
                self._passages.update(read)
                while len(self._passages) > PASSAGES_KEPT:
                    self._passages.popitem(last=False)
        return {place: known[row] for place, row in rows.items()}


def _with_scores(passages: Sequence[Passage], reranked: Reranked | None) -> tuple[Passage, ...]:
    """The passages with the reranker's score as a signal, of those that it was sent."""
    scores = dict(reranked.scores) if reranked else {}
    return tuple(
        replace(passage, signals={**passage.signals, "reranker": scores[passage.chunk_id]})
        if passage.chunk_id in scores
        else passage
        for passage in passages
    )


def _signals(ranking: Ranking, rank: int) -> dict[str, float]:
    values = np.round(ranking.features[rank], 6) + 0.0  # a zero has no sign: that of a hidden neighbour would show
    return dict(zip((*FIRST, *SECOND), values.tolist(), strict=True))


def _sentences(view: View, place: int, spans: Sequence[Span], asked: Asked) -> tuple[SentenceScore, ...]:
    index = view.index
    vectors = index.sent_vec[int(index.sent_ptr[place]) : int(index.sent_ptr[place + 1])].astype(np.float32)
    scores = np.round(vectors @ asked.vector, 5).tolist()
    return tuple(SentenceScore(span.start, span.end, score) for span, score in zip(spans, scores, strict=True))


def _notice(passage: Passage, standing: Standing, stored: dict[int, tuple[Passage, tuple[Span, ...]]]) -> Notice:
    by = stored[standing.place][0]
    return Notice(passage.document_id, standing.kind, standing.by, by.chunk_id, by.text[standing.start : standing.end])


def _duplicates(view: View, shown: Sequence[int], ids: dict[int, str]) -> list[str | None]:
    """Of each passage the first one before it that says nearly the same, if any."""
    signatures = view.index.signature[list(shown)]
    alike = (signatures[:, None, :] == signatures[None, :, :]).mean(axis=2) >= DUPLICATE
    firsts = alike.argmax(axis=1).tolist() if len(shown) else []
    return [ids[shown[first]] if first < rank else None for rank, first in enumerate(firsts)]
