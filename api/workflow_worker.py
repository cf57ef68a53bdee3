"""A worker of a workspace: it makes turns of runs, fires what is due, and takes over from workers that died."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from api.flows import Flows
from kernel.errors import Conflict
from pipeline.workflows.presence import Presence
from pipeline.workflows.watchdog import Pace, Watchdog


class WorkflowWorker:
    """This process as a worker, from `start` to `stop`."""

    def __init__(self, flows: Flows, threads: int, pace: Pace | None = None) -> None:
        self._flows = flows
        self._threads = threads
        self._pace = pace
        self._stop: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        """Whether turns are being taken."""
        return bool(self._stop)

    def start(self) -> None:
        """Begin: what a worker that died on this machine left is taken up within a second."""
        flows = self._flows
        presence = Presence(flows.folder / "workers")
        engine = flows.engine_as(presence.id, self._threads)
        watchdog = Watchdog(engine, flows.engine_database, presence, flows.sweeper, self._pace)
        engine.launch(flows.runner.advance, flows.fired, flows.queues)
        watchdog.start()
        self._stop = [watchdog.close, engine.close, presence.close, flows.engine_database.close]

    def stop(self) -> None:
        """Take no more turns; those under way end or are left to others."""
        for stop in self._stop:
            with suppress(Conflict):
                stop()
        self._stop = []
