"""What depends on a thing, taking documents back, and asking again what stood on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from graph.names import name_key
from kernel.errors import InvalidInput, NotFound, VouchError
from kernel.records import Principal
from kernel.storage.access import OnStale, Withdrawals
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.impact import Affected, Impact, Of, Scope
from kernel.storage.stale import Stale
from pipeline.answering import Answering
from pipeline.oversight.differences import text_diff
from pipeline.oversight.replay import question_of

PARTS = ("chunks", "edges", "snapshots", "answers")
LONGEST_REASON = 2000
MOST_REASKED = 1000
"""Questions that one call asks again at most."""

Json = dict[str, Any]


def open_no_reviews(connection: Any, numbers: Sequence[int], reason: str) -> None:
    """What is told of answers that become stale, where nobody reviews."""
    del connection, numbers, reason


class ImpactDesk:
    """Reports on what depends on a scope, withdraws and restores documents, and asks affected questions again.

    `answering` gives what asks again, made only when it is needed. `open_reviews(connection, answer indexes, reason)`
    is called in the transaction of each withdrawal.
    """

    def __init__(
        self,
        impact: Impact,
        withdrawals: Withdrawals,
        stale: Stale,
        answers: Answers,
        answering: Callable[[], Answering],
        open_reviews: Any = open_no_reviews,
    ) -> None:
        self._impact = impact
        self._withdrawals = withdrawals
        self._stale = stale
        self._answers = answers
        self._answering = answering
        self._open_reviews = open_reviews

    def report(self, scope: Scope, limit: int = 20) -> Json:
        """Counts of what depends on the scope, and the first page of each kind; of answers the newest."""
        scope = named(scope)
        counts = self._impact.counts(scope)
        pages = {part: self.page(scope, part, limit) for part in PARTS}
        answers = counts["answers"]["count"]
        return {
            "of": {"kind": scope.of.value, "name": scope.name},
            "withdrawn": self._impact.withdrawn(scope) if scope.of in (Of.DOCUMENT, Of.SOURCE) else 0,
            **{part: counts[part] | pages[part] for part in PARTS},
            "runs": {"count": answers},
        }

    def page(self, scope: Scope, part: str, limit: int, cursor: int | None = None) -> Json:
        """One page of a kind of dependents: `{"items", "next_cursor"}`. Raises InvalidInput for an unknown kind."""
        scope = named(scope)
        more = limit + 1
        if part == "answers":
            found = [affected_json(one) for one in self._impact.answers(scope, more, cursor)]
            return _page(found, limit, "index")
        if part == "snapshots":
            numbers = self._impact.snapshots(scope, more, cursor or 0)
            return _page([{"number": number} for number in numbers], limit, "number")
        if part in ("chunks", "edges"):
            list_part = self._impact.chunks if part == "chunks" else self._impact.edges
            page = _page(list_part(scope, more, cursor or 0), limit, "row")
            return page | {"items": [{k: v for k, v in item.items() if k != "row"} for item in page["items"]]}
        raise InvalidInput(f"no part {part!r}; there are {', '.join(PARTS)}")

    def withdraw(self, scope: Scope, reason: str, by: Principal) -> Json:
        """Hide the scope's documents from every question from now on, and mark the answers that stood on them.

        Raises InvalidInput without a reason or for what is no document or source, Conflict where all were withdrawn.
        """
        reason = checked_reason(reason)
        marked: list[int] = []

        def on_stale(connection: Any, numbers: Sequence[int]) -> None:
            marked.extend(numbers)
            self._open_reviews(connection, numbers, reason)

        documents = self._documents(scope)
        hook: OnStale = on_stale
        leaf, fresh = self._withdrawals.withdraw(documents, {"reason": reason, "by": by.id}, hook)
        return {"leaf": leaf, "documents": fresh, "stale_answers": len(marked), "reason": reason}

    def restore(self, scope: Scope, reason: str, by: Principal) -> Json:
        """Show the scope's documents again; with that the marks of answers end. Raises as `withdraw` does."""
        reason = checked_reason(reason)
        leaf, back = self._withdrawals.restore(self._documents(scope), {"reason": reason, "by": by.id})
        return {"leaf": leaf, "documents": back, "reason": reason}

    def _documents(self, scope: Scope) -> list[str]:
        found = self._impact.documents(scope)
        if not found:
            raise NotFound(f"{scope.of.value} {scope.name!r} has no documents")
        return found

    def reask(self, scope: Scope, limit: int = MOST_REASKED) -> Iterator[Json]:
        """Ask what is stale for want of the scope's documents again, each as who asked it; what came of each, in turn.

        A question that someone asked several times, with the same settings, is asked once, for the newest of its
        answers. One that was asked again since the withdrawal is not asked once more.
        """
        for record, others in self._to_reask(scope)[:limit]:
            question = question_of(record)
            label = record.body["prompt"]["label"]
            prompt = f"{question.prompt}@{label}" if label else question.prompt
            shown: Json = {"answer_id": record.id, "also": others, "question": question.text}
            try:
                made = self._answering().ask(replace(question, prompt=prompt), reask_of=record.id)
            except VouchError as error:
                yield shown | {"new_id": None, "error": str(error), "same": False, "diff": []}
                continue
            yield shown | {
                "new_id": made["id"],
                "error": None,
                "status": [record.body["status"], made["status"]],
                "same": (record.body["status"], record.body["answer"]) == (made["status"], made["answer"]),
                "diff": text_diff(record.body["answer"], made["answer"]),
            }

    def _to_reask(self, scope: Scope) -> list[tuple[AnswerRecord, list[str]]]:
        """The newest stale answer of each question and asker, with the older ones, and without those asked again."""
        numbers = self._stale.numbers(self._documents(scope))
        found: dict[tuple[Any, ...], tuple[AnswerRecord, list[str]]] = {}
        for record in sorted(self._answers.records(numbers), key=lambda one: -one.number):
            if record.erased:
                continue
            key = same_question(record)
            if key in found:
                found[key][1].append(record.id)
            else:
                found[key] = (record, [])
        done = self._answers.reasked([record.id for record, _ in found.values()])
        return [pair for pair in found.values() if pair[0].id not in done]


def named(scope: Scope) -> Scope:
    """The scope with the name that the store knows: entities go by their normalised name."""
    return replace(scope, name=name_key(scope.name) or scope.name) if scope.of == Of.ENTITY else scope


def checked_reason(reason: str) -> str:
    """A reason for the record. Raises InvalidInput where there is none, or it is too long."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise InvalidInput(f"a reason is needed, of at most {LONGEST_REASON} characters: it goes on record")
    return reason


def same_question(record: AnswerRecord) -> tuple[Any, ...]:
    """What two answers have in common that asked the same of the same documents for the same person."""
    body, run = record.body, record.run
    asked = (body["question"], body["retrieval"]["as_of"], body["prompt"]["name"])
    return (*asked, run["principal"]["id"], run["settings"]["top_k"], run.get("stakes"))


def affected_json(affected: Affected) -> Json:
    """An answer as an impact lists it."""
    return {**asdict(affected.answer), "cited": affected.cited}


def _page(items: Sequence[Mapping[str, Any]], limit: int, name: str) -> Json:
    shown = [dict(item) for item in items[:limit]]
    return {"items": shown, "next_cursor": shown[-1][name] if len(items) > limit else None}
