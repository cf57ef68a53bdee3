"""A small plant of workflows for conformance tests: the real store, journal, runner, people, deliveries and engine,
over steps that write down what they do. Worker processes and the tests build the same one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from engine_parts import Site, note
from outside_parts import no_guards

from kernel.errors import Unavailable
from kernel.ids import canonical_json, sha256
from kernel.providers.egress import Egress, Hosts
from kernel.records import Principal, Role
from kernel.storage.database import Database
from kernel.storage.deliveries import Deliveries
from kernel.storage.keys import Keys
from kernel.storage.runs import Run, Runs
from kernel.storage.task_figures import TaskFigures
from kernel.storage.tasks import Tasks
from pipeline.workflows.asking import Asks, Watch
from pipeline.workflows.engine import Engine
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.sinks.files import Folder
from pipeline.workflows.spec import Strict, Workflow
from pipeline.workflows.starting import Found, RunDesk, Sources, Wanted
from pipeline.workflows.steps.base import Call, Done, Pins, Plain, StepFailed, Used
from pipeline.workflows.steps.deliver import DeliverKind
from pipeline.workflows.steps.nested import SubWorkflow
from pipeline.workflows.steps.review import Review
from pipeline.workflows.sweeping import Sweeper
from pipeline.workflows.tickets import Ticket

STARTER = Principal("key_starter", Role.APP)
OTHER = Principal("key_other", Role.REVIEWER)
BOSS = Principal("key_boss", Role.ADMIN, None)


@dataclass(frozen=True)
class PlantSite(Site):
    """Where the plant lies: besides the engine's, the workspace's own database."""

    workspace: str = "default"
    key_file: str = ""
    release: int = 1
    pace: float = 1.0
    child: str = "plant_child"


class MarkWith(Strict):
    """What a step of kind `mark` is told to do: how long it takes, how often it fails first, and whether for good until
    a file of that name is there.
    """

    value: Any = None
    seconds: float = 0.0
    fail: int = 0
    until: str = ""


class Mark(Plain):
    """Writes down each try at it, and each time that it came to its end."""

    name: ClassVar[str] = "mark"
    With: ClassVar[type[Strict]] = MarkWith

    def __init__(self, site: PlantSite) -> None:
        self._site = site

    def run(self, given: MarkWith, call: Call) -> Done:
        about = {"key": call.key, "run": call.run_id, "step": call.step.id, "attempt": call.attempt}
        note(self._site.log, "try", **about)
        time.sleep(given.seconds * self._site.pace)
        if call.attempt <= given.fail:
            raise Unavailable("away")
        if given.until and not (self._site.folder / given.until).exists():
            raise StepFailed("broken", slug="broken")
        note(self._site.log, "did", **about)
        return Done(given.value, Used(prompt_tokens=1))


def mark(name: str, *needs: str, undo: bool = False, **more: Any) -> dict[str, Any]:
    """A step that marks; members of its `with` are given by name."""
    given = {key: more.pop(key) for key in ("value", "seconds", "fail", "until") if key in more}
    step = {"id": name, "kind": "mark", "needs": list(needs), "with": {"value": name, "seconds": 0.02} | given}
    back = {"undo": {"kind": "mark", "with": {"value": f"no {name}", "seconds": 0.01}}} if undo else {}
    return step | back | more


def send(name: str, *needs: str) -> dict[str, Any]:
    """A step that delivers a file that is named by its run."""
    given = {"to": "file", "path": "{{ run.id }}.txt", "text": "of {{ run.id }}"}
    return {"id": name, "kind": "deliver", "needs": list(needs), "with": given}


def review(name: str, *needs: str, **given: Any) -> dict[str, Any]:
    """A step that waits for a person."""
    return {"id": name, "kind": "review", "needs": list(needs), "with": {"about": "this"} | given}


SHORT, LONG = {"attempts": 3, "wait": "1ms"}, {"attempts": 2, "wait": "1200ms"}
LOOP = {"in": "[1, 2, 3]", "as": "one"}
_SHAPES = (
    (
        "chain",
        "low",
        [
            mark("first"),
            mark("loop", "first", each=LOOP, value="{{ one }}"),
            mark("flaky", "loop", fail=2, retry=SHORT),
            mark("later", "flaky", fail=1, retry=LONG),
            send("send", "later"),
            mark("last", "send"),
        ],
        {"all": "{{ steps.loop.output }}"},
    ),
    (
        "saga",
        "low",
        [
            mark("one", undo=True),
            mark("two", "one", undo=True, each=LOOP),
            mark("three", "two", undo=True),
            mark("boom", "three", until="mended", retry={"attempts": 1}),
            mark("end", "boom"),
        ],
        {},
    ),
    (
        "person",
        "medium",
        [
            mark("draft", undo=True),
            review("ok", "draft", effects=["send"]),
            send("send", "ok"),
            mark("end", "send"),
        ],
        {},
    ),
    ("late", "low", [mark("draft", undo=True), review("ok", "draft", deadline="1s"), mark("end", "ok")], {}),
    (
        "parent",
        "low",
        [
            mark("before"),
            {"id": "child", "kind": "workflow", "needs": ["before"], "with": {"name": "chain"}},
            mark("after", "child"),
        ],
        {},
    ),
    ("often", "low", [mark("only")], {}),
    ("asking", "low", [mark("only", checks=[{"name": "never", "that": "false", "otherwise": "review"}])], {}),
)


def specs_of(release: int) -> dict[str, Workflow]:
    """The workflows, as they were released then: their outputs tell."""
    return {
        name: Workflow.model_validate(
            {
                "name": name,
                "inputs": {"type": "object"},
                "stakes": stakes,
                "steps": steps,
                "output": output | {"release": release},
            }
        )
        for name, stakes, steps, output in _SHAPES
    }


RELEASES = {release: specs_of(release) for release in (1, 2)}


class Plant:
    """All parts of one process over one workspace."""

    def __init__(self, site: PlantSite, engine: Engine) -> None:
        self.site, self.engine = site, engine
        self.database = Database(site.url, Path(site.key_file), site.workspace)
        self.runs, self.tasks = Runs(self.database), Tasks(self.database)
        self.asks = Asks(self.tasks, self.submit)
        folder = Folder(site.folder / "out")
        deliver = DeliverKind(Deliveries(self.database), folder, Egress(Hosts([])), {}, None, no_guards(self.database))
        child = SubWorkflow(self._start_child, self.runs)
        kinds = {kind.name: kind for kind in (Mark(site), Review(self.asks), deliver, child)}
        self._digests = {_digest(spec): spec for specs in RELEASES.values() for spec in specs.values()}
        self.runner = Runner(
            Parts(
                self.runs,
                self._digests.__getitem__,
                kinds,
                self.asks,
                self.submit,
                ended=lambda run: self.tasks.cancel_run(run.id),
                closing=lambda: engine.closing,
            )
        )
        pins = Pins("", "policy", 1, 0, "toy/one")
        sources = Sources(lambda name, _: _found(name, site.release), _found, lambda *_: (1, "a" * 64), lambda: pins)
        self.desk = RunDesk(self.runs, kinds, sources, self.submit)
        self.watch = Watch(self.tasks, self.asks)
        self.sweeper = Sweeper(self.runs, engine.known, self.submit_again, (self.watch.sweep,))
        self.people = PeopleDesk(
            self.tasks,
            Keys(self.database),
            self.asks,
            preview=self.runner.preview,
            submit=self.submit,
            authors=lambda _: ["key_author"],
            evidence=lambda *_: None,
            figures=TaskFigures(self.database),
        )

    def _start_child(self, call: Call, name: str, given: Mapping[str, Any]) -> str:
        return self.desk.start_child(call, name, given)

    def submit(self, run: Run, seconds: float) -> None:
        self.engine.submit(Ticket(run.id, run.turn, run.queue, run.priority, seconds))

    def submit_again(self, run: Run, seconds: float) -> None:
        """As a sweep does, which knows better than the engine what is to be done."""
        self.engine.submit(Ticket(run.id, run.turn, run.queue, run.priority, seconds), again=True)

    def start(self, name: str, **more: Any) -> str:
        """Start a run; its id."""
        return self.desk.start(Wanted(name, {}, STARTER, **more)).id

    def fire(self, name: str, moment: datetime) -> None:
        """A timetable starts a run, once a moment."""
        self.start(name, trigger="cron", dedup=moment.isoformat())

    def open_tasks(self, run_id: str | None = None) -> list[str]:
        return [task["id"] for task in self.people.items(OTHER, limit=500, state="open", run_id=run_id)]

    def approve(self, task_id: str) -> None:
        self.people.approve(task_id, OTHER, self.tasks.get(task_id).payload_sha256)

    def output(self, run_id: str) -> Any:
        """What a finished run put out."""
        return (self.runs.events(run_id)[-1].words or {})["output"]

    def journal(self, run_id: str) -> list[tuple[str, str, int | None]]:
        return [(event.kind, event.step, event.item) for event in self.runs.events(run_id)]

    def close(self) -> None:
        self.database.close()


def _found(name: str, release: int) -> Found:
    spec = RELEASES[release][name]
    return Found(name, release, _digest(spec), spec)


def _digest(spec: Workflow) -> str:
    given: Mapping[str, Any] = spec.model_dump(mode="json")
    return sha256(canonical_json(given))
