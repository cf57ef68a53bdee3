"""`vouch workflows`: a workflow from a draft to live and back, as files and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli_prompts import Cli
from workflow_texts import workflow_text

from api.assembly import Workspace
from api.cli.workflows import ORDER
from kernel.settings import Settings
from kernel.storage.runs import NewEvent, NewRun

NO_INPUT = {"type": "object"}


@pytest.fixture
def cli(models: Path, tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home", models)


def run_green(cli: Cli, name: str, number: int, times: int) -> None:
    """Let a version have run well so many times."""
    with Workspace(Settings.load(home=cli.home, models=cli.models)) as workspace:
        version = workspace.workflows.find(f"{name}@{number}")
        for _ in range(times):
            wanted = NewRun(name, number, version.sha256, "pilot", "hand", "key_x", {"input": {}})
            run, _ = workspace.runs.start(wanted)
            taken = workspace.runs.take(run.id, run.turn)
            assert taken is not None
            workspace.runs.finish(run.id, taken.epoch, NewEvent("finished", data={"status": "done"}))


def change(path: Path, **members: Any) -> str:
    """Other members in a file; its text."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | members, sort_keys=False))
    return path.read_text()


def test_help_begins_with_the_way_of_a_change_and_fits_a_line_each(cli: Cli) -> None:
    listed = cli("workflows", "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in listed} <= {*ORDER, "event"}
    for group in ("workflows", "workflows event"):
        assert "..." not in cli(*group.split(), "--help").stdout.partition("Commands:\n")[2]


def test_a_change_from_its_draft_to_live_and_back(cli: Cli, tmp_path: Path) -> None:
    draft = tmp_path / "facts.yaml"
    begun = cli.json("workflows", "new", "facts", "--output", draft)
    assert (begun["from"], begun["path"]) == (0, str(draft))
    assert "there already" in cli.error("workflows", "new", "facts", "--output", draft, kind="invalid-input", code=2)
    assert cli("workflows", "check", draft).stdout.strip() == "facts is a valid workflow of 3 steps"
    assert cli.json("workflows", "save", draft, "--from", 0, "--message", "first")["version"] == 1
    cli.error("workflows", "save", draft, "--from", 0, kind="precondition-failed")
    text = change(draft, title="Facts of the week", pilot_runs=2)
    assert cli.json("workflows", "save", "-", "--from", 1, typed=text)["version"] == 2
    assert [one["version"] for one in cli.json("workflows", "versions", "facts")["items"]] == [2, 1]
    sections = {one["section"]: one["change"] for one in cli.json("workflows", "diff", "facts@1", draft)["sections"]}
    assert (sections["title"], sections["pilot_runs"]) == ("changed", "added")
    assert "nothing differs" in cli("workflows", "diff", "facts@2", draft).stdout
    assert cli("workflows", "sheet", draft).stdout.startswith("# Facts of the week")
    assert cli("workflows", "diagram", "facts", "--format", "mermaid").stdout.startswith("flowchart")

    reviewer, editor, asker = (cli.key(role) for role in ("reviewer", "editor", "app"))
    cli.error("workflows", "pilot", "facts", "--key", editor, kind="forbidden")
    assert cli.json("workflows", "pilot", "facts", "--key", reviewer)["state"] == "pilot"
    assert cli.json("workflows", "submit", "facts", "--comment", "please")["standing"]["submitter"] == "local"
    assert "another person" in cli.error("workflows", "approve", "facts", kind="forbidden")
    cli.error("workflows", "approve", "facts@2", "--key", editor, kind="forbidden")
    cli.error("workflows", "save", draft, "--key", asker, kind="forbidden")
    cli.json("workflows", "approve", "facts@2", "--key", "-", typed=f"{reviewer}\n")
    assert "0 of 2 green" in cli.error("workflows", "live", "facts@2", kind="conflict")
    assert "to go live: it has 0 of 2 green" in cli("workflows", "show", "facts").stdout
    run_green(cli, "facts", 2, 2)
    assert cli.json("workflows", "live", "facts@2", "--comment", "go")["state"] == "live"
    assert "say which version" in cli.error("workflows", "live", "facts", kind="invalid-input", code=2)
    assert "nothing to go back to" in cli.error("workflows", "rollback", "facts", kind="conflict")
    change(draft, title="Third", pilot_runs=1)
    cli.json("workflows", "save", draft)
    cli.json("workflows", "submit", "facts@3")
    cli.json("workflows", "approve", "facts@3", "--key", reviewer)
    run_green(cli, "facts", 3, 1)
    cli.json("workflows", "live", "facts@3")
    assert cli.json("workflows", "rollback", "facts", "--reason", "hm")["version"] == 2
    assert cli.json("workflows", "comment", "facts", "looking")["version"] is None
    kinds = [row["kind"] for row in cli.json("workflows", "history", "facts")["items"]]
    assert kinds[:2] == ["commented", "labelled"]
    assert cli.json("workflows", "retire", "facts")["state"] == "retired"
    assert cli.json("workflows", "retire", "facts", "--undo")["labels"]["live"] == 2


def test_triggers_and_events(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "triage.yaml"
    file.write_text(workflow_text("triage", inputs=NO_INPUT, pilot_runs=1, triggers=[{"event": "ticket.new"}]))
    reviewer = cli.key("reviewer")
    cli.json("workflows", "save", file)
    cli.json("workflows", "submit", "triage")
    cli.json("workflows", "approve", "triage", "--key", reviewer)
    run_green(cli, "triage", 1, 1)
    cli.json("workflows", "live", "triage@1")
    assert "triage/event-1" in [one["name"] for one in cli.json("workflows", "triggers")["items"]]
    first = cli.json("workflows", "event", "send", "ticket.new", "--dedup", "7")
    assert cli.json("workflows", "event", "send", "ticket.new", "--dedup", "7", "--body", "-", typed="n: 1") == first
    assert [run["workflow"] for run in first["runs"]] == ["triage"]
    assert cli.json("workflows", "pause", "triage", "--reason", "holidays")["paused"] is True
    cli.error("workflows", "event", "send", "ticket.new", kind="not-found")
    assert cli.json("workflows", "resume", "triage")["paused"] is False
    made = cli.json("workflows", "event", "secret", "ticket.new")
    assert made["secret"].startswith("vouch_event_")
    assert made["secret"] not in cli("workflows", "event", "list", "--json").stdout
    assert cli.json("workflows", "event", "end", "ticket.new")["state"] == "ended"
    cli.error("workflows", "event", "end", "ticket.new", kind="not-found")
    assert cli("verify").exit_code == 0


def test_out_as_files_and_in_again(cli: Cli, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(workflow_text(name))
        cli.json("workflows", "save", tmp_path / f"{name}.yaml")
    cli.json("workflows", "export", tmp_path / "out", "--all-versions")
    assert (tmp_path / "out" / "one@1.yaml").read_text() == workflow_text("one")
    cli.json("workflows", "export", tmp_path / "out.json")
    for place in ("out", "out.json"):
        report = cli.json("workflows", "import", tmp_path / place)
        assert (report["added"], report["failed"]) == ([], [])
    (tmp_path / "bad.yaml").write_text("name: bad\nsteps: []\n")
    failed = cli.json("workflows", "import", tmp_path / "bad.yaml", code=1)["failed"]
    assert "line 2" in failed[0]["reason"]
    assert json.loads(cli("workflows", "export", "-").stdout)["format"] == 1
    assert "line 2" in cli.error("workflows", "check", tmp_path / "bad.yaml", kind="invalid-input", code=2)
    assert [one["name"] for one in cli.json("workflows", "list", "--words", "two")["items"]] == ["two"]
