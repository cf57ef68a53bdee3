"""What a worker does beside its turns: it shows that it lives, takes over from the dead, and mends.

Who is dead? On the same machine the one whose lock is free: that shows within a tick. Elsewhere the one whose sign of
life has not changed for `silent_seconds` by this process's own clock, which stands still while the machine sleeps; so
neither clocks that differ nor a laptop that slept make a worker dead. One that was only slow loses its turns to others;
it does no harm, for the journal refuses what it still writes.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kernel.storage.engine_database import EngineDatabase
from kernel.storage.rows import now
from pipeline.workflows.engine import Engine
from pipeline.workflows.presence import Presence

_log = logging.getLogger("vouch.engine")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a worker does what, in seconds. `silent` is after how long without a sign of life one counts as dead;
    it must be some times `beat`."""

    tick: float = 1.0
    beat: float = 5.0
    silent: float = 30.0
    sweep: float = 10.0
    tidy: float = 3600.0


class Watchdog:
    """A thread beside a launched engine. `sweep` submits again the turns of runs that have none and should."""

    def __init__(
        self,
        engine: Engine,
        database: EngineDatabase,
        presence: Presence,
        sweep: Callable[[], None],
        pace: Pace | None = None,
    ) -> None:
        self._engine, self._database, self._presence = engine, database, presence
        self._pace = pace or Pace()
        self._seen: dict[str, tuple[str | None, float]] = {}
        self._done: dict[str, float] = {}
        self._duties: dict[str, tuple[float, Callable[[], object]]] = {
            "hand over": (self._pace.tick, self.hand_over),
            "sweep": (self._pace.sweep, sweep),
            "tidy": (self._pace.tidy, engine.tidy),
        }
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._pulse, name="vouch-pulse", daemon=True),
            threading.Thread(target=self._rounds, name="vouch-watchdog", daemon=True),
        ]

    def start(self) -> None:
        """Show that this worker lives, then begin."""
        self._beat()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; the worker's sign of life goes, so that nobody waits for it."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._database.bury({self._presence.id})

    def hand_over(self) -> int:
        """Put the turns of dead workers back into their queues; how many there were."""
        beats = self._database.beats()
        others = (self._engine.holders() | beats.keys()) - {self._presence.id}
        ended = self._presence.ended(others | self._presence.neighbours())
        dead = ended | {one for one in others if self._silent(one, beats.get(one))}
        count = self._engine.hand_over(dead)
        if dead:
            self._database.bury(dead)
            self._presence.bury(ended)
            self._seen = {one: seen for one, seen in self._seen.items() if one in others - dead}
        if count:
            _log.warning("%d turns of workers that are gone go on elsewhere", count)
        return count

    def _silent(self, worker: str, beat: str | None) -> bool:
        moment = time.monotonic()
        last, since = self._seen.get(worker, (None, moment))
        if worker not in self._seen or beat != last:
            since = moment
        self._seen[worker] = (beat, since)
        return moment - since >= self._pace.silent

    def _beat(self) -> None:
        self._database.beat(self._presence.id, platform.node(), os.getpid(), now())

    def _pulse(self) -> None:
        """Apart from the rounds, which may have to wait: a worker that waits is not dead."""
        while not self._stopping.wait(self._pace.beat):
            self._do("beat", 0.0, self._beat)

    def _rounds(self) -> None:
        while not self._stopping.is_set():
            for name, (seconds, duty) in self._duties.items():
                self._do(name, seconds, duty)
            self._stopping.wait(self._pace.tick)

    def _do(self, name: str, seconds: float, duty: Callable[[], object]) -> None:
        moment = time.monotonic()
        if moment - self._done.get(name, float("-inf")) < seconds:
            return
        self._done[name] = moment
        try:
            duty()
        except Exception as error:  # noqa: BLE001  the edge of a worker
            _log.warning("a worker could not %s (%s: %s); trying again", name, type(error).__name__, error)
