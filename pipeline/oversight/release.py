"""What of an answer may be seen, and by whom: decided here, by one function, for every door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernel.records import AnswerStatus, Principal
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.reviews import APPROVED, EDITED, EXPIRED, OPEN, POLICY, REJECTED, Review, Reviews
from pipeline.oversight.rules import ABSTAIN, REFUSE

WAITS = "The answer waits for a person."
TOO_LATE = "Nobody approved the answer before its deadline."
REJECTED_BY = "A reviewer rejected the answer"
GONE = "What a reviewer wrote in place of the answer was erased."
_PENDING = AnswerStatus.PENDING_REVIEW.value
_NOTHING: Mapping[str, Any] = {
    "answer": "",
    "confidence": 0.0,
    "sentences": [],
    "citations": [],
    "conflicts": [],
    "notices": [],
}


def shown(record: AnswerRecord, reviews: Sequence[Review], principal: Principal) -> dict[str, Any]:
    """The answer's body as `principal` may see it now, given its reviews, oldest first.

    A draft that a policy holds back is seen by reviewers and admins alone, until it is decided on. Once it is, all see
    the same: the recorded answer where it was approved, the reviewer's text where it was edited, else none.
    """
    body = dict(record.body)
    if record.erased:
        return body
    held = body["status"] == _PENDING
    policy = next((one for one in reversed(reviews) if one.reason == POLICY), None)
    later = [one for one in reviews if one.reason != POLICY]
    if held:
        body = _held(body, policy, principal)
    for one in later:
        if not held or (policy is not None and policy.state in (APPROVED, EDITED)):
            body = _reviewed_later(body, one)
    current = later[-1] if later else policy
    if current is not None:
        body["review"] = {"id": current.id, "state": current.state, "deadline": current.deadline}
    if any(one.state == OPEN for one in later):
        body["under_review"] = True
    if "policy" in body:
        body["policy"] = {name: value for name, value in body["policy"].items() if name != "held"}
    return body


def open_to(record: AnswerRecord, reviews: Sequence[Review], principal: Principal) -> bool:
    """Whether `principal` may have the record itself, with the reply and the draft in it: reviewers and admins always;
    others where nothing of it was withheld, by a rule or by a person.
    """
    if principal.role.oversees:
        return True
    if record.erased:
        return False
    verdicts = record.body.get("policy", {}).get("verdicts", ())
    if any(one["stage"] == "output" and one["verdict"] in (REFUSE, ABSTAIN) for one in verdicts):
        return False
    policy = next((one for one in reversed(reviews) if one.reason == POLICY), None)
    if record.body["status"] == _PENDING and (policy is None or policy.state != APPROVED):
        return False
    return all(one.state not in (EDITED, REJECTED) for one in reviews if one.reason != POLICY)


class Releases:
    """Reads answers as they may be seen."""

    def __init__(self, answers: Answers, reviews: Reviews) -> None:
        self._answers = answers
        self._reviews = reviews

    def record(self, answer_id: str, principal: Principal) -> AnswerRecord:
        """One answer, its body as `principal` may see it now. Raises NotFound as `Answers.get` does."""
        record = self._answers.get(answer_id, principal)
        reviews = self._reviews.of_answers([record.number]).get(record.number, [])
        return replace(record, body=shown(record, reviews, principal))

    def open_to(self, record: AnswerRecord, principal: Principal) -> bool:
        """Whether `principal`, who may read the answer, may have its record itself, with all that is in it."""
        return open_to(record, self._reviews.of_answers([record.number]).get(record.number, []), principal)

    def items(self, principal: Principal, *, limit: int, before: int | None = None) -> list[tuple[int, AnswerRecord]]:
        """Answers as `Answers.items` lists them, each body as `principal` may see it now."""
        found = self._answers.items(principal, limit=limit, before=before)
        reviews = self._reviews.of_answers([number for number, _ in found])
        return [
            (number, replace(record, body=shown(record, reviews.get(number, []), principal)))
            for number, record in found
        ]

    def made(self, body: Mapping[str, Any], principal: Principal) -> dict[str, Any]:
        """An answer that was just recorded, as the one who asked may see it."""
        if body["status"] != _PENDING:
            return dict(body)
        return dict(self.record(body["id"], principal).body) | {"timings_ms": body["timings_ms"]}


def _held(body: Mapping[str, Any], review: Review | None, principal: Principal) -> dict[str, Any]:
    """An answer that a policy held back. One without a review, which cannot be, stays held back."""
    state = OPEN if review is None else review.state
    if review is None or state == OPEN:
        draft = {} if principal.role.oversees else _NOTHING
        return {**body, **draft, "status": _PENDING, "reason": WAITS}
    if state == APPROVED:
        return {**body, **body["policy"]["held"]}
    if state == EDITED:
        return {**body, **_edited(review)}
    return _withheld(body, TOO_LATE if state == EXPIRED else _rejection(review))


def _reviewed_later(body: dict[str, Any], review: Review) -> dict[str, Any]:
    """An answer that was looked at again after something that it stood on was withdrawn."""
    if review.state == EDITED:
        return {**body, **_edited(review)}
    return _withheld(body, _rejection(review)) if review.state == REJECTED else body


def _edited(review: Review) -> Mapping[str, Any]:
    if review.decision is None:
        return {**_NOTHING, "status": AnswerStatus.ABSTAINED.value, "reason": GONE}
    edited: Mapping[str, Any] = review.decision["edited"]
    return edited


def _rejection(review: Review) -> str:
    said = (review.decision or {}).get("reason")
    return f"{REJECTED_BY}: {said}" if said else f"{REJECTED_BY}."


def _withheld(body: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {**body, **_NOTHING, "status": AnswerStatus.ABSTAINED.value, "reason": reason}
