"""The Merkle tree against the reference vectors of Certificate Transparency, and against the definition itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
MOST = 300


class Tree:
    """A tree grown leaf by leaf, with every perfect subtree kept."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.frontier = merkle.Frontier()
        self.stored: dict[merkle.Node, bytes] = {}
        self.roots = [self.frontier.root()]
        for number, data in enumerate(leaves):
            digest = merkle.leaf_hash(data)
            self.stored[(0, number)] = digest
            self.stored.update(self.frontier.push(digest))
            self.roots.append(self.frontier.root())

    def nodes(self, level: int, position: int) -> bytes:
        return self.stored[(level, position)]


def numbered(size: int) -> list[bytes]:
    return [str(number).encode() for number in range(size)]


TREE = Tree(numbered(MOST))


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(old: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_subproof(old, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(old - k, leaves[k:], False), naive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    assert Tree(LEAVES[:size]).roots[size].hex() == ROOTS[size - 1]
    assert merkle.EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference(index: int, size: int) -> None:
    proof = merkle.inclusion_proof(index, size, Tree(LEAVES).nodes)
    assert tuple(step.hex() for step in proof) == INCLUSION[(index, size)]
    assert merkle.included(merkle.leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference(old: int, new: int) -> None:
    proof = merkle.consistency_proof(old, new, Tree(LEAVES).nodes)
    assert tuple(step.hex() for step in proof) == CONSISTENCY[(old, new)]
    roots = [bytes.fromhex(ROOTS[size - 1]) for size in (old, new)]
    assert merkle.consistent(old, new, roots[0], roots[1], proof)


@given(st.integers(0, MOST))
def test_every_root_is_the_definitions(size: int) -> None:
    assert TREE.roots[size] == naive_root(numbered(size)) == merkle.tree_root(size, TREE.nodes)


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """A leaf, and the size of a tree that has it."""
    size = draw(st.integers(1, MOST))
    return draw(st.integers(0, size - 1)), size


def broken(proof: Sequence[bytes]) -> list[list[bytes]]:
    """The proof with one thing wrong: a bit of each step, a step gone, twice, added, or two exchanged."""
    found = []
    for place, step in enumerate(proof):
        for bit in (0, 7, 100, 255):
            changed = bytearray(step)
            changed[bit // 8] ^= 1 << bit % 8
            found.append([*proof[:place], bytes(changed), *proof[place + 1 :]])
        found += [[*proof[:place], *proof[place + 1 :]], [*proof[: place + 1], *proof[place:]]]
        if place:
            found.append([*proof[: place - 1], step, proof[place - 1], *proof[place + 1 :]])
    return [*found, [*proof, merkle.EMPTY]]


@given(places())
def test_inclusion_holds_for_the_true_proof_alone(place: tuple[int, int]) -> None:
    index, size = place
    proof = merkle.inclusion_proof(index, size, TREE.nodes)
    assert proof == naive_path(index, numbered(size))
    leaf, root = merkle.leaf_hash(numbered(MOST)[index]), TREE.roots[size]
    assert merkle.included(leaf, index, size, proof, root)
    assert not any(merkle.included(leaf, index, size, wrong, root) for wrong in broken(proof))
    others = [other for other in range(-1, size + 1) if other != index]
    assert not any(merkle.included(leaf, other, size, proof, root) for other in others)
    assert not merkle.included(merkle.leaf_hash(b"forged"), index, size, proof, root)
    assert not merkle.included(leaf, index, size, proof, TREE.roots[size - 1])


@given(places())
def test_consistency_holds_for_the_true_proof_alone(place: tuple[int, int]) -> None:
    old, new = place[0] + 1, place[1]
    proof = merkle.consistency_proof(old, new, TREE.nodes)
    assert proof == ([] if old == new else naive_subproof(old, numbered(new), True))
    before, after = TREE.roots[old], TREE.roots[new]
    assert merkle.consistent(old, new, before, after, proof)
    assert not any(merkle.consistent(old, new, before, after, wrong) for wrong in broken(proof))
    assert not merkle.consistent(old, new, TREE.roots[old - 1], after, proof)
    assert not merkle.consistent(old, new, before, TREE.roots[new - 1], proof)
    assert not merkle.consistent(new + 1, new, before, after, proof)


@given(places())
def test_the_nodes_that_a_proof_needs_are_all_that_it_asks_for(place: tuple[int, int]) -> None:
    index, size = place
    wanted = merkle.needed(lambda nodes: merkle.inclusion_proof(index, size, nodes))
    kept = {node: TREE.stored[node] for node in wanted}
    known = merkle.inclusion_proof(index, size, lambda level, position: kept[(level, position)])
    assert known == naive_path(index, numbered(size))


def test_the_empty_tree_and_places_outside() -> None:
    assert merkle.consistent(0, 5, merkle.EMPTY, TREE.roots[5], [])
    assert not merkle.consistent(0, 5, TREE.roots[1], TREE.roots[5], [])
    assert not merkle.included(merkle.EMPTY, 0, 0, [], merkle.EMPTY)
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="not in a tree"):
            merkle.inclusion_proof(index, size, TREE.nodes)
    with pytest.raises(ValueError, match="does not grow"):
        merkle.consistency_proof(4, 3, TREE.nodes)
