"""Approximate nearest neighbours of many vectors: FAISS cells of compressed vectors, read in place from their file.

An inverted file with one byte a component (Jegou, Douze and Schmid, 2011). What it finds is scored again with the
vectors themselves, so compression costs recall at the edge alone and no exactness of scores.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

CELLS_FROM = 65_536
"""Vectors from which on cells are worth having; fewer are searched one by one, exactly."""
PROBED = 24
"""Cells that are looked into where everything is visible; more where less is, in proportion."""
OVERFETCH = 4
TRAINED_ON = 40
ROUNDS = 8


class Cells:
    """The cells of some vectors, whose numbers begin at 0."""

    def __init__(self, inverted: Any) -> None:
        self._inverted = inverted

    @staticmethod
    def of(vectors: NDArray[np.float32]) -> Cells:
        """Cells for `[n, d]` unit vectors. Deterministic for the same vectors on the same machine."""
        count, dimension = vectors.shape
        cells = int(2 * np.sqrt(count))
        inverted: Any = faiss.index_factory(dimension, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        inverted.cp.niter, inverted.cp.seed = ROUNDS, 1
        step = max(1, count // (TRAINED_ON * cells))
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        inverted.train(np.ascontiguousarray(vectors[::step]))
        for low in range(0, count, CELLS_FROM):
            inverted.add(np.ascontiguousarray(vectors[low : low + CELLS_FROM]))
        return Cells(inverted)

    @staticmethod
    def read(path: Path) -> Cells:
        """Cells from a file that stays where it is: its pages are shared by all processes that read it."""
        inverted: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        lists: Any = faiss.downcast_InvertedLists(inverted.invlists)
        lists.prefetch_nthread = 0  # starting threads costs more than reading
        return Cells(inverted)

    def write(self, path: Path) -> None:
        """Keep the cells in a file."""
        faiss.write_index(self._inverted, str(path))

    def search(
        self, vector: NDArray[np.float32], k: int, visible: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Numbers of about the `k` nearest vectors (of the visible ones) and of some more, in no order."""
        share = 1.0 if visible is None else max(float(visible.mean()), 1e-6)
        probed = min(int(np.ceil(PROBED / share)), self._inverted.nlist)
        selector = None
        if visible is not None:
            bits = np.packbits(visible, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        faiss.omp_set_num_threads(1)  # OpenMP keeps this by thread, and servers search in many
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probed)  # type: ignore[call-arg]
        _, found = self._inverted.search(vector[None, :], OVERFETCH * k, params=parameters)
        places: NDArray[np.int64] = found[0][found[0] >= 0]
        return places
