"""Which turns this worker makes at the moment, and the thread that takes more when there is room."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.workflows.bell import Bell

Take = Callable[[int], int]
"""Takes turns of one queue, at most so many, and starts each in a thread of its own; gives how many."""

_log = logging.getLogger("vouch.engine")


class Turns:
    """At most `threads` turns at once, over all queues."""

    def __init__(self, bell: Bell, threads: int) -> None:
        self._bell = bell
        self._threads = threads
        self._taken = 0
        self._ended: set[str] = set()
        self._change = threading.Condition()

    @property
    def under_way(self) -> int:
        """How many turns this worker makes at the moment."""
        with self._change:
            return self._taken

    @contextmanager
    def held(self) -> Iterator[None]:
        """A turn's thread does its work in this block."""
        try:
            yield
        finally:
            with self._change:
                self._taken -= 1
                self._change.notify_all()
            self._bell.ring()

    def settle(self, seconds: float) -> bool:
        """Wait until no turn is under way, at most so long. Whether that came."""
        with self._change:
            return self._change.wait_for(lambda: self._taken <= 0, seconds)

    def serve(self, queues: Callable[[], Sequence[Take]], contended: Callable[[Exception], bool]) -> None:
        """Take turns whenever the bell rings, until it ends. Another queue comes first each time, so none starves;
        `queues` may be others each time.
        """
        first = 0
        while self._bell.wait():
            first += 1
            takes = queues()
            for position in range(len(takes)):
                try:
                    self.take(takes[(first + position) % len(takes)])
                except Exception as error:  # noqa: BLE001  the edge of a worker
                    if not contended(error):
                        _log.warning("turns cannot be taken (%s); trying again", type(error).__name__)

    def take(self, take: Take) -> None:
        """Take turns of a queue where there is room. They are counted before they start: what a short turn gives back
        when it ends must have been counted.
        """
        with self._change:
            room = self._threads - self._taken
            if room <= 0:
                return
            self._taken += room
        taken = 0
        try:
            taken = take(room)
        finally:
            with self._change:
                self._taken -= room - taken
                self._change.notify_all()
