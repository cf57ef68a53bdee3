"""Every command in one process, on a workspace that was ingested once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from api.assembly import Workspace
from api.cli import app
from api.cli.answer_text import show_answer
from api.cli.app import COMMANDS
from api.cli.output import cell, counted
from kernel.settings import Settings

LEAVE = """# Parental leave

## Length

Every employee may take 26 weeks of parental leave after six months of service.

## Request

A request for parental leave is sent to the People Office eight weeks before it begins.
"""
PEOPLE = """# People Office

The People Office is led by Marta Lindqvist, who answers every request within ten days.
"""
RECORDS = (
    {
        "id": "r1",
        "title": "Badges",
        "text": "A lost badge is reported to the Front Desk, and costs 15 euros.",
    },
    {"id": "r2", "title": "Parking", "text": "The car park of the Oslo site closes at 22:00 on every working day."},
)
MEMBERS = {"chunk_id", "document_id", "external_id", "revision", "source", "title", "uri", "heading", "text"}
MEMBERS |= {"start", "end", "page", "score", "path", "notices", "duplicate_of"}
QUESTION = "How many weeks of parental leave may an employee take?"


@dataclass(frozen=True)
class Cli:
    """Calls `vouch` on one home."""

    home: Path
    models: Path

    def __call__(self, *words: object) -> Result:
        arguments = ["--home", str(self.home), *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, env={"VOUCH_MODELS": str(self.models)})

    def json(self, *words: object, code: int = 0) -> Any:
        result = self(*words, "--json")
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files") / "handbook"
    folder.mkdir()
    (folder / "leave.md").write_text(LEAVE)
    (folder / "people.md").write_text(PEOPLE)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return folder


@pytest.fixture(scope="module")
def cli(files: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("home"), models)
    report = made.json("ingest", files, "--source", "handbook")
    assert report["snapshot"] == 1
    return made


@pytest.fixture
def empty(tmp_path: Path, models: Path) -> Cli:
    return Cli(tmp_path / "home", models)


def test_ingest_reports_counts_and_reasons_and_exits_0_although_a_file_failed(cli: Cli, files: Path) -> None:
    again = cli.json("ingest", files, "--source", "handbook")
    (report,) = again["sources"]
    assert (report["source"], report["added"], report["changed"], report["removed"]) == ("handbook", 0, 0, 0)
    assert report["unchanged"] == 5

    words = cli("ingest", files / "broken.pdf", "--source", "broken")
    assert words.exit_code == 0
    assert "broken.pdf: " in words.stdout
    assert "1 document could not be read" in words.stdout
    assert cli.json("documents", "list", "--status", "failed", "--source", "broken")["items"][0]["reason"]


def test_a_path_that_is_not_there_is_wrong_usage(empty: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    result = empty("ingest", missing)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.strip() == f"error: {missing} does not exist"
    assert empty.json("ingest", missing, code=2) == {
        "error": {"type": "invalid-input", "detail": f"{missing} does not exist"}
    }


def test_an_answer_shows_marks_citations_status_and_its_id(cli: Cli) -> None:
    body = cli.json("ask", QUESTION)
    assert body["status"] == "answered"
    assert "26 weeks" in body["answer"]
    words = cli("ask", QUESTION).stdout
    assert "26 weeks" in words
    assert "[c1]" in words
    assert "Answered: every sentence is supported" in words
    citation = body["citations"][0]
    assert f"characters {citation['start']}–{citation['end']}" in words
    assert str(Path(citation["uri"].removeprefix("file://"))) in words
    assert "Recorded as ans_" in words


def test_an_abstention_is_an_answer(cli: Cli) -> None:
    body = cli.json("ask", "What is the melting point of tungsten carbide?")
    assert (body["status"], body["answer"]) == ("abstained", "")
    words = cli("ask", "What is the melting point of tungsten carbide?")
    assert words.exit_code == 0
    assert "Not answered: the documents do not say." in words.stdout


def test_what_a_policy_withheld_is_not_said_to_be_in_no_document() -> None:
    def status_line(**body: object) -> str:
        out = Console(file=StringIO(), width=200)
        common = {"id": "ans_1", "answer": "", "confidence": 0.0, "citations": [], "notices": [], "conflicts": []}
        asked = {"retrieval": {"snapshot": 1, "used": 1}, "timings_ms": {}, "status": "abstained"}
        show_answer(out, {**common, **asked, **body})
        return str(out.file.getvalue()).splitlines()[0]  # type: ignore[attr-defined]

    verdict = {"stage": "input", "rule": "no-codes", "verdict": "refuse", "detail": ""}
    noted = {"policy": {"verdicts": [verdict | {"verdict": "note"}]}}
    assert status_line(reason="Nothing fits.") == "Not answered: the documents do not say. Nothing fits."
    assert status_line(reason="Nothing fits.", **noted) == "Not answered: the documents do not say. Nothing fits."
    assert status_line(reason="Ask the desk.", policy={"verdicts": [verdict]}) == "Not answered. Ask the desk."
    rejected = {"id": "rev_1", "state": "rejected", "deadline": "2026-11-23T09:00:00.000000+00:00"}
    assert status_line(reason="Out of date.", review=rejected) == "Not answered. Out of date."


def test_values_are_shown_in_words() -> None:
    shown = [cell(one) for one in (None, [], ["hr", "it"], True, False, 0, {"answers": 1}, "text")]
    assert shown == ["-", "none", "hr, it", "yes", "no", "0", '{"answers": 1}', "text"]
    assert (counted(1, "passage"), counted(0, "passage")) == ("1 passage", "0 passages")


def test_flags_work_before_and_after_the_commands_name(cli: Cli) -> None:
    env = {"VOUCH_MODELS": str(cli.models)}
    home = str(cli.home)
    spellings = (
        ["--json", "--home", home, "sources", "list"],
        ["sources", "list", "--json", "--home", home],
        ["sources", "--home", home, "--json", "list"],
        ["--home", home, "sources", "--json"],
    )
    listed = [CliRunner().invoke(app, spelling, env=env) for spelling in spellings]
    assert {result.exit_code for result in listed} == {0}
    assert len({result.stdout for result in listed}) == 1
    assert "handbook" in [item["name"] for item in json.loads(listed[0].stdout)["items"]]

    other = CliRunner().invoke(app, ["--workspace", "other", "--home", home, "sources", "--json"], env=env)
    assert json.loads(other.stdout)["items"] == []
    wrong = CliRunner().invoke(app, ["sources", "--home", home, "--workspace", "Not A Name", "--json"], env=env)
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["error"]["type"] == "invalid-input"


def test_retrieve_carries_every_member_and_signals_only_when_asked(cli: Cli) -> None:
    found = cli.json("retrieve", QUESTION, "--top-k", 3)
    assert set(found) == {"results", "snapshot", "timings_ms"}
    first = found["results"][0]
    assert set(first) == MEMBERS
    assert "Parental leave" in [one["title"] for one in found["results"]]
    explained = cli.json("retrieve", QUESTION, "--top-k", 3, "--explain")["results"]
    assert set(explained[0]) - set(first) == {"signals", "contributions"}
    assert set(explained[0]["contributions"]) == set(explained[0]["signals"])
    assert explained[0]["signals"]["dense"] > 0
    assert [one["chunk_id"] for one in explained] == [one["chunk_id"] for one in found["results"]]


def test_retrieve_explains_itself_in_words(cli: Cli) -> None:
    words = cli("retrieve", "Who leads the People Office?", "--explain").stdout
    assert "1. People Office" in words
    assert re.search(r"path: people office -> named in \[chk_\w+, result 1\]", words)
    assert re.search(r"\w+ +[\d.]+ +[+-]\d\.\d+ +(the|share|closeness|rank|likeness|words|distance|how) ", words)
    assert "milliseconds: embed " in words


def test_why_not_tells_what_kept_a_document_out(cli: Cli) -> None:
    """A document goes by its id, path, own id or title; the results are those of the question alone."""
    plain = cli.json("retrieve", QUESTION, "--top-k", 1)
    told = [cli.json("retrieve", QUESTION, "--top-k", 1, "--why-not", name) for name in ("r1", "badges", "leave.md")]
    assert all(one["results"] == plain["results"] for one in told)
    badges = told[0]["why_not"]
    assert badges == told[1]["why_not"]
    assert (badges["title"], badges["verdict"], badges["behind"]["rank"]) == ("Badges", "ranked lower", 1)
    assert told[2]["why_not"]["verdict"] == "shown"
    assert cli.json("retrieve", QUESTION, "--why-not", badges["document_id"], "--as-of", 1)["why_not"]["rank"]
    words = cli("retrieve", QUESTION, "--top-k", 1, "--why-not", "r1").stdout
    assert "Why not “Badges”?  ranked lower" in words
    assert all(reason.split(";")[0] in " ".join(words.split()) for reason in badges["reasons"])
    failed = cli.json("documents", "list", "--source", "handbook", "--status", "failed")["items"][0]
    broken = cli.json("retrieve", QUESTION, "--why-not", failed["id"])["why_not"]
    assert (broken["verdict"], broken["passage"]) == ("no passages", None)
    assert broken["reasons"][0].startswith("The document could not be read: ")


def test_why_not_needs_one_document_and_one_question(cli: Cli, empty: Cli, files: Path, tmp_path: Path) -> None:
    for name in ("doc_unknown", "no such title"):
        assert cli.json("retrieve", QUESTION, "--why-not", name, code=1)["error"]["type"] == "not-found"
    assert cli.json("retrieve", QUESTION, "--why-not", "leave.md", "--as-of", 0, code=1)["error"]["type"] == "not-found"
    for source in ("first", "copy"):
        empty.json("ingest", files / "leave.md", "--source", source)
    several = empty.json("retrieve", QUESTION, "--why-not", "Parental leave", code=2)["error"]
    assert several["type"] == "invalid-input"
    assert several["detail"].count("doc_") == 2
    assert "(leave.md of copy)" in several["detail"]
    file = tmp_path / "questions.jsonl"
    file.write_text('{"id": "a", "question": "Who?"}\n')
    refused = cli.json("retrieve", "--questions", file, "--why-not", "r1", code=2)["error"]["detail"]
    assert refused == "--why-not is for one QUESTION; leave out --questions"


def test_a_batch_gives_what_single_questions_give_in_order(cli: Cli, tmp_path: Path) -> None:
    questions = [
        QUESTION,
        "Who leads the People Office?",
        "What does a lost badge cost?",
        "When does the car park close?",
    ]
    file = tmp_path / "questions.jsonl"
    lines = [json.dumps({"id": number, "question": text}) for number, text in enumerate(questions)]
    file.write_text("\n".join(lines) + "\n\n")
    batch = cli("retrieve", "--questions", file, "--top-k", 4)
    assert batch.exit_code == 0
    found = [json.loads(line) for line in batch.stdout.splitlines()]
    assert [set(line) for line in found] == [{"id", "results"}] * len(questions)
    assert [line["id"] for line in found] == list(range(len(questions)))
    for line, text in zip(found, questions, strict=True):
        assert line["results"] == cli.json("retrieve", text, "--top-k", 4)["results"]


def test_a_batch_names_its_faults(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"id": "a", "question": "Who?"}\n{"id": "b"}\n')
    assert "line 2 " in cli.json("retrieve", "--questions", file, code=2)["error"]["detail"]
    file.write_text('{"id": "a", "question": "  "}\n{"id": "b", "question": "Who leads the People Office?"}\n')
    result = cli("retrieve", "--questions", file)
    assert result.exit_code == 1
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["id"], first["results"], first["error"]["type"]) == ("a", [], "invalid-input")
    assert second["results"]
    assert cli.json("retrieve", "--questions", tmp_path / "none", code=2)["error"]["type"] == "invalid-input"
    assert cli.json("retrieve", "x", "--questions", file, code=2)["error"]["type"] == "invalid-input"
    assert cli.json("retrieve", code=2)["error"]["type"] == "invalid-input"


LISTS = {
    "documents": (["documents", "list"], "id"),
    "answers": (["answers", "list"], "id"),
    "entities": (["entities", "list", "--prefix", "p"], "name"),
    "sources": (["sources", "list"], "name"),
}


@pytest.mark.parametrize(("command", "key"), LISTS.values(), ids=LISTS)
def test_cursors_walk_a_list_once(cli: Cli, files: Path, command: list[str], key: str) -> None:
    cli("ingest", files / "broken.pdf", "--source", "broken")
    for _ in range(2):
        cli.json("ask", "Who leads the People Office?")
    whole = [item[key] for item in cli.json(*command, "--limit", 1000)["items"]]
    walked: list[str] = []
    cursor: list[str] = []
    while True:
        page = cli.json(*command, "--limit", 2, *cursor)
        walked += [item[key] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert len(whole) >= 2
    assert walked == whole


def test_documents_can_be_looked_at(cli: Cli) -> None:
    listed = cli.json("documents", "list", "--source", "handbook")["items"]
    leave = next(item for item in listed if item["path"] == "leave.md")
    shown = cli.json("documents", "show", leave["id"])
    assert shown == leave
    text = cli("documents", "text", leave["id"])
    assert text.stdout == cli.json("documents", "text", leave["id"], "--revision", 1)["text"]
    assert "26 weeks" in text.stdout
    assert cli.json("documents", "show", "doc_none", code=1)["error"]["type"] == "not-found"
    assert cli.json("documents", "text", leave["id"], "--revision", 7, code=1)["error"]["type"] == "not-found"


def test_past_answers_and_their_lineage(cli: Cli) -> None:
    body = cli.json("ask", QUESTION)
    listed = cli.json("answers", "list", "--limit", 1)["items"]
    assert [item["id"] for item in listed] == [body["id"]]
    shown = cli.json("answers", "show", body["id"])
    assert {name: shown[name] for name in shown if name != "timings_ms"} == {
        name: body[name] for name in body if name != "timings_ms"
    }
    assert body["citations"][0]["quote"].split()[0] in cli("answers", "show", body["id"]).stdout
    chain = cli.json("lineage", body["id"])
    assert chain["answer"]["id"] == body["id"]
    assert "prov:" in cli("lineage", body["id"], "--format", "turtle").stdout
    assert json.loads(cli("lineage", body["id"], "--format", "jsonld").stdout)
    assert cli("lineage", body["id"], "--format", "dot").stdout.startswith("digraph")
    assert cli("lineage", body["id"], "--format", "svg").exit_code == 2
    assert cli.json("lineage", body["id"], "--format", "dot", code=2)["error"]["type"] == "invalid-input"
    assert cli.json("lineage", "ans_none", code=1)["error"]["type"] == "not-found"


def test_entities_are_found_by_id_and_by_name(cli: Cli) -> None:
    (listed,) = cli.json("entities", "list", "--prefix", "people office")["items"][:1]
    by_name = cli.json("entities", "show", "People Office")
    assert by_name == cli.json("entities", "show", listed["id"])
    assert by_name["chunks"]
    assert "parental leave" in [item["name"] for item in cli.json("entities", "neighbours", "People Office")["items"]]
    assert "people office" in cli("entities", "show", "People Office").stdout
    assert cli.json("entities", "show", "Ministry of Silly Walks", code=1)["error"]["type"] == "not-found"


def test_keys_are_shown_once(empty: Cli) -> None:
    made = empty.json("keys", "create", "--role", "app", "--groups", "hr, legal", "--name", "portal")
    assert made["key"].startswith("vouch_")
    assert (made["role"], made["groups"]) == ("app", ["hr", "legal"])
    assert empty.json("keys", "create", "--role", "admin")["groups"] is None
    assert empty.json("keys", "create", "--role", "reviewer")["groups"] == []
    assert empty.json("keys", "create", "--role", "app", "--groups", "*")["groups"] is None
    listed = empty.json("keys", "list")["items"]
    assert len(listed) == 4
    assert not any("key" in item for item in listed)
    assert empty.json("keys", "revoke", made["id"])["revoked_at"]
    assert empty.json("keys", "revoke", "key_none", code=1)["error"]["type"] == "not-found"
    assert empty.json("keys", "create", "--role", "app", "--expires", "soon", code=2)["error"]
    assert empty.json("keys", "create", "--role", "app", "--expires", "2001-01-01", code=2)
    assert empty("keys", "create", "--role", "king").exit_code == 2


def test_jobs_are_listed_and_shown(empty: Cli) -> None:
    with Workspace(Settings.load(home=empty.home, models=empty.models)) as workspace:
        job = workspace.jobs.accept("ingest", {"source": "x"})
    assert [item["id"] for item in empty.json("jobs")["items"]] == [job.id]
    assert empty.json("jobs", "show", job.id)["state"] == "queued"
    assert empty.json("jobs", "show", "job_none", code=1)["error"]["type"] == "not-found"


def test_a_fault_is_named_mended_by_reindex_and_a_lost_source_is_left_alone(empty: Cli, tmp_path: Path) -> None:
    file = tmp_path / "badges.md"
    file.write_text("# Badges\n\nA lost badge costs 15 euros.\n")
    empty.json("ingest", file)
    assert empty.json("verify") == {"ok": True, "faults": []}
    index = empty.home / "workspaces" / "default" / "index"
    array = next(path for path in sorted(index.glob("*/columns/*")) if path.stat().st_size > 200)
    array.write_bytes(array.read_bytes()[:-1] + bytes([array.read_bytes()[-1] ^ 1]))
    found = empty.json("verify", code=1)
    assert found["ok"] is False
    assert array.name in found["faults"][0]["what"]
    assert array.name in empty("verify").stdout
    assert empty.json("reindex")["chunks"] == 1
    assert empty.json("verify")["ok"] is True

    file.write_text("# Badges\n\nA lost badge costs 25 euros.\n")
    (report,) = empty.json("reindex", "--full")["sources"]
    assert report["changed"] == 1
    file.unlink()
    assert empty.json("reindex", "--full", code=1)["missing"][0]["reason"].endswith("badges.md is not there any more")
    assert "25 euros" in empty.json("ask", "What does a lost badge cost?")["answer"]


def test_going_back_and_asking_the_past(cli: Cli) -> None:
    live = cli.json("snapshots")["items"][0]["number"]
    assert cli.json("snapshots", "rollback", 0) == {"snapshot": 0, "previous": live}
    assert cli.json("documents")["items"] == []
    assert cli.json("ask", QUESTION)["status"] == "abstained"
    assert cli.json("ask", QUESTION, "--as-of", live)["status"] == "answered"
    assert cli.json("snapshots", "rollback", live)["previous"] == 0
    assert cli.json("snapshots", "rollback", 99, code=1)["error"]["type"] == "not-found"
    assert cli.json("ask", QUESTION, "--as-of", "99", code=1)["error"]["type"] == "not-found"
    assert cli.json("retrieve", QUESTION, "--as-of", "yesterday", code=2)["error"]["type"] == "invalid-input"


def test_config_tells_where_a_value_came_from_and_hides_secrets(empty: Cli) -> None:
    empty.home.mkdir()
    (empty.home / "vouch.toml").write_text('top_k = 7\nopenai_api_key = "sk-secret"\n')
    result = empty("config", "show", "--json")
    found = {item["name"]: item for item in json.loads(result.stdout)["items"]}
    assert (found["top_k"]["value"], found["top_k"]["from"]) == (7, "file")
    assert found["home"]["from"] == "flag"
    assert found["models"]["from"] == "environment"
    assert found["port"]["from"] == "default"
    assert found["openai_api_key"]["value"] == "**********"
    assert "sk-secret" not in result.stdout + empty("config").stdout
    held = '[workflow_secrets.crm]\nvalue = "sk-secret"\nhosts = ["a.test"]\n[workflow_sql]\nsales = "sqlite:///sk-secret"\n'
    (empty.home / "vouch.toml").write_text(held)
    result = empty("config", "show", "--json")
    found = {item["name"]: item["value"] for item in json.loads(result.stdout)["items"]}
    assert found["workflow_secrets"] == {"crm": {"value": "**********", "hosts": ["a.test"]}}
    assert found["workflow_sql"] == {"sales": "**********"}
    assert "sk-secret" not in result.stdout + empty("config", "show").stdout
    (empty.home / "vouch.toml").write_text("top_k = 7\ncolour = 3\n")
    assert "colour" in empty.json("config", code=2)["error"]["detail"]


def test_doctor_looks_at_everything(cli: Cli, empty: Cli) -> None:
    found = cli.json("doctor")
    assert found["ok"] is True
    assert {item["state"] for item in found["items"]} <= {"ok", "warn"}
    assert {"python", "model", "database", "disk", "home", "documents"} <= {item["what"] for item in found["items"]}
    empty.home.write_text("a file where the home should be")
    broken = empty.json("doctor", code=1)
    assert broken["ok"] is False
    assert "home" in [item["what"] for item in broken["items"] if item["state"] == "fail"]
    assert empty.json("sources", code=3)["error"]["type"] == "unavailable"


def test_text_from_documents_cannot_steer_the_terminal(empty: Cli, tmp_path: Path) -> None:
    (tmp_path / "evil.md").write_text(
        "# Evil [bold]title[/bold]\n\nThe \x1b[31mred\x1b[0m code of \u202ethe gate is 4711.\n"
    )
    empty.json("ingest", tmp_path / "evil.md")
    words = empty("ask", "What is the code of the gate?").stdout
    assert "4711" in words
    assert "\x1b" not in words
    assert "\u202e" not in words
    assert "[bold]title[/bold]" in empty("retrieve", "code of the gate").stdout


def test_every_command_is_described_and_can_be_loaded() -> None:
    runner = CliRunner()
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    overview = runner.invoke(app, ["--help"]).stdout
    for name, entry in COMMANDS.items():
        assert entry.about[:40] in overview
        shown = runner.invoke(app, [name, "--help"])
        assert shown.exit_code == 0, name
        assert "--json" in shown.stdout
        assert f"vouch {name} " in reference or f"`vouch {name}`" in reference
