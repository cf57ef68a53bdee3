"""Kind `review`: a person sees what is about to happen, may edit the draft, and approves or rejects it.

What an approval covers is bound by hashes: `effects` of the output gives, for each step that acts on this approval, the
SHA-256 of the filled-in `with` that it may act with, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kernel.storage.task_journal import APPROVED, CANCELLED
from pipeline.workflows.asking import DEADLINE, Asks, Request, drafts_of
from pipeline.workflows.spec import Duration, Id, Schema, Step, Strict
from pipeline.workflows.steps.base import Call, Done, Json, Plain, StepFailed, Used, Waits

Person = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
Holder = Literal["editor", "reviewer", "admin"]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _of_an_object(form: dict[str, Any]) -> dict[str, Any]:
    if form.get("type") != "object" or not isinstance(form.get("properties", {}), dict):
        raise ValueError("a form is the schema of an object: type: object, properties: …")
    return form


Form = Annotated[Schema, AfterValidator(_of_an_object)]
Reminders = Annotated[list[Duration], BeforeValidator(_listed), Field(max_length=10)]
"""How long before the deadline; one, or a list."""


class ReviewWith(Strict):
    """What a step of kind `review` reads."""

    about: Text
    show: dict[str, Any] = Field(default_factory=dict)
    against: dict[str, Any] = Field(default_factory=dict)
    """By name of `show` or of the form, a text to compare with, such as the former run's."""
    form: Form = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """A JSON Schema of an object; the defaults of its members are the draft that the reviewer may edit."""
    effects: Annotated[list[Id], Field(max_length=20)] = Field(default_factory=list)
    role: Holder = "reviewer"
    person: Person | None = None
    deadline: Duration = DEADLINE
    remind: Reminders = Field(default_factory=list)
    escalate: Duration | None = None
    escalate_to: Annotated[str, Field(pattern=r"^(?:editor|reviewer|admin|key_[0-9a-z]{10,40})$")] | None = None
    delegate: bool = True

    @model_validator(mode="after")
    def _in_time(self) -> ReviewWith:
        late = [one for one in (*self.remind, self.escalate or 0.0) if one >= self.deadline]
        if late:
            raise ValueError("reminders and escalation come before the deadline: give less time than it")
        return self


class Review(Plain):
    """Waits for a person's decision on what is about to happen."""

    name: ClassVar[str] = "review"
    With: ClassVar[type[Strict]] = ReviewWith

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    def output(self, step: Step) -> Mapping[str, Any]:
        """A decision, and the values of the form as they were approved."""
        form = step.with_.get("form")
        return decision_schema(form if isinstance(form, Mapping) else {"type": "object"}, ("approved",))

    def run(self, given: ReviewWith, call: Call) -> Done | Waits:
        """Open the task. Raises StepFailed where it cannot be told what would happen."""
        values = drafts_of(given.form)
        effects = dict(call.preview(decided(values))) if given.effects else {}
        missing = sorted(set(given.effects) - effects.keys())
        if missing:
            raise StepFailed(f"what step {missing[0]} would do cannot be told in advance", slug="preview")
        asked = Request(
            about=given.about,
            shown=given.show,
            form=given.form,
            values=values,
            effects=effects,
            against=given.against,
            role=given.role,
            person=given.person or "",
            deadline=given.deadline,
            remind=given.remind,
            escalate=given.escalate,
            escalate_to=given.escalate_to or "",
            delegate=given.delegate,
        )
        return waiting(self._asks, self._asks.ask(call, asked))

    def resume(self, given: ReviewWith, call: Call, waited: Waits) -> Done | Waits:
        """Go on once it is decided. Raises StepFailed (`rejected`, `expired`, `cancelled`) with what was said."""
        return ended(self._asks, waited, call, (APPROVED,), lambda: self.run(given, call))


def decided(values: Mapping[str, Any]) -> Json:
    """A decision as it is not yet: what depends on who decides and when is empty until somebody does."""
    return {
        "decision": APPROVED,
        "values": dict(values),
        "comment": "",
        "by": "",
        "at": "",
        "task": "",
        "effects": {},
    }


def waiting(asks: Asks, ref: str) -> Waits:
    """Wait for a task."""
    return Waits("person", ref, asks.until(ref), Used(refs={"tasks": (ref,)}))


def ended(
    asks: Asks, waited: Waits, call: Call, good: tuple[str, ...], again: Callable[[], Done | Waits]
) -> Done | Waits:
    """The output of a step whose task ended in one of the `good` states; waits on where it has not. A task that was
    closed with its run is opened `again` where the run was resumed since.
    """
    ref = waited.ref
    made = asks.decision(ref)
    if made is None:
        return waiting(asks, ref)
    if made["state"] == CANCELLED:
        opened = again()
        if isinstance(opened, Waits) and opened.ref != ref:
            return opened
    output = {name: value for name, value in made.items() if name != "state"}
    if made["state"] in good:
        return Done(output, Used(refs={"tasks": (ref,)}))
    said = f": {made['comment']}" if made["comment"] else ""
    raise StepFailed(f"step {call.step.id}: the task was {made['state']}{said}", slug=made["state"], output=output)


def decision_schema(form: Mapping[str, Any], states: tuple[str, ...]) -> Json:
    """The JSON Schema of a decision over a form."""
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "decision": {"enum": list(states)},
            "values": dict(form),
            "comment": text,
            "by": text,
            "at": text,
            "task": text,
            "effects": {"type": "object", "additionalProperties": text},
        },
        "required": ["decision", "values", "comment", "by", "at", "task", "effects"],
        "additionalProperties": False,
    }
