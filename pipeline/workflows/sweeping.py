"""What must happen though nobody asks: runs that the engine lost, deadlines, reviews, triggers.

Every part is idempotent, so that any worker may do it at any time, several at once too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from kernel.errors import Conflict
from kernel.storage.runs import SYSTEM, NewEvent, Run, Runs

_log = logging.getLogger(__name__)


class Sweeper:
    """`known` tells which runs have a turn that waits or is under way; `submit` has a run's next turn done."""

    def __init__(
        self,
        runs: Runs,
        known: Callable[[Collection[str]], set[str]],
        submit: Callable[[Run, float], None],
        others: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._runs = runs
        self._known = known
        self._submit = submit
        self._others = others

    def __call__(self) -> None:
        """Do all of it once. What fails is told in the log, and the rest is done all the same."""
        for part in (self.lost, self.late, *self._others):
            try:
                part()
            except Exception:  # noqa: BLE001 - the edge of a worker
                _log.exception("a part of the sweep failed; it is done again with the next one")

    def lost(self) -> int:
        """Submit the runs that are not finished and that the engine does not know; how many there were."""
        open_ones = self._runs.unfinished()
        known = self._known([run.id for run in open_ones]) if open_ones else set()
        lost = [run for run in open_ones if run.id not in known]
        for run in lost:
            self._submit(run, 0.0)
        return len(lost)

    def late(self) -> int:
        """Record, once, of each run that is open past its deadline, that it is."""
        late = self._runs.overdue()
        for run in late:
            with suppress(Conflict):
                self._runs.breach(run.id, NewEvent("breached", data={"due_at": run.due_at}), SYSTEM)
        return len(late)
