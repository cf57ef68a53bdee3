"""Triggers at work: a worker that nobody drives starts runs by clock, event and documents, and one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from workflow_texts import ADMIN, EDITOR, workflow_text

from api.flows import Flows
from api.workflow_worker import WorkflowWorker
from kernel.storage.policies import Policies
from kernel.storage.runs import Run
from pipeline.workflows.watchdog import Pace

NO_INPUT = {"type": "object"}
STEP = {"id": "shape", "kind": "transform", "with": {"value": {"got": "{{ input }}"}}}


@pytest.fixture
def flows() -> Iterator[Flows]:
    with scratch() as home, fast_workspace(home) as workspace:
        policy = Policies(workspace.database).add(
            "format: 1\nname: open\nworkflows: {approvals: 0, pilot_runs: 0, owner: false}\n", "key_x", "for tests"
        )
        Policies(workspace.database).release(policy.number, "key_x")
        yield Flows(workspace)


def live(flows: Flows, name: str, trigger: dict[str, Any], **members: Any) -> None:
    known: dict[str, Any] = {"inputs": NO_INPUT, "steps": [STEP], "output": {"got": "{{ steps.shape.output.got }}"}}
    text = workflow_text(name, triggers=[trigger], **(known | members))
    version = flows.library.save(text, EDITOR.id, "")
    flows.library.release(name, version.version, ADMIN)


def until(found: Callable[[], list[Run]], seconds: float = 40.0) -> list[Run]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        runs = found()
        if runs:
            return runs
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_a_worker_starts_what_is_due(flows: Flows, tmp_path: Path) -> None:
    workspace = flows._workspace
    assert isinstance(workspace, FastWorkspace)
    live(flows, "tick", {"cron": "* * * * * *", "input": {"at": "{{ event.moment }}"}})
    live(flows, "told", {"event": "ticket.new"})
    live(flows, "then", {"after": "told", "input": {"n": "{{ run.output.got.n }}"}})
    live(flows, "read", {"documents": {"source": "handbook", "debounce": "500ms"}, "input": {"n": "{{ event.count }}"}})

    def done(name: str) -> list[Run]:
        return workspace.runs.items(limit=9, workflow=name, status=["done"])

    worker = WorkflowWorker(flows, 2, Pace(tick=0.2, sweep=0.3))
    worker.start()
    try:
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "one.md").write_text("# One\n\nAlpha Team keeps the register in Lisbon.\n")
        workspace.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        flows.triggers.event("ticket.new", {"n": 7}, "key 1")
        assert until(lambda: done("told"))[0].trigger == "event"
        then = until(lambda: done("then"))[0]
        assert (then.said["input"], then.trigger) == ({"n": 7}, "after")
        assert until(lambda: done("read"))[0].said["input"] == {"n": 1}
        assert until(lambda: done("tick"))[0].principal == "workflow:tick"
        moments = [run.said["input"]["at"] for run in workspace.runs.items(limit=50, workflow="tick")]
        assert len(set(moments)) == len(moments)
    finally:
        worker.stop()
