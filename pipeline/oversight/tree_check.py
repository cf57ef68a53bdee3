"""Checking a ledger from its leaves alone: every hash, commitment and signature, in order; the first bad one named."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

from kernel import merkle
from kernel.notes import Checkpoint, Verifier
from kernel.records import Fault
from kernel.storage.ledger import Leaf, commitment

Row = tuple[Leaf, bytes | None, str | None]
"""A leaf with its salt and payload, None where they were erased."""


@dataclass(slots=True)
class TreeCheck:
    """Walks leaves in order. Afterwards `nodes` holds every perfect subtree, and `roots` the root of each kept size."""

    key: Verifier
    erased: Container[int] = ()
    keep: Container[int] = ()
    frontier: merkle.Frontier = field(default_factory=merkle.Frontier)
    nodes: dict[merkle.Node, bytes] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)

    def faults(self, rows: Iterable[Row], *, signatures: bool = True) -> Iterator[Fault]:
        """What is wrong with each leaf; ends at the first that breaks the chain, since all after it depend on it."""
        for leaf, salt, payload in rows:
            number = self.frontier.size
            name = f"ledger entry {number}"
            if leaf.number != number:
                yield Fault(name, "is missing")
                return
            yield from self._payload_faults(name, leaf, salt, payload)
            digest = merkle.leaf_hash(leaf.text.encode())
            broken = digest.hex() != leaf.sha256 or not _agrees(leaf)
            self.nodes.update(self.frontier.push(digest))
            if self.frontier.size in self.keep:
                self.roots[self.frontier.size] = self.frontier.root()
            if broken:
                yield Fault(name, f"({leaf.kind}, {leaf.subject}) was changed: its hash or columns do not fit its text")
                return
            if signatures and not self._signed(leaf):
                yield Fault(name, f"({leaf.kind}, {leaf.subject}) does not carry the ledger key's signature")
                return

    def _signed(self, leaf: Leaf) -> bool:
        head = Checkpoint(self.key.name, self.frontier.size, self.frontier.root())
        return self.key.holds(head.text, leaf.signature)

    def _payload_faults(self, name: str, leaf: Leaf, salt: bytes | None, payload: str | None) -> Iterator[Fault]:
        if salt is None or payload is None:
            if leaf.number not in self.erased:
                yield Fault(name, f"({leaf.kind}, {leaf.subject}) lost its payload, and no erasure names it")
        elif leaf.number in self.erased:
            yield Fault(name, f"({leaf.kind}, {leaf.subject}) was erased, yet has a payload again")
        elif _field(leaf.text, "commitment") != commitment(salt, payload):
            yield Fault(name, f"({leaf.kind}, {leaf.subject}) commits to another record than the one that is stored")


def _agrees(leaf: Leaf) -> bool:
    """Whether the columns of a leaf say what its text says."""
    said = tuple(_field(leaf.text, name) for name in ("number", "kind", "subject", "at"))
    return said == (leaf.number, leaf.kind, leaf.subject, leaf.created_at)


def _field(text: str, name: str) -> object:
    try:
        return json.loads(text).get(name)
    except (ValueError, AttributeError):
        return None
