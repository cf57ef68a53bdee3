"""One inbox for all that waits for people: answers that a policy holds back, and what runs of workflows ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.errors import InvalidInput, NotFound
from kernel.records import Principal
from kernel.storage import reviews as of_answers
from kernel.storage import task_journal as of_runs
from pipeline.oversight.reviews import ReviewDesk
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.steps.base import Json

ANSWER = "answer"
SORTS = (ANSWER, *of_runs.SORTS)
"""What waits: an answer; a review or a question of a run."""
STATES = tuple(dict.fromkeys((*of_answers.STATES, *of_runs.STATES)))
REVIEW, TASK = "rev_", "tsk_"


class Inbox:
    """Both desks as one. Ids say which of them something belongs to."""

    def __init__(self, answers: ReviewDesk, people: PeopleDesk) -> None:
        self._answers = answers
        self.people = people

    def items(
        self,
        actor: Principal,
        *,
        limit: int,
        state: str | None = None,
        mine: bool = False,
        run_id: str | None = None,
        sort: str | None = None,
        before: str | None = None,
    ) -> list[Json]:
        """What waits or waited, newest first, without its texts; before an id. Answers are listed for who oversees; the
        others see what they may decide on themselves.
        """
        for name, value, known in (("state", state, STATES), ("sort", sort, SORTS)):
            if value is not None and value not in known:
                raise InvalidInput(f"{name} is one of {', '.join(known)}, not {value!r}")
        found: list[Json] = []
        place = None if before is None else before.partition("_")[2]
        answers = actor.role.oversees and run_id is None and sort in (None, ANSWER)
        if answers and (state is None or state in of_answers.STATES):
            last = None if place is None else f"{REVIEW}{place}"
            found += self._answers.items(actor, limit=limit, state=state, mine=mine, before=last)
        if sort != ANSWER and (state is None or state in of_runs.STATES):
            last = None if place is None else f"{TASK}{place}"
            found += self.people.items(
                actor, limit=limit, state=state, mine=mine, run_id=run_id, sort=sort, before=last
            )
        return sorted(found, key=lambda one: str(one["id"]).partition("_")[2], reverse=True)[:limit]

    def show(self, item_id: str, actor: Principal) -> Json:
        """All that is needed to decide."""
        return self._desk(item_id).show(item_id, actor)

    def assign(self, item_id: str, key_id: str, actor: Principal) -> Json:
        """Give it to a person."""
        return self._desk(item_id).assign(item_id, key_id, actor)

    def comment(self, item_id: str, text: str, actor: Principal) -> Json:
        """Add a comment."""
        return self._desk(item_id).comment(item_id, text, actor)

    def approve(
        self,
        item_id: str,
        actor: Principal,
        comment: str = "",
        *,
        text_of: str | None = None,
        seen: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Json:
        """Approve it: an answer as its text stands (`text_of`), a task of a run as it was `seen`, with `values`."""
        if item_id.startswith(TASK):
            if text_of is not None:
                raise InvalidInput("text_of is for reviews of answers; of a run's, seen names what you approve")
            return self.people.approve(item_id, actor, seen, values, comment)
        if seen is not None or values:
            raise InvalidInput("seen and values are for what runs ask; an answer is changed by an edit")
        return self._of_answers(item_id).approve(item_id, actor, comment, text_of)

    def reject(self, item_id: str, reason: str, actor: Principal) -> Json:
        """Reject it with a reason."""
        return self._desk(item_id).reject(item_id, reason, actor)

    def edit(self, item_id: str, text: str, actor: Principal, comment: str = "") -> Json:
        """Put another text in an answer's place. Raises InvalidInput for a task, which is approved with values."""
        if item_id.startswith(TASK):
            raise InvalidInput("what a run asks is edited by approving it with other values of its form")
        return self._of_answers(item_id).edit(item_id, text, actor, comment)

    def _desk(self, item_id: str) -> ReviewDesk | PeopleDesk:
        if item_id.startswith(TASK):
            return self.people
        return self._of_answers(item_id)

    def _of_answers(self, item_id: str) -> ReviewDesk:
        if not item_id.startswith(REVIEW):
            raise NotFound(f"no review {item_id}")
        return self._answers
