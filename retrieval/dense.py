"""The dense signal: exact inner product with FAISS over the visible chunks, filtered while it searches."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from retrieval.index import Index
from retrieval.view import View

TIES = 16


def one_thread_each() -> None:
    """Let numpy work in the thread that calls it: a question's sums are too small to share out.

    The threads that they would start wait for each other, the longer the busier the machine is.
    """
    threadpool_limits(1, user_api="blas")


class DenseIndex:
    """A FAISS flat index over an index's vectors. Exact, so a filter costs no recall."""

    def __init__(self, index: Index) -> None:
        self._flat = faiss.IndexFlatIP(index.vectors.shape[1])
        self._flat.add(np.ascontiguousarray(index.vectors))
        shape = index.vectors.shape
        data = faiss.rev_swig_ptr(self._flat.get_xb(), shape[0] * shape[1]) if shape[0] else np.zeros(0, np.float32)
        self.vectors: NDArray[np.float32] = data.reshape(shape)

    def search(self, view: View, vector: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions and cosines of the `k` visible chunks nearest to a unit vector, nearest first.

        Of equal ones, those lowest in the index's key come first; that holds for up to TIES of them at the end.
        """
        wanted, k = min(k, view.count), min(k + TIES, view.count)
        if k == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        parameters = None
        if not view.everything:
            bits = np.packbits(view.mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        faiss.omp_set_num_threads(1)  # OpenMP keeps this by thread, and servers search in many
        scores, places = self._flat.search(vector[None, :], k, params=parameters)
        scores = np.round(scores, 6)
        order = np.lexsort((view.index.key[places[0]], -scores[0]))[:wanted]
        return places[0][order].astype(np.int64), scores[0][order]
