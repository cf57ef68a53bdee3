"""Values under sorted keys, as flat arrays: what postings, links and look-ups of an index are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.walk import gather

Int64 = NDArray[np.int64]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lists:
    """The values of `keys[i]` lie at `[ptr[i], ptr[i + 1])` of every array in `values`. Keys ascend and differ."""

    keys: Array
    ptr: Int64
    values: tuple[Array, ...]

    def slots(self, wanted: Array, most: int | None = None) -> tuple[Int64, Int64]:
        """Of each value of each wanted key, at most the first `most` of a key: the place of its key in `wanted`, and
        its place in `values`."""
        if not len(self.keys) or not len(wanted):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        there = np.flatnonzero(self.keys[place] == wanted)
        owner, slots = gather(self.ptr, place[there], most)
        return there[owner], slots

    def span(self, key: int | np.generic) -> slice:
        """Where the values of one key lie; an empty slice where the key is not held."""
        place = int(np.searchsorted(self.keys, self.keys.dtype.type(key)))
        if place == len(self.keys) or self.keys[place] != key:
            return slice(0, 0)
        return slice(int(self.ptr[place]), int(self.ptr[place + 1]))

    def owners(self) -> Array:
        """The key of each value."""
        return np.repeat(self.keys, np.diff(self.ptr))


def lists_of(keys: Array, *values: Array) -> Lists:
    """Values by their keys; those of one key stay in the order in which they are given."""
    order = np.argsort(keys, kind="stable")
    unique, starts = np.unique(keys[order], return_index=True)
    return Lists(unique, np.append(starts, len(keys)).astype(np.int64), tuple(value[order] for value in values))


def merged(one: Lists, other: Lists) -> Lists:
    """Both as one; under each key the values of `one` come first. Nothing is sorted but the keys."""
    keys = np.union1d(one.keys, other.keys)
    places = [np.searchsorted(keys, part.keys) for part in (one, other)]
    lengths = np.zeros((2, len(keys)), np.int64)
    for number, part in enumerate((one, other)):
        lengths[number, places[number]] = np.diff(part.ptr)
    ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths.sum(axis=0))])
    starts = (ptr[places[0]], ptr[places[1]] + lengths[0, places[1]])
    targets = [_targets(part.ptr, start) for part, start in zip((one, other), starts, strict=True)]
    values = []
    for left, right in zip(one.values, other.values, strict=True):
        joined = np.empty(len(left) + len(right), left.dtype)
        joined[targets[0]], joined[targets[1]] = left, right
        values.append(joined)
    return Lists(keys, ptr, tuple(values))


def _targets(ptr: Int64, starts: Int64) -> Int64:
    return np.arange(ptr[-1], dtype=np.int64) + np.repeat(starts - ptr[:-1], np.diff(ptr))


def joined(parts: Sequence[tuple[Array, ...]], empty: tuple[Array, ...]) -> tuple[Array, ...]:
    """Columns of several parts after each other; `empty` where there is no part."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
