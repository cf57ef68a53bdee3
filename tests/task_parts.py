"""Tasks of runs for tests: calls of steps that nobody runs, a desk with its parts, and tasks in every state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow_parts import Bench

from api.assembly import Workspace
from kernel.ids import sha256
from kernel.records import Principal, Role
from kernel.storage.runs import NewRun, Run
from kernel.storage.task_figures import TaskFigures
from kernel.storage.tasks import Tasks
from pipeline.workflows.asking import Asks, Watch
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.spec import Step, Workflow
from pipeline.workflows.steps.ask_user import Question
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
    """Keeps what people were told, and which runs were submitted."""

    said: list[tuple[str, str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def tell(self, to: str, subject: str, text: str) -> None:
        del text
        self.said.append((to, subject))

    def submit(self, run: Run, seconds: float) -> None:
        """As the engine's: nothing goes on by itself here."""
        assert seconds == 0.0
        self.runs.append(run.id)


class Office:
    """A desk over a workspace's tasks, with a preview and a wake-up of its own."""

    def __init__(self, made: Workspace, preview: Callable[..., Mapping[str, Any]] = send) -> None:
        self.tasks = Tasks(made.database)
        self.told = Told()
        self.preview: Callable[..., Mapping[str, Any]] = preview
        self.asks = Asks(self.tasks, self.told.submit, self.told)
        self.watch = Watch(self.tasks, self.asks)
        self.review = Review(self.asks)
        self.desk = PeopleDesk(
            self.tasks,
            made.keys,
            self.asks,
            preview=self._previewed,
            submit=self.told.submit,
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


STEPS: list[dict[str, Any]] = [
    {"id": "draft", "kind": "echo", "with": {"value": "Dear Ann"}},
    {
        "id": "look",
        "kind": "review",
        "needs": ["draft"],
        "with": {
            "about": "A reply",
            "form": {"type": "object", "properties": {"reply": {"default": "{{ steps.draft.output }}"}}},
            "effects": ["send"],
            "deadline": "1h",
        },
    },
    {
        "id": "send",
        "kind": "echo",
        "needs": ["look"],
        "with": {"acts": True, "value": "{{ steps.look.output.values.reply }} ({{ steps.look.output.by }})"},
    },
]


class Site:
    """The interpreter, its runs and people, without an engine: `drain` does turns until a run waits or ends."""

    def __init__(self, made: Workspace) -> None:
        self.bench = Bench(made.database)
        self.office = Office(made, self._preview_of)
        asks = self.office.asks
        self.bench.kinds |= {"review": Review(asks), "question": Question(asks)}
        runs, specs = self.bench.runs, self.bench.specs
        parts = Parts(runs, specs.__getitem__, self.bench.kinds, asks, lambda _run, _seconds: None, ended=self._ended)
        self.runner = self.bench.runner = Runner(parts)

    def drain(self, run_id: str) -> Run:
        """Do turns of a run until it waits, or is finished."""
        run = self.bench.runs.get(run_id)
        while run.status in ("queued", "running"):
            self.runner.advance(run_id, run.turn)
            run = self.bench.runs.get(run_id)
        return run

    def _preview_of(self, run: str, step: str, output: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.runner.preview(run, step, output)

    def _ended(self, run: Run) -> None:
        self.office.tasks.cancel_run(run.id)

    def start(self, steps: list[dict[str, Any]], starter: Principal = STARTER, **more: Any) -> str:
        """Start a run of these steps; its id."""
        digest = self.know(steps, **more)
        said = {"principal": {"role": starter.role.value, "groups": []}, "pins": {"snapshot": 0, "spec": digest}}
        return self.bench.runs.start(NewRun("test", 1, digest, "live", "hand", starter.id, said))[0].id

    def know(self, steps: list[dict[str, Any]], **more: Any) -> str:
        """Take up a spec of these steps; its hash."""
        spec = Workflow.model_validate({"name": "test", "inputs": {"type": "object"}, "steps": steps} | more)
        digest = sha256(str(spec))
        self.bench.specs[digest] = spec
        return digest

    def open_task(self, run_id: str) -> str:
        """The one task of a run that is open."""
        (found,) = self.office.tasks.items(limit=9, run_id=run_id, state="open")
        return found.id


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
