"""The lexical signal: BM25 (Robertson and Zaragoza, 2009) over the visible chunks and their own statistics.

The best passages are found rarest term first. Once no passage that lacks the terms so far can reach the best ones
any more, the remaining terms are looked up for those that can (MaxScore: Turtle and Flood, 1995); so a common word
costs little and the result stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import content_terms, terms
from retrieval.view import View

K1 = 1.2
B = 0.75
CHEAP = 4096
"""Postings of a term up to which it is added up without asking whether it can matter."""

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
    """BM25 of a question's terms. `rarity` is the idf of each term that a visible chunk holds."""

    def __init__(self, view: View, question: str) -> None:
        self._view = view
        found = [_term(view, term) for term in question_terms(question)]
        self._terms = sorted((term for term in found if term.count), key=lambda term: (term.count, term.text))
        self.rarity = {term.text: term.idf for term in self._terms}

    def best(self, k: int) -> Ints:
        """Positions of the `k` highest scores, best first; of equal ones, those lowest in the index's key first."""
        places, scores = np.zeros(0, np.int64), np.zeros(0)
        bounds = [term.idf * (K1 + 1) for term in self._terms]
        for number, term in enumerate(self._terms):
            rest = sum(bounds[number:])
            if term.count > CHEAP and len(places) >= k:
                bar = float(np.partition(scores, len(scores) - k)[len(scores) - k])
                if bar >= rest:
                    near = scores + rest >= bar
                    places, scores = places[near], scores[near]
                    scores = scores + self._contributions(places, self._terms[number:]).sum(axis=0)
                    break
            chunk, value = self._scored(term)
            places, scores = _added(places, scores, chunk, value, len(self._view.index))
        return _strongest(places, scores, k, self._view.index.key)

    def at(self, places: Ints, only: Sequence[str] | None = None) -> tuple[Floats, Floats]:
        """The score of each of these chunks, and the share of the terms, by rarity, that it holds.

        `only` narrows both to some of the question's terms.
        """
        chosen = [term for term in self._terms if only is None or term.text in only]
        each = self._contributions(places, chosen)
        idf = np.array([term.idf for term in chosen])
        held = idf @ (each > 0) if len(chosen) else np.zeros(len(places))
        return each.sum(axis=0), held / max(float(idf.sum()), 1e-9)

    def _contributions(self, places: Ints, chosen: Sequence[Term]) -> Floats:
        """`[terms, places]`: what each term adds to the score of each chunk."""
        each = np.zeros((len(chosen), len(places)))
        norm = self._norm(places)
        for row, term in enumerate(chosen):
            spot = np.minimum(np.searchsorted(term.chunk, places), len(term.chunk) - 1)
            tf = np.where(term.chunk[spot] == places, term.tf[spot], 0).astype(np.float64)
            each[row] = term.idf * (K1 + 1) * tf / (tf + norm)
        return each

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
