"""The ledger: one Merkle tree a workspace (RFC 9162) that everything which must be provable is a leaf of.

A leaf is appended in the transaction of the thing that it records. It is canonical JSON (RFC 8785): facts that name
no person, and a salted commitment to a payload. Payload and salt lie apart and may be erased; no proof needs them.
Every leaf is signed together with all before it, as the checkpoint of the tree that it completes.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import rfc8785
from sqlalchemy import Connection, func, select, tuple_

from kernel import merkle
from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.notes import Checkpoint, Verifier
from kernel.storage.database import Database
from kernel.storage.rows import now, parts, stream
from kernel.storage.schema import ledger_leaf, ledger_node, ledger_payload

T = TypeVar("T")
VERSION = 1
OPENED = "ledger.opened"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf as it is stored: `text` is what `sha256` (RFC 9162's leaf hash, hex) is over."""

    number: int
    kind: str
    subject: str
    text: str
    sha256: str
    signature: bytes
    created_at: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the leaf says besides its commitment."""
        facts: Mapping[str, Any] = json.loads(self.text)["facts"]
        return facts


def commitment(salt: bytes, payload: str) -> str:
    """Hex HMAC-SHA256 of a payload under its salt: binding, and telling nothing once the salt is gone."""
    return hmac.digest(salt, payload.encode(), "sha256").hex()


def append(
    database: Database,
    connection: Connection,
    kind: str,
    subject: str,
    facts: Mapping[str, Any],
    payload: str = "{}",
    at: str | None = None,
) -> Leaf:
    """Append a leaf in the writing transaction of `connection`. `facts` must name no person; `payload` is JSON.

    Raises Conflict where the ledger of this workspace is signed by another key than this process has.
    """
    frontier = _frontier(database, connection)
    if not frontier.size and kind != OPENED:
        _open(database, connection)
        frontier = _frontier(database, connection)
    salt = secrets.token_bytes(32)
    moment = at or now()
    text = rfc8785.dumps(
        {
            "v": VERSION,
            "number": frontier.size,
            "kind": kind,
            "subject": subject,
            "at": moment,
            "facts": dict(facts),
            "commitment": commitment(salt, payload),
        }
    ).decode()
    leaf_hash = merkle.leaf_hash(text.encode())
    number, nodes = frontier.size, frontier.push(leaf_hash)
    verifier = database.signer.verifier
    head = Checkpoint(verifier.name, frontier.size, frontier.root())
    leaf = Leaf(number, kind, subject, text, leaf_hash.hex(), database.signer.sign(head.text), moment)
    _store(connection, leaf, salt, payload, nodes)
    database.ledger_edge = (leaf.sha256, frontier)
    database.after_commit(connection, "head", partial(database.keep_head, verifier.note(head, leaf.signature)))
    return leaf


def _open(database: Database, connection: Connection) -> None:
    """The first entry names the key. A head over nothing is kept before it, so that a lost head file always shows."""
    verifier = database.signer.verifier
    empty = Checkpoint(verifier.name, 0, merkle.EMPTY)
    database.keep_head(verifier.note(empty, database.signer.sign(empty.text)))
    append(database, connection, OPENED, verifier.name, {"key": str(verifier)})


def _store(
    connection: Connection, leaf: Leaf, salt: bytes, payload: str, nodes: Sequence[tuple[merkle.Node, bytes]]
) -> None:
    values = {
        "number": leaf.number,
        "kind": leaf.kind,
        "subject": leaf.subject,
        "leaf": leaf.text,
        "sha256": leaf.sha256,
        "signature": leaf.signature,
        "created_at": leaf.created_at,
    }
    connection.execute(ledger_leaf.insert(), values)
    connection.execute(ledger_payload.insert(), {"number": leaf.number, "salt": salt, "payload": payload})
    if nodes:
        rows = [{"level": level, "position": position, "sha256": h.hex()} for (level, position), h in nodes]
        connection.execute(ledger_node.insert(), rows)


def _frontier(database: Database, connection: Connection) -> merkle.Frontier:
    """The right edge of the stored tree; what this process knows of it holds where the last leaf is still the same."""
    newest = select(ledger_leaf.c.number, ledger_leaf.c.sha256).order_by(ledger_leaf.c.number.desc()).limit(1)
    last = connection.execute(newest).first()
    if last is None:
        return merkle.Frontier()
    known = database.ledger_edge
    if known is not None and (known[0], known[1].size) == (last.sha256, last.number + 1):
        return merkle.Frontier(known[1].size, list(known[1].roots))
    _check_key(database, connection)
    size, wanted, begin = last.number + 1, [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            wanted.append((level, begin >> level))
            begin += 1 << level
    nodes = _read_nodes(connection, wanted)
    return merkle.Frontier(size, [nodes[node] for node in wanted])


def _check_key(database: Database, connection: Connection) -> None:
    opened = connection.execute(select(ledger_leaf.c.leaf).where(ledger_leaf.c.number == 0)).scalar()
    key = json.loads(opened)["facts"].get("key") if opened else None
    if key != str(database.signer.verifier):
        raise Conflict(
            f"this workspace's ledger is signed by {key}, but {database.signer.path} holds another key: "
            "put the right key file there (`vouch ledger key` shows the public half)"
        )


def _read_nodes(connection: Connection, wanted: Sequence[merkle.Node]) -> dict[merkle.Node, bytes]:
    found: dict[merkle.Node, bytes] = {}
    leaves = [position for level, position in wanted if level == 0]
    for some in parts(leaves):
        query = select(ledger_leaf.c.number, ledger_leaf.c.sha256).where(ledger_leaf.c.number.in_(some))
        found.update({(0, row[0]): bytes.fromhex(row[1]) for row in connection.execute(query)})
    for pairs in parts([node for node in wanted if node[0]], 200):
        query = select(ledger_node).where(tuple_(ledger_node.c.level, ledger_node.c.position).in_(pairs))
        rows = connection.execute(query)
        found.update({(row.level, row.position): bytes.fromhex(row.sha256) for row in rows})
    return found


class Ledger:
    """Reads the tree: leaves, signed checkpoints and proofs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def key(self) -> Verifier:
        """The public key that checkpoints are signed with."""
        return self._database.signer.verifier

    def size(self) -> int:
        """How many leaves there are."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.coalesce(func.max(ledger_leaf.c.number), -1))).scalar_one()) + 1

    def leaf(self, number: int) -> Leaf:
        """One leaf. Raises NotFound where there is none of that number."""
        found = self.leaves(number, 1)
        if not found or found[0].number != number:
            raise NotFound(f"the ledger has no entry {number}")
        return found[0]

    def leaves(self, start: int, limit: int, kind: str | None = None, subject: str | None = None) -> list[Leaf]:
        """Leaves from number `start` on, ascending, of one kind or subject where that is given."""
        query = select(ledger_leaf).where(ledger_leaf.c.number >= start)
        query = query if kind is None else query.where(ledger_leaf.c.kind == kind)
        query = query if subject is None else query.where(ledger_leaf.c.subject == subject)
        with self._database.read() as connection:
            return [_leaf(row) for row in connection.execute(query.order_by(ledger_leaf.c.number).limit(limit))]

    def kinds(self) -> list[str]:
        """The kinds of entries that there are, by name."""
        with self._database.read() as connection:
            return list(
                connection.execute(select(ledger_leaf.c.kind).distinct().order_by(ledger_leaf.c.kind)).scalars()
            )

    def rows(self) -> Iterator[tuple[Leaf, bytes | None, str | None]]:
        """Every leaf with its salt and payload (None where erased), ascending, one at a time."""
        query = select(ledger_leaf, ledger_payload.c.salt, ledger_payload.c.payload).outerjoin(
            ledger_payload, ledger_payload.c.number == ledger_leaf.c.number
        )
        for row in stream(self._database, query.order_by(ledger_leaf.c.number), 500):
            yield _leaf(row), row.salt, row.payload

    def stored_nodes(self) -> Iterator[tuple[merkle.Node, str]]:
        """Every stored node with its hex hash, by level and position."""
        for row in stream(
            self._database, select(ledger_node).order_by(ledger_node.c.level, ledger_node.c.position), 999
        ):
            yield (row.level, row.position), row.sha256

    def payload(self, number: int) -> tuple[bytes, str] | None:
        """Salt and payload of a leaf; None where they were erased."""
        query = select(ledger_payload.c.salt, ledger_payload.c.payload).where(ledger_payload.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else (bytes(row[0]), str(row[1]))

    def checkpoint(self, size: int | None = None) -> str:
        """The signed note of the newest tree, or of the one that had `size` leaves. Raises NotFound for none."""
        last = (self.size() if size is None else size) - 1
        if last < 0:
            raise NotFound("the ledger is empty: nothing was recorded yet")
        leaf = self.leaf(last)
        root = self._computed(lambda nodes: merkle.tree_root(last + 1, nodes))
        return self.key.note(Checkpoint(self.key.name, last + 1, root), leaf.signature)

    def inclusion(self, number: int, size: int | None = None) -> list[bytes]:
        """The audit path of a leaf in the newest tree, or in that of `size`. Raises NotFound, InvalidInput."""
        newest = self.size()
        size = newest if size is None else size
        if not 0 <= number < newest:
            raise NotFound(f"the ledger has no entry {number}")
        if not number < size <= newest:
            raise InvalidInput(f"entry {number} is not in a tree of {size}; the ledger has {newest} entries")
        return self._computed(lambda nodes: merkle.inclusion_proof(number, size, nodes))

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Proof that the tree of `old` leaves is the beginning of the newest one, or of that of `new` leaves."""
        newest = self.size()
        new = newest if new is None else new
        if not 0 <= old <= new <= newest:
            raise InvalidInput(f"a consistency proof goes from a size to a later one, up to {newest}")
        return self._computed(lambda nodes: merkle.consistency_proof(old, new, nodes))

    def _computed(self, proof: Callable[[merkle.Nodes], T]) -> T:
        with self._database.read() as connection:
            found = _read_nodes(connection, merkle.needed(proof))
        return proof(lambda level, position: found[(level, position)])


def _leaf(row: Any) -> Leaf:
    return Leaf(row.number, row.kind, row.subject, row.leaf, row.sha256, bytes(row.signature), row.created_at)
