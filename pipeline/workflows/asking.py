"""Asking people from within a run: opening a task once, what became of it, and what its clock asks for.

A step that asks returns `Waits("person", ref, until)` and comes back when somebody decided or `until` passed. Nothing
waits in memory: the task is a row, and a decision, a sweep or the next turn of the run takes it further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from kernel.errors import InvalidInput
from kernel.ids import canonical_json
from kernel.storage.rows import now
from kernel.storage.runs import Run
from kernel.storage.task_journal import (
    DECISIONS,
    ENDS,
    ESCALATED,
    EXPIRED,
    OPEN,
    QUESTION,
    REVIEW,
    NewTask,
    Task,
    TaskEvent,
    effect_sha256,
)
from kernel.storage.tasks import Tasks
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.steps.base import Call, Json

DEADLINE = 14 * 86400.0
"""Seconds that people have where the spec names no deadline."""
LONGEST = 400_000
"""Bytes of what a task shows, of its form, values and effects, each as canonical JSON."""
UNATTENDED = "workflow:"
"""How the principals of runs begin that nobody started by hand: nobody can be asked there but those of a role."""


def _later(_run: Run, _seconds: float) -> None:
    """The sweep of runs submits it."""


class Notifier(Protocol):
    """Tells people that something waits for them; the inbox shows it in any case."""

    def tell(self, to: str, subject: str, text: str) -> None:
        """`to` is the id of a person's key, or `role:reviewer`. Never raises: nothing depends on it."""
        ...


class InboxOnly:
    """Tells nobody: people look into the inbox."""

    def tell(self, to: str, subject: str, text: str) -> None:
        """The inbox shows it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a step asks. `values` is the draft of the form; durations are seconds, `remind` and `escalate` before the
    deadline.
    """

    about: str
    sort: str = REVIEW
    shown: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)
    role: str = "reviewer"
    person: str = ""
    deadline: float = DEADLINE
    remind: Sequence[float] = ()
    escalate: float | None = None
    escalate_to: str = ""
    delegate: bool = True


class Asks:
    """Opens tasks for steps, and tells steps what became of them."""

    def __init__(
        self, tasks: Tasks, submit: Callable[[Run, float], None] = _later, notifier: Notifier | None = None
    ) -> None:
        """`submit` has the engine go on with a run; without it, the sweep of runs does so a little later."""
        self._tasks = tasks
        self._submit = submit
        self._notifier = notifier or InboxOnly()

    def ask(self, call: Call, request: Request, part: str = "") -> str:
        """Open a task for a call, once however often it is tried; its id. `part` tells several of one call apart.

        Raises InvalidInput for what is too large to be shown, or a draft that its form does not take.
        """
        for name in ("shown", "form", "values", "effects", "against"):
            check_json(f"step {call.step.id}: {name}", getattr(request, name))
        opened, new = self._tasks.open(_new_task(call, request, part))
        if new:
            self._tell(opened, f"{_what(opened)} waits for you", "")
        return opened.id

    def open(
        self,
        call: Call,
        title: str,
        form: Mapping[str, Any],
        shown: Mapping[str, Any],
        sort: str = QUESTION,
        part: str | None = None,
        seconds: float = DEADLINE,
    ) -> str:
        """Open a question to who started the run, or a review (`sort`) by any reviewer; the task's id.

        One call may ask several times: its notes so far tell those apart, unless `part` does.
        """
        asked = Request(title, sort, shown, form, drafts_of(form), deadline=seconds)
        return self.ask(call, asked, str(len(call.notes)) if part is None else part)

    def decision(self, ref: str) -> Json | None:
        """What became of a task; None while it is open. Expiry, reminders and escalations that are due happen first.

        `state` and `decision` are approved, rejected, answered, expired or cancelled; `effects` gives, by step, the
        hash of what that may be given.
        """
        self.tend(ref)
        found, _, events = self._tasks.whole(ref)
        if found.state == OPEN:
            return None
        last = next((one for one in reversed(events) if one.kind in ENDS), None)
        said = last.payload if last is not None else {}
        return {
            "state": found.state,
            "decision": found.state,
            "values": said.get("values", {}),
            "comment": said.get("comment", ""),
            "by": last.actor if last is not None and found.state in DECISIONS else "",
            "at": said.get("at", found.decided_at),
            "task": found.id,
            "effects": said.get("effects", {}),
        }

    def until(self, ref: str) -> str | None:
        """When something is next to be done with a task: what a step waits for at the latest."""
        return self._tasks.get(ref).next_at

    def tend(self, ref: str, moment: str | None = None) -> list[str]:
        """Do all that is due of one task; what was done."""
        done: list[str] = []
        while self._tasks.due(moment, ref) and (tended := self._tasks.tend(ref, moment)) is not None:
            event, woken = tended
            done.append(event.kind)
            self._told(self._tasks.get(ref), event)
            if woken is not None:
                self._submit(woken, 0.0)
        return done

    def _told(self, found: Task, event: TaskEvent) -> None:
        words = {EXPIRED: "was not decided in time", ESCALATED: "was passed on to you"}
        said = words.get(event.kind, f"waits for you until {found.deadline}")
        self._tell(found, f"{_what(found)} {said}", "", event.payload.get("role", ""))

    def _tell(self, found: Task, subject: str, text: str, role: str = "") -> None:
        to = f"role:{role}" if role else found.assignee or f"role:{found.role}"
        self._notifier.tell(to, subject, text or f"vouch reviews show {found.id}")


class Watch:
    """What is to be done with tasks as time passes. Any number of workers may call it: each thing happens once."""

    def __init__(self, tasks: Tasks, asks: Asks) -> None:
        self._tasks = tasks
        self._asks = asks

    def sweep(self, moment: str | None = None) -> dict[str, int]:
        """Remind, escalate and expire what is due by a moment (default: now), and close the tasks of runs that are
        finished; how many of each.
        """
        counts: dict[str, int] = {}
        for task_id in self._tasks.due(moment):
            for kind in self._asks.tend(task_id, moment):
                counts[kind] = counts.get(kind, 0) + 1
        for run_id in self._tasks.orphaned():
            counts["cancelled"] = counts.get("cancelled", 0) + len(self._tasks.cancel_run(run_id))
        return counts


def check_json(name: str, value: Mapping[str, Any]) -> None:
    """Raises InvalidInput for what cannot be stored or hashed as JSON, or is more than anybody reads."""
    try:
        size = len(canonical_json(value))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}") from error
    if size > LONGEST:
        raise InvalidInput(f"{name} is longer than {LONGEST:,} bytes, more than a person can review")


def drafts_of(form: Mapping[str, Any]) -> Json:
    """The values that a form begins with: the defaults of its members."""
    members = form.get("properties", {})
    return {name: one["default"] for name, one in members.items() if isinstance(one, Mapping) and "default" in one}


def values_of(form: Mapping[str, Any], given: Mapping[str, Any]) -> Json:
    """The values of a filled-in form: those given over its drafts. Raises InvalidInput for what it does not take."""
    unknown = sorted(set(given) - set(form.get("properties", {}))) if not form.get("additionalProperties") else []
    if unknown:
        names = ", ".join(sorted(form.get("properties", {}))) or "nothing"
        raise InvalidInput(f"the form has no {unknown[0]!r}; it takes {names}")
    values = drafts_of(form) | dict(given)
    check_json("the form", values)
    faults = schema_faults(values, form)
    if faults:
        raise InvalidInput(f"the form does not take this: {'; '.join(faults)}")
    return values


def effects_json(effects: Mapping[str, Any]) -> list[Json]:
    """What will happen, a step at a time, each with the hash that an approval names."""
    return [{"step": step, "sha256": effect_sha256(given), "with": given} for step, given in sorted(effects.items())]


def covered(decision: Mapping[str, Any], step: str, given: Mapping[str, Any]) -> bool:
    """Whether the decision of a review step lets `step` act with exactly this filled-in `with`."""
    approved = decision.get("decision") == "approved"
    return approved and decision.get("effects", {}).get(step) == effect_sha256(given)


def _what(found: Task) -> str:
    return f"{'A question' if found.sort == QUESTION else 'A review'} of {found.workflow}, step {found.step},"


def _new_task(call: Call, request: Request, part: str) -> NewTask:
    """A question goes to who started the run by hand, and to reviewers; a review to its person, or to its role."""
    starter, question = call.principal.id, request.sort == QUESTION
    person = request.person or (starter if question and not starter.startswith(UNATTENDED) else "")
    begin = now()
    deadline = _after(begin, request.deadline)
    before = request.escalate if request.escalate is not None else request.deadline / 4
    return NewTask(
        sort=request.sort,
        run_id=call.run_id,
        workflow=call.workflow,
        spec=call.pins.spec,
        step=call.step.id,
        key=f"{call.key}:{part}" if part else call.key,
        starter=starter,
        deadline=deadline,
        about=request.about,
        role="" if person and not question else request.role,
        person=person,
        holders=request.role,
        shown=dict(request.shown),
        form=dict(request.form),
        values=dict(request.values),
        effects=dict(request.effects),
        against=dict(request.against),
        remind=[moment for one in request.remind if (moment := _after(deadline, -one)) > begin],
        escalate_at=max(begin, _after(deadline, -before)) if request.escalate_to else "",
        escalate_to=request.escalate_to,
        delegate=request.delegate,
        stakes=call.stakes,
    )


def _after(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")
