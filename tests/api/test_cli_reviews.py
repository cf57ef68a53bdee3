"""`vouch policies` and `vouch reviews`, from a policy file to a released answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli import app

QUESTION = "Where does Alpha Team keep register 0?"
POLICY = """\
format: 1
name: careful
topics: {registers: [register]}
stakes: {topics: {registers: high}}
output:
  - {rule: high-stakes, stakes: [high], then: review}
"""


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


@pytest.fixture(scope="module")
def cli(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    folder = tmp_path_factory.mktemp("files")
    (folder / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
    (folder / "policy.yaml").write_text(POLICY)
    made = Cli(tmp_path_factory.mktemp("home"), models)
    made.json("ingest", folder / "0.md")
    file = folder / "policy.yaml"
    assert made.json("policies", "check", file, "--question", QUESTION)["question"]["stakes"] == "high"
    assert made.json("policies", "add", file, "--message", "first")["version"] == 1
    assert made.json("policies", "release", 1)["in_force"] is True
    return made


@pytest.fixture
def secret(cli: Cli) -> str:
    return str(cli.json("keys", "create", "--role", "reviewer")["key"])


def test_an_answer_waits_and_another_person_releases_it(cli: Cli, secret: str) -> None:
    made = cli.json("ask", QUESTION)
    review = made["review"]["id"]
    assert made["status"] == "pending_review"
    assert "A draft" in cli("answers", "show", made["id"]).stdout
    own = cli.json("reviews", "approve", review, code=1)
    assert own["error"]["type"] == "forbidden"
    assert [one["id"] for one in cli.json("reviews", "list", "--state", "open")["items"]] == [review]
    assert cli.json("reviews", "comment", review, "look here", "--key", secret)["state"] == "open"
    assert cli.json("reviews", "approve", review, "--key", "-", typed=f"{secret}\n")["state"] == "approved"
    kinds = [event["kind"] for event in cli.json("reviews", "show", review)["events"]]
    assert kinds == ["opened", "commented", "approved"]
    assert "look here" in cli("reviews", "show", review).stdout
    assert cli.json("answers", "show", made["id"])["status"] == "answered"
    assert (
        cli.json("reviews", "reject", review, "--reason", "x", "--key", secret, code=1)["error"]["type"] == "conflict"
    )


def test_edit_reject_and_assign(cli: Cli, secret: str, tmp_path: Path) -> None:
    one, two = (cli.json("ask", QUESTION)["review"]["id"] for _ in range(2))
    me = cli.json("keys", "list")["items"][-1]["id"]
    assert cli.json("reviews", "assign", one, me)["assignee"] == me
    assert [item["id"] for item in cli.json("reviews", "list", "--mine", "--key", secret)["items"]] == [one]
    text = tmp_path / "text.txt"
    text.write_text("Alpha Team keeps register 0. [c1]")
    edited = cli.json("reviews", "edit", one, "--file", text, "--key", secret)
    assert cli.json("answers", "show", edited["answer_id"])["answer"] == "Alpha Team keeps register 0."
    rejected = cli.json("reviews", "reject", two, "--reason", "Moved.", "--key", secret)
    assert cli.json("answers", "show", rejected["answer_id"])["reason"].endswith("Moved.")
    assert cli.json("reviews", "list", "--limit", "1")["next_cursor"] == two
    assert cli("reviews", "list", "--key", "vouch_wrong").exit_code == 1
    assert cli("reviews", "list", "--key", "-", typed="").exit_code == 2


def test_policies_are_listed_shown_and_rolled_back(cli: Cli, tmp_path: Path) -> None:
    assert cli("policies", "show", 1).stdout == POLICY
    assert cli.json("policies", "show")["version"] == 1
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(POLICY.replace("then: review", "then: revue"))
    refused = cli.json("policies", "check", wrong, code=2)
    assert "line 6, output.0.then" in refused["error"]["detail"]
    assert cli.json("policies", "rollback")["version"] == 0
    assert cli.json("ask", QUESTION)["status"] == "answered"
    assert cli.json("policies", "release", 1)["version"] == 1
    assert [one["version"] for one in cli.json("policies", "list")["items"]] == [1, 0]
    assert cli.json("policies", "show", 9, code=1)["error"]["type"] == "not-found"
    assert cli("policies", "add", tmp_path / "none.yaml", "--message", "x").exit_code == 2
    assert cli.json("verify")["ok"] is True
