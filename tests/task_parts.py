"""Tasks of runs for tests: calls of steps that nobody runs, a desk with its parts, and tasks in every state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.assembly import Workspace
from kernel.records import Principal, Role
from kernel.storage.task_figures import TaskFigures
from kernel.storage.tasks import Tasks
from pipeline.workflows.asking import Asks, Watch
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import Call, Done, Pins, Waits
from pipeline.workflows.steps.review import Review, ReviewWith

STARTER = Principal("key_starter", Role.APP)
AUTHOR = Principal("key_author", Role.REVIEWER)
ONE = Principal("key_one", Role.REVIEWER)
TWO = Principal("key_two", Role.REVIEWER)
BOSS = Principal("key_boss", Role.ADMIN, None)
SPEC = "5" * 64
FORM = {
    "type": "object",
    "properties": {"reply": {"type": "string", "minLength": 3, "default": "Dear Ann,\nall is well."}},
    "required": ["reply"],
}
GIVEN: dict[str, Any] = {
    "about": "The reply to Ann",
    "show": {"ticket": "Where is my parcel?"},
    "form": FORM,
    "effects": ["send"],
}


def send(_run: str, _step: str, output: Mapping[str, Any]) -> dict[str, Any]:
    """What the step `send` would be given."""
    return {"send": {"to": "ann@example.org", "text": output["values"]["reply"]}}


def call_of(
    run_id: str = "run_1",
    step: str = "look",
    starter: Principal = STARTER,
    preview: Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]] = send,
    notes: int = 0,
) -> Call:
    """A try at a step of a run."""
    return Call(
        run_id=run_id,
        workflow="triage",
        mode="live",
        principal=starter,
        pins=Pins(SPEC, "p", 1, 0, "m"),
        step=Step(id=step, kind="review"),
        item=None,
        attempt=1,
        key=f"{run_id}:{step}:",
        stakes="medium",
        visible={},
        preview=lambda output: preview(run_id, step, output),
        notes=[{}] * notes,
        note=lambda kind, data: None,
        left=lambda: 60.0,
    )


@dataclass
class Told:
    """Keeps what people were told, and which runs were woken."""

    said: list[tuple[str, str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def tell(self, to: str, subject: str, text: str) -> None:
        del text
        self.said.append((to, subject))


class Office:
    """A desk over a workspace's tasks, with a preview and a wake-up of its own."""

    def __init__(self, made: Workspace, preview: Callable[..., Mapping[str, Any]] = send) -> None:
        self.tasks = Tasks(made.database)
        self.told = Told()
        self.preview: Callable[..., Mapping[str, Any]] = preview
        self.asks = Asks(self.tasks, self.told)
        self.watch = Watch(self.tasks, self.asks, self.told.runs.append)
        self.review = Review(self.asks)
        self.desk = PeopleDesk(
            self.tasks,
            made.keys,
            self.asks,
            preview=self._previewed,
            wake=self.told.runs.append,
            authors=_authors,
            evidence=lambda _answer, _who: None,
            figures=TaskFigures(made.database),
            notifier=self.told,
        )

    def _previewed(self, run: str, step: str, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `preview` is now: tests change it."""
        return self.preview(run, step, output)

    def put(self, call: Call | None = None, **given: Any) -> str:
        """Run a review step as far as it goes: the id of its task."""
        waits = self.review.run(ReviewWith.model_validate(GIVEN | given), call or call_of())
        assert isinstance(waits, Waits)
        return waits.ref

    def resume(self, ref: str, call: Call | None = None) -> Done | Waits:
        """Look again at a review step."""
        return self.review.resume(ReviewWith.model_validate(GIVEN), call or call_of(), Waits("person", ref))

    def seen(self, ref: str) -> str:
        """The hash of what a task shows."""
        return self.tasks.get(ref).payload_sha256


def _authors(spec: str) -> Collection[str]:
    return [AUTHOR.id] if spec == SPEC else []


def fill_tasks(made: Workspace) -> None:
    """Tasks in every state, assigned, marked, reminded and escalated; one whose starter is erased later."""
    office = Office(made)
    one, two, three, four, _ = (office.put(call_of(f"run_{n}")) for n in range(5))
    desk = office.desk
    desk.show(one, ONE)
    desk.comment(one, "I look at it", ONE)
    desk.mark(one, "needs-action", ONE)
    desk.approve(one, ONE, office.seen(one), {"reply": "Dear Ann, it is late."}, "shorter")
    desk.reject(two, "wrong tone", TWO)
    desk.mark(two, "tone", TWO)
    desk.mark(two, "tone", TWO, off=True)
    office.tasks.cancel(three)
    desk.assign(four, "local", BOSS)
    desk.escalate(four, ONE, reason="not mine")
    late = office.put(call_of("run_7"), deadline="2h", remind=["1h", "30m"], escalate="20m", escalate_to="admin")
    office.asks.tend(late, office.tasks.get(late).deadline)
    again = office.put(call_of("run_8"), deadline="2h", remind="90m", escalate="1h", escalate_to="admin")
    office.asks.tend(again, office.asks.until(again))
    question = office.asks.open(call_of("run_9", "ask"), "Which parcel?", _QUESTION, {})
    desk.answer(question, {"number": 7}, STARTER)


_QUESTION = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
