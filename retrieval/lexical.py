"""The lexical signal: BM25 (Robertson and Zaragoza, 2009) over the visible chunks and their own statistics.

The best passages are found rarest term first. Once no passage that lacks the terms so far can reach the best ones
any more, the remaining terms are looked up for those that can (MaxScore: Turtle and Flood, 1995); so a common word
costs little and the result stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import content_terms, terms
from retrieval.view import View

K1 = 1.2
B = 0.75
CHEAP = 4096
"""Postings of a term up to which it is added up without asking whether it can matter."""
ROOM = 1 << 20
"""Numbers of terms times chunks up to which what each adds to each is kept."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def question_terms(question: str) -> list[str]:
    """The distinct terms to look for: those with content, or all where the question has no others."""
    return sorted(set(content_terms(question) or terms(question)))


@dataclass(frozen=True, slots=True)
class Term:
    """A question's term: where visible chunks hold it, how often, and its idf. `chunk` may hold hidden ones too."""

    text: str
    idf: float
    count: int
    chunk: NDArray[np.int32]
    tf: NDArray[np.uint16]


class Lexical:
    """BM25 of a question's terms; `aim` is the part of it that says what is asked for.

    Of the terms that a visible chunk holds, rarest first: `idf`, `rarity` (the same by term), and `aims`, which is 0
    for those that are not in `aim`. `unknown` is the number of the question's other terms.
    """

    def __init__(self, view: View, question: str, aim: str | None = None) -> None:
        self._view = view
        wanted = question_terms(question)
        found = [_term(view, term) for term in wanted]
        self._terms = sorted((term for term in found if term.count), key=lambda term: (term.count, term.text))
        self.rarity = {term.text: term.idf for term in self._terms}
        self.unknown = len(wanted) - len(self._terms)
        self.idf = np.array([term.idf for term in self._terms])
        aimed = set(wanted if aim is None else question_terms(aim))
        self.aims = self.idf * np.array([term.text in aimed for term in self._terms], np.bool_)
        self._aim_ceiling = 0.0
        self._whole = self._all_contributions()

    def best(self, k: int) -> Ints:
        """Positions of the `k` highest scores, best first; of equal ones, those lowest in the index's key first."""
        if self._whole is not None:
            scores = self._whole.sum(axis=0)
            places = np.flatnonzero(scores)
            return self._taken(places, scores[places], k)
        places, scores = np.zeros(0, np.int64), np.zeros(0)
        bounds = [term.idf * (K1 + 1) for term in self._terms]
        for number, term in enumerate(self._terms):
            rest = sum(bounds[number:])
            if term.count > CHEAP and len(places) >= k:
                bar = float(np.partition(scores, len(scores) - k)[len(scores) - k])
                if bar >= rest:
                    near = scores + rest >= bar
                    places, scores = places[near], scores[near]
                    scores = scores + self.contributions(places, number).sum(axis=0)
                    break
            chunk, value = self._scored(term)
            places, scores = _added(places, scores, chunk, value, len(self._view.index))
        return self._taken(places, scores, k)

    def _taken(self, places: Ints, scores: Floats, k: int) -> Ints:
        best = _strongest(places, scores, k, self._view.index.key)
        self._aim_ceiling = float(self._aimed(best).max(initial=0.0))
        return best

    def at(self, places: Ints) -> Floats:
        """The score of each of these chunks."""
        scores: Floats = self.contributions(places).sum(axis=0)
        return scores

    def aimed_at(self, places: Ints) -> Floats:
        """The score of each of these chunks for what is asked for alone, as a share of the best that was seen."""
        scores = self._aimed(places)
        return scores / max(float(scores.max(initial=0.0)), self._aim_ceiling, 1e-9)

    def contributions(self, places: Ints, after: int = 0) -> Floats:
        """`[terms, places]`: what each term, from place `after` on, adds to the score of each chunk; 0: not held."""
        if self._whole is not None:
            found: Floats = self._whole[after:, places]
            return found
        each = np.zeros((len(self._terms) - after, len(places)))
        norm = self._norm(places)
        for row, term in zip(each, self._terms[after:], strict=True):
            spot = np.minimum(np.searchsorted(term.chunk, places), len(term.chunk) - 1)
            tf = np.where(term.chunk[spot] == places, term.tf[spot], 0).astype(np.float64)
            row[:] = term.idf * (K1 + 1) * tf / (tf + norm)
        return each

    def _all_contributions(self) -> Floats | None:
        """`[terms, n]`, where that is small: then nothing has to be looked up again."""
        if len(self._terms) * len(self._view.index) > ROOM:
            return None
        whole = np.zeros((len(self._terms), len(self._view.index)))
        for row, term in zip(whole, self._terms, strict=True):
            chunk, value = self._scored(term)
            row[chunk] = value
        return whole

    def _aimed(self, places: Ints) -> Floats:
        scores: Floats = (self.aims > 0) @ self.contributions(places)
        return scores

    def _scored(self, term: Term) -> tuple[Ints, Floats]:
        chunk, tf = term.chunk, term.tf
        if not self._view.everything:
            visible = self._view.mask[chunk]
            chunk, tf = chunk[visible], tf[visible]
        counts = tf.astype(np.float64)
        return chunk.astype(np.int64), term.idf * (K1 + 1) * counts / (counts + self._norm(chunk))

    def _norm(self, places: NDArray[np.integer]) -> Floats:
        length: Floats = self._view.index.length[places].astype(np.float64)
        return K1 * (1 - B + B * length / self._view.average_length)


def _term(view: View, text: str) -> Term:
    chunk, tf = view.index.postings(text)
    count = len(chunk) if view.everything else int(np.count_nonzero(view.mask[chunk]))
    return Term(text, float(np.log1p((view.count - count + 0.5) / (count + 0.5))), count, chunk, tf)


def _added(places: Ints, scores: Floats, chunk: Ints, value: Floats, size: int) -> tuple[Ints, Floats]:
    """Two sparse columns of scores as one. Where they are long, they are added in a row of all `size` chunks."""
    if not len(places):
        return chunk, value
    if len(places) + len(chunk) > size // 16:
        row = np.zeros(size)
        row[places] = scores
        row[chunk] += value
        places = np.flatnonzero(row)
        return places, row[places]
    unique, inverse = np.unique(np.concatenate([places, chunk]), return_inverse=True)
    total = np.bincount(inverse, weights=np.concatenate([scores, value]), minlength=len(unique))
    return unique.astype(np.int64), total.astype(np.float64)


def _strongest(places: Ints, scores: Floats, k: int, key: NDArray[np.uint64]) -> Ints:
    scores = np.round(scores, 9)
    if len(places) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        places, scores = places[kept], scores[kept]
    return places[np.lexsort((key[places], -scores))][:k]
