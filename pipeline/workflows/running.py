"""Runs of workflows: what is next, done and recorded step by step, until a run is done or waits for somebody.

One turn of a run reads its journal, does what can be done, and returns. Nothing is kept between turns but the journal,
so that a turn may end anywhere (also by a kill) and the next one goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Protocol

from kernel.errors import Unavailable, VouchError
from kernel.ports import OutputChecker
from kernel.records import Principal, Role
from kernel.storage.runs import CANCELLED, DONE, FAILED, FINISHED, NewEvent, Overlooked, Run, Runs, Superseded
from pipeline.workflows import journal, outcomes
from pipeline.workflows.calling import Came, Failure, Hand, approval_of, attempt, timed
from pipeline.workflows.checks import Finding, Judging, former_values, judged
from pipeline.workflows.expressions import evaluate, fill
from pipeline.workflows.fields import greater
from pipeline.workflows.journal import RunState, StepState
from pipeline.workflows.outcomes import Try, seconds_until
from pipeline.workflows.readiness import WAIT, barred, next_moment, settled
from pipeline.workflows.seeing import Sight
from pipeline.workflows.spec import Step, Workflow
from pipeline.workflows.steps.base import Call, Done, Kind, Pins, Used, Waits
from pipeline.workflows.tickets import LetGo
from pipeline.workflows.undoing import to_undo, undo

INLINE_SECONDS = 1.0
"""A step that is to be tried again so soon is waited for on the spot."""
CHECKED, FAILURE = "check", "failure"
_log = logging.getLogger(__name__)


class AsksPeople(Protocol):
    """Puts something to a person, once a key, and tells what was decided."""

    def open(self, call: Call, title: str, form: Mapping[str, Any], shown: Mapping[str, Any], sort: str) -> str:
        """The id of what was opened; the same one for the same call."""
        ...

    def decision(self, ref: str) -> Mapping[str, Any] | None:
        """None while it is open; else `decision` (approved, rejected, answered, expired), `values`, `comment`, …"""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs are made with. `submit` has the engine do a run's next turn, after some seconds; `ended` is told of
    every run that ended, and never raises; `closing` says that this process ends, and that others should go on; `holds`
    whether a run may still act for who started it.
    """

    runs: Runs
    spec: Callable[[str], Workflow]
    kinds: Mapping[str, Kind]
    people: AsksPeople
    submit: Callable[[Run, float], None]
    checker: Callable[[], OutputChecker | None] = lambda: None
    ended: Callable[[Run], None] = lambda _: None
    closing: Callable[[], bool] = lambda: False
    holds: Callable[[str], bool] = lambda _: True


class Runner:
    """Does turns of runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def advance(self, run_id: str, turn: int) -> None:
        """Do a turn: all that can be done of a run now. Does nothing where the turn is past, or the run is finished.
        Raises LetGo where this process ends first: the turn is to be made again.
        """
        taken = self._parts.runs.take(run_id, turn)
        if taken is None:
            return
        if taken.erased:
            self._end(taken, "erased")
            return
        try:
            self._go(taken)
        except Superseded:
            _log.info("run %s was taken over", run_id)
        except (LetGo, Unavailable):
            raise
        except Exception:  # noqa: BLE001 - the edge of a worker: a run that always fails so must not be tried for ever
            _log.exception("run %s ends by a fault of Vouch", run_id)
            with suppress(Superseded):
                self._end(taken, "internal")

    def _go(self, taken: Run) -> None:
        made = _Turn(self._parts, taken)
        try:
            made.go()
        finally:
            made.hand.rest()

    def _end(self, taken: Run, slug: str) -> None:
        """End a run as failed where its own steps cannot: its record was erased, or a fault of the program."""
        ending = {"status": FAILED, "seconds": 0.0, "used": {}, "slug": slug}
        woken = self._parts.runs.finish(taken.id, taken.epoch, NewEvent(FINISHED, data=ending))
        if woken is not None:
            self._parts.submit(woken, 0.0)
        self._parts.ended(self._parts.runs.get(taken.id))

    def preview(self, run_id: str, step_id: str, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """The filled-in `with` of the steps that act on a review, were `output` what it came to."""
        run = self._parts.runs.get(run_id)
        spec = self._parts.spec(run.spec_sha256)
        state = RunState().after(self._parts.runs.events(run_id))
        return Sight(run, spec, pins_of(run).snapshot).preview(state, spec.by_id[step_id], output)


def pins_of(run: Run) -> Pins:
    """What a run is pinned to."""
    pins = run.said.get("pins") or {}
    none: dict[str, Any] = {"spec": run.spec_sha256, "policy": "", "snapshot": 0, "access_version": 0, "model": ""}
    return Pins(**none | {name: pins[name] for name in Pins.__slots__ if name in pins})


def principal_of(run: Run) -> Principal:
    """Who a run acts for: with their groups, and what their role may do."""
    said = run.said.get("principal") or {}
    groups = said.get("groups", [])
    return Principal(run.principal, Role(said.get("role", "app")), frozenset(groups) if groups is not None else None)


class _Turn:
    """A turn of one run: its journal so far, and how it goes on."""

    def __init__(self, parts: Parts, run: Run) -> None:
        self._parts = parts
        self._run = run
        self._spec = parts.spec(run.spec_sha256)
        self._state = RunState().after(parts.runs.events(run.id))
        self._principal, self._pins = principal_of(run), pins_of(run)
        self._sight = Sight(run, self._spec, self._pins.snapshot)
        self._stakes = greater(self._spec.stakes, run.said.get("stakes", ""))
        self._looked: set[tuple[str, int | None]] = set()
        self._under_way: object | None = None
        self.hand = Hand()
        self._noting = Lock()

    # --- The loop -------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Go on until nothing is left, or nothing can be done before somebody else has done something. Raises LetGo
        where this process ends first.
        """
        while True:
            if self._parts.closing():
                raise LetGo
            if self._state.stopped is None and not self._parts.holds(self._run.principal):
                self._write(NewEvent("stopped", data={"slug": "revoked"}))
            if self._state.cancelled is not None or self._state.stopped is not None:
                self._unwind()
                return
            if any(self._act(one) for one in self._spec.order):
                continue
            if settled(self._spec, self._state):
                if self._complete():
                    return
            elif self._let_go():
                return

    def _write(self, *events: NewEvent) -> None:
        """Record what happened."""
        made = self._parts.runs.write(self._run.id, self._run.epoch, events, self._state.last)
        if len(made) > len(events):
            self._looked.clear()
        self._state = self._state.after(made)

    def _let_go(self) -> bool:
        """Wait for what is next; False where something has come meanwhile."""
        wake_at = next_moment(self._spec, self._state)
        left = self._parts.runs.release(self._run.id, self._run.epoch, self._state.last, wake_at)
        if left is None:
            self._look()
            return False
        if wake_at is not None:
            self._parts.submit(left, seconds_until(wake_at))
        return True

    def _look(self) -> None:
        """Read what others wrote meanwhile."""
        self._state = self._state.after(self._parts.runs.events(self._run.id, self._state.last))
        self._looked.clear()

    # --- One step -------------------------------------------------------------------------------------------------

    def _act(self, step: Step) -> bool:
        """Do what can be done of a step now; whether anything was."""
        if self._state.of(step.id).settled:
            return False
        why = barred(self._spec, self._state, step)
        if why == WAIT:
            return False
        if why is None and step.when is not None and self._state.of(step.id) == journal.NEW:
            why = self._when(step)
            if why == WAIT:
                return True
        if why is not None:
            self._write(NewEvent("skipped", step.id, data={"why": why}))
            return True
        return self._once(Try(step, None, 0)) if step.each is None else self._each(step)

    def _when(self, step: Step) -> str | None:
        """None where a step's condition holds; `wait` where it could not be told, which is recorded as a failure."""
        try:
            return None if evaluate(str(step.when), self._sight.step(self._state, step, None)) else "when"
        except VouchError as error:
            self._failed(Try(step, None, 1), Came(Failure("input", f"when: {error}"), 0.0))
            return WAIT

    def _each(self, step: Step) -> bool:
        """Do what can be done of a loop now: one item, or the end of it."""
        try:
            places = range(len(self._sight.items(self._state, step)))
        except VouchError as error:
            self._failed(Try(step, None, 1), Came(Failure("input", str(error)), 0.0))
            return True
        if any(self._once(Try(step, place, 0)) for place in places if not self._state.of(step.id, place).settled):
            return True
        items = [self._state.of(step.id, place) for place in places]
        if not all(one.settled for one in items):
            return False
        outcome = Done([one.output for one in items])
        failed = sum(1 for one in items if one.status == journal.FAILED)
        counts = {"items": len(items), "failed": failed}
        self._write(outcomes.done(Try(step, None, 1), Came(outcome, 0.0), outcome, [], counts))
        return True

    def _once(self, this: Try) -> bool:
        """Do a step, or one item of its loop, once; False where it only waits."""
        step, place = this.step, this.place
        known = self._state.of(step.id, place)
        if known.status == journal.WAITING:
            if (step.id, place) in self._looked:
                return False
            this = Try(step, place, known.attempts)
            if (known.waits or {}).get("about"):
                return self._as_decided(this, known.waits or {})
        elif known.again_at is not None and not _due(known.again_at):
            return False
        else:
            this = Try(step, place, known.attempts + 1)
        return self._record(this, self._tried(this, known), known)

    def _tried(self, this: Try, known: StepState) -> Came:
        step, kind = this.step, self._parts.kinds[this.step.kind]
        try:
            visible = self._sight.step(self._state, step, this.place)
        except VouchError as error:
            return Came(Failure("input", str(error)), 0.0)
        call = timed(self._call(this, visible, known), step.timeout)
        approved = None
        if kind.effect(step.with_):
            approved = approval_of(self._spec, step, self._stakes, lambda name: self._state.of(name).output)
        try:
            return attempt(self.hand, kind, lambda: fill(step.with_, visible), call, _waited(known), approved)
        finally:
            with self._noting:
                self._under_way = None

    def _call(self, this: Try, visible: Mapping[str, Any], known: StepState, tail: str = "") -> Call:
        mine = self._under_way = object()
        tail = f":r{known.round}{tail}" if known.round else tail

        def note(sort: str, data: Mapping[str, Any]) -> None:
            with self._noting:
                if self._under_way is not mine:
                    raise Superseded(f"this try at step {this.step.id} is over")
                self._write(this.event("note", {"sort": sort}, {"note": dict(data)}))
            if self._state.cancelled is not None:
                raise Superseded(f"run {self._run.id} was cancelled")

        def preview(output: Mapping[str, Any]) -> Mapping[str, Any]:
            return self._sight.preview(self._state, this.step, output)

        return Call(
            run_id=self._run.id,
            workflow=self._run.workflow,
            mode=self._run.mode,
            principal=self._principal,
            pins=self._pins,
            step=this.step,
            item=this.place,
            attempt=this.number,
            key=f"{self._run.id}:{this.step.id}:{'' if this.place is None else this.place}{tail}",
            stakes=self._stakes,
            visible=visible,
            preview=preview,
            notes=known.notes,
            note=note,
            left=lambda: this.step.timeout,
        )

    # --- What came of it ------------------------------------------------------------------------------------------

    def _record(self, this: Try, came: Came, known: StepState) -> bool:
        """Record what came of a try; False where it still waits for the same. What has just begun to wait is looked at
        once more: where a process died after it had asked, the answer may have come before this.
        """
        outcome = came.outcome
        if isinstance(outcome, Waits):
            if known.waits is not None:
                self._looked.add((this.step.id, this.place))
                if _waited(known) == replace(outcome, used=Used()):
                    return False
            self._write(outcomes.waits(this, came, outcome))
        elif isinstance(outcome, Failure):
            self._failed(this, came)
        else:
            self._judge(this, came, outcome)
        return True

    def _judge(self, this: Try, came: Came, outcome: Done) -> None:
        """A step's output passes its checks, or the run stops, goes elsewhere, or asks a person."""
        findings = self._findings(this, outcome.output)
        if all(one.holds for one in findings):
            self._write(outcomes.done(this, came, outcome, findings, {}))
        elif findings[-1].check.otherwise == "review":
            data = outcomes.unchecked_facts(came, outcome, findings)
            self._put_to_person(this, CHECKED, data, outcomes.unchecked_words(came, outcome, findings[-1]))
        else:
            self._write(*outcomes.unchecked(this, came, outcome, findings))

    def _findings(self, this: Try, output: Any) -> list[Finding]:
        if not this.step.checks:
            return []

        def former(check: str, wanted: int) -> Sequence[float]:
            return former_values(self._parts.runs, self._run, this.step.id, check, wanted)

        visible = self._sight.step(self._state, this.step, this.place)
        return judged(this.step.checks, Judging(visible, output, former, self._parts.checker()))

    def _failed(self, this: Try, came: Came) -> None:
        failure = came.outcome
        assert isinstance(failure, Failure)  # noqa: S101 - the caller asked
        again = failure.retryable and this.number < this.step.retry.attempts
        if this.on_failure == "review" and not again:
            data, words = outcomes.failure_facts(came, failure), outcomes.failure_words(came, failure)
            self._put_to_person(this, FAILURE, data, words)
            return
        self._write(*outcomes.failed(this, came, failure))

    def _put_to_person(self, this: Try, about: str, data: Mapping[str, Any], words: Mapping[str, Any]) -> None:
        """Ask a person whether to go on: with the output as it is (`check`), or without one (`failure`)."""
        known = self._state.of(this.step.id, this.place)
        call = self._call(this, {}, known, f":{about}:{this.number}")
        title = f"{self._spec.title or self._spec.name}: {this.step.label}"
        shown = {"what": words["error"], "output": words.get("output"), "with": words.get("with")}
        ref = self._parts.people.open(call, title, {"type": "object"}, shown, "review")
        waits = {"for": "person", "ref": ref, "until": None, "about": about}
        self._write(this.event("waits", {**data, **waits}, words))

    def _as_decided(self, this: Try, waits: Mapping[str, Any]) -> bool:
        decision = self._parts.people.decision(waits["ref"])
        if decision is None:
            self._looked.add((this.step.id, this.place))
            return False
        self._write(*outcomes.decided(this, waits, decision))
        return True

    # --- The end --------------------------------------------------------------------------------------------------

    def _unwind(self) -> None:
        """Take back what was done, last first, and end as failed or cancelled."""
        for this in to_undo(self._spec, self._state):
            known = self._state.of(this.step.id, this.place)
            visible = self._sight.step(self._state, this.step, this.place) | {"output": known.output}
            call = timed(self._call(this, visible, known, ":undo"), this.step.timeout)
            self._write(undo(self.hand, self._parts.kinds, this, call))
        self._finish(CANCELLED if self._state.cancelled is not None else FAILED, None)

    def _complete(self) -> bool:
        """End a run of which nothing is left; False where its output cannot be had, which stops it, or where
        others wrote something meanwhile.
        """
        try:
            output = fill(self._spec.output, self._sight.of(self._state, self._spec.by_id))
        except VouchError as error:
            self._write(NewEvent("stopped", data={"slug": "output"}, words={"error": f"output: {error}"}))
            return False
        try:
            self._finish(DONE, output, self._state.last)
        except Overlooked:
            self._look()
            return False
        return True

    def _finish(self, status: str, output: Any, seen: int | None = None) -> None:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(self._run.created_at)).total_seconds()
        data = {"status": status, "seconds": round(seconds, 3), "used": dict(self._state.totals)}
        stopped = self._state.stopped
        data |= {"at": stopped["step"], "slug": stopped["slug"]} if stopped is not None else {}
        ending = NewEvent(FINISHED, data=data, words={"output": output})
        woken = self._parts.runs.finish(self._run.id, self._run.epoch, ending, seen)
        if woken is not None:
            self._parts.submit(woken, 0.0)
        self._parts.ended(self._parts.runs.get(self._run.id))


def _due(moment: str) -> bool:
    """Whether a moment has come; one that is near is waited for."""
    left = seconds_until(moment)
    if left > INLINE_SECONDS:
        return False
    time.sleep(left)
    return True


def _waited(known: StepState) -> Waits | None:
    waits = known.waits if known.status == journal.WAITING else None
    return None if waits is None else Waits(waits["for"], waits["ref"], waits.get("until"))
