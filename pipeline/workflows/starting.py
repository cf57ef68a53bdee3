"""Starting runs, and what people do with them: cancel, resume, fork. What a run depends on is pinned when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import Principal, Role, WorkflowVersion
from kernel.storage.runs import CANCELLED, FAILED, NewEvent, NewRun, Run, RunEvent, Runs
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.calling import REVIEW
from pipeline.workflows.journal import DONE, SKIPPED, RunState
from pipeline.workflows.running import principal_of
from pipeline.workflows.spec import Workflow, targets
from pipeline.workflows.steps.base import Call, Kind, Pins

DEEPEST = 8
"""Runs may start one another so deep."""
LONGEST_REASON = 2000
CHILD, FORK = "step", "fork"
"""What started a run, besides the triggers: a step of another one, or somebody who goes on from a step of one."""


@dataclass(frozen=True, slots=True)
class Found:
    """A version of a workflow: its number and hash, and the spec. `mode`: what a run of it counts as."""

    name: str
    version: int
    sha256: str
    spec: Workflow
    mode: str = "live"
    author: str = ""
    stored: WorkflowVersion | None = None
    """The version, which is stored with the run where it only came with the program."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is asked for. `dedup`: what is asked for twice under the same one is started once."""

    reference: str
    input: Mapping[str, Any]
    principal: Principal
    trigger: str = "hand"
    dedup: str | None = None
    parent: str = ""
    actor: str = ""
    priority: int | None = None
    stakes: str = ""
    """Those of the run that starts it, which count where they are greater than its own."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a start reads what it pins: `find` the version of a workflow that somebody gets, `at` one by its number,
    whatever became of it, `prompt` a prompt's version for somebody.
    """

    find: Callable[[str, Principal], Found]
    at: Callable[[str, int], Found]
    prompt: Callable[[str, Principal, str], tuple[int, str]]
    pins: Callable[[], Pins]


class RunDesk:
    """Runs, for who may start, see and steer them."""

    def __init__(
        self, runs: Runs, kinds: Mapping[str, Kind], sources: Sources, submit: Callable[[Run, float], None]
    ) -> None:
        self._runs = runs
        self._kinds = kinds
        self._sources = sources
        self._submit = submit

    # --- Starting -------------------------------------------------------------------------------------------------

    def start(self, wanted: Wanted) -> Run:
        """Start a run, durably, or give the one that was started under the same `dedup`. Raises NotFound, and
        InvalidInput that names each member of the input that does not fit; that it was refused is recorded.
        """
        return self._start(self._sources.find(wanted.reference, wanted.principal), wanted)

    def _start(self, found: Found, wanted: Wanted) -> Run:
        faults = schema_faults(dict(wanted.input), found.spec.inputs)
        if faults:
            said = {"input": dict(wanted.input), "faults": faults}
            self._runs.refused(found.name, found.sha256, wanted.trigger, said, wanted.principal.id)
            raise InvalidInput(f"the input does not fit workflow {found.name}: {'; '.join(faults)}")
        made, new = self._runs.start(self._new(found, wanted))
        if new:
            self._submit(made, 0.0)
        return made

    def _new(self, found: Found, wanted: Wanted) -> NewRun:
        spec, principal = found.spec, wanted.principal
        groups = sorted(principal.groups) if principal.groups is not None else None
        said = {
            "input": dict(wanted.input),
            "principal": {"role": principal.role.value, "groups": groups},
            "pins": asdict(self._pins(found, principal)),
            "author": found.author,
            "stakes": wanted.stakes,
        }
        due = datetime.now(UTC) + timedelta(seconds=spec.deadline) if spec.deadline else None
        return NewRun(
            workflow=found.name,
            version=found.version,
            spec_sha256=found.sha256,
            mode=found.mode,
            trigger=wanted.trigger,
            principal=principal.id,
            said=said,
            parent=wanted.parent,
            dedup=sha256(f"{found.name}\0{wanted.dedup}") if wanted.dedup is not None else None,
            due_at=due.isoformat(timespec="microseconds") if due else None,
            queue=spec.queue.name,
            priority=wanted.priority or spec.queue.priority,
            actor=wanted.actor or principal.id,
            keep=found.stored,
        )

    def _pins(self, found: Found, principal: Principal) -> Pins:
        """What the run may depend on, as it is now."""
        spec = found.spec
        steps = [(self._kinds[step.kind], step) for step in spec.steps if step.kind in self._kinds]
        named = dict.fromkeys(name for kind, step in steps for name in kind.prompts(step))
        started = dict.fromkeys(name for kind, step in steps for name in kind.workflows(step))
        prompts = {name: self._sources.prompt(name, principal, spec.stakes) for name in named}
        children = {name: self._sources.find(name, principal) for name in started}
        workflows = {name: (one.version, one.sha256) for name, one in children.items()}
        return replace(self._sources.pins(), spec=found.sha256, prompts=prompts, workflows=workflows)

    def start_child(self, call: Call, name: str, given: Mapping[str, Any]) -> str:
        """Start the run of a sub-workflow, once a call; its id. Raises InvalidInput, also where they nest too deep."""
        depth, parent = 1, self._runs.get(call.run_id).parent
        while ":" in parent:
            depth, parent = depth + 1, self._runs.get(parent.partition(":")[0]).parent
        if depth >= DEEPEST:
            raise InvalidInput(f"workflows may start one another at most {DEEPEST} deep")
        if name not in call.pins.workflows:
            raise InvalidInput(f"the run chose no version of workflow {name} at its start: name it without a template")
        number, digest = call.pins.workflows[name]
        found = self._sources.at(name.partition("@")[0], number)
        if found.sha256 != digest:
            raise InvalidInput(
                f"version {number} of workflow {name} is not what the run chose at its start: start it anew"
            )
        wanted = Wanted(name, given, call.principal, CHILD, call.key, call.key, stakes=call.stakes)
        return self._start(found, wanted).id

    # --- Steering -------------------------------------------------------------------------------------------------

    def cancel(self, run_id: str, actor: Principal, reason: str = "") -> Run:
        """Cancel an open run, and the runs that its steps started: what was done is taken back where the spec says how.
        Raises NotFound, and Conflict where it is finished.
        """
        self.get(run_id, actor)
        event = NewEvent("cancelled", words={"reason": reason[:LONGEST_REASON]})
        woken = self._runs.interrupt(run_id, event, actor.id)
        if woken is not None:
            self._submit(woken, 0.0)
        for child in self._runs.children(run_id):
            if child.trigger == CHILD and child.finished_at is None:
                with suppress(Conflict):  # it ended meanwhile
                    self.cancel(child.id, actor, f"run {run_id} was cancelled")
        return self._runs.get(run_id)

    def resume(self, run_id: str, actor: Principal) -> Run:
        """Go on with a run that failed or was cancelled: what failed is done again, what was done is kept; so do the
        runs that its steps started, since a step starts its run once. Raises
        NotFound, and Conflict where it is open or done, or its record was erased.
        """
        run = self.get(run_id, actor)
        if run.erased:
            raise Conflict(f"the record of run {run_id} was erased: start it anew")
        made = self._runs.reopen(run_id, NewEvent("resumed"), actor.id)
        for part in self._runs.children(run_id):
            if part.trigger == CHILD and part.status in (FAILED, CANCELLED) and not part.erased:
                self.resume(part.id, actor)
        self._submit(made, 0.0)
        return made

    def fork(self, run_id: str, step: str, actor: Principal) -> Run:
        """A new run that goes on from a step of another one, with all that did not follow from that step kept, and with
        the same pins. Raises NotFound, InvalidInput for a step that is not there, Conflict for an erased or open run.
        """
        run = self.get(run_id, actor)
        spec = self._sources.at(run.workflow, run.version).spec
        if step not in spec.by_id:
            raise InvalidInput(f"workflow {run.workflow} has no step {step}: {', '.join(spec.by_id)}")
        if run.erased or run.finished_at is None:
            raise Conflict(f"run {run_id} is {'erased' if run.erased else 'not finished'}: it cannot be forked")
        kept = _kept(spec, self._runs.events(run_id), step)
        groups = principal_of(run).groups
        said = {
            **run.said,
            "principal": {"role": principal_of(run).role.value, "groups": None if groups is None else sorted(groups)},
        }
        said.pop("by", None)
        wanted = NewRun(
            run.workflow,
            run.version,
            run.spec_sha256,
            run.mode,
            FORK,
            run.principal,
            said,
            parent=run_id,
            queue=run.queue,
            priority=run.priority,
            actor=actor.id,
        )
        made, _ = self._runs.start(wanted, kept)
        self._submit(made, 0.0)
        return made

    # --- Seeing ---------------------------------------------------------------------------------------------------

    def get(self, run_id: str, principal: Principal) -> Run:
        """A run that `principal` may see: one's own, and to reviewers and admins all. Raises NotFound."""
        run = self._runs.get(run_id)
        if not self._sees(run, principal):
            raise NotFound(f"no run {run_id} of a workflow")
        return run

    def former(self, run_id: str, principal: Principal) -> Run:
        """The run of the same workflow that ended well before this one was started. Raises NotFound."""
        run = self.get(run_id, principal)
        found = [one for one in self._runs.ended(run.workflow, run.number, 20) if self._sees(one, principal)]
        if not found:
            raise NotFound(f"no run of {run.workflow} ended well before {run_id}")
        return found[0]

    @staticmethod
    def _sees(run: Run, principal: Principal) -> bool:
        return principal.role.oversees or run.principal == principal.id


def unattended(workflow: str, groups: frozenset[str]) -> Principal:
    """Who acts in runs that no person starts: it sees what these groups may, and what is open to everyone."""
    return Principal(f"workflow:{workflow}", Role.APP, groups)


def _kept(spec: Workflow, events: list[RunEvent], step: str) -> list[NewEvent]:
    """Rows of a journal that do not follow from a step, nor from what was taken back."""
    state = RunState().after(events)
    after = _following(spec, {step} | {key.partition(":")[0] for key in state.undone})
    good = {DONE, SKIPPED}
    keep = {one.id for one in spec.order if one.id not in after and state.of(one.id).status in good}
    return [
        NewEvent(one.kind, one.step, one.item, one.attempt, {**one.data, "copy_of": one.leaf}, one.words or {})
        for one in events
        if one.step in keep and one.kind in ("done", "skipped", "failed")
    ]


def _following(spec: Workflow, begin: set[str]) -> set[str]:
    """These steps, those that need them or are led to by them, and the reviews that allowed what they do: an approval
    is of one act, so what is done again is approved again. With all that follows from those.
    """
    found: set[str] = set()
    more = set(begin)
    while more - found:
        found |= more
        for one in spec.steps:
            allows = one.kind == REVIEW and found & set(one.with_.get("effects", ()))
            if found & set(one.needs) or allows:
                more.add(one.id)
            if one.id in found:
                more.update(targets(one))
    return found
