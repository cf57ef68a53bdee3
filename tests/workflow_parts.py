"""What tests of workflows share: kinds that do as they are told, people who decide at once, an engine in one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from kernel.errors import Unavailable
from kernel.storage.database import Database
from kernel.storage.runs import OPEN, NewEvent, NewRun, Run, RunEvent, Runs
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.spec import Strict, Workflow
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Used, Waits
from pipeline.workflows.steps.deciding import Branch


class Killed(BaseException):
    """The process died here."""


class EchoWith(Strict):
    """What a step of the test's own kind is told to do."""

    value: Any = None
    fail: int = 0
    retryable: bool = True
    wait: str = ""
    acts: bool = False
    effects: list[str] = Field(default_factory=list)


class Echo(Plain):
    """Gives back its value; fails so often first; waits for a person where it is told to; counts what it did by key."""

    name: ClassVar[str] = "echo"
    With: ClassVar[type[Strict]] = EchoWith

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []

    def effect(self, given: Mapping[str, Any]) -> bool:
        return bool(given.get("acts"))

    def run(self, given: EchoWith, call: Call) -> Done | Waits:
        self.calls[call.key] += 1
        self.order.append(call.key)
        if given.fail and call.attempt <= given.fail:
            raise Unavailable("away") if given.retryable else StepFailed("broken", slug="broken")
        if given.wait:
            return Waits("person", given.wait)
        return Done(given.value, Used(prompt_tokens=1))

    def resume(self, given: EchoWith, call: Call, waited: Waits) -> Done | Waits:
        decided = PEOPLE.get(waited.ref)
        return waited if decided is None else Done(decided)


PEOPLE: dict[str, Any] = {}
"""What people decided, by what they were asked."""


@dataclass
class Inbox:
    """Opens things once a key; `decisions` are given by tests."""

    opened: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def open(self, call: Call, title: str, form: Mapping[str, Any], shown: Mapping[str, Any], sort: str) -> str:
        self.opened[f"tsk:{call.key}"] = shown
        return f"tsk:{call.key}"

    def decision(self, ref: str) -> Mapping[str, Any] | None:
        return self.decisions.get(ref)


class MortalRuns(Runs):
    """A store whose process may die before or after any of its writes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.dies: Callable[[], bool] = lambda: False

    def _mortal(self, act: Callable[[], Any]) -> Any:
        if self.dies():
            raise Killed
        result = act()
        if self.dies():
            raise Killed
        return result

    def take(self, run_id: str, turn: int) -> Run | None:
        return self._mortal(lambda: super(MortalRuns, self).take(run_id, turn))

    def write(self, run_id: str, epoch: int, events: Sequence[NewEvent], seen: int) -> list[RunEvent]:
        return self._mortal(lambda: super(MortalRuns, self).write(run_id, epoch, events, seen))

    def release(self, run_id: str, epoch: int, seen: int, wake_at: str | None) -> Run | None:
        return self._mortal(lambda: super(MortalRuns, self).release(run_id, epoch, seen, wake_at))

    def finish(self, run_id: str, epoch: int, ending: NewEvent, seen: int | None = None) -> Run | None:
        return self._mortal(lambda: super(MortalRuns, self).finish(run_id, epoch, ending, seen))


class Bench:
    """Runs of given specs over a database, done in this thread."""

    def __init__(self, database: Database) -> None:
        self.runs = MortalRuns(database)
        self.specs: dict[str, Workflow] = {}
        self.echo, self.inbox = Echo(), Inbox()
        self.kinds = {"echo": self.echo, "branch": Branch(), "review": self.echo}
        self.ended: list[str] = []
        parts = Parts(
            self.runs,
            self.specs.__getitem__,
            self.kinds,
            self.inbox,
            lambda run, seconds: None,
            ended=lambda run: self.ended.append(run.id),
        )
        self.runner = Runner(parts)

    def start(self, spec: Mapping[str, Any], given: Mapping[str, Any] | None = None, **more: Any) -> Run:
        """Start a run of a spec."""
        workflow = Workflow.model_validate({"name": "test", "inputs": {"type": "object"}} | dict(spec))
        digest = f"{len(self.specs):064d}"
        self.specs[digest] = workflow
        said = {"input": dict(given or {}), "principal": {"role": "admin", "groups": None}, "pins": {"snapshot": 0}}
        wanted = NewRun("test", 1, digest, "test", "hand", "local", said, **more)
        return self.runs.start(wanted)[0]

    def drain(self, run_id: str, most: int = 10_000) -> Run:
        """Do turns of a run until it waits for a person or is finished; a process that dies is followed by another."""
        for _ in range(most):
            run = self.runs.get(run_id)
            if run.status not in OPEN or (run.status == "waiting" and run.wake_at is None):
                return run
            try:
                self.runner.advance(run_id, run.turn)
            except Killed:
                continue
        raise AssertionError("the run does not come to an end")

    def journal(self, run_id: str) -> list[tuple[str, str, int | None]]:
        """The journal in short."""
        return [(event.kind, event.step, event.item) for event in self.runs.events(run_id)]
