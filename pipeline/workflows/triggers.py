"""What starts live workflows without a person: a clock, an event, new documents, another run that ended.

Which triggers hold follows from the library alone, so a version that goes live, back or out takes its triggers with it.
Everything that is started carries a key: what comes twice, after a crash or from two workers, is started once.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.errors import Forbidden, InvalidInput, NotFound, VouchError
from kernel.records import WorkflowVersion
from kernel.storage.runs import DONE, ENDS, FINISHED, Run, Runs
from kernel.storage.triggers import DocumentChanges
from pipeline.workflows.expressions import evaluate, fill
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.spec import Trigger
from pipeline.workflows.starting import Wanted, unattended
from pipeline.workflows.state import LIVE
from pipeline.workflows.tickets import Timetable

CRON, EVENT, DOCUMENTS, AFTER = "cron", "event", "documents", "after"
EVENT_NAME = re.compile(r"[a-z][a-z0-9._-]{0,79}")
LONGEST_CHAIN = 8
"""Runs that may have started one another by `after`."""
TOO_OLD = timedelta(days=1)
"""What ended so long ago starts nothing after it any more."""
REMEMBERED = 1000
"""Runs of which a process remembers that what follows them was started."""
_log = logging.getLogger(__name__)

Start = Callable[[Wanted], Run]


@dataclass(frozen=True, slots=True)
class Held:
    """A trigger of a live version. `place` counts those of its kind, `turn` those of its kind and target, both from 1;
    `paused`: the triggers of its workflow rest.
    """

    version: WorkflowVersion
    trigger: Trigger
    place: int
    turn: int
    paused: bool

    @property
    def name(self) -> str:
        """The one name of it, over all workflows."""
        return f"{self.version.name}/{kind_of(self.trigger)}-{self.place}"

    @property
    def kind(self) -> str:
        """cron, event, documents or after."""
        return kind_of(self.trigger)

    @property
    def key(self) -> str:
        """What it stays known by from version to version."""
        return f"{self.kind} {target_of(self.trigger)} {self.turn}"


@dataclass(frozen=True, slots=True)
class Came:
    """What came of something that happened: the runs that it started (or had started before), and the workflows that
    could not be started, each with the reason.
    """

    runs: Sequence[Run] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


class Triggers:
    """Starts live workflows. Every way is idempotent, so that any worker may take it, several at once too."""

    def __init__(self, library: WorkflowLibrary, start: Start, changes: DocumentChanges, runs: Runs) -> None:
        self._library = library
        self._start = start
        self._changes = changes
        self._runs = runs
        self._followed: dict[str, None] = {}

    def held(self) -> list[Held]:
        """Every trigger of every live version, by workflow. One that came with the program works once somebody put the
        workflow live: until then nobody asked for it.
        """
        state = self._library.state()
        live = [one for one in self._library.live() if self._library.switched_on(one.name, state.of(one.name))]
        return [one for version in live for one in held_by(version, paused=state.of(version.name).paused)]

    def timetables(self) -> list[Timetable]:
        """What an engine fires by the clock, by name."""
        clocks = (one for one in self._working(CRON) if one.trigger.cron is not None)
        return [Timetable(one.name, str(one.trigger.cron), one.trigger.timezone) for one in clocks]

    def fired(self, name: str, moment: datetime) -> Run | None:
        """Start what is due by the clock, once for a moment. None where there is no such timetable any more, its
        condition does not hold, or it cannot be started, which the log tells.
        """
        held = next((one for one in self._working(CRON) if one.name == name), None)
        if held is None:
            return None
        at = moment.astimezone(UTC).isoformat(timespec="seconds")
        return self._one(held, {"event": {"name": name, "moment": at}}, {}, f"{held.key} {at}")

    def event(self, name: str, body: Any, key: str) -> Came:
        """Start every live workflow that an event starts and whose condition holds, once for a key. Raises NotFound
        where none has such a trigger.
        """
        held = [one for one in self._working(EVENT) if one.trigger.event == name]
        if not held:
            raise NotFound(f"no live workflow waits for the event {name}")
        given = body if isinstance(body, dict) else {}
        runs, refused = [], {}
        for one in held:
            try:
                made = self._begin(one, {"event": body}, given, f"{one.key} {key}")
            except (InvalidInput, NotFound, Forbidden) as error:
                refused[one.version.name] = str(error)
            else:
                runs += [made] if made is not None else []
        return Came(runs, refused)

    def due(self, now: datetime | None = None) -> list[Run]:
        """Start what waits for documents of a source, once nothing of it has changed for as long as the trigger says.
        Which documents are new follows from the published snapshots, so nothing is missed while no worker runs.
        """
        moment, found = now or datetime.now(UTC), list[Run]()
        for held in self._working(DOCUMENTS):
            made = self._documents(held, moment)
            found += [made] if made is not None else []
        return found

    def ended(self, run: Run) -> list[Run]:
        """Start what starts after a run, once. Without a condition only a run that ended well does. A chain of runs
        ends where it is too long, which the log tells.
        """
        if run.erased or run.mode != LIVE or run.finished_at is None:
            return []
        held = [one for one in self._working(AFTER) if one.trigger.after == run.workflow]
        held = [one for one in held if run.finished_at > self._since(one)]
        held = [one for one in held if one.trigger.when is not None or run.status == DONE]
        if held and self._depth(run) >= LONGEST_CHAIN:
            _log.warning("run %s starts nothing after it: %d runs have started one another", run.id, LONGEST_CHAIN)
            return []
        seen = {"run": self._told(run)} if held else {}
        made = [self._one(one, seen, {}, f"{one.key} {run.id}", run.id) for one in held]
        return [one for one in made if one is not None]

    def missed(self, limit: int = 200) -> list[Run]:
        """Start what the end of the newest runs should have started, where the process died before it could. What
        ended more than a day ago stays without.
        """
        if not self._working(AFTER):
            return []
        found, since = [], (datetime.now(UTC) - TOO_OLD).isoformat(timespec="microseconds")
        for run in reversed(self._runs.items(limit=limit, status=ENDS)):
            if run.id not in self._followed and (run.finished_at or "") > since:
                found += self.ended(run)
                self._followed[run.id] = None
        for old in list(self._followed)[:-REMEMBERED]:
            del self._followed[old]
        return found

    def _told(self, run: Run) -> dict[str, Any]:
        """What a trigger sees of a run that ended."""
        names = ("id", "workflow", "version", "mode", "trigger", "status", "created_at", "finished_at")
        last = next((one.words for one in reversed(self._runs.events(run.id)) if one.kind == FINISHED), None) or {}
        told = {name: getattr(run, name) for name in names}
        return told | {"input": run.said.get("input", {}), "output": last.get("output")}

    def _documents(self, held: Held, moment: datetime) -> Run | None:
        wanted, name = held.trigger.documents, held.version.name
        if wanted is None:
            return None
        principal = unattended(name, frozenset(spec_of(held.version).run_as.groups))
        change = self._changes.since(wanted.source, principal, self._since(held), (name, held.key))
        if change is None or datetime.fromisoformat(change.at) + timedelta(seconds=wanted.debounce) > moment:
            return None
        event = {"source": wanted.source, "snapshot": change.snapshot, "count": change.count}
        event |= {"documents": list(change.documents)}
        made = self._one(held, {"event": event}, {}, f"{held.key} {change.snapshot}")
        self._changes.mark((name, held.key), change.snapshot)
        return made

    def _since(self, held: Held) -> str:
        """From when on a trigger holds: since versions that have it are live without a break, and the workflow came
        back. What changed while triggers rested counts for documents alone. Empty: since ever.
        """
        name = held.version.name
        known, since = self._library.state().of(name), ""
        for move in reversed([one for one in known.moves if one.label == LIVE]):
            since = move.created_at
            if not move.before or not self._has(name, move.before, held):
                break
            since = ""
        return max(since, known.restored, "" if held.kind == DOCUMENTS else known.resumed)

    def _has(self, name: str, number: int, held: Held) -> bool:
        version = self._library.find(f"{name}@{number}")
        return any(one.key == held.key for one in held_by(version))

    def _depth(self, run: Run) -> int:
        """How many runs before this one have started one another by `after`."""
        depth = 0
        while run.trigger == AFTER and run.parent and depth < LONGEST_CHAIN:
            run, depth = self._runs.get(run.parent), depth + 1
        return depth

    def _working(self, kind: str) -> list[Held]:
        return [one for one in self.held() if one.kind == kind and not one.paused]

    def _one(
        self, held: Held, seen: Mapping[str, Any], given: Mapping[str, Any], key: str, parent: str = ""
    ) -> Run | None:
        """Start one; what cannot be started for good is told in the log, what may work later is raised."""
        try:
            return self._begin(held, seen, given, key, parent)
        except VouchError as error:
            if error.retryable:
                raise
            _log.warning("trigger %s starts nothing: %s", held.name, error)
            return None

    def _begin(
        self, held: Held, seen: Mapping[str, Any], given: Mapping[str, Any], key: str, parent: str = ""
    ) -> Run | None:
        trigger, spec = held.trigger, spec_of(held.version)
        if trigger.when is not None and not evaluate(trigger.when, seen):
            return None
        value = given if trigger.input is None else fill(trigger.input, seen)
        principal = unattended(held.version.name, frozenset(spec.run_as.groups))
        return self._start(Wanted(held.version.name, value, principal, held.kind, key, parent))


def event_key(body: Mapping[str, Any], said: str | None, signature: str | None = None) -> str:
    """What tells an event from another one of its name: what its sender said, else the body's own `id`, else its
    signature; else nothing that comes again.
    """
    if said is not None:
        return f"key {said}"
    if isinstance(body.get("id"), str | int) and body["id"] != "":
        return f"id {body['id']}"
    return f"signature {signature}" if signature is not None else f"request {secrets.token_hex(16)}"


def kind_of(trigger: Trigger) -> str:
    """cron, event, documents or after."""
    return next(kind for kind in (CRON, EVENT, DOCUMENTS, AFTER) if getattr(trigger, kind) is not None)


def target_of(trigger: Trigger) -> str:
    """The event, source or workflow that a trigger waits for; empty for the clock."""
    if trigger.documents is not None:
        return trigger.documents.source
    return trigger.event or trigger.after or ""


def held_by(version: WorkflowVersion, *, paused: bool = False) -> list[Held]:
    """The triggers of a version, as its file lists them."""
    kinds, targets, found = Counter[str](), Counter[tuple[str, str]](), list[Held]()
    for trigger in spec_of(version).triggers:
        kind, target = kind_of(trigger), target_of(trigger)
        kinds[kind] += 1
        targets[kind, target] += 1
        found.append(Held(version, trigger, kinds[kind], targets[kind, target], paused))
    return found


def triggers_json(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Triggers as listings show them."""
    return [
        {
            "name": one.name,
            "workflow": one.version.name,
            "version": one.version.version,
            "kind": one.kind,
            "detail": _detail(one.trigger),
            "when": one.trigger.when,
            "paused": one.paused,
        }
        for one in held
    ]


def _detail(trigger: Trigger) -> str:
    if trigger.documents is not None:
        return f"{trigger.documents.source}, once nothing changes for {trigger.documents.debounce:g} s"
    if trigger.cron is not None:
        return f"{trigger.cron} ({trigger.timezone})"
    return target_of(trigger)
