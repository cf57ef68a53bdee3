"""`vouch prompts test` and its HTTP twin: exit codes, files, roles, bounds; and a real small model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from fake_model_server import DONE, USAGE, FakeModelServer, Reply, finish, token
from fast_parts import FastWorkspace
from http_site import client_of, site_at
from small_model import serving_small_model
from typer.testing import CliRunner, Result

from api.assembly import Workspace
from api.cli import app
from api.cli import call as cli_call
from api.prompt_test_schemas import PromptTestReport
from api.routes import prompt_tests
from kernel.errors import Unavailable
from kernel.records import LOCAL_OWNER, Role
from kernel.settings import Settings
from pipeline.prompts.anatomy import SECTIONS
from pipeline.prompts.results import Report
from pipeline.prompts.testing import PromptTester

RULES = "\n".join(f"# {name}\nAbout {name}." for name in SECTIONS).replace("About context.", "{{passages}}")
LEAVE = [
    {"title": "Parental leave", "text": "Every employee may take 26 weeks of parental leave, in one piece or two."}
]
ASK = {"name": "weeks", "question": "How many weeks of parental leave may an employee take?", "context": LEAVE}
MODEL = "extractive/sentence-selection-1"


def grounded(expected: str, role: str = "You answer.") -> str:
    case = json.dumps([ASK | {"expect": [{"contains": expected}, {"cites": [1]}]}])
    rules = RULES.replace("About role.", role)
    return f"---\nname: leave\n---\n{rules}\n# question\n{{{{question}}}}\n# tests\n```yaml\n{case}\n```\n"


def sorting(*expect: dict[str, Any], letter: str = "My kettle is broken.") -> str:
    case = json.dumps([{"name": "broken kettle", "inputs": {"letter": letter}, "expect": list(expect)}])
    head = "---\nname: sort\ninputs:\n  letter: {schema: {type: string}}\nmodel: {max_tokens: 60}\n---\n"
    rules = "\n".join(f"# {name}\n" for name in SECTIONS).replace("# role\n", "# role\nYou help a shop.")
    return f"{head}{rules}\n# task\nAnswer in one short sentence.\n{{{{letter}}}}\n# tests\n```yaml\n{case}\n```\n"


class Cli:
    """Calls `vouch` on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: object, **environment: str) -> Result:
        arguments = ["--home", str(self.home), "prompts", "test", *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, env=environment)

    def json(self, *words: object, code: int = 0, **environment: str) -> Any:
        result = self(*words, "--json", **environment)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return json.loads(result.stdout)

    def open(self) -> Workspace:
        return FastWorkspace(Settings.load(home=self.home))


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """With the toy embedder: the real one takes a second to open, at each call."""
    monkeypatch.setattr(cli_call, "Workspace", FastWorkspace)
    made = Cli(tmp_path / "home")
    with made.open() as workspace:
        workspace.prompts.save(grounded("26 weeks"), "local", "")
        workspace.prompts.label("leave", 1, "staging", LOCAL_OWNER)
        workspace.prompts.save(grounded("30 weeks", "You answer shortly."), "local", "")
    return made


def test_exit_codes_table_and_files(cli: Cli, tmp_path: Path) -> None:
    good = cli("leave@1")
    assert good.exit_code == 0, good.stdout
    assert f"leave@1 with {MODEL}" in good.stdout
    assert "passed: 1 case, 0 failed, 0 skipped; entry " in good.stdout
    bad = cli("leave", "--baseline", "staging", "--junit", tmp_path / "out" / "junit.xml")
    assert bad.exit_code == 1
    words = " ".join(bad.stdout.split())
    assert "beside version 1" in words
    assert "expected '30 weeks', it says 'Every employee may take 26 weeks" in words
    root = Xml.parse(tmp_path / "out" / "junit.xml").getroot()  # noqa: S314  our own
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    report = cli.json("leave", "--no-record", "--case", "weeks", code=1)
    assert PromptTestReport.model_validate(report).models[0].entry is None
    printed = cli("leave@1", "--junit", "-")
    assert Xml.fromstring(printed.stdout).get("failures") == "0"  # noqa: S314
    assert cli("leave", "--model", "some-model").exit_code == 2
    for words_of_wrong_usage in ([], ["leave", "--all"], ["--all", "--case", "weeks"]):
        assert cli(*words_of_wrong_usage).exit_code == 2
    wrong = cli.json("leave", "--suite", "nope", code=2)
    assert wrong["error"]["detail"] == "there is no suite nope; there are: bias, injection"
    assert cli.json("leave@1", "--model", MODEL)["models"][0]["model"] == MODEL
    assert cli("nope").exit_code == 1
    away = {"VOUCH_GENERATOR": "openai", "VOUCH_OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "VOUCH_OPENAI_MODEL": "m"}
    gone = cli.json("leave@1", code=3, VOUCH_OPENAI_RETRIES="0", **away)
    assert gone["error"]["type"] == "generation-failed"
    with cli.open() as workspace:
        assert set(workspace.prompts.state().of("leave").standing(1).tests) == {MODEL}
        assert list(workspace.verifier.faults()) == []


def test_each_prompt_is_shown_when_it_was_tested(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that takes an hour, what is done can be read; and what the server's end cuts off stays recorded."""
    run = PromptTester.run

    def until_a_prompt(self: PromptTester, reference: str, *more: Any) -> Report:
        if reference.startswith("compare-documents"):
            raise Unavailable("the model server went away")
        return run(self, reference, *more)

    monkeypatch.setattr(PromptTester, "run", until_a_prompt)
    cut = cli("--all")
    assert cut.exit_code == 3
    assert "case-handoff@1 with" in cut.stdout
    assert "clarifying-question@1 with" in cut.stdout


def test_suites_are_run_as_well(cli: Cli) -> None:
    shown = json.loads(cli("leave", "--suite", "bias", "--suite", "injection", "--json").stdout)
    (one,) = shown["models"]
    assert (one["cases"] >= 25, shown["suites"]) == (True, ["bias", "injection"])
    assert {result["suite"] for result in one["results"]} == {None, "bias", "injection"}


def test_the_whole_library_passes_until_one_fails(tmp_path: Path, models: Path) -> None:
    """With the embedder that is shipped: the starter library is green, and what needs a model is skipped by name."""
    cli, where = Cli(tmp_path / "home"), {"VOUCH_MODELS": str(models)}
    shown = cli.json("--all", "--no-record", **where)
    assert shown["passed"]
    ran = {one["name"]: one["passed"] for one in shown["items"]}
    assert sum(ran.values()) >= 8
    for one in shown["items"]:
        (run,) = one["models"]
        assert (run["failed"], run["entry"]) == (0, None), one
        assert run["passed"] or all("needs a model" in result["reason"] for result in run["results"])
    with cli.open() as workspace:
        workspace.prompts.save(grounded("30 weeks"), "local", "")
    words = cli("--all", "--no-record", **where)
    assert words.exit_code == 1
    assert words.stdout.splitlines()[-1] == f"{len(ran) + 1} prompts, {sum(ran.values()) + 1} run, 1 failed"


def test_who_may_run_tests(cli: Cli) -> None:
    with cli.open() as workspace:
        keys = {role: workspace.keys.create(role)[1] for role in Role}
    codes = {role.value: cli("leave@1", "--key", key).exit_code for role, key in keys.items()}
    assert codes == {"app": 1, "reviewer": 1, "editor": 0, "admin": 0}


def says(text: str) -> Callable[[Reply], None]:
    def step(reply: Reply) -> None:
        reply.stream(token(text), finish(), USAGE, DONE)

    return step


def cut(reply: Reply) -> None:
    reply.stream(token("It goes on and"), finish("length"), USAGE, DONE)


def test_a_matrix_over_a_model_server(cli: Cli, serve: Callable[..., FakeModelServer]) -> None:
    with cli.open() as workspace:
        workspace.prompts.save(sorting({"contains": "replace"}, {"tokens": 16}), "local", "")
    server = serve(says("We replace it."), cut, says("Sorry."))
    where = {"VOUCH_OPENAI_BASE_URL": server.url, "VOUCH_OPENAI_MODEL": "configured"}
    words = ["sort", "--model", "small", "--model", "large", "--model", "extractive", "--model", "other"]
    report = cli.json(*words, code=1, **where)
    assert [(one["model"], one["passed"]) for one in report["models"]] == [
        ("openai/small", True),
        ("openai/large", False),
        (MODEL, False),
        ("openai/other", False),
    ]
    assert [one.body["model"] for one in server.seen] == ["small", "large", "other"]
    assert {one.body["max_tokens"] for one in server.seen} == {60}
    reasons = [one["results"][0]["reason"] or "" for one in report["models"]]
    assert "limit of tokens" in reasons[1]
    assert "it needs a model" in reasons[2]
    assert reasons[3] == "contains: expected 'replace', it says 'Sorry.'"
    assert [one["entry"] is None for one in report["models"]] == [False, False, True, False]
    assert report["models"][0]["metrics"]["tokens"] == 16.0


def test_over_http(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with site_at(tmp_path / "home", models) as site:
        site.workspace.prompts.save(grounded("26 weeks"), "local", "")
        secret = site.workspace.keys.create(Role.EDITOR)[1]
        path = "/v1/prompts/leave/versions/1/test"
        with client_of(str(site.admin.base_url), secret) as editor:
            done = editor.post(path, json={"suites": ["injection"]})
            assert done.status_code == 200, done.text
            report = PromptTestReport.model_validate(done.json())
            assert (report.passed, report.suites, report.models[0].model) == (True, ["injection"], MODEL)
            event = site.workspace.prompts.events("leave")[-1]
            assert (event.leaf, event.kind) == (report.models[0].entry, "tested")
            again = [editor.post(path, json={}, headers={"Idempotency-Key": "k"}).json() for _ in range(2)]
            assert again[0] == again[1]
            assert site.app_key.post(path, json={}).status_code == 403
            assert site.reviewer.post(path, json={}).status_code == 403
            assert site.admin.post(path, json={"record": False}).status_code == 200
            for wrong, status in (
                ("/v1/prompts/leave/versions/9/test", 404),
                ("/v1/prompts/leave/versions/0/test", 404),
                (f"/v1/prompts/leave/versions/{2**40}/test", 404),
                ("/v1/prompts/nope/versions/1/test", 404),
                ("/v1/prompts/no%2Fpe/versions/1/test", 404),
            ):
                assert editor.post(wrong, json={}).status_code == status, wrong
            for body in ({"suites": ["nope"]}, {"models": ["m"]}, {"model": "m"}, {"models": [""]}):
                assert editor.post(path, json=body).status_code == 422, body
            assert editor.post(path, json={"cases": ["nope"]}).status_code == 404
            monkeypatch.setattr(prompt_tests, "MOST_REPLIES", 0)
            assert "name fewer models or cases" in editor.post(path, json={}).json()["detail"]
            monkeypatch.setattr(prompt_tests, "MOST_REPLIES", 500)
            monkeypatch.setattr(prompt_tests, "MOST_SECONDS", -1.0)
            assert editor.post(path, json={}).status_code == 503
            monkeypatch.setattr(prompt_tests, "MOST_SECONDS", 60.0)
            for _ in range(prompt_tests.AT_A_TIME):
                prompt_tests._places.acquire()
            try:
                assert editor.post(path, json={}).status_code == 503
            finally:
                for _ in range(prompt_tests.AT_A_TIME):
                    prompt_tests._places.release()
            assert editor.post(path, json={}).status_code == 200


@pytest.mark.slow
def test_a_real_small_model_takes_the_tests(cli: Cli) -> None:
    """SmolLM2-135M writes something of its own; what it is worth, the expectations say. The suites run to their end."""
    with serving_small_model(context=4096) as url:
        where = {"VOUCH_OPENAI_BASE_URL": url, "VOUCH_OPENAI_MODEL": "smollm2", "VOUCH_GENERATOR": "openai"}
        with cli.open() as workspace:
            easy = [{"contains": "Paris"}, {"min_chars": 10}, {"latency_ms": 60000}]
            letter = "Name the capital of France."
            workspace.prompts.save(sorting(*easy, letter=letter), "local", "")
            workspace.prompts.save(sorting({"contains": "Quetzalcoatl"}, letter=letter), "local", "")
        good = cli.json("sort@1", **where)
        (run,) = good["models"]
        assert (run["model"], run["passed"]) == ("openai/smollm2", True)
        (reply,) = run["results"][0]["replies"]
        assert reply["completion_tokens"] > 3
        assert reply["prompt_tokens"] > 20
        again = cli.json("sort@1", **where)["models"][0]["results"][0]["replies"][0]
        assert again["text"] == reply["text"], "the same model gives the same, so a change is the prompt's"
        bad = cli.json("sort@2", "--baseline", "1", code=1, **where)
        assert not bad["passed"]
        suites = cli("sort@1", "--suite", "injection", "--no-record", "--json", **where)
        assert suites.exit_code in (0, 1), suites.stderr
        results = json.loads(suites.stdout)["models"][0]["results"]
        assert {one["state"] for one in results} <= {"passed", "failed"}
        assert all(one["state"] != "failed" or one["reason"] for one in results)
        kinds = {found["kind"] for one in results for found in one["expect"] if found["state"] == "failed"}
        assert "data_stays_data" not in kinds, "whatever the model, data stays between its tags"
        pair = ["--suite", "bias", "--case", "gender: parental leave"]
        replies = json.loads(cli("sort@1", *pair, "--json", **where).stdout)["models"][0]["results"][0]["replies"]
        assert len(replies) == 2
