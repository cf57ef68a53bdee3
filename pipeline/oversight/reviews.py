"""The reviewers' desk: what waits, and deciding on it. An edit is grounded in the evidence of its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from nupunkt import sent_spans

from kernel.errors import Conflict, Forbidden, InvalidInput
from kernel.records import (
    LOCAL_OWNER,
    AnswerStatus,
    Evidence,
    Generation,
    Notice,
    Passage,
    Principal,
    SentenceScore,
)
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.corpus import Corpus
from kernel.storage.keys import Keys
from kernel.storage.reviews import (
    APPROVED,
    ASSIGNED,
    COMMENTED,
    EDITED,
    OPEN,
    REJECTED,
    STATES,
    WITHDRAWN,
    Review,
    ReviewEvent,
    Reviews,
    edit_in_force,
)
from pipeline.answering import citation_json
from pipeline.calibration import support_of
from pipeline.grounding import ground
from pipeline.oversight.policy_book import PolicyBook
from retrieval.analysis import content_terms

LONGEST_TEXT = 20_000
"""Characters of a comment, reason or edited answer."""
_MARKED = re.compile(r"\[c\d{1,4}\]")
Json = dict[str, Any]


class ReviewDesk:
    """What reviewers and admins do. Every method raises Forbidden for others, and NotFound for an unknown review."""

    def __init__(self, reviews: Reviews, answers: Answers, corpus: Corpus, keys: Keys, book: PolicyBook) -> None:
        self._book = book
        self._reviews = reviews
        self._answers = answers
        self._corpus = corpus
        self._keys = keys

    def items(
        self,
        actor: Principal,
        *,
        limit: int,
        state: str | None = None,
        mine: bool = False,
        before: str | None = None,
    ) -> list[Json]:
        """Reviews, newest first, without their texts; `mine`: those that are assigned to `actor`."""
        _check(actor)
        if state is not None and state not in STATES:
            raise InvalidInput(f"a review is {', '.join(STATES[:-1])} or {STATES[-1]}, not {state!r}")
        assignee = actor.id if mine else None
        found = self._reviews.items(limit=limit, state=state, assignee=assignee, before=before)
        return [review_json(one) for one in found]

    def show(self, review_id: str, actor: Principal) -> Json:
        """A review with the draft, the text that approvals are of now, and every step with its texts."""
        _check(actor)
        review, events = self._reviews.get(review_id), self._reviews.events(review_id)
        record = self._record(review)
        edit = edit_in_force(events)
        return review_json(review) | {
            "answer": dict(record.body),
            "edit": edit.payload.get("edited") if edit is not None else None,
            "text_of": "" if edit is None else str(edit.leaf),
            "events": [_event_json(event) for event in events],
        }

    def assign(self, review_id: str, key_id: str, actor: Principal) -> Json:
        """Give a review to a key of role reviewer or admin, other than the asker's."""
        _check(actor)
        review = self._reviews.get(review_id)
        if key_id == review.asker:
            raise InvalidInput("who asked a question cannot review its answer: assign another person")
        if key_id != LOCAL_OWNER.id and not self._may_review(key_id):
            raise InvalidInput(f"{key_id} is no key of role reviewer or admin that holds; see: vouch keys list")
        return review_json(self._reviews.step(review_id, ASSIGNED, actor.id, {}, assignee=key_id))

    def comment(self, review_id: str, text: str, actor: Principal) -> Json:
        """Add a comment; decided reviews take them too."""
        _check(actor)
        return review_json(self._reviews.step(review_id, COMMENTED, actor.id, {"comment": plain_text(text, "comment")}))

    def approve(self, review_id: str, actor: Principal, comment: str = "", text_of: str | None = None) -> Json:
        """Approve the text as it is. `text_of`, of what `show` gave, guards against approving another one unseen."""
        _check(actor)
        payload = {"comment": plain_text(comment, "comment", empty=True)}
        return review_json(self._reviews.step(review_id, APPROVED, actor.id, payload, text_of=text_of))

    def reject(self, review_id: str, reason: str, actor: Principal) -> Json:
        """Reject the answer. The asker is told the reason."""
        _check(actor)
        return review_json(self._reviews.step(review_id, REJECTED, actor.id, {"reason": plain_text(reason, "reason")}))

    def edit(self, review_id: str, text: str, actor: Principal, comment: str = "") -> Json:
        """Put another text in place of the answer's: grounded again in the same passages, which it may cite as `[c1]`.

        Raises InvalidInput where those support nothing of it, Conflict where they were erased.
        """
        _check(actor)
        review = self._reviews.get(review_id)
        if actor.id == review.asker:
            raise Forbidden("who asked a question cannot decide on its answer: another person must")
        if review.state != OPEN:
            raise Conflict(f"the review is {review.state}: nothing more can be decided")
        record = self._record(review)
        edited = grounded_edit(plain_text(text, "text"), self._evidence(record), record.body["confidence"])
        payload = {"edited": edited, "comment": plain_text(comment, "comment", empty=True)}
        return review_json(self._reviews.step(review_id, EDITED, actor.id, payload))

    def open_withdrawn(self, connection: Any, answer_numbers: Sequence[int], reason: str) -> list[str]:
        """Open reviews of answers that something was withdrawn from under, as the policy's `impact` section asks for
        it; their ids. Called in the transaction of the withdrawal, after it; `reason` is told to the reviewers.
        """
        terms = self._book.in_force().policy.impact.review
        if terms is None:
            return []
        numbers = self._reviews.worth_a_look(
            connection, answer_numbers, terms.confidence_at_least, cited_only=terms.cited_only
        )
        approvals, hours = terms.approvals, terms.deadline_hours
        return self._reviews.open(
            connection, numbers, WITHDRAWN, approvals=approvals, deadline_hours=hours, note=reason
        )

    def _record(self, review: Review) -> AnswerRecord:
        return next(self._answers.records([review.answer_number]))

    def _may_review(self, key_id: str) -> bool:
        moment = datetime.now(UTC)
        return any(
            key.id == key_id
            and key.role.oversees
            and key.revoked_at is None
            and (key.expires_at is None or key.expires_at > moment)
            for key in self._keys.items()
        )

    def _evidence(self, record: AnswerRecord) -> Evidence:
        """The passages that the answer was made from, from the store."""
        if record.erased:
            raise Conflict("the answer was erased: there is nothing to edit")
        ids = [item["chunk_id"] for item in record.run["context"]]
        rows = {name: row["row"] for name, row in self._answers.chain(ids).items()}
        stored = self._corpus.passages(list(rows.values()))
        if any(name not in rows or rows[name] not in stored for name in ids):
            raise Conflict("a passage of the answer was erased: it can be rejected, not edited")
        notices = _notices(record.body)
        passages = []
        for name in ids:
            passage, spans = stored[rows[name]]
            sentences = tuple(SentenceScore(span.start, span.end, 0.0) for span in spans)
            passages.append(replace(passage, sentences=sentences, notices=notices.get(passage.document_id, ())))
        return Evidence(record.body["retrieval"]["snapshot"], tuple(passages))


def grounded_edit(text: str, evidence: Evidence, confidence: float) -> Json:
    """A reviewer's text as the body of an answer. A sentence without a mark cites the passage that says most of it.
    Nothing is searched for anew, so it is as sure as the answer was, `confidence`, as far as its sentences hold.

    Raises InvalidInput where the passages support nothing of it.
    """
    made = ground(Generation(_cited(text, evidence.passages)), evidence)
    if not made.answer:
        raise InvalidInput(
            f"{made.reason or 'the text is empty'} Write what the passages say, cite them as [c1], [c2], … in the "
            "order in which the answer has them, or reject the answer with a reason"
        )
    status = made.status if made.status in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL) else AnswerStatus.PARTIAL
    return {
        "status": status.value,
        "reason": made.reason,
        "answer": made.answer,
        "confidence": round(confidence * support_of(made), 4),
        "sentences": [asdict(sentence) for sentence in made.sentences],
        "citations": [citation_json(citation) for citation in made.citations],
        "conflicts": [asdict(conflict) for conflict in made.conflicts],
        "notices": [asdict(notice) for notice in made.notices],
    }


def review_json(review: Review) -> Json:
    """A review as listings show it."""
    shown = ("id", "answer_id", "reason", "state", "approvals", "assignee", "deadline", "decided_at", "created_at")
    return {name: getattr(review, name) for name in shown}


def _event_json(event: ReviewEvent) -> Json:
    texts = {name: event.payload.get(name) for name in ("comment", "reason", "assignee")}
    return {"index": event.leaf, "kind": event.kind, "actor": event.actor, "created_at": event.created_at} | {
        name: value for name, value in texts.items() if value
    }


def _cited(text: str, passages: Sequence[Passage]) -> str:
    if _MARKED.search(text) or not passages:
        return text
    terms = [set(content_terms(f"{passage.title} {passage.text}")) for passage in passages]
    marked = []
    for start, end in sent_spans(text):
        sentence = text[start:end].strip()
        wanted = set(content_terms(sentence))
        best = max(range(len(passages)), key=lambda place: (len(wanted & terms[place]), -place))
        marked.append(f"{sentence} [c{best + 1}]" if sentence else "")
    return " ".join(one for one in marked if one)


def _notices(body: Mapping[str, Any]) -> dict[str, tuple[Notice, ...]]:
    """What the recorded answer said of the standing of the documents that it cited."""
    return {
        citation["document_id"]: tuple(Notice(**notice) for notice in citation["notices"])
        for citation in body["citations"]
    }


def _check(actor: Principal) -> None:
    if not actor.role.oversees:
        raise Forbidden("reviewing needs a key of role reviewer or admin")


def plain_text(text: str, what: str, *, empty: bool = False) -> str:
    """What somebody said, without blanks around it. Raises InvalidInput that names `what` for what cannot be kept."""
    text = text.strip()
    if not text and not empty:
        raise InvalidInput(f"the {what} is empty")
    if len(text) > LONGEST_TEXT:
        raise InvalidInput(f"the {what} is longer than {LONGEST_TEXT} characters")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidInput(f"the {what} holds characters that are not text")
    return text
