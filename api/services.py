"""What the HTTP handlers share: the workspace and everything that lives as long as the server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from api.assembly import Workspace
from api.flows import Flows
from api.heads import HeadKeeper
from api.idempotency import KeyedLocks
from api.jobs import JobRunner
from api.metrics import Metrics
from api.workflow_worker import WorkflowWorker
from kernel.errors import InvalidInput, NotFound
from kernel.records import LiveState

LARGEST_NUMBER = 2**31 - 1
"""The largest snapshot or revision number that a request may name: what every database's integer column holds."""


@dataclass(frozen=True, slots=True)
class Services:
    """One per application."""

    workspace: Workspace
    runner: JobRunner
    metrics: Metrics
    heads: HeadKeeper
    flows: Flows
    worker: WorkflowWorker | None = None
    locks: KeyedLocks = field(default_factory=KeyedLocks)

    def snapshot(self, as_of: int | str | None) -> int | None:
        """The number of the snapshot that `as_of` names; None for the live one.

        Raises NotFound for an unknown number, InvalidInput for what is neither a number nor a moment.
        """
        if as_of is None:
            return None
        name = str(as_of).strip()
        if name.isdecimal() and int(name) > LARGEST_NUMBER:
            raise NotFound(f"no snapshot {name}")
        try:
            return self.workspace.snapshots.resolve(name)
        except OverflowError as error:
            raise InvalidInput("as_of names a moment outside the calendar") from error

    def state(self, snapshot: int | None) -> LiveState:
        """The state of a snapshot under the access rules of now; of the live one for None."""
        live = self.workspace.snapshots.live()
        if snapshot is None or snapshot == live.snapshot:
            return live
        return replace(live, snapshot=snapshot, last_chunk=self.workspace.snapshots.last_chunk(snapshot))
