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

_HIDDEN = np.float32(-np.inf)

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


def one_thread_each() -> None:
    """Let numpy work in the thread that calls it: a question's sums are too small to share out.

    The threads that they would start wait for each other, the longer the busier the machine is.
    """
    threadpool_limits(1, user_api="blas")


class DenseIndex:
    """Nearest-neighbour search over an index's vectors, which stay where they are."""

    def __init__(self, index: Index, *, exact: bool = False) -> None:
        self.vectors = index.vectors
        self._exact = exact

    def search(self, view: View, vector: NDArray[np.float32], k: int) -> Found:
        """Positions and cosines of the `k` visible chunks nearest to a unit vector, nearest first.

        Of equal ones (to six places), those lowest in the index's key come first.
        """
        parts = [self._of_run(view, run, vector, k) for run in view.index.runs]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        places, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((view.index.key[places], -scores))[:k]
        return places[order], scores[order]

    def _of_run(self, view: View, run: Run, vector: NDArray[np.float32], k: int) -> Found:
        mask = view.mask[run.low : run.high]
        count = len(mask) if view.everything else int(np.count_nonzero(mask))
        if run.cells is not None and count > CELLS_FROM and not self._exact:
            places = run.cells.search(vector, k, None if view.everything else mask) + run.low
            return _best(places, self.vectors[places] @ vector, k)
        if count * SPARSE < len(mask):
            places = np.flatnonzero(mask) + run.low
            return _best(places, self._scores(places, vector), k)
        scores = np.where(mask, self.vectors[run.low : run.high] @ vector, _HIDDEN)
        places, scores = _best(np.arange(run.low, run.high), scores, min(k, count))
        return places[scores > _HIDDEN], scores[scores > _HIDDEN]

    def _scores(self, places: NDArray[np.int64], vector: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = [self.vectors[places[low : low + 8192]] @ vector for low in range(0, len(places), 8192)]
        return np.concatenate([np.zeros(0, np.float32), *blocks])


def _best(places: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
    """The `k` best and all that equal the last of them."""
    scores = np.round(scores, 6)
    if k <= 0:
        return places[:0], scores[:0]
    if len(scores) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        places, scores = places[kept], scores[kept]
    return places, scores
