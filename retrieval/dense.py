"""The dense signal: the visible chunks nearest to a question's vector, by inner product.

Exact for up to CELLS_FROM visible chunks of a run, and everywhere where the index is opened as exact: then a filter
costs no recall, and what is hidden changes nothing. Above that FAISS cells find the nearest (see `cells.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from retrieval.cells import CELLS_FROM
from retrieval.index import Index, Run
from retrieval.view import View

SPARSE = 4
"""Visible chunks are read one by one, and not all at once, where they are fewer than one in so many."""

BLOCK = 8192
_HIDDEN = np.float32(-np.inf)

Found = tuple[NDArray[np.int64], NDArray[np.float64]]


def one_thread_each() -> None:
    """Let numpy work in the thread that calls it: a question's sums are too small to share out.

    The threads that they would start wait for each other, the longer the busier the machine is.
    """
    threadpool_limits(1, user_api="blas")


class DenseIndex:
    """The vectors of an index, which stay where they are; `exact` keeps cells from being used."""

    def __init__(self, index: Index, *, exact: bool = False) -> None:
        self.vectors = index.vectors
        self.exact = exact

    def search(self, view: View, vector: NDArray[np.float32], k: int) -> Found:
        """Positions and cosines of the `k` visible chunks nearest to a unit vector. See `Cosines.best`."""
        return Cosines(self, view, vector).best(k)


class Cosines:
    """How near one unit vector is to chunks: of all at once where they are few, else of those that are asked for.

    Values are rounded to six places, which is nearly always what sums taken in another order have in common.
    """

    def __init__(self, dense: DenseIndex, view: View, vector: NDArray[np.float32]) -> None:
        self._vectors, self._view, self._vector = dense.vectors, view, vector
        self._exact = dense.exact
        every = len(self._vectors) if len(self._vectors) < min(CELLS_FROM, SPARSE * view.count) else 0
        self._known = self._vectors[:every] @ vector

    def best(self, k: int) -> Found:
        """Positions and cosines of the `k` visible chunks that are nearest, nearest first.

        Of equal ones, those lowest in the index's key come first.
        """
        parts = [self._of_run(run, k) for run in self._view.index.runs]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0)
        places, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((self._view.index.key[places], -scores))[:k]
        return places[order], scores[order]

    def at(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of each of these chunks."""
        if len(self._known):
            return _rounded(self._known[places])
        blocks = [self._vectors[places[low : low + BLOCK]] @ self._vector for low in range(0, len(places), BLOCK)]
        return _rounded(np.concatenate([np.zeros(0, np.float32), *blocks]))

    def exactly(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of each of these chunks in double precision: the same wherever a chunk lies among others."""
        exact: NDArray[np.float64] = self._vectors[places].astype(np.float64) @ self._vector.astype(np.float64)
        return np.round(exact, 9, out=exact)

    def _of_run(self, run: Run, k: int) -> Found:
        view = self._view
        mask = view.mask[run.low : run.high]
        count = len(mask) if view.everything else int(np.count_nonzero(mask))
        if run.cells is not None and count > CELLS_FROM and not self._exact:
            places = run.cells.search(self._vector, k, None if view.everything else mask) + run.low
            return _best(places, self.at(places), k)
        if not len(self._known) and count * SPARSE < len(mask):
            places = np.flatnonzero(mask) + run.low
            return _best(places, self.at(places), k)
        known = self._known if len(self._known) else self._vectors[run.low : run.high] @ self._vector
        scores = known[run.low : run.high] if len(self._known) else known
        scores = scores if view.everything else np.where(mask, scores, _HIDDEN)
        near = _near(scores, min(k, count))
        return _best(near + run.low, _rounded(scores[near]), min(k, count))


def _near(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the `k` highest scores are, and all that rounding could make equal to the last of them."""
    if len(scores) <= k or k <= 0:
        return np.flatnonzero(scores > _HIDDEN) if k > 0 else np.zeros(0, np.int64)
    bar = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero((scores >= bar - np.float32(2e-6)) & (scores > _HIDDEN))


def _rounded(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = scores.astype(np.float64)
    return np.round(exact, 6, out=exact)


def _best(places: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Found:
    """The `k` best and all that equal the last of them."""
    if k <= 0:
        return places[:0], scores[:0]
    if len(scores) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        places, scores = places[kept], scores[kept]
    return places, scores
