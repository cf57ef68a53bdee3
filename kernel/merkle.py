"""The Merkle tree of RFC 9162 (Certificate Transparency 2.0), section 2.1: hashes, growth, proofs and their checks.

A tree over `size` leaves is described by its perfect subtrees: node `(level, position)` is the root over the leaves
`[position << level, (position + 1) << level)`. Hashes are bytes of length 32. Nothing here reads or stores anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Node = tuple[int, int]
"""Level and position of a perfect subtree; level 0 are the leaves."""
Nodes = Callable[[int, int], bytes]
"""Gives the hash of a perfect subtree."""

EMPTY = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a tree that grows: roots of its perfect subtrees, the largest first."""

    size: int = 0
    roots: list[bytes] = field(default_factory=list)

    def push(self, leaf: bytes) -> list[tuple[Node, bytes]]:
        """Add a leaf's hash; the perfect subtrees of level 1 and up that this completes."""
        done: list[tuple[Node, bytes]] = []
        position, level = self.size, 0
        while position & 1:
            leaf = node_hash(self.roots.pop(), leaf)
            position, level = position >> 1, level + 1
            done.append(((level, position), leaf))
        self.roots.append(leaf)
        self.size += 1
        return done

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.roots:
            return EMPTY
        found = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            found = node_hash(left, found)
        return found


def tree_root(size: int, nodes: Nodes) -> bytes:
    """The root over the first `size` leaves."""
    return _range_root(0, size, nodes) if size else EMPTY


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The audit path of leaf `index` in the tree over the first `size` leaves (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return _path(index, 0, size, nodes)


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Proof that the first `old` leaves of the tree over `new` are the older tree (RFC 9162, 2.1.4.1)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not grow out of one of {old}")
    return [] if old in (0, new) else _subproof(old, 0, new, nodes, whole=True)


def needed(proof: Callable[[Nodes], object]) -> list[Node]:
    """The perfect subtrees whose hashes a proof asks for, so that they can be read at once."""
    asked: dict[Node, None] = {}

    def note(level: int, position: int) -> bytes:
        asked[(level, position)] = None
        return EMPTY

    proof(note)
    return list(asked)


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash is at `index` in the tree of that size and root (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(step, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, step)
        position, last = position >> 1, last >> 1
    return last == 0 and found == root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of size `new` begins with that of size `old` (2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if old > new or not steps:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, step)
        position, last = position >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_root(begin: int, end: int, nodes: Nodes) -> bytes:
    count = end - begin
    if count & (count - 1) == 0 and begin % count == 0:
        level = count.bit_length() - 1
        return nodes(level, begin >> level)
    middle = begin + _split(count)
    return node_hash(_range_root(begin, middle, nodes), _range_root(middle, end, nodes))


def _path(index: int, begin: int, end: int, nodes: Nodes) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + _split(end - begin)
    if index < middle:
        return [*_path(index, begin, middle, nodes), _range_root(middle, end, nodes)]
    return [*_path(index, middle, end, nodes), _range_root(begin, middle, nodes)]


def _subproof(old: int, begin: int, end: int, nodes: Nodes, *, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [_range_root(begin, end, nodes)]
    middle = begin + _split(end - begin)
    if old <= middle:
        return [*_subproof(old, begin, middle, nodes, whole=whole), _range_root(middle, end, nodes)]
    return [*_subproof(old, middle, end, nodes, whole=False), _range_root(begin, middle, nodes)]
