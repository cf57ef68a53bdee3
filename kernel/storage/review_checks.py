"""Whether policies and reviews are still what the ledger says of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.ledger import Leaf, Ledger
from kernel.storage.policies import RELEASED, STORED, policy_facts
from kernel.storage.reviews import ASSIGNED, OPEN, opened_facts, state_after
from kernel.storage.schema import answer, policy_release, policy_version, review, review_event

KIND = "review."


def policy_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Versions and moves of the pointer that their entries contradict, or that have none."""
    stored = {leaf.facts["number"]: leaf for leaf in by_kind.get(STORED, ())}
    rows = {row.number: row for row in connection.execute(select(policy_version))}
    for number in sorted({*rows, *stored}):
        row, leaf = rows.get(number), stored.get(number)
        if row is None or leaf is None:
            yield Fault(f"policy {number}", "is missing" if row is None else "has no entry in the ledger")
            continue
        facts = policy_facts(row) | {"sha256": sha256(row.text)}
        payload = _payload(ledger, leaf, gone)
        said = payload is None or payload == {"author": row.author, "message": row.message}
        if (facts, row.sha256, row.created_at) != (leaf.facts, leaf.facts["sha256"], leaf.created_at) or not said:
            yield Fault(f"policy {number}", "is not what its ledger entry says")
    moves = {leaf.number: (leaf.facts["policy"], leaf.created_at) for leaf in by_kind.get(RELEASED, ())}
    made = {row.leaf: (row.policy, row.created_at) for row in connection.execute(select(policy_release))}
    for number in sorted({*moves, *made}):
        if moves.get(number) != made.get(number):
            yield Fault(f"ledger entry {number}", "is not the release of a policy that the store has under it")


def review_faults(
    connection: Connection, ledger: Ledger, by_kind: Mapping[str, list[Leaf]], gone: Collection[int]
) -> Iterator[Fault]:
    """Reviews and steps that their entries contradict, or that have none; states that do not follow from the steps."""
    leaves = {leaf.number: leaf for kind, some in by_kind.items() if kind.startswith(KIND) for leaf in some}
    events = {row.leaf: row for row in connection.execute(select(review_event).order_by(review_event.c.leaf))}
    payloads = {number: _payload(ledger, leaf, gone) for number, leaf in leaves.items()}
    for number in sorted({*leaves, *events}):
        row, leaf = events.get(number), leaves.get(number)
        if row is None or leaf is None:
            yield Fault(f"ledger entry {number}", "and the steps of reviews that are stored do not fit")
            continue
        payload = payloads[number]
        said = (leaf.subject, leaf.kind, leaf.created_at)
        actor = row.actor if payload is None else payload.get("by")
        if (row.review_id, KIND + row.kind, row.created_at) != said or row.actor != actor:
            yield Fault(f"review {row.review_id}", f"its step {number} is not what its ledger entry says")
    yield from _state_faults(connection, list(leaves.values()), events, payloads)


def _state_faults(
    connection: Connection,
    leaves: list[Leaf],
    events: Mapping[int, Any],
    payloads: Mapping[int, Mapping[str, Any] | None],
) -> Iterator[Fault]:
    steps: dict[str, list[Leaf]] = {}
    for leaf in sorted(leaves, key=lambda one: one.number):
        steps.setdefault(leaf.subject, []).append(leaf)
    names = dict(connection.execute(select(answer.c.number, answer.c.id)).all())
    rows = {row.id: row for row in connection.execute(select(review))}
    for review_id in sorted({*rows, *steps}):
        row, mine = rows.get(review_id), steps.get(review_id, [])
        if row is None or not mine:
            yield Fault(f"review {review_id}", "is missing" if row is None else "has no entry in the ledger")
            continue
        opened = dict(mine[0].facts)
        opened.pop("rules", None)
        wrong = mine[0].kind != f"{KIND}opened" or row.created_at != mine[0].created_at
        wrong |= opened != opened_facts(dict(row._mapping), names.get(row.answer_number, ""))
        decided = next((leaf for leaf in mine if leaf.facts.get("state") != OPEN), None)
        state = decided.facts.get("state") if decided else OPEN
        wrong |= (row.state, row.decided_at) != (state, decided.created_at if decided else None)
        if all(payloads[leaf.number] is not None and leaf.number in events for leaf in mine):
            kinds = [(leaf.kind.removeprefix(KIND), events[leaf.number].actor) for leaf in mine]
            wrong |= state_after(kinds, row.approvals) != row.state
        last = next((leaf for leaf in reversed(mine) if leaf.kind == KIND + ASSIGNED), None)
        payload = payloads[last.number] if last else {}
        wrong |= payload is not None and row.assignee != payload.get("assignee")
        if wrong:
            yield Fault(f"review {review_id}", "is not what its ledger entries say")


def _payload(ledger: Ledger, leaf: Leaf, gone: Collection[int]) -> Mapping[str, Any] | None:
    """The payload of an entry; None where it was erased."""
    stored = None if leaf.number in gone else ledger.payload(leaf.number)
    found: Mapping[str, Any] | None = json.loads(stored[1]) if stored else None
    return found
