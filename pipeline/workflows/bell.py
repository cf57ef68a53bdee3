"""What wakes the thread that looks for work."""

from __future__ import annotations

import random
import threading

SOON, LATE = 0.05, 1.0
"""Seconds after which the thread looks again by itself: soon after a ring, then half as often each time."""


class Bell:
    """Wakes one thread: at once when it is rung, and by itself now and then. A ring while it is busy is not lost.

    Soon after a ring it looks again, a little at random: where two workers heard of the same turn at once, one of them
    may have been refused.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._rung = True
        self._ended = False
        self._pause = SOON

    def ring(self) -> None:
        """There may be work."""
        with self._change:
            self._rung = True
            self._change.notify_all()

    def end(self) -> None:
        """There will be no more work."""
        with self._change:
            self._ended = True
            self._change.notify_all()

    def wait(self) -> bool:
        """Wait until it is time to look for work. False: it ended."""
        with self._change:
            if not (self._rung or self._ended):
                self._change.wait(self._pause * random.uniform(0.6, 1.0))  # noqa: S311  no secret
            self._pause = SOON if self._rung else min(2 * self._pause, LATE)
            self._rung = False
            return not self._ended
