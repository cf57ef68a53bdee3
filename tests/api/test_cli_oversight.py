"""`vouch replay`, `vouch impact` and `vouch query`, on a workspace of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rdflib import RDF, Graph, Namespace
from sqlalchemy import update
from typer.testing import CliRunner, Result

from api.assembly import Workspace
from api.cli import app
from kernel.settings import Settings
from kernel.storage.schema import chunk

QUESTION = "How many weeks of parental leave may an employee take?"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own use of rdflib


class Cli:
    """Calls `vouch` on one home, in which a question was asked."""

    def __init__(self, home: Path, models: Path) -> None:
        self.home, self.models = home, models

    def __call__(self, *words: object) -> Result:
        arguments = ["--home", str(self.home), *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, env={"VOUCH_MODELS": str(self.models)})

    def json(self, *words: object, code: int = 0) -> Any:
        result = self(*words, "--json")
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return json.loads(result.stdout)


@pytest.fixture
def cli(tmp_path: Path, models: Path) -> Cli:
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "leave.md").write_text("# Parental leave\n\nEvery employee may take 26 weeks of parental leave.\n")
    (folder / "office.md").write_text("# People Office\n\nThe People Office is led by Marta Lindqvist.\n")
    made = Cli(tmp_path / "home", models)
    made.json("ingest", folder, "--source", "handbook")
    return made


def test_replay_says_identical_or_what_differs(cli: Cli) -> None:
    made = cli.json("ask", QUESTION)
    report = cli.json("replay", made["id"])
    assert report["identical"]
    words = cli("replay", made["id"])
    assert (words.exit_code, words.stdout.splitlines()[-1]) == (0, "identical")
    current = cli.json("replay", made["id"], "--current")
    assert (current["same"], current["changes"]) == (True, [])
    assert "The answer is the same today." in cli("replay", made["id"], "--current").stdout
    with Workspace(Settings.load(home=cli.home, models=cli.models)) as workspace, workspace.database.write() as write:
        write.execute(update(chunk).values(text=chunk.c.text + "?"))
    broken = cli.json("replay", made["id"], code=1)
    assert not broken["identical"]
    words = cli("replay", made["id"])
    assert words.exit_code == 1
    assert "differs: " in words.stdout
    assert "Reason: " in words.stdout
    assert words.stdout.splitlines()[-1] == "not identical"
    assert cli("replay", "ans_none").exit_code == 1


def test_withdraw_reask_and_restore(cli: Cli) -> None:
    made = cli.json("ask", QUESTION)
    document = made["citations"][0]["document_id"]
    assert cli.json("impact", "--document", document)["answers"]["cited"] == 1
    assert cli("impact", "--document", document, "--withdraw").exit_code == 2
    done = cli.json("impact", "--document", document, "--withdraw", "--reason", "a misprint", "--reask")
    assert done["withdrawal"]["stale_answers"] == 1
    (again,) = done["reasked"]
    assert (again["answer_id"], again["same"]) == (made["id"], False)
    shown = cli.json("answers", "show", made["id"])
    assert shown["stale"][0]["reason"] == "a misprint"
    words = " ".join(cli("answers", "show", made["id"]).stdout.split())
    assert "stale since" in words
    assert "was withdrawn: a misprint" in words
    assert document not in {item["id"] for item in cli.json("documents", "list")["items"]}
    assert cli.json("ask", QUESTION, "--as-of", 1)["status"] == "abstained"
    changed = cli.json("replay", made["id"], "--current")
    assert [one["change"] for one in changed["changes"] if one.get("cited")] == ["withdrawn"]
    assert "was withdrawn" in cli("replay", made["id"], "--current").stdout
    assert cli("impact", "--document", document, "--withdraw", "--reason", "again").exit_code == 1
    assert "1 document restored" in cli("impact", "--document", document, "--restore", "--reason", "ok").stdout
    assert "stale" not in cli.json("answers", "show", made["id"])
    assert cli("verify").exit_code == 0


def test_impact_in_words_and_wrong_usage(cli: Cli) -> None:
    made = cli.json("ask", QUESTION)
    words = cli("impact", "--source", "handbook").stdout
    assert "2 passages" in words
    assert made["id"] in words
    assert "cites it" in words
    page = cli.json("impact", "--entity", "People Office", "--part", "chunks", "--limit", 1)["chunks"]
    assert len(page["items"]) == 1
    wrong = (
        [],
        ["--document", "leave.md"],
        ["--document", "doc_1", "--source", "handbook"],
        ["--source", "handbook", "--withdraw", "--restore", "--reason", "x"],
        ["--source", "handbook", "--part", "chunks", "--reask"],
        ["--prompt", "grounded-answer", "--withdraw", "--reason", "x"],
    )
    assert [cli("impact", *one).exit_code for one in wrong] == [2] * len(wrong)
    assert cli("impact", "--source", "nowhere").exit_code == 1


def test_queries(cli: Cli) -> None:
    made = cli.json("ask", QUESTION)
    names = {one["name"] for one in cli.json("query", "list")["items"]}
    assert "answers_by_entity_and_prompt" in names
    assert "answers_by_entity_and_prompt" in cli("query").stdout
    given = ["--param", "entity=parental leave", "--param", "prompt=grounded-answer@1", "--param", "since=2020-01-01"]
    found = cli.json("query", "run", "answers_by_entity_and_prompt", *given)
    assert [item["id"] for item in found["items"]] == [made["id"]]
    assert made["id"] in cli("query", "run", "answers_by_entity_and_prompt", *given).stdout
    turtle = cli("query", "run", "answers_by_entity_and_prompt", *given, "--format", "turtle")
    graph = Graph().parse(data=turtle.stdout, format="turtle")
    assert len(set(graph.subjects(RDF.type, Namespace("urn:vouch:terms:").Answer))) == 1
    near = cli.json("query", "run", "neighbours", "--param", "kind=principal", "--param", "id=local")
    assert {(item["kind"], item["id"]) for item in near["items"]} == {("answer", made["id"])}
    assert cli("query", "run", "neighbours", "--param", "kind=source", "--param", "id=handbook").exit_code == 0
    assert cli("query", "run", "nothing").exit_code == 1
    assert cli("query", "run", "neighbours", "--param", "kind").exit_code == 2
    assert cli("query", "run", "answers_by_model").exit_code == 2
