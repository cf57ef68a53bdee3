"""What starts workflows without a person: once each, only while they are live, and nothing is missed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from workflow_parts import Echo
from workflow_texts import ADMIN, EDITOR, FINDING, INPUTS, workflow_text

from kernel.errors import NotFound, Unavailable
from kernel.records import Principal
from kernel.storage.runs import NewEvent, Run
from kernel.storage.triggers import DocumentChanges
from kernel.storage.workflows import Workflows
from pipeline.workflows.gates import Gates
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.starting import Found, RunDesk, Sources, Wanted
from pipeline.workflows.steps.base import Pins
from pipeline.workflows.tickets import Timetable
from pipeline.workflows.triggers import LONGEST_CHAIN, Triggers, triggers_json

NO_INPUT = {"type": "object"}
LATER = timedelta(minutes=5)


class Site:
    """A workspace whose workflows go live at once, and a desk that starts their runs."""

    def __init__(self, made: FastWorkspace) -> None:
        self.made = made
        self.library = WorkflowLibrary(Workflows(made.database), lambda: Gates(0, 0, owner=False), shipped=dict)
        sources = Sources(self.found, self.at, lambda *_: (1, ""), lambda: Pins("", "", 0, 0, ""))
        self.desk = RunDesk(made.runs, {"retrieve": Echo()}, sources, lambda *_: None)
        self.away, self.mode = False, "live"

    @property
    def triggers(self) -> Triggers:
        """As another process has them: nothing is remembered."""
        return Triggers(self.library, self.start, DocumentChanges(self.made.database), self.made.runs)

    def at(self, name: str, number: int) -> Found:
        return self.found(f"{name}@{number}", ADMIN)

    def found(self, reference: str, principal: Principal) -> Found:
        version = self.library.choose(reference, principal)
        return Found(version.name, version.version, version.sha256, spec_of(version), self.mode)

    def start(self, wanted: Wanted) -> Run:
        if self.away:
            raise Unavailable("the store is away")
        return self.desk.start(wanted)

    def live(self, name: str, *triggers: Mapping[str, Any], **members: Any) -> int:
        text = workflow_text(name, triggers=list(triggers), **({"inputs": NO_INPUT} | members))
        version = self.library.save(text, EDITOR.id, "")
        self.library.release(name, version.version, ADMIN)
        return version.version

    def finish(self, run: Run, output: Any = None, status: str = "done") -> Run:
        taken = self.made.runs.take(run.id, run.turn)
        assert taken is not None
        self.made.runs.finish(
            run.id, taken.epoch, NewEvent("finished", data={"status": status}, words={"output": output})
        )
        return self.made.runs.get(run.id)

    def by_hand(self, name: str) -> Run:
        return self.desk.start(Wanted(name, {}, ADMIN))


@pytest.fixture
def site() -> Iterator[Site]:
    with scratch() as home, fast_workspace(home) as workspace:
        yield Site(workspace)


def test_a_clock_starts_a_run_once_for_a_moment_while_the_version_is_live(site: Site) -> None:
    site.live("weekly", {"cron": "0 8 * * mon", "timezone": "Europe/Berlin", "input": {"at": "{{ event.moment }}"}})
    assert site.triggers.timetables() == [Timetable("weekly/cron-1", "0 8 * * mon", "Europe/Berlin")]
    monday = datetime(2026, 11, 23, 8, tzinfo=ZoneInfo("Europe/Berlin"))
    first, again = (site.triggers.fired("weekly/cron-1", moment) for moment in (monday, monday.astimezone(UTC)))
    assert first is not None
    assert again is not None
    assert (first.id, first.trigger, first.principal) == (again.id, "cron", "workflow:weekly")
    assert first.said["input"] == {"at": "2026-11-23T07:00:00+00:00"}
    other = site.triggers.fired("weekly/cron-1", monday + timedelta(days=7))
    assert other is not None
    assert other.id != first.id
    site.library.pause("weekly", ADMIN)
    assert site.triggers.timetables() == []
    assert site.triggers.fired("weekly/cron-1", monday + timedelta(days=14)) is None
    site.library.pause("weekly", ADMIN, resume=True)
    site.live("weekly", {"event": "now"})
    assert site.triggers.fired("weekly/cron-1", monday + timedelta(days=14)) is None
    site.library.rollback("weekly", ADMIN)
    assert [one.name for one in site.triggers.timetables()] == ["weekly/cron-1"]
    site.library.retire("weekly", 0, ADMIN)
    assert site.triggers.timetables() == []


def test_an_event_starts_all_that_wait_for_it_and_whose_condition_holds(site: Site) -> None:
    site.live("triage", {"event": "ticket.new", "when": "event.priority > 2"})
    site.live("count", {"event": "ticket.new"}, run_as={"groups": ["staff"]})
    asking = {"event": "ticket.new", "input": {"question": "{{ event.text }}"}}
    site.live("answer", asking, inputs=INPUTS)
    came = site.triggers.event("ticket.new", {"priority": 3, "text": "Help"}, "42")
    assert [run.workflow for run in came.runs] == ["answer", "count", "triage"]
    assert came.runs[0].said["input"] == {"question": "Help"}
    assert came.runs[1].said["principal"]["groups"] == ["staff"]
    again = site.triggers.event("ticket.new", {"priority": 3, "text": "Help"}, "42")
    assert [run.id for run in again.runs] == [run.id for run in came.runs]
    low = site.triggers.event("ticket.new", {"priority": 1}, "43")
    assert [run.workflow for run in low.runs] == ["count"]
    assert list(low.refused) == ["answer"]
    assert "text" in low.refused["answer"]
    with pytest.raises(NotFound, match=r"no live workflow waits for the event ticket\.old"):
        site.triggers.event("ticket.old", {}, "1")
    site.away = True
    with pytest.raises(Unavailable):
        site.triggers.event("ticket.new", {"priority": 3}, "44")
    assert len(triggers_json(site.triggers.held())) == 3


def test_documents_start_a_run_once_they_have_settled(site: Site, tmp_path: Path) -> None:
    def publish(**pages: str) -> None:
        for name, text in pages.items():
            (tmp_path / "docs").mkdir(exist_ok=True)
            (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
        site.made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")

    publish(old="This was there before.")
    waiting = {"documents": {"source": "handbook", "debounce": "1m"}, "input": {"seen": "{{ event.documents }}"}}
    site.live("digest", waiting)
    now = datetime.now(UTC)
    assert site.triggers.due(now + LATER) == []
    publish(one="The first change.")
    publish(two="The second change.")
    assert site.triggers.due(now + timedelta(seconds=30)) == []
    site.live("digest", waiting, title="A new version, while something waits")
    (run,) = site.triggers.due(now + LATER)
    assert (run.trigger, len(run.said["input"]["seen"])) == ("documents", 2)
    assert site.triggers.due(now + LATER) == []
    site.library.pause("digest", ADMIN)
    publish(two="Changed while it rested.")
    assert site.triggers.due(now + LATER) == []
    site.library.pause("digest", ADMIN, resume=True)
    site.away = True
    with pytest.raises(Unavailable):
        site.triggers.due(now + LATER)
    site.away = False
    (run,) = site.triggers.due(now + LATER)
    assert len(run.said["input"]["seen"]) == 1
    (tmp_path / "docs" / "one.md").unlink()
    publish()
    assert site.triggers.due(now + LATER) == []


def test_a_run_that_ended_starts_those_that_name_it_once(site: Site) -> None:
    site.live("collect")
    early = site.finish(site.by_hand("collect"), {"n": 1})
    site.live("report", {"after": "collect", "input": {"n": "{{ run.output.n }}"}})
    site.live("alarm", {"after": "collect", "when": 'run.status == "failed"'})
    assert site.triggers.ended(early) == site.triggers.missed() == []
    done = site.finish(site.by_hand("collect"), {"n": 7})
    (report,) = site.triggers.ended(done)
    assert (report.workflow, report.trigger, report.parent, report.said["input"]) == (
        "report",
        "after",
        done.id,
        {"n": 7},
    )
    assert [run.id for run in site.triggers.missed()] == [report.id]
    failed = site.finish(site.by_hand("collect"), status="failed")
    triggers = site.triggers
    assert [run.workflow for run in triggers.missed()] == ["report", "alarm"]
    assert triggers.missed() == []
    assert [run.parent for run in site.made.runs.items(limit=1)] == [failed.id]


def test_a_circle_of_runs_ends(site: Site) -> None:
    site.live("ping", {"after": "pong"})
    site.live("pong", {"after": "ping"})
    run, length = site.by_hand("ping"), 0
    while True:
        begun = site.triggers.ended(site.finish(run))
        if not begun:
            break
        (run,), length = begun, length + 1
        assert length < 50
    assert length == LONGEST_CHAIN


def test_runs_of_a_pilot_start_nothing(site: Site) -> None:
    site.live("collect")
    site.live("report", {"after": "collect"})
    version = site.library.save(workflow_text("collect", inputs=NO_INPUT, title="New"), EDITOR.id, "")
    site.library.pilot("collect", version.version, ADMIN)
    site.mode = "pilot"
    pilot = site.finish(site.by_hand("collect@pilot"))
    assert (pilot.version, pilot.status) == (version.version, "done")
    assert site.triggers.ended(pilot) == []


def test_what_cannot_be_started_is_told_and_not_tried_for_ever(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.live("weekly", {"cron": "0 8 * * *"}, inputs=INPUTS)
    assert site.triggers.fired("weekly/cron-1", datetime.now(UTC)) is None
    assert "weekly/cron-1 starts nothing" in caplog.text
    refused = [leaf for leaf in site.made.ledger.leaves(0, 99) if leaf.kind == "run.refused"]
    assert len(refused) == 1
    assert json.loads(refused[0].text)["facts"]["trigger"] == "cron"
    assert FINDING["id"] not in refused[0].text
