"""Puts the workflows of a workspace together: library, runs, engine, people, triggers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from api.assembly import Workspace
from api.flow_kinds import every_kind, guards_of, notifier_of, prices_of
from kernel.errors import NotFound, VouchError
from kernel.records import LOCAL_OWNER, Principal, WorkflowVersion
from kernel.storage.engine_database import EngineDatabase
from kernel.storage.runs import Run, Runs
from kernel.storage.task_figures import TaskFigures
from kernel.storage.tasks import Tasks
from kernel.storage.triggers import DocumentChanges, EventSecrets
from kernel.storage.workflows import Workflows
from pipeline.prompts.anatomy import read_prompt
from pipeline.prompts.library import Asker
from pipeline.prompts.uses import Dependents, workflow_dependents
from pipeline.workflows.asking import Asks, Notifier, Watch
from pipeline.workflows.chain import Chains, RunReader, answer_link
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.costing import Costing
from pipeline.workflows.desk import WorkflowDesk
from pipeline.workflows.drafts import WorkflowPromoter
from pipeline.workflows.engine import Engine
from pipeline.workflows.estimates import CHARACTERS_A_TOKEN, NOTHING, Size
from pipeline.workflows.expressions import holds_template
from pipeline.workflows.gates import Proofs
from pipeline.workflows.inbox import Inbox
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.lines import Fault
from pipeline.workflows.people import PeopleDesk
from pipeline.workflows.running import Parts, Runner
from pipeline.workflows.spec import Step, Workflow
from pipeline.workflows.starting import Found, RunDesk, Sources
from pipeline.workflows.state import LIVE
from pipeline.workflows.steps.base import Call, Kind, Pins
from pipeline.workflows.sweeping import Sweeper, end_parts
from pipeline.workflows.tickets import Ticket, Timetable
from pipeline.workflows.triggers import Triggers

MOST_AT_ONCE = 1000
"""Runs of a queue at once where its workflows set no limit: as many as workers have threads."""


class Flows:
    """The workflows of a workspace. Made once beside it; parts are made when they are first used."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._timetables: Sequence[Timetable] | None = None

    @property
    def folder(self) -> Path:
        """Where the workspace lies."""
        return self._workspace.settings.workspace_folder

    @property
    def runs(self) -> Runs:
        return self._workspace.runs

    @cached_property
    def library(self) -> WorkflowLibrary:
        """The library that checks what is saved against the kinds of steps that there are."""
        workspace = self._workspace
        store, proofs = Workflows(workspace.database), Proofs(workspace.runs.green)
        return WorkflowLibrary(store, workspace.workflow_gates, proofs, self._check)

    def _check(self, workflow: Workflow) -> Sequence[Fault]:
        return check_workflow(workflow, self.kinds)

    @cached_property
    def library_desk(self) -> WorkflowDesk:
        return WorkflowDesk(self.library)

    @cached_property
    def workflow_promoter(self) -> WorkflowPromoter:
        workspace = self._workspace
        return WorkflowPromoter(self.library, workspace.releases, workspace.prompt_runner.stored)

    @cached_property
    def dependents(self) -> Dependents:
        """Which workflows use a prompt."""
        return workflow_dependents(self.library, self.kinds)

    @cached_property
    def secrets(self) -> EventSecrets:
        return self._workspace.event_secrets

    @property
    def local(self) -> Principal:
        """Who acts on the command line without a key."""
        return LOCAL_OWNER

    # --- The engine -----------------------------------------------------------------------------------------------

    @cached_property
    def engine_database(self) -> EngineDatabase:
        settings = self._workspace.settings
        url = settings.database_url
        place = url.get_secret_value() if url else f"sqlite:///{self.folder / 'vouch.db'}"
        return EngineDatabase(place, self.folder / "engine.db", settings.workspace)

    @cached_property
    def engine(self) -> Engine:
        """What turns are submitted through; a worker's own engine once this process is one."""
        return Engine(self.engine_database, worker="none", threads=1)

    def engine_as(self, worker: str, threads: int) -> Engine:
        """The engine of this process as a worker."""
        made = Engine(self.engine_database, worker=worker, threads=threads)
        self.__dict__["engine"] = made
        return made

    def submit(self, run: Run, seconds: float) -> None:
        """Have a run's next turn done."""
        self.engine.submit(Ticket(run.id, run.turn, run.queue, run.priority, seconds))

    def _submit_again(self, run: Run, seconds: float) -> None:
        """For the sweep, which found that a run should go on, whatever the engine believes of its turn."""
        self.engine.submit(Ticket(run.id, run.turn, run.queue, run.priority, seconds), again=True)

    @property
    def queues(self) -> Mapping[str, int]:
        """The most runs of each queue at once over all workers: the least that a live workflow says."""
        found = {"default": MOST_AT_ONCE}
        for version in self.library.live():
            queue = spec_of(version).queue
            found[queue.name] = min(found.get(queue.name, MOST_AT_ONCE), queue.limit or MOST_AT_ONCE)
        for run in self.runs.unfinished():
            found.setdefault(run.queue, MOST_AT_ONCE)
        return found

    @cached_property
    def sweeper(self) -> Sweeper:
        others = (
            lambda: self.engine.open_queues(self.queues),
            self.watch.sweep,
            self.keep_timetables,
            self.triggers.due,
            self.triggers.missed,
        )
        return Sweeper(self.runs, self._known, self._submit_again, others)

    def _known(self, turns: Collection[str]) -> set[str]:
        return self.engine.known(turns)

    # --- Triggers -------------------------------------------------------------------------------------------------

    @cached_property
    def triggers(self) -> Triggers:
        return Triggers(self.library, self.desk.start, DocumentChanges(self._workspace.database), self.runs)

    def keep_timetables(self) -> None:
        """Have the engine fire what the live versions say, where that changed."""
        wanted = self.triggers.timetables()
        if wanted != self._timetables:
            self.engine.timetables(wanted)
            self._timetables = wanted

    def fired(self, name: str, moment: datetime) -> None:
        """A timetable is due."""
        self.triggers.fired(name, moment)

    # --- Runs -----------------------------------------------------------------------------------------------------

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        return every_kind(self._workspace, self.asks, self._start_child)

    def _start_child(self, call: Call, name: str, given: Mapping[str, Any]) -> str:
        return self.desk.start_child(call, name, given)

    @cached_property
    def runner(self) -> Runner:
        return Runner(
            Parts(
                self.runs,
                self.spec,
                self.kinds,
                self.asks,
                self.submit,
                lambda: self._workspace.checker,
                self._ended,
                lambda: self.engine.closing,
                self._workspace.keys.holds,
            )
        )

    def _ended(self, run: Run) -> None:
        """What a run leaves open goes with it, and what starts after it does."""
        self.tasks.cancel_run(run.id)
        end_parts(self.runs, self.runs.parts(run.id), self.submit)
        with suppress(VouchError):  # the next sweep starts what was not
            self.triggers.ended(run)

    def spec(self, digest: str) -> Workflow:
        """The spec of a hash. Raises NotFound."""
        return spec_of(self.library.by_sha256(digest))

    @cached_property
    def desk(self) -> RunDesk:
        return RunDesk(self.runs, self.kinds, Sources(self._find, self._at, self._prompt, self._pins), self.submit)

    def _find(self, reference: str, principal: Principal) -> Found:
        return self._found(self.library.choose(reference, principal))

    def _at(self, name: str, number: int) -> Found:
        return self._found(self.library.find(f"{name}@{number}"))

    def _found(self, version: WorkflowVersion) -> Found:
        mode = "live" if self.library.state_of(version) == LIVE else "pilot"
        spec = spec_of(version)
        return Found(version.name, version.version, version.sha256, spec, mode, version.author, version)

    def _prompt(self, name: str, principal: Principal, stakes: str) -> tuple[int, str]:
        chosen = self._workspace.prompts.choose(name, Asker(principal, None, self._model, stakes))
        return chosen.version.version, chosen.version.sha256

    def _pins(self) -> Pins:
        state = self._workspace.snapshots.live()
        policy = self._workspace.policies.in_force().version.sha256
        return Pins("", policy, state.snapshot, state.access_version, self._model)

    @property
    def _model(self) -> str:
        info = self._workspace.generator.info
        return f"{info.provider}/{info.name}"

    @cached_property
    def reader(self) -> RunReader:
        return RunReader(self.runs, self.desk.get, self.spec, self._chains)

    @cached_property
    def _chains(self) -> Chains:
        workspace = self._workspace
        openers = {
            "answers": lambda one: answer_link(workspace.releases.record(one, LOCAL_OWNER).body),
            "prompt_runs": lambda one: _prompt_run(workspace.prompt_runner.stored.get(one, LOCAL_OWNER).body),
            "tasks": lambda one: _task(self.tasks.get(one)),
        }
        return Chains(self.runs, openers)

    @cached_property
    def costing(self) -> Costing:
        prices = prices_of(self._workspace.settings)
        return Costing(self.runs, self._find, self._at, prices, self._size)

    def _size(self, step: Step) -> Size | None:
        """How large a call of a step is: its prompt's text, and the bound on the reply that it or the settings name.
        None where a template names the prompt; nothing where it has none, and so asks no model.
        """
        settings, names = self._workspace.settings, self.kinds[step.kind].prompts(step)
        if not names:
            return NOTHING
        for name in () if holds_template(list(names)) else names:
            anatomy = read_prompt(self._workspace.prompts.find(name).template)
            passages = settings.context_tokens * CHARACTERS_A_TOKEN if anatomy.grounded else 0
            characters = sum(map(len, anatomy.sections.values())) + int(passages)
            most = anatomy.header.model.max_tokens or settings.openai_max_tokens
            return Size(characters, most, self._model)
        return None

    # --- People ---------------------------------------------------------------------------------------------------

    @cached_property
    def tasks(self) -> Tasks:
        return Tasks(self._workspace.database)

    @cached_property
    def asks(self) -> Asks:
        return Asks(self.tasks, self.submit, self._notifier)

    @cached_property
    def _notifier(self) -> Notifier | None:
        return notifier_of(self._workspace, guards_of(self._workspace))

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.tasks, self.asks)

    @cached_property
    def people(self) -> PeopleDesk:
        return PeopleDesk(
            self.tasks,
            self._workspace.keys,
            self.asks,
            preview=self.runner.preview,
            submit=self.submit,
            authors=self._authors,
            causes=self.runs.causes,
            evidence=self._evidence,
            figures=TaskFigures(self._workspace.database),
            notifier=self._notifier,
        )

    @cached_property
    def inbox(self) -> Inbox:
        """All that waits for people."""
        return Inbox(self._workspace.review_desk, self.people)

    def _authors(self, digest: str) -> Collection[str]:
        """Who wrote a spec. Raises NotFound rather than bar nobody: a spec that a run was started with is stored."""
        return {self.library.by_sha256(digest).author}

    def _evidence(self, answer_id: str, principal: Principal) -> Mapping[str, Any] | None:
        try:
            return self._workspace.releases.record(answer_id, principal).body
        except NotFound:
            return None


def _prompt_run(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body.get(name) for name in ("status", "prompt", "model", "ledger")}


def _task(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in ("sort", "state", "decided_at")}
