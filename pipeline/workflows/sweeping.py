"""What must happen though nobody asks: runs that the engine lost, deadlines, reviews, triggers.

Every part is idempotent, so that any worker may do it at any time, several at once too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from kernel.errors import Conflict
from kernel.storage.runs import SYSTEM, NewEvent, Run, Runs
from pipeline.workflows.tickets import Ticket

_log = logging.getLogger(__name__)


class Sweeper:
    """`known` tells which turns (`RUN:TURN`) wait or are under way; `submit` has a run's next turn done."""

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
        for part in (self.lost, self.late, self.orphaned, *self._others):
            try:
                part()
            except Exception:  # noqa: BLE001 - the edge of a worker
                _log.exception("a part of the sweep failed; it is done again with the next one")

    def lost(self) -> int:
        """Submit the runs that are not finished and whose turn the engine does not know; how many there were. An older
        turn of a run that still waits there, for a deadline in two weeks, say, does not count.
        """
        open_ones = {Ticket(run.id, run.turn).id: run for run in self._runs.unfinished()}
        known = self._known(list(open_ones)) if open_ones else set()
        lost = [run for turn, run in open_ones.items() if turn not in known]
        for run in lost:
            self._submit(run, 0.0)
        return len(lost)

    def orphaned(self) -> int:
        """Cancel the runs whose step is over, since the run that it is a step of is; how many there were."""
        return end_parts(self._runs, self._runs.orphans(), self._submit)

    def late(self) -> int:
        """Record, once, of each run that is open past its deadline, that it is."""
        late = self._runs.overdue()
        for run in late:
            with suppress(Conflict):
                self._runs.breach(run.id, NewEvent("breached", data={"due_at": run.due_at}), SYSTEM)
        return len(late)


def end_parts(runs: Runs, open_ones: Sequence[Run], submit: Callable[[Run, float], None]) -> int:
    """Cancel runs that steps of a finished run started: what they would still do is wanted by nobody."""
    for one in open_ones:
        with suppress(Conflict):
            reason = {"reason": f"run {one.parent.partition(':')[0]} is finished"}
            woken = runs.interrupt(one.id, NewEvent("cancelled", words=reason), SYSTEM)
            if woken is not None:
                submit(woken, 0.0)
    return len(open_ones)
