"""The threads in which a worker makes turns: each takes a turn from the engine's queues, and writes how it ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from secrets import token_hex
from typing import Any

from kernel.errors import Unavailable
from pipeline.workflows.tickets import LetGo
from pipeline.workflows.turns import Take, Turns

VERSION = "1"
"""What a turn means. A worker takes turns of its own version only, so new code that means the same keeps this."""
TIMETABLE = "vouch_timetable"
"""The queue of what cron fires; no workflow can name it."""
DONE, FAILED = "SUCCESS", "ERROR"

_log = logging.getLogger("vouch.engine")
Work = Callable[[str], None]
"""Makes the turn of an id."""


class Makers:
    """Makes turns as `worker`. `talk` opens a client of the queues, whose inside takes and ends turns."""

    def __init__(
        self,
        worker: str,
        talk: Callable[[], AbstractContextManager[Any]],
        turns: Turns,
        closing: threading.Event,
    ) -> None:
        self._worker = worker
        self._talk = talk
        self._turns = turns
        self._closing = closing

    def take(self, queue: Any, work: Work) -> Take:
        """What takes turns of a queue and has each made in a thread."""
        return partial(self._take, queue, work)

    def contended(self, error: Exception) -> bool:
        """Whether another worker took from the same queue in the same moment: the bell's next look settles it."""
        cause: Any = error.__cause__ if isinstance(error, Unavailable) else error
        if not hasattr(cause, "orig"):
            return False
        with self._talk() as client:
            system = client._sys_db
            return bool(system.is_lock_conflict(cause) or system.is_serialization_conflict(cause))

    def _take(self, queue: Any, work: Work, room: int) -> int:
        """Take the next turns, at most `room`, in one transaction that counts those under way in all workers."""
        token = token_hex(16)
        queue._worker_concurrency = room
        with self._talk() as client:
            taken, _ = client._sys_db.start_queued_workflows(queue, self._worker, VERSION, None, owner_xid=token)
        for name in taken:
            arguments = (name, token, work)
            threading.Thread(target=self._make, args=arguments, name=f"vouch-{name}", daemon=True).start()
        return len(taken)

    def _make(self, name: str, token: str, work: Work) -> None:
        with self._turns.held():
            try:
                work(name)
            except LetGo:
                self._end(name, lambda system: system.reenqueue_for_recovery(name, [self._worker], TIMETABLE))
            except Exception:  # noqa: BLE001  the edge of a worker
                _log.exception("the turn %s failed", name)
                self._end(name, lambda system: system.update_workflow_outcome(name, FAILED, owner_xid=token))
            else:
                self._end(name, lambda system: system.update_workflow_outcome(name, DONE, owner_xid=token))

    def _end(self, name: str, write: Callable[[Any], object]) -> None:
        """Write how a turn ended, which does nothing where it is not this worker's any more. A database that is away is
        waited for: nobody else would write it while this worker lives.
        """
        while True:
            try:
                with self._talk() as client:
                    write(client._sys_db)
            except Exception as error:  # noqa: BLE001  the edge of a worker
                _log.warning("the end of the turn %s cannot be written (%s); trying again", name, type(error).__name__)
                if self._closing.wait(1.0):
                    return
            else:
                return
