"""Reviews: answers that wait, or waited, for a person; every step an entry of the ledger in its own transaction.

A review's state follows from its events alone (`state_after`), so that verification can derive it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select, update

from kernel.errors import Conflict, Forbidden, NotFound
from kernel.ids import random_id
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import (
    answer,
    answer_evidence,
    ledger_payload,
    review,
    review_event,
    revision,
    withdrawal,
)

OPEN, APPROVED, EDITED, REJECTED, EXPIRED = "open", "approved", "edited", "rejected", "expired"
STATES = (OPEN, APPROVED, EDITED, REJECTED, EXPIRED)
OPENED, ASSIGNED, COMMENTED = "opened", "assigned", "commented"
DECISIONS = (APPROVED, EDITED, REJECTED)
POLICY, WITHDRAWN = "policy", "withdrawn"
"""Why a review was opened: a policy holds the answer back, or something that it stood on was withdrawn."""
SYSTEM = "vouch"
"""Who acts where no person does: opening and expiry."""


@dataclass(frozen=True, slots=True)
class Review:
    """A review as it stands: `state` is that of this moment, also where the deadline passed and nobody wrote so."""

    id: str
    answer_number: int
    answer_id: str
    asker: str
    reason: str
    state: str
    approvals: int
    assignee: str | None
    deadline: str
    decided_at: str | None
    created_at: str
    decision: Mapping[str, Any] | None = None
    """The payload of the edit or rejection that decided it; None where there is none, or it was erased."""


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """A step of a review: `payload` holds its texts, and is empty where they were erased."""

    leaf: int
    kind: str
    actor: str
    payload: Mapping[str, Any]
    created_at: str


def state_after(events: Iterable[tuple[str, str]], approvals: int) -> str:
    """The state that `(kind, actor)` events lead to. An edit is its author's approval of the new text and of no other:
    approvals of the text before it no longer count. Approvals are of distinct people; one whose name was erased since
    (an empty one) was distinct from all others when the step was taken.
    """
    approving: set[str] = set()
    edited = False
    for place, (kind, name) in enumerate(events):
        actor = name or f"erased {place}"
        if kind in (REJECTED, EXPIRED):
            return kind
        if kind == EDITED:
            edited, approving = True, {actor}
        elif kind == APPROVED:
            approving.add(actor)
        if kind in (APPROVED, EDITED) and len(approving) >= approvals:
            return EDITED if edited else APPROVED
    return OPEN


def deadline_after(hours: float, at: str | None = None) -> str:
    """The moment that lies `hours` after `at`, or after now."""
    begin = datetime.fromisoformat(at) if at else datetime.now(UTC)
    return (begin + timedelta(hours=hours)).isoformat(timespec="microseconds")


class Reviews:
    """The inbox: reads reviews, and takes each step of one in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self,
        connection: Connection,
        answer_numbers: Sequence[int],
        reason: str,
        *,
        approvals: int = 1,
        deadline_hours: float = 336.0,
        rules: Sequence[str] = (),
        note: str = "",
        at: str | None = None,
    ) -> list[str]:
        """Open a review of each answer, in the writing transaction of `connection`; their ids.

        An answer that has an open review of the same reason gets no second one. `note` is told to the reviewers.
        """
        made = []
        moment = at or now()
        for some in parts(sorted(set(answer_numbers))):
            held = (review.c.state == OPEN) & (review.c.reason == reason) & (review.c.deadline > moment)
            waiting = select(review.c.answer_number).where(review.c.answer_number.in_(some), held)
            known = set(connection.execute(waiting).scalars())
            names = connection.execute(select(answer.c.number, answer.c.id).where(answer.c.number.in_(some)))
            for number, answer_id in sorted((row[0], row[1]) for row in names):
                if number not in known:
                    row = {
                        "id": random_id("rev"),
                        "answer_number": number,
                        "reason": reason,
                        "state": OPEN,
                        "approvals": approvals,
                        "assignee": None,
                        "deadline": deadline_after(deadline_hours, moment),
                        "decided_at": None,
                        "created_at": moment,
                    }
                    self._insert(connection, row, answer_id, rules, note)
                    made.append(str(row["id"]))
        return made

    def _insert(
        self, connection: Connection, row: dict[str, Any], answer_id: str, rules: Sequence[str], note: str
    ) -> None:
        facts = opened_facts(row, answer_id) | {"rules": list(rules)}
        payload = dumps({"by": SYSTEM} | ({"comment": note} if note else {}))
        leaf = append(self._database, connection, "review.opened", row["id"], facts, payload, row["created_at"])
        connection.execute(review.insert(), row)
        event = {"leaf": leaf.number, "review_id": row["id"], "kind": OPENED, "actor": SYSTEM}
        connection.execute(review_event.insert(), event | {"created_at": row["created_at"]})

    def worth_a_look(
        self, connection: Connection, answer_numbers: Sequence[int], confidence: float, *, cited_only: bool
    ) -> list[int]:
        """Those of these answers that are at least so confident and, where asked for, cited something withdrawn."""
        found: list[int] = []
        for some in parts(sorted(set(answer_numbers))):
            query = select(answer.c.number).where(answer.c.number.in_(some), answer.c.confidence >= confidence)
            if cited_only:
                gone = select(withdrawal.c.document_id).where(withdrawal.c.died.is_(None))
                cited = select(answer_evidence.c.answer_number).join(
                    revision, revision.c.id == answer_evidence.c.revision_id
                )
                cited = cited.where(answer_evidence.c.answer_number.in_(some), answer_evidence.c.cited)
                query = query.where(answer.c.number.in_(cited.where(revision.c.document_id.in_(gone))))
            found += connection.execute(query.order_by(answer.c.number)).scalars()
        return found

    def step(
        self,
        review_id: str,
        kind: str,
        actor: str,
        payload: Mapping[str, Any],
        assignee: str | None = None,
        text_of: str | None = None,
    ) -> Review:
        """Take one step: assigned, commented, approved, edited or rejected. Of two people who decide at once one does.

        `text_of`, where given, names the edit (its entry; empty: the recorded answer) that an approval is of.

        Raises NotFound, Conflict where the review is decided or its deadline passed, where the same person approved
        before or the text was changed meanwhile, and Forbidden where who asked would decide.
        """
        self.expire()
        with self._database.write() as connection:
            moment = now()
            found = _one(connection, review_id, moment)
            if kind in DECISIONS and actor == found.asker:
                raise Forbidden("who asked a question cannot decide on its answer: another person must")
            if found.state != OPEN and kind != COMMENTED:
                raise Conflict(f"the review is {found.state}: nothing more can be decided")
            if kind in (APPROVED, EDITED) and not _has_payload(connection, found.answer_number):
                raise Conflict("the answer was erased: there is nothing left to approve; reject it, or let it expire")
            refuse_erased_person(connection, actor)
            events = _events(connection, review_id)
            _check_approval(events, kind, actor, text_of)
            recorded = any(one.kind == EXPIRED for one in events)
            state = OPEN if found.state == EXPIRED and not recorded else found.state
            if kind in DECISIONS:
                state = state_after([*((one.kind, one.actor) for one in events), (kind, actor)], found.approvals)
            values = dict(payload) | {"by": actor} | ({"assignee": assignee} if kind == ASSIGNED else {})
            self._event(connection, review_id, kind, actor, state, values, moment)
            changed: dict[str, Any] = {"assignee": assignee} if kind == ASSIGNED else {}
            if kind in DECISIONS and state != OPEN:
                changed |= {"state": state, "decided_at": moment}
            if changed:
                connection.execute(update(review).where(review.c.id == review_id).values(changed))
            return _one(connection, review_id, moment)

    def expire(self) -> int:
        """Write down the expiry of reviews whose deadline passed while they were open; how many there were."""
        overdue = select(review.c.id).where(review.c.state == OPEN, review.c.deadline <= now())
        with self._database.read() as connection:
            if connection.execute(overdue.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            moment = now()
            ids = list(connection.execute(overdue.order_by(review.c.deadline, review.c.id)).scalars())
            for review_id in ids:
                self._event(connection, review_id, EXPIRED, SYSTEM, EXPIRED, {"by": SYSTEM}, moment)
                values = {"state": EXPIRED, "decided_at": moment}
                connection.execute(update(review).where(review.c.id == review_id).values(values))
            return len(ids)

    def _event(
        self,
        connection: Connection,
        review_id: str,
        kind: str,
        actor: str,
        state: str,
        payload: Mapping[str, Any],
        moment: str,
    ) -> None:
        leaf = append(self._database, connection, f"review.{kind}", review_id, {"state": state}, dumps(payload), moment)
        row = {"leaf": leaf.number, "review_id": review_id, "kind": kind, "actor": actor, "created_at": moment}
        connection.execute(review_event.insert(), row)

    def get(self, review_id: str) -> Review:
        """One review as it stands now. Raises NotFound."""
        with self._database.read() as connection:
            return _one(connection, review_id, now())

    def events(self, review_id: str) -> list[ReviewEvent]:
        """The steps of a review, oldest first."""
        with self._database.read() as connection:
            return _events(connection, review_id)

    def items(
        self, *, limit: int, state: str | None = None, assignee: str | None = None, before: str | None = None
    ) -> list[Review]:
        """Reviews, newest first: those in a state, those assigned to a key, those before an id."""
        moment = now()
        query = _reviews()
        overdue = (review.c.state == OPEN) & (review.c.deadline <= moment)
        if state == OPEN:
            query = query.where(review.c.state == OPEN, review.c.deadline > moment)
        elif state == EXPIRED:
            query = query.where(or_(review.c.state == EXPIRED, overdue))
        elif state is not None:
            query = query.where(review.c.state == state)
        if assignee is not None:
            query = query.where(review.c.assignee == assignee)
        if before is not None:
            query = query.where(review.c.id < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(review.c.id.desc()).limit(limit)).all()
        return [_record(row, moment) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many reviews are in each state now."""
        moment = now()
        overdue = (review.c.state == OPEN) & (review.c.deadline <= moment)
        query = select(review.c.state, overdue.label("overdue"), func.count()).group_by(review.c.state, "overdue")
        found = dict.fromkeys(STATES, 0)
        with self._database.read() as connection:
            for state, late, count in connection.execute(query):
                found[EXPIRED if late else state] += count
        return found

    def of_answers(self, answer_numbers: Sequence[int]) -> dict[int, list[Review]]:
        """The reviews of each answer that has any, oldest first."""
        moment = now()
        found: dict[int, list[Review]] = {}
        with self._database.read() as connection:
            for some in parts(list(answer_numbers)):
                query = _reviews().where(review.c.answer_number.in_(some)).order_by(review.c.created_at, review.c.id)
                for row in connection.execute(query).all():
                    one = _record(row, moment)
                    if one.state in (EDITED, REJECTED):
                        last = next((e for e in reversed(_events(connection, one.id)) if e.kind == one.state), None)
                        one = replace(one, decision=last.payload if last is not None and last.payload else None)
                    found.setdefault(row.answer_number, []).append(one)
        return found


def edit_in_force(events: Sequence[ReviewEvent]) -> ReviewEvent | None:
    """The last edit of a review, whose text is the one that approvals are of."""
    return next((one for one in reversed(events) if one.kind == EDITED), None)


def opened_facts(row: Mapping[str, Any], answer_id: str) -> dict[str, Any]:
    """What the entry of a new review says openly, but for the rules that opened it."""
    kept = ("answer_number", "reason", "approvals", "deadline")
    return {name: row[name] for name in kept} | {"answer": answer_id, "state": OPEN}


def _check_approval(events: Sequence[ReviewEvent], kind: str, actor: str, text_of: str | None) -> None:
    edit = edit_in_force(events)
    if kind not in (APPROVED, EDITED):
        return
    if text_of is not None and text_of != ("" if edit is None else str(edit.leaf)):
        raise Conflict("the text was changed meanwhile: read the review again")
    since = events[events.index(edit) :] if edit is not None else events
    if kind == APPROVED and any(one.actor == actor and one.kind in (APPROVED, EDITED) for one in since):
        raise Conflict("you approved this text already: another person must, too")


def _has_payload(connection: Connection, number: int) -> bool:
    query = select(ledger_payload.c.number).where(ledger_payload.c.number == number)
    return connection.execute(query).first() is not None


def _reviews() -> Select[Any]:
    query = select(review, answer.c.id.label("answer_id"), answer.c.principal)
    return query.join(answer, answer.c.number == review.c.answer_number)


def _one(connection: Connection, review_id: str, moment: str) -> Review:
    row = connection.execute(_reviews().where(review.c.id == review_id)).first()
    if row is None:
        raise NotFound(f"no review {review_id}")
    return _record(row, moment)


def _events(connection: Connection, review_id: str) -> list[ReviewEvent]:
    query = select(review_event, ledger_payload.c.payload).outerjoin(
        ledger_payload, ledger_payload.c.number == review_event.c.leaf
    )
    rows = connection.execute(query.where(review_event.c.review_id == review_id).order_by(review_event.c.leaf))
    return [
        ReviewEvent(row.leaf, row.kind, row.actor, json.loads(row.payload) if row.payload else {}, row.created_at)
        for row in rows
    ]


def _record(row: Any, moment: str) -> Review:
    late = row.state == OPEN and row.deadline <= moment
    return Review(
        id=row.id,
        answer_number=row.answer_number,
        answer_id=row.answer_id,
        asker=row.principal,
        reason=row.reason,
        state=EXPIRED if late else row.state,
        approvals=row.approvals,
        assignee=row.assignee,
        deadline=row.deadline,
        decided_at=row.deadline if late else row.decided_at,
        created_at=row.created_at,
    )
