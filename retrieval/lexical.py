"""The lexical signal: BM25 (Robertson and Zaragoza, 2009) over the visible chunks and their own statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import content_terms, terms
from retrieval.view import View

K1 = 1.2
B = 0.75


def question_terms(question: str) -> list[str]:
    """The distinct terms to look for: those with content, or all where the question has no others."""
    return sorted(set(content_terms(question) or terms(question)))


def bm25(view: View, question: str) -> tuple[NDArray[np.float32], dict[str, float]]:
    """BM25 of every chunk, `[n]` (0 where hidden or without any term), and the idf of each term that occurs."""
    index = view.index
    scores = np.zeros(len(index), np.float32)
    rarity: dict[str, float] = {}
    for term in question_terms(question):
        chunk, tf = index.postings(term)
        if not view.everything:
            visible = view.mask[chunk]
            chunk, tf = chunk[visible], tf[visible]
        if not len(chunk):
            continue
        rarity[term] = idf = float(np.log1p((view.count - len(chunk) + 0.5) / (len(chunk) + 0.5)))
        norm = K1 * (1 - B + B * index.length[chunk] / view.average_length)
        scores[chunk] += np.float32(idf * (K1 + 1)) * tf / (tf + norm)
    return scores, rarity


def strongest(scores: NDArray[np.float32], k: int, key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Positions of the `k` highest positive scores, best first; of equal ones, those lowest in `key` first."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > k:
        bar = np.partition(scores[positive], len(positive) - k)[len(positive) - k]
        positive = positive[scores[positive] >= bar]
    return positive[np.lexsort((key[positive], -scores[positive]))][:k]
