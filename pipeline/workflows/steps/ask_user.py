"""Kind `question`: a clarifying question to who started the run. Nothing is approved by it, so who asked may answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from kernel.storage.task_journal import ANSWERED, QUESTION
from pipeline.workflows.asking import DEADLINE, Asks, Request, drafts_of
from pipeline.workflows.spec import Duration, Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, Waits
from pipeline.workflows.steps.review import Form, Person, Reminders, Text, decision_schema, ended, waiting

ANSWER: Mapping[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 1, "maxLength": 20_000}},
    "required": ["answer"],
    "additionalProperties": False,
}
"""The form of a question that names none."""


class QuestionWith(Strict):
    """What a step of kind `question` reads."""

    question: Text
    show: dict[str, Any] = Field(default_factory=dict)
    form: Form = Field(default_factory=lambda: dict(ANSWER))
    person: Person | None = None
    deadline: Duration = DEADLINE
    remind: Reminders = Field(default_factory=list)


class Question(Plain):
    """Waits for an answer of who started the run; of a run that nobody started, of any reviewer."""

    name: ClassVar[str] = "question"
    With: ClassVar[type[Strict]] = QuestionWith

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    def output(self, step: Step) -> Mapping[str, Any]:
        """The answer, as `values` of the form."""
        form = step.with_.get("form")
        return decision_schema(form if isinstance(form, Mapping) else ANSWER, (ANSWERED,))

    def run(self, given: QuestionWith, call: Call) -> Done | Waits:
        """Put the question."""
        asked = Request(
            about=given.question,
            sort=QUESTION,
            shown=given.show,
            form=given.form,
            values=drafts_of(given.form),
            person=given.person or "",
            deadline=given.deadline,
            remind=given.remind,
        )
        return waiting(self._asks, self._asks.ask(call, asked))

    def resume(self, given: QuestionWith, call: Call, waited: Waits) -> Done | Waits:
        """Go on once there is an answer. Raises StepFailed (`expired`, `cancelled`) where none came."""
        return ended(self._asks, waited, call, (ANSWERED,), lambda: self.run(given, call))
