"""The workflows of a workspace, with every kind of step, done in this thread; tests start runs and play the people."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fast_parts import InlineParser
from workflow_parts import Echo

from api.assembly import Workspace
from api.flow_kinds import every_kind
from api.flows import Flows
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, IngestReport, Principal, Role
from kernel.storage.runs import OPEN, NewEvent, Run
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.journal import RunState
from pipeline.workflows.outcomes import seconds_until
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.spec import Workflow
from pipeline.workflows.starting import Found, Wanted
from pipeline.workflows.steps.base import Kind

SHIPPED = Path(__file__).parent.parent / "pipeline" / "workflows" / "shipped"
REVIEWER = Principal("key_reviewer", Role.REVIEWER)
SOON = 8.0
"""Seconds that `go` waits for a run which is looked at again by itself."""


class Site(Flows):
    """Runs of given specs over a workspace; no engine does them but `go`."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.echo = Echo()
        self.known: dict[str, Found] = {}
        self.folders: dict[str, Path] = {}

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """Every kind, and the test's own."""
        return {"echo": self.echo, **every_kind(self.workspace, self.asks, self._start_child)}

    def submit(self, run: Run, seconds: float) -> None:
        """Turns are done by `go`."""

    def spec(self, digest: str) -> Workflow:
        return next(one.spec for one in self.known.values() if one.sha256 == digest)

    def _find(self, reference: str, principal: Principal) -> Found:
        return self.known[reference.partition("@")[0]]

    def _at(self, name: str, number: int) -> Found:
        return self.known[name]

    def _authors(self, digest: str) -> Collection[str]:
        return ()

    # --- Documents ------------------------------------------------------------------------------------------------

    def ingest(self, folder: Path, source: str) -> IngestReport:
        """Publish a folder as a source."""
        self.folders[source] = folder
        return self.workspace.indexer.ingest(InlineParser(), [folder], source)[0]

    # --- Runs -----------------------------------------------------------------------------------------------------

    def example(self, name: str, given: Mapping[str, Any] | None = None) -> Run:
        """Start a shipped workflow on its example, or on another input, and go as far as it goes."""
        spec = shipped(name)
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
        if self.known.get(spec.name) is None or self.known[spec.name].spec != spec:
            self.know(spec)
        return self.desk.start(Wanted(spec.name, given or {}, who))

    def go(self, run_id: str, most: int = 200) -> Run:
        """Do turns of a run, and of those that it started, until it waits for a person or is finished."""
        for _ in range(most):
            for child in self.runs.children(run_id):
                if child.status in ("queued", "running"):
                    self.go(child.id)
            run = self.runs.get(run_id)
            if run.status not in OPEN:
                return run
            if run.status == "waiting":
                left = seconds_until(run.wake_at) if run.wake_at is not None else SOON
                if left >= SOON:
                    return run
                time.sleep(left)
            self.runner.advance(run_id, run.turn)
        return self.runs.get(run_id)

    def nudge(self, run: Run) -> Run:
        """Have a waiting run looked at again."""
        self.runs.interrupt(run.id, NewEvent("decided"), "vouch")
        return self.go(run.id)

    def done(
        self, spec: Mapping[str, Any] | Workflow, given: Mapping[str, Any] | None = None, who: Principal = LOCAL_OWNER
    ) -> dict[str, Any]:
        """Outputs of all steps of a run that ends well."""
        return self.outputs(self.go(self.start(spec, given, who).id))

    def outputs(self, run: Run) -> dict[str, Any]:
        """Outputs of all steps of a run that ended well; under `""` what the run gives."""
        state = self.state(run)
        assert run.status == "done", (run.status, {n: (s.status, s.error) for n, s in state.steps.items()})
        return {name: one.output for name, one in state.steps.items()} | {"": (state.finished or {})["output"]}

    def failed(
        self, spec: Mapping[str, Any] | Workflow, given: Mapping[str, Any] | None = None, who: Principal = LOCAL_OWNER
    ) -> dict[str, Any]:
        """The error of the step at which a run fails, with its output."""
        return self.error(self.go(self.start(spec, given, who).id))

    def error(self, run: Run) -> dict[str, Any]:
        """The error of the step at which a run failed, with the step's name and output."""
        state = self.state(run)
        assert run.status == "failed", (run.status, {n: (s.status, s.output) for n, s in state.steps.items()})
        name = str((state.stopped or {})["step"])
        bad = state.of(name) if not state.items.get(name) else next(iter(state.items[name].values()))
        return {**(bad.error or {}), "step": name, "output": bad.output}

    def state(self, run: Run) -> RunState:
        return RunState().after(self.runs.events(run.id))

    # --- People ---------------------------------------------------------------------------------------------------

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

    def reject(self, run: Run) -> Run:
        """Reject what waits, and go on."""
        self.people.reject(self.task(run)["id"], "no", REVIEWER)
        return self.go(run.id)

    def delivered(self) -> dict[str, str]:
        """Every file that was delivered, by its path."""
        folder = self.workspace.settings.delivery_folder
        return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()}


def step(name: str, kind: str, /, *needs: str, **given: Any) -> dict[str, Any]:
    """A step with this `with`."""
    return {"id": name, "kind": kind, "needs": list(needs), "with": given, "retry": {"attempts": 2, "wait": "1ms"}}


def shipped(name: str) -> Workflow:
    """A workflow that comes with the program."""
    return read_workflow((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
