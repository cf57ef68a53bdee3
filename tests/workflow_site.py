"""A workspace that runs workflows with every kind of step, in this thread; tests start runs and play the people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from fast_parts import InlineParser
from pydantic import Field
from workflow_parts import Echo, Inbox, MortalRuns

from api.assembly import Workspace
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, IngestReport, Principal, Role
from kernel.storage.deliveries import Deliveries
from kernel.storage.runs import OPEN, NewEvent, Run
from kernel.storage.task_figures import TaskFigures
from kernel.storage.tasks import Tasks
from pipeline.indexing import Progress
from pipeline.prompts.library import Asker
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.workflows.asking import Asks
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.journal import RunState
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.sinks.files import Folder
from pipeline.workflows.spec import Strict, Workflow
from pipeline.workflows.starting import Found, RunDesk, Sources, Wanted
from pipeline.workflows.steps.agent import AgentStep
from pipeline.workflows.steps.base import Call, Done, Kind, Pins, Plain
from pipeline.workflows.steps.deliver import DeliverKind
from pipeline.workflows.steps.kinds import KindParts, kinds
from pipeline.workflows.steps.review import Review

SHIPPED = Path(__file__).parent.parent / "pipeline" / "workflows" / "shipped"
REVIEWER = Principal("key_reviewer", Role.REVIEWER)


class TransformWith(Strict):
    """What is put out."""

    value: Any
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class Transform(Plain):
    """Puts out its value: stands in for the kind of that name."""

    name: ClassVar[str] = "transform"
    With: ClassVar[type[Strict]] = TransformWith

    def run(self, given: TransformWith, _call: Call) -> Done:
        return Done(given.value)


class NoAgent(AgentStep, Plain):
    """An agent that is never run: no model is configured."""


class Site:
    """Runs of given specs over a workspace."""

    def __init__(self, workspace: Workspace, more: Mapping[str, Kind] | None = None) -> None:
        self.workspace = workspace
        self.runs = MortalRuns(workspace.database)
        self.inbox, self.echo = Inbox(), Echo()
        self.known: dict[str, Found] = {}
        self.more = more or {}
        self.folders: dict[str, Path] = {}

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """Every kind, and those of the test."""
        made = self.workspace
        settings = made.settings
        evidence = PinnedEvidence(
            made.embedder,
            made.snapshots,
            lambda: made.searcher,
            settings.chunk_tokens,
            settings.candidates,
            settings.top_k,
            settings.context_tokens,
        )
        parts = KindParts(
            runs=self.runs,
            catalog=made.catalog,
            snapshots=made.snapshots,
            releases=made.releases,
            library=made.prompts,
            runner=made.prompt_runner,
            answering=lambda: made.answering,
            embedder=lambda: made.embedder,
            evidence=lambda: evidence,
            checks=lambda: made.checks,
            entities=lambda: made.entities,
            checker=lambda: None,
            read_again=self.read_again,
            sources=lambda: list(self.folders),
            start_child=self._child,
        )
        return {"echo": self.echo, **kinds(parts), **self._others(), **self.more}

    def _others(self) -> Mapping[str, Kind]:
        unused = cast("Any", None)
        delivering = DeliverKind(Deliveries(self.workspace.database), Folder(self.delivered), unused, {}, None, unused)
        found: tuple[Kind, ...] = (Transform(), Review(self.asks), delivering, NoAgent(unused))
        return {one.name: one for one in found}

    @property
    def delivered(self) -> Path:
        """Where files are delivered to."""
        return self.workspace.settings.workspace_folder / "delivered"

    @cached_property
    def runner(self) -> Runner:
        return Runner(Parts(self.runs, self._spec, self.kinds, self.inbox, lambda run, seconds: None))

    @cached_property
    def desk(self) -> RunDesk:
        sources = Sources(self._find, lambda name, _: self.known[name], self._prompt, self._pins)
        return RunDesk(self.runs, self.kinds, sources, lambda run, seconds: None)

    # --- People ---------------------------------------------------------------------------------------------------

    @cached_property
    def asks(self) -> Asks:
        return Asks(Tasks(self.workspace.database))

    @cached_property
    def people(self) -> PeopleDesk:
        """The desk of who decides; a run that was decided on goes on with `go`."""
        return PeopleDesk(
            Tasks(self.workspace.database),
            self.workspace.keys,
            self.asks,
            preview=self.runner.preview,
            wake=self._wake,
            authors=lambda _: [],
            evidence=lambda *_: None,
            figures=TaskFigures(self.workspace.database),
        )

    def task(self, run: Run) -> dict[str, Any]:
        """What waits for a reviewer in a run: all that they see of it."""
        (found,) = self.people.items(REVIEWER, limit=5, state="open", run_id=run.id)
        return dict(self.people.show(found["id"], REVIEWER))

    def approve(self, run: Run, values: Mapping[str, Any] | None = None) -> Run:
        """Approve what waits, with changes to its form, and go on."""
        task = self.task(run)
        seen = self.people.preview(task["id"], values or {}, REVIEWER)["payload_sha256"]
        self.people.approve(task["id"], REVIEWER, seen, values)
        return self.go(run.id)

    def _wake(self, run_id: str) -> None:
        self.runs.interrupt(run_id, NewEvent("decided"), "vouch")

    # --- Documents ------------------------------------------------------------------------------------------------

    def ingest(self, folder: Path, source: str) -> IngestReport:
        """Publish a folder as a source."""
        self.folders[source] = folder
        return self.read_again(source, lambda *_: None)

    def read_again(self, source: str, progress: Progress) -> IngestReport:
        return self.workspace.indexer.ingest(InlineParser(), [self.folders[source]], source, progress)[0]

    # --- Workflows ------------------------------------------------------------------------------------------------

    def example(self, name: str, *, given: Mapping[str, Any] | None = None) -> Run:
        """Start a shipped workflow on its example, or on another input, and go as far as it goes."""
        spec = shipped(name)
        folder = SHIPPED / "examples" / name.replace("-", "_")
        if folder.is_dir() and f"example-{name}" not in self.folders:
            self.ingest(folder, f"example-{name}")
        check_workflow(spec, self.kinds)
        return self.go(self.start(spec, spec.example if given is None else given).id)

    def know(self, spec: Workflow) -> Found:
        """Let a spec be found by its name."""
        digest = sha256(f"{spec.name}{len(self.known)}")
        self.known[spec.name] = Found(spec.name, 1, digest, spec)
        return self.known[spec.name]

    def start(
        self, spec: Mapping[str, Any] | Workflow, given: Mapping[str, Any] | None = None, who: Principal = LOCAL_OWNER
    ) -> Run:
        """Start a run of a spec; `inputs` take anything where it does not say."""
        if not isinstance(spec, Workflow):
            spec = Workflow.model_validate({"name": "test", "inputs": {"type": "object"}, "stakes": "low"} | dict(spec))
        self.know(spec)
        return self.desk.start(Wanted(spec.name, given or {}, who))

    def go(self, run_id: str, most: int = 200) -> Run:
        """Do turns of a run, and of those that it started, until it waits for a person or is finished."""
        for _ in range(most):
            run = self.runs.get(run_id)
            for child in self.runs.children(run_id):
                if child.status in ("queued", "running"):
                    self.go(child.id)
            run = self.runs.get(run_id)
            if run.status not in OPEN or (run.status == "waiting" and run.wake_at is None):
                return run
            self.runner.advance(run_id, run.turn)
        return self.runs.get(run_id)

    def done(
        self, spec: Mapping[str, Any] | Workflow, given: Mapping[str, Any] | None = None, who: Principal = LOCAL_OWNER
    ) -> dict[str, Any]:
        """Outputs of all steps of a run that ends well."""
        run = self.go(self.start(spec, given, who).id)
        state = self.state(run)
        assert run.status == "done", (run.status, {n: (s.status, s.error) for n, s in state.steps.items()})
        return {name: one.output for name, one in state.steps.items()}

    def failed(
        self, spec: Mapping[str, Any] | Workflow, given: Mapping[str, Any] | None = None, who: Principal = LOCAL_OWNER
    ) -> dict[str, Any]:
        """The error of the step at which a run fails, with its output."""
        run = self.go(self.start(spec, given, who).id)
        state = self.state(run)
        assert run.status == "failed", {n: (s.status, s.output) for n, s in state.steps.items()}
        bad = [one for one in state.steps.values() if one.status == "failed"]
        return {**(bad[-1].error or {}), "output": bad[-1].output, "attempts": bad[-1].attempts}

    def state(self, run: Run) -> RunState:
        return RunState().after(self.runs.events(run.id))

    def _child(self, call: Call, name: str, given: Mapping[str, Any]) -> str:
        return self.desk.start_child(call, name, given)

    def _spec(self, digest: str) -> Workflow:
        return next(one.spec for one in self.known.values() if one.sha256 == digest)

    def _find(self, reference: str, _principal: Principal) -> Found:
        return self.known[reference.partition("@")[0]]

    def _prompt(self, name: str, principal: Principal, stakes: str) -> tuple[int, str]:
        model = self.workspace.answering.model
        version = self.workspace.prompts.choose(name, Asker(principal, None, model, stakes)).version
        return version.version, version.sha256

    def _pins(self) -> Pins:
        made = self.workspace
        state = made.snapshots.live()
        policy = made.policies.in_force().version.sha256
        return Pins("", policy, state.snapshot, state.access_version, made.answering.model)


def step(name: str, kind: str, /, *needs: str, **given: Any) -> dict[str, Any]:
    """A step with this `with`."""
    return {"id": name, "kind": kind, "needs": list(needs), "with": given, "retry": {"attempts": 2, "wait": "1ms"}}


def shipped(name: str) -> Workflow:
    """A workflow that comes with the program."""
    return read_workflow((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
