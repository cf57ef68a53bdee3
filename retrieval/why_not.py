"""Why a document did not come up for a question, or how far up it came.

The document's passages are judged as if every one of them had been found: what each signal gave the best one and what
it took to be found, which words and names of the question it lacks, and by which features it falls behind the last
passage that is shown. Counted within the view like everything else, so nothing hidden can be felt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kernel.records import PathStep
from retrieval.analysis import fold, stem
from retrieval.candidates import Wording, find_candidates, walk
from retrieval.dense import Cosines, DenseIndex
from retrieval.features import FIRST, Candidates, scaled
from retrieval.hops import value_at
from retrieval.lexical import question_terms
from retrieval.pairs import SECOND
from retrieval.paths import entities_of, path_to
from retrieval.question import Asked
from retrieval.ranker import Ranker, Ranking
from retrieval.standing import Standing, standing_of
from retrieval.view import View

Ints = NDArray[np.int64]
Numbers = NDArray[np.floating]

MOST_PASSAGES = 50
"""Passages of the document that are judged, those likeliest by meaning and words."""
MOST_FEATURES = 6
BLOCK = 65536
"""Passages that are scored at a time."""
_TOKEN = re.compile(r"[^\W_]+")


class Verdict(StrEnum):
    """How far a document came."""

    SHOWN = "shown"
    LOWER = "ranked lower"
    NO_CANDIDATE = "no candidate"
    NO_PASSAGES = "no passages"


@dataclass(frozen=True, slots=True)
class Search:
    """A question as it was searched for: `each` is what every signal may find, `top_k` what is shown."""

    view: View
    dense: DenseIndex
    asked: Asked
    wording: Wording
    ranker: Ranker
    each: int
    top_k: int


@dataclass(frozen=True, slots=True)
class SignalPlace:
    """What one signal made of a passage: its score, and its rank among all visible passages (None: not reached).

    `needed` is the score of the weakest passage that the signal found, `taken` whether it found this one.
    """

    name: str
    score: float
    rank: int | None
    needed: float | None
    taken: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the question, as it stands there, and its rarity (idf) among the visible passages."""

    word: str
    rarity: float


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A feature of both passages, and how much more it adds to the score of the other one."""

    name: str
    value: float
    other: float
    cost: float


@dataclass(frozen=True, slots=True)
class Behind:
    """The last passage that is shown, by its place in the index and its rank, and what it is ahead by, most first."""

    place: int
    rank: int
    features: tuple[Shortfall, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """The document's best passage. `found` tells whether it was among the candidates by itself; `would_rank` is its
    rank with every passage of the document among them. `unknown` are words of the question that no passage holds."""

    place: int
    found: bool
    would_rank: int
    signals: tuple[SignalPlace, ...]
    held: tuple[Word, ...]
    lacked: tuple[Word, ...]
    unknown: tuple[str, ...]
    entities_held: tuple[str, ...]
    entities_lacked: tuple[str, ...]
    path: tuple[PathStep, ...]
    standing: tuple[Standing, ...]
    behind: Behind | None


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The verdict on a document of `passages` visible passages: `rank` is that of its best one among `candidates`
    (None: none of them was one), of which `shown` are shown."""

    verdict: Verdict
    passages: int
    candidates: int
    shown: int
    each: int
    rank: int | None = None
    best: Judged | None = None


def why_not(search: Search, places: Ints) -> WhyNot:
    """What became of the document whose visible passages are at `places` (ascending)."""
    view, asked = search.view, search.asked
    candidates = find_candidates(view, search.dense, asked, search.wording, search.each)
    ranking = search.ranker.rank(view, asked, candidates)
    shown = min(search.top_k, len(ranking.places))
    mine = np.flatnonzero(np.isin(ranking.places, places))
    rank = int(mine[0]) + 1 if len(mine) else None
    verdict = _verdict(len(places), rank, shown)
    best = None
    if verdict is not Verdict.NO_PASSAGES:
        more = candidates if verdict is Verdict.SHOWN else _with_all(search, candidates, places)
        again = ranking if more is candidates else search.ranker.rank(view, asked, more)
        best = _judged(search, places, candidates, ranking.places[:shown].tolist(), more, again)
    return WhyNot(verdict, len(places), len(ranking.places), shown, search.each, rank, best)


def _verdict(passages: int, rank: int | None, shown: int) -> Verdict:
    if not passages:
        return Verdict.NO_PASSAGES
    if rank is None:
        return Verdict.NO_CANDIDATE
    return Verdict.SHOWN if rank <= shown else Verdict.LOWER


def _with_all(search: Search, candidates: Candidates, places: Ints) -> Candidates:
    """The candidates with the document's likeliest passages among them; the same ones where they all are already."""
    score = Cosines(search.dense, search.view, search.asked.vector).at(places) + 0.5 * scaled(
        search.wording.lexical.at(places)
    )
    order = np.lexsort((search.view.index.key[places], -np.round(score, 6)))
    likely = places[order[:MOST_PASSAGES]]
    if np.isin(likely, candidates.places).all():
        return candidates
    return find_candidates(search.view, search.dense, search.asked, search.wording, search.each, likely)


def _judged(
    search: Search, places: Ints, found: Candidates, shown: Sequence[int], candidates: Candidates, ranking: Ranking
) -> Judged:
    view, asked = search.view, search.asked
    rank = int(np.flatnonzero(np.isin(ranking.places, places))[0])
    place = int(ranking.places[rank])
    before = shown[: shown.index(place)] if place in shown else shown
    ids = {other: view.index.chunk_name(other) for other in (*before, place)}
    held, lacked, unknown = _words(search, candidates, place)
    wanted, mine = set(asked.entities.nodes.tolist()), entities_of(view, place)
    return Judged(
        place=place,
        found=bool(np.isin(place, found.places)),
        would_rank=rank + 1,
        signals=_signals(search, place),
        held=held,
        lacked=lacked,
        unknown=unknown,
        entities_held=_names(view, wanted & mine),
        entities_lacked=_names(view, wanted - mine),
        path=path_to(view, asked, place, before, ids),
        standing=standing_of(view, place),
        behind=_behind(search, candidates, ranking, rank, shown),
    )


def _names(view: View, entities: set[int]) -> tuple[str, ...]:
    return tuple(sorted(view.index.name(entity) for entity in entities))


def _words(
    search: Search, candidates: Candidates, place: int
) -> tuple[tuple[Word, ...], tuple[Word, ...], tuple[str, ...]]:
    """The question's words that a passage holds, those that it lacks, rarest first, and those that none holds."""
    text = search.wording.text
    surface: dict[str, str] = {}
    for token in _TOKEN.findall(text):
        surface.setdefault(stem(fold(token)), token)
    row = candidates.holds[int(np.searchsorted(candidates.places, place))]
    words = [
        (Word(surface.get(term, term), round(idf, 4)), bool(holds))
        for (term, idf), holds in zip(candidates.rarity.items(), row, strict=True)
    ]
    unknown = (term for term in question_terms(text) if term not in candidates.rarity)
    return (
        tuple(word for word, holds in words if holds),
        tuple(word for word, holds in words if not holds),
        tuple(surface.get(term, term) for term in unknown),
    )


def _signals(search: Search, place: int) -> tuple[SignalPlace, ...]:
    """What each signal gives the passage, counted over every visible passage and not only over the best ones."""
    view, cosines = search.view, Cosines(search.dense, search.view, search.asked.vector)
    visible = np.flatnonzero(view.mask)
    near, cosine = cosines.best(search.each)
    meant = cosines.at(visible)
    worded = np.round(_in_blocks(visible, search.wording.lexical.at), 9)
    found = [
        _signal(view, "dense", (visible, meant), place, near, -np.inf),
        _signal(view, "lexical", (visible, worded), place, search.wording.worded, 0.0),
    ]
    for name, mass in zip(("named_walk", "meant_walk"), walk(view, search.wording, near, cosine), strict=True):
        values = np.round(value_at(mass, visible), 12)
        order = np.lexsort((view.index.key[visible], -values))[: search.each]
        found.append(_signal(view, name, (visible, values), place, visible[order[values[order] > 0]], 0.0))
    return tuple(found)


def _in_blocks(places: Ints, score: Callable[[Ints], Numbers]) -> Numbers:
    """The score of each passage, computed for so many at a time that a large index needs no large memory."""
    blocks = [score(places[low : low + BLOCK]) for low in range(0, len(places), BLOCK)]
    return np.concatenate([np.zeros(0), *blocks])


def _signal(view: View, name: str, scored: tuple[Ints, Numbers], place: int, taken: Ints, floor: float) -> SignalPlace:
    """A passage within a signal's scores of all visible ones; at `floor` or below, the signal does not reach it."""
    visible, scores = scored
    at = int(np.searchsorted(visible, place))
    ahead = (scores > scores[at]) | ((scores == scores[at]) & (view.index.key[visible] < view.index.key[place]))
    weakest = scores[np.searchsorted(visible, taken)].min() if len(taken) else None
    return SignalPlace(
        name=name,
        score=round(float(scores[at]), 12),
        rank=int(np.count_nonzero(ahead)) + 1 if scores[at] > floor else None,
        needed=round(float(weakest), 12) if weakest is not None else None,
        taken=bool(np.isin(place, taken)),
    )


def _behind(search: Search, candidates: Candidates, ranking: Ranking, rank: int, shown: Sequence[int]) -> Behind | None:
    """The last shown passage and what it is ahead by; None where the document's passage would be shown."""
    if rank < len(shown):
        return None
    places = (int(ranking.places[rank]), shown[-1])
    known = search.ranker.known(search.view, search.asked, candidates)
    mine, other = (
        search.ranker.contributions(known, int(np.searchsorted(candidates.places, place))) for place in places
    )
    values = [ranking.features[int(np.flatnonzero(ranking.places == place)[0])] for place in places]
    named = dict(zip((*FIRST, *SECOND), (np.round(np.stack(values, axis=1), 6) + 0.0).tolist(), strict=True))
    costs = {name: round(other[name] - mine[name], 4) for name in named}
    worse = (name for name, (value, others) in named.items() if costs[name] > 0 and value != others)
    worst = sorted(worse, key=lambda name: -costs[name])[:MOST_FEATURES]
    features = (Shortfall(name, named[name][0], named[name][1], costs[name]) for name in worst)
    return Behind(places[1], len(shown), tuple(features))
