"""Whether releases, and the moves of the pointer to them, are still what the ledger says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.releases import MOVED, STORED, move_record
from kernel.storage.schema import release, release_move
from kernel.storage.version_checks import paired, payload_of, rows_of


def release_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Sets and moves that their entries contradict, or that have none."""
    stored = {leaf.facts["number"]: leaf for leaf in by_kind.get(STORED, ())}
    for number, row, leaf in paired(rows_of(connection, release, "number"), stored):
        if row is None or leaf is None:
            yield Fault(f"release {number}", "is missing" if row is None else "has no entry in the ledger")
            continue
        said = {"number": row.number, "sha256": sha256(row.manifest)}
        payload = payload_of(ledger, leaf, gone)
        wrong = (said, row.sha256, row.created_at) != (leaf.facts, leaf.facts["sha256"], leaf.created_at)
        wrong |= payload is not None and payload != {"author": row.author, "message": row.message}
        if wrong:
            yield Fault(f"release {number}", "is not what its ledger entry says")
    moves = {leaf.number: leaf for leaf in by_kind.get(MOVED, ())}
    for number, row, leaf in paired(rows_of(connection, release_move, "leaf"), moves):
        if row is None or leaf is None or _move_facts(row) != (leaf.facts, leaf.created_at):
            yield Fault(f"ledger entry {number}", "is not the move to a release that the store has under it")


def _move_facts(row: Any) -> tuple[dict[str, Any], str] | None:
    try:
        move = move_record(row)
    except ValueError:
        return None
    return {"release": move.release, "before": move.before}, move.created_at
