"""A workspace that runs workflows with every kind of step, in this thread; tests start runs and play the people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fast_parts import InlineParser
from workflow_parts import Echo, Inbox, MortalRuns

from api.assembly import Workspace
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, IngestReport, Principal
from kernel.storage.runs import OPEN, Run
from pipeline.indexing import Progress
from pipeline.prompts.library import Asker
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.workflows.journal import RunState
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.spec import Workflow
from pipeline.workflows.starting import Found, RunDesk, Sources, Wanted
from pipeline.workflows.steps.base import Call, Kind, Pins
from pipeline.workflows.steps.kinds import KindParts, kinds


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
        return {"echo": self.echo, **kinds(parts), **self.more}

    @cached_property
    def runner(self) -> Runner:
        return Runner(Parts(self.runs, self._spec, self.kinds, self.inbox, lambda run, seconds: None))

    @cached_property
    def desk(self) -> RunDesk:
        sources = Sources(self._find, lambda name, _: self.known[name], self._prompt, self._pins)
        return RunDesk(self.runs, self.kinds, sources, lambda run, seconds: None)

    # --- Documents ------------------------------------------------------------------------------------------------

    def ingest(self, folder: Path, source: str) -> IngestReport:
        """Publish a folder as a source."""
        self.folders[source] = folder
        return self.read_again(source, lambda *_: None)

    def read_again(self, source: str, progress: Progress) -> IngestReport:
        return self.workspace.indexer.ingest(InlineParser(), [self.folders[source]], source, progress)[0]

    # --- Workflows ------------------------------------------------------------------------------------------------

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
    path = Path(__file__).parent.parent / "pipeline" / "workflows" / "shipped" / f"{name}.yaml"
    return read_workflow(path.read_text(encoding="utf-8"))
