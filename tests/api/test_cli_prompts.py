"""`vouch prompts`: a prompt from a draft to callers and back, as files and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.assembly import Workspace
from api.cli import app
from api.cli.prompts import ORDER
from kernel.records import LOCAL_OWNER
from kernel.settings import Settings
from pipeline.prompts.exchange import new_draft


class Cli:
    """Calls `vouch` on one home."""

    def __init__(self, home: Path, models: Path) -> None:
        self.home, self.models = home, models

    def __call__(self, *words: object, typed: str | None = None) -> Result:
        arguments = ["--home", str(self.home), *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, input=typed, env={"VOUCH_MODELS": str(self.models)})

    def json(self, *words: object, code: int = 0, typed: str | None = None) -> Any:
        result = self(*words, "--json", typed=typed)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return json.loads(result.stdout)

    def error(self, *words: object, kind: str, code: int = 1) -> str:
        found = self.json(*words, code=code)["error"]
        assert found["type"] == kind
        detail: str = found["detail"]
        return detail

    def key(self, role: str) -> str:
        return str(self.json("keys", "create", "--role", role)["key"])

    def passed(self, name: str, number: int) -> None:
        """Record that a version's tests passed."""
        with Workspace(Settings.load(home=self.home, models=self.models)) as workspace:
            library = workspace.prompts
            data = {"model": library._gates().model, "passed": True, "cases": 1, "failed": 0}
            library.tested(name, number, LOCAL_OWNER, data, {})


@pytest.fixture
def cli(models: Path, tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home", models)


def test_help_begins_with_the_way_of_a_change_and_fits_a_line_each(cli: Cli) -> None:
    listed = cli("prompts", "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed][:9] == list(ORDER[:9])
    assert {*ORDER, "rules", "experiment"} == {line.split()[0] for line in listed}
    for group in ("prompts", "prompts rules", "prompts experiment"):
        assert "..." not in cli(*group.split(), "--help").stdout.partition("Commands:\n")[2]


def _only_what_changed_is_shown(cli: Cli, draft: Path, further: Path) -> None:
    """Lines of YAML stay whole, and what stayed is left out but for two lines around a change."""
    text = draft.read_text()
    begun, fence, _ = text.rpartition("```")
    case = "- name: another\n  question: Who. And when?\n  expect: [abstains: true]\n"
    further.write_text(f"{begun}{case}{fence}\n")
    (section,) = cli.json("prompts", "diff", "facts@2", further)["sections"]
    assert "+   question: Who. And when?" in section["lines"]
    shown = cli("prompts", "diff", "facts@2", further).stdout.splitlines()
    assert shown[0] == "# tests (changed)"
    assert shown[1] == "  …"
    kept = [line for line in shown[2:] if line.startswith("  ")]
    assert len(kept) == 3
    assert len([line for line in section["lines"] if line.startswith("  ")]) > len(kept)


def test_a_change_from_its_draft_to_callers_and_back(cli: Cli, tmp_path: Path) -> None:
    draft = tmp_path / "facts.md"
    begun = cli.json("prompts", "new", "facts", "--grounded", "--output", draft)
    assert (begun["from"], begun["path"]) == (0, str(draft))
    assert "there already" in cli.error("prompts", "new", "facts", "--output", draft, kind="invalid-input", code=2)
    assert cli("prompts", "check", draft).stdout.strip() == "facts is a valid prompt with 1 test case"
    assert cli.json("prompts", "save", draft, "--from", 0, "--message", "first")["version"] == 1
    cli.error("prompts", "save", draft, "--from", 0, kind="precondition-failed")
    cli.error("prompts", "save", draft, kind="conflict")
    draft.write_text(draft.read_text().replace("Specific and short", "In one sentence"))
    assert (
        cli.json("prompts", "save", "-", "--from", 1, "--message", "shorter", typed=draft.read_text())["version"] == 2
    )
    assert [one["version"] for one in cli.json("prompts", "versions", "facts")["items"]] == [2, 1]

    (section,) = cli.json("prompts", "diff", "facts@1", draft)["sections"]
    assert section["lines"] == [
        "- Specific and short; names, numbers and dates exactly as they are written.",
        "+ In one sentence; names, numbers and dates exactly as they are written.",
    ]
    assert "no section differs" in cli("prompts", "diff", "facts@2", draft).stdout
    assert "# quality criteria (changed)" in cli("prompts", "diff", "facts@1", "facts").stdout
    _only_what_changed_is_shown(cli, draft, tmp_path / "further.md")

    assert cli.json("prompts", "submit", "facts", "--comment", "please")["state"] == "in_review"
    assert "another person" in cli.error("prompts", "approve", "facts", kind="forbidden")
    reviewer, editor, asker = (cli.key(role) for role in ("reviewer", "editor", "app"))
    cli.error("prompts", "approve", "facts@2", "--key", editor, kind="forbidden")
    cli.error("prompts", "save", draft, "--key", asker, kind="forbidden")
    assert cli.json("prompts", "comment", "facts@2", "looking", "--key", reviewer)["version"] == 2
    done = cli.json("prompts", "approve", "facts@2", "--key", "-", typed=f"{reviewer}\n")
    assert done["state"] == "approved"
    assert "tests were not run" in cli.error("prompts", "label", "facts@2", "production", kind="conflict")
    assert "to be released: its tests were not run" in cli("prompts", "show", "facts").stdout
    cli.passed("facts", 2)
    assert cli.json("prompts", "label", "facts@2", "production", "--comment", "go")["labels"] == {"production": 2}
    assert cli.json("prompts", "label", "facts@1", "staging")["labels"] == {"production": 2, "staging": 1}
    assert cli.json("prompts", "unlabel", "facts", "staging")["labels"] == {"production": 2}
    cli.error("prompts", "unlabel", "facts", "production", kind="conflict")
    rejected = cli("prompts", "reject", "facts@2", "--reason", "a fault was found", "--key", reviewer).stdout
    assert rejected.splitlines() == [
        "facts@2 is live",
        "callers get it until its label moves: vouch prompts rollback facts",
    ]
    assert "nothing to go back to" in cli.error("prompts", "rollback", "facts", kind="conflict")
    assert cli("prompts", "show", "facts@production", "--text").stdout == draft.read_text()
    shown = cli.json("prompts", "show", "facts@1")
    assert (shown["state"], shown["newest"], shown["labels"]) == ("draft", 2, {"production": 2})
    history = cli.json("prompts", "history", "facts")["items"]
    said = [(one["kind"], one["comment"]) for one in history]
    assert ("labelled", "go") in said
    assert ("commented", "looking") in said
    assert ("saved", "first") in said
    assert "looking" in cli("prompts", "history", "facts").stdout
    assert cli.json("prompts", "retire", "facts", "--reason", "old")["state"] == "retired"
    assert cli.json("prompts", "retire", "facts", "--undo")["state"] == "live"
    assert cli.json("verify")["ok"] is True


def test_a_version_goes_back_to_its_author(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(new_draft("a"))
    editor, reviewer = cli.key("editor"), cli.key("reviewer")
    cli.json("prompts", "save", tmp_path / "a.md", "--key", editor)
    cli.json("prompts", "submit", "a", "--key", editor)
    cli.error("prompts", "reject", "a", "--reason", " ", "--key", reviewer, kind="invalid-input", code=2)
    assert cli.json("prompts", "reject", "a", "--reason", "too long", "--key", reviewer)["state"] == "draft"
    assert cli.json("prompts", "history", "a")["items"][0]["comment"] == "too long"


def test_rules(cli: Cli, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- when: {models: ['openai/*']}\n  label: llm\n")
    assert "no label llm" in cli.error("prompts", "rules", "set", "grounded-answer", rules, kind="not-found")
    rules.write_text("[]")
    assert cli.json("prompts", "rules", "set", "grounded-answer", rules) == {"name": "grounded-answer", "rules": []}
    assert "everybody -> production" in cli("prompts", "rules", "show", "grounded-answer").stdout
    rules.write_text("a: 1")
    cli.error("prompts", "rules", "set", "grounded-answer", rules, kind="invalid-input", code=2)


def test_what_is_wrong_with_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "wrong.md"
    for old, new, word in (
        ("kind: task", "kind: sonnet", "kind"),
        ("kind: task", "kind: task\nversion: 3", "version"),
        ("name: wrong", "name: export", "export"),
        ("{{text}}", "{{txt}}", "txt"),
        ("# role", "# roll", "roll"),
        ("- contains:", "- holds:", "holds"),
    ):
        path.write_text(new_draft("wrong").replace(old, new))
        for command in ("check", "save"):
            assert word in cli.error("prompts", command, path, kind="invalid-input", code=2)
    told = cli.error("prompts", "new", "bad_Name", kind="invalid-input", code=2)
    assert (
        told
        == "name: 'bad_Name' does not do: a name is at most 47 small letters, digits and dashes, the first a letter"
    )
    assert cli.error("prompts", "show", "nowhere", kind="not-found") == "no prompt nowhere; see: vouch prompts list"
    cli.error("prompts", "check", tmp_path / "nowhere.md", kind="invalid-input", code=2)
    assert {"wrong", "export"}.isdisjoint(one["name"] for one in cli.json("prompts", "list")["items"])


def test_what_sections_render_to(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "sum.md"
    text = new_draft("sum").replace("inputs:\n", "inputs:\n  count:\n    schema: {type: integer}\n    mark: plain\n")
    path.write_text(text.replace("One short paragraph.", "{{count}} sentences."))
    found = cli.json("prompts", "render", path, "--input", "text=30", "--input", "count=2")
    sections = {one["section"]: one["text"] for one in found["sections"]}
    assert sections["output format"] == "2 sentences."
    assert sections["task"] == '<input name="text">\n30\n</input>'
    (tmp_path / "in.yaml").write_text("text: hello\ncount: 1\n")
    shown = cli("prompts", "render", path, "--inputs", tmp_path / "in.yaml", "--input", "count=3").stdout
    assert "3 sentences." in shown
    assert "hello" in shown
    cli.error("prompts", "render", path, "--input", "text", kind="invalid-input", code=2)
    cli.error("prompts", "render", path, "--input", "text=a", kind="invalid-input", code=2)
    (tmp_path / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
    cli.json("ingest", tmp_path / "0.md")
    asked = cli.json("prompts", "render", "grounded-answer", "--question", "Where is register 0?")
    assert "Lisbon" in asked["messages"][-1]["content"]
    assert cli.json("answers", "list")["items"] == []


def test_a_library_goes_through_files_and_back(cli: Cli, models: Path, tmp_path: Path) -> None:
    draft = tmp_path / "drafts"
    for number in range(2):
        text = new_draft(f"p{number}")
        for change in ("first", "second"):
            (draft / f"p{number}.md").parent.mkdir(exist_ok=True)
            (draft / f"p{number}.md").write_text(text.replace("One short", f"One {change}"))
            cli.json("prompts", "save", draft / f"p{number}.md")
    folder, document = tmp_path / "out", tmp_path / "all.json"
    cli.json("prompts", "export", folder, "--all-versions")
    cli.json("prompts", "export", document, "--all-versions")
    assert {"p0@1.md", "p0@2.md", "grounded-answer@1.md"} <= {one.name for one in folder.iterdir()}
    (folder / "README.md").write_text("# Not a prompt\n")
    for place in (folder, document):
        other = Cli(tmp_path / f"home-{place.name}", models)
        report = other.json("prompts", "import", place, "--message", "from there")
        assert report["failed"] == []
        assert [(one["name"], one["version"]) for one in report["added"]] == [
            *(("p0", 1), ("p0", 2), ("p1", 1), ("p1", 2)),
        ]
        assert other.json("prompts", "import", place)["added"] == []
        assert other.json("prompts", "import", folder, document)["added"] == []
        again = tmp_path / f"again-{place.stem}"
        other.json("prompts", "export", again, "--all-versions")
        assert {one.name: one.read_bytes() for one in again.iterdir()} == {
            one.name: one.read_bytes() for one in folder.iterdir() if one.name != "README.md"
        }
        assert other.json("prompts", "versions", "p0")["items"][0]["message"] == "from there"
    (folder / "bad.md").write_text("---\nname: bad\n---\n# role\n")
    report = cli.json("prompts", "import", folder, code=1)
    assert [one["place"] for one in report["failed"]] == ["bad.md"]
    assert cli("prompts", "export", "-").stdout == cli("prompts", "export", "-", "--json").stdout
    assert cli.error("prompts", "import", tmp_path / "none.json", kind="invalid-input", code=2)
    copied = cli.json("prompts", "new", "mine", "--from", "grounded-answer", "--output", tmp_path / "mine.md")
    assert "version:" not in copied["text"]
    assert cli.json("prompts", "save", tmp_path / "mine.md", "--from", 0)["name"] == "mine"
    changed = cli.json("prompts", "new", "grounded-answer", "--output", tmp_path / "ours.md")
    assert (changed["from"], "name: grounded-answer" in changed["text"]) == (1, True)
    assert cli.json("prompts", "save", tmp_path / "ours.md", "--from", 1)["version"] == 2


def test_prompts_to_be_looked_at_again(cli: Cli, tmp_path: Path) -> None:
    for name, day in (("old", "2020-01-31"), ("young", "2999-01-31")):
        text = new_draft(name).replace("owner: your-team\n", f"owner: {name}-team\nreview_by: {day}\n")
        (tmp_path / f"{name}.md").write_text(text)
        cli.json("prompts", "save", tmp_path / f"{name}.md")
    for words in (("overdue",), ("list", "--overdue"), ("list", "--owner", "old-team", "--state", "draft")):
        assert [one["name"] for one in cli.json("prompts", *words)["items"]] == ["old"]
    finding = next(one for one in cli.json("doctor")["items"] if one["what"] == "prompts")
    assert finding["state"] == "warn"
    assert "old" in finding["found"]
    cli.json("prompts", "retire", "old")
    assert cli.json("prompts", "overdue")["items"] == []
    page = cli.json("prompts", "list", "--limit", "1")
    rest = cli.json("prompts", "list", "--cursor", page["next_cursor"])
    assert [one["name"] for one in page["items"] + rest["items"]] == sorted(
        one["name"] for one in cli.json("prompts", "list")["items"]
    )
    assert "nothing to list" in cli("prompts", "list", "--kind", "summary", "--tag", "none").stdout
