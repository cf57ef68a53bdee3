"""Recognising passages that say the same in nearly the same words: MinHash (Broder, 1997) over word triples."""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

HASHES = 16
_WORD = re.compile(r"\w+")
_random = np.random.default_rng(20261120)
_FACTORS = _random.integers(1, 2**32, HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _random.integers(0, 2**32, HASHES, dtype=np.uint64)


def signature(text: str) -> NDArray[np.uint32]:
    """`[16]`: the share of equal places of two signatures estimates the Jaccard similarity of their word triples."""
    found = [word.encode() for word in _WORD.findall(text.casefold())]
    triples = {crc32(b" ".join(found[i : i + 3])) for i in range(max(len(found) - 2, 1))}
    hashes = np.fromiter(triples, dtype=np.uint64, count=len(triples))
    mixed = (hashes[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]) & np.uint64(0xFFFFFFFFFFFF)
    least: NDArray[np.uint32] = (mixed >> np.uint64(16)).min(axis=1).astype(np.uint32)
    return least


def similarity(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Estimated Jaccard similarity of two passages, 0 to 1."""
    return float((one == other).mean())
