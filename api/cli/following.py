"""Following a run from the command line: this process works on it, too, and says how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from api.cli.call import Call
from api.cli.flows import flows_of
from api.cli.run_text import event_line
from api.workflow_worker import WorkflowWorker
from kernel.storage.runs import ENDS, WAITING, Run
from pipeline.workflows.run_views import event_json

POLL_SECONDS = 0.02
SOON_SECONDS = 60.0
"""A run that only waits for a moment that is nearer than this is waited for."""


@contextmanager
def working(call: Call, threads: int = 2) -> Iterator[None]:
    """Be a worker meanwhile: what the run needs is done here where no other worker takes it."""
    worker = WorkflowWorker(flows_of(call), threads)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def follow(call: Call, run: Run, tell: Callable[[Mapping[str, Any]], None] | None = None) -> Run:
    """Wait until a run has ended, or waits for somebody; each row of its journal is told as it comes."""
    runs, after = call.workspace.runs, -1
    told = tell or (lambda event: call.note(f"  {event_line(event)}"))
    while True:
        standing = runs.get(run.id)
        for event in runs.events(run.id, after):
            after = event.leaf
            told(event_json(event))
        if standing.status in ENDS or (standing.status == WAITING and not _soon(call, standing)):
            return standing
        time.sleep(POLL_SECONDS)


def _soon(call: Call, run: Run) -> bool:
    """Whether a waiting run goes on by itself shortly: a moment that is near, or a run that it started."""
    open_children = any(child.status not in (*ENDS, WAITING) for child in call.workspace.runs.children(run.id))
    if open_children or run.wake_at is None:
        return open_children
    people = any(
        event.kind == "waits" and event.data.get("for") == "person"
        for event in call.workspace.runs.events(run.id, words=False)[-1:]
    )
    return not people and _seconds(run.wake_at) < SOON_SECONDS


def _seconds(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
