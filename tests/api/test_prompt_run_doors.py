"""Running prompts, releases, searching and drafts over HTTP and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_model_server import FakeModelServer
from fast_parts import FastWorkspace
from http_site import client_of, served
from prompt_parts import ingest, prompt_text, release, saying, with_model, workspace_at
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app
from kernel.records import Role

QUESTION = "The canteen opens at what hour on Fridays?"
CASE = (
    "- {name: one, question: When?, inputs: {reader: x}, context: [{title: T, text: At 1.}], expect: [answers: true]}"
)
PAGE = "# Canteen\n\nThe canteen opens at 11:30 on Fridays.\n"


@pytest.fixture
def model() -> Iterator[FakeModelServer]:
    server = saying("It opens at 11:30 on Fridays [c1].")
    yield server
    server.close()


@pytest.fixture
def made(tmp_path: Path, model: FakeModelServer) -> Iterator[FastWorkspace]:
    with workspace_at(tmp_path, **with_model(model)) as workspace:
        ingest(workspace, tmp_path / "pages", canteen=PAGE)
        release(workspace, prompt_text("shorten", header="description: Makes texts short\n"))
        yield workspace


@pytest.fixture
def clients(made: FastWorkspace) -> Iterator[dict[str, httpx.Client]]:
    with served(create_app(made)) as url:
        found = {}
        for name, role in (
            ("app", Role.APP),
            ("other", Role.APP),
            ("editor", Role.EDITOR),
            ("reviewer", Role.REVIEWER),
        ):
            found[name] = client_of(url, made.keys.create(role)[1])
        for name in ("admin", "boss"):
            found[name] = client_of(url, made.keys.create(Role.ADMIN, None)[1])
        yield found
        for client in found.values():
            client.close()


def body_of(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def test_running_over_http(clients: dict[str, httpx.Client]) -> None:
    asker = clients["app"]
    once = {"Idempotency-Key": "one"}
    made = body_of(asker.post("/v1/prompts/shorten/run", json={"inputs": {"text": "long"}}, headers=once))
    again = asker.post("/v1/prompts/shorten/run", json={"inputs": {"text": "long"}}, headers=once)
    assert (made["status"], again.json()["id"], again.headers["idempotent-replayed"]) == ("done", made["id"], "true")
    shown = body_of(asker.get(f"/v1/prompt-runs/{made['id']}"))
    assert (shown["inputs"], shown["output"], "run" in shown) == ({"text": "long"}, made["output"], False)
    assert body_of(clients["reviewer"].get(f"/v1/prompt-runs/{made['id']}"))["run"]["messages"]
    assert clients["other"].get(f"/v1/prompt-runs/{made['id']}").status_code == 404
    assert body_of(clients["other"].get("/v1/prompt-runs"))["items"] == []
    for _ in range(2):
        body_of(asker.post("/v1/prompts/shorten/run", json={"inputs": {"text": "other"}, "label": "production"}))
    first = body_of(asker.get("/v1/prompt-runs", params={"limit": 2}))
    rest = body_of(asker.get("/v1/prompt-runs", params={"limit": 2, "cursor": first["next_cursor"]}))
    assert [len(first["items"]), len(rest["items"]), rest["items"][0]["id"]] == [2, 1, made["id"]]
    for path, sent, status in (
        ("shorten", {"inputs": {}}, 422),
        ("shorten", {"inputs": {"text": "a\x00b"}}, 422),
        ("shorten", {"inputs": {"text": "a"}, "label": "none"}, 404),
        ("nothing", {"inputs": {}}, 404),
        ("grounded-answer", {"inputs": {}}, 422),
    ):
        assert asker.post(f"/v1/prompts/{path}/run", json=sent).status_code == status, (path, sent)


def test_inputs_of_a_question_over_http(made: FastWorkspace, clients: dict[str, httpx.Client]) -> None:
    header = "inputs:\n  reader: {schema: {type: string}}\n"
    release(made, prompt_text("for-reader", question="For {{reader}}: {{question}}", header=header, tests=CASE))
    sent = {"question": QUESTION, "prompt": "for-reader"}
    made_answer = body_of(clients["app"].post("/v1/query", json=sent | {"inputs": {"reader": "a cook"}}))
    record = made.answers.records().__next__()
    assert (made_answer["status"], record.run["inputs"]) == ("answered", {"reader": "a cook"})
    assert clients["app"].post("/v1/query", json=sent).status_code == 422


def test_releases_over_http(made: FastWorkspace, clients: dict[str, httpx.Client]) -> None:
    newer = release(made, prompt_text("shorten", task="Cut: {{text}}"), "ready").version
    admin, boss = clients["admin"], clients["boss"]
    sent = {"manifest": {"prompts": {"shorten": newer}}, "message": "the newer one"}
    one = body_of(admin.post("/v1/releases", json=sent), 201)
    assert (one["number"], one["in_force"]) == (1, False)
    assert body_of(admin.get("/v1/releases/1"))["missing"] == []
    assert body_of(admin.get("/v1/releases/1/diff"))["prompts"] == {"shorten": [1, newer]}
    assert admin.post("/v1/releases/1/activate", json={}).status_code == 403
    assert clients["editor"].post("/v1/releases/1/activate", json={}).status_code == 403
    moved = body_of(boss.post("/v1/releases/1/activate", json={"reason": "go"}))
    assert (moved["release"], moved["changed"]) == (1, {"shorten": [1, newer]})
    run = body_of(clients["app"].post("/v1/prompts/shorten/run", json={"inputs": {"text": "long"}}))
    assert run["prompt"]["version"] == newer
    assert [one["in_force"] for one in body_of(admin.get("/v1/releases"))["items"]] == [True]
    assert boss.post("/v1/releases/1/activate", json={}).status_code == 409
    assert body_of(boss.post("/v1/releases/rollback", json={}))["changed"] == {"shorten": [newer, 1]}
    assert boss.post("/v1/releases/rollback", json={}).status_code == 409
    for path in ("/v1/releases/0", "/v1/releases/99999999999", "/v1/releases/2"):
        assert admin.get(path).status_code == 404


def test_the_library_over_http(clients: dict[str, httpx.Client]) -> None:
    asker, editor = clients["app"], clients["editor"]
    assert body_of(asker.put("/v1/prompts/shorten/favourite"))["favourites"] == ["shorten"]
    hit = body_of(asker.get("/v1/prompts/search", params={"q": "makes texts short"}))["items"][0]
    assert (hit["name"], hit["state"], hit["favourite"]) == ("shorten", "live", True)
    assert body_of(editor.get("/v1/prompts/favourites"))["favourites"] == []
    assert body_of(asker.delete("/v1/prompts/shorten/favourite"))["favourites"] == []
    assert asker.put("/v1/prompts/nothing/favourite").status_code == 404
    body_of(asker.post("/v1/prompts/shorten/run", json={"inputs": {"text": "long"}}))
    assert body_of(asker.get("/v1/prompts/shorten/usage"))["runs"] == 1
    assert body_of(editor.get("/v1/prompts/shorten/usage"))["runs"] == 0
    assert body_of(clients["reviewer"].get("/v1/prompts/shorten/usage"))["versions"][0]["users"][0]["runs"] == 1
    assert body_of(editor.get("/v1/prompts/shorten/used-by"))["items"] == []
    answer = body_of(editor.post("/v1/query", json={"question": QUESTION}))
    sent = {"answer": answer["id"], "name": "canteen-hours"}
    assert asker.post("/v1/prompts/promote", json=sent).status_code == 403
    promoted = body_of(editor.post("/v1/prompts/promote", json=sent), 201)
    assert (promoted["version"], promoted["pinned"]) == (1, "passages")
    found = body_of(editor.post("/v1/prompts/canteen-hours/improve", json={"rules_only": True}))
    assert (found["by"], found["draft"]["version"]) == ("rules", 2)
    tried = {"prompt": "canteen-hours@2", "against": "grounded-answer", "question": QUESTION}
    result = body_of(editor.post("/v1/prompts/playground", json=tried))
    assert (result["same"], result["against"]["prompt"]["name"]) == (True, "grounded-answer")
    assert asker.get("/v1/prompts/search", params={"q": "canteen hours"}).json()["items"] == [] or all(
        one["name"] != "canteen-hours"
        for one in asker.get("/v1/prompts/search", params={"q": "canteen hours"}).json()["items"]
    )


class Cli:
    """Calls `vouch` on the home of a workspace."""

    def __init__(self, made: FastWorkspace, models: Path) -> None:
        settings = made.settings
        self.words = ["--home", str(settings.home), "--workspace", settings.workspace]
        self.environment = {
            "VOUCH_MODELS": str(models),
            "VOUCH_GENERATOR": "openai",
            "VOUCH_OPENAI_BASE_URL": settings.openai_base_url or "",
            "VOUCH_OPENAI_MODEL": "toy-1",
            "VOUCH_OPENAI_RETRIES": "0",
        }

    def __call__(self, *words: object, code: int = 0, **environment: str) -> str:
        arguments = [*self.words, *map(str, words)]
        result = CliRunner().invoke(app, arguments, env=self.environment | environment)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result.stdout if code in (0, 1) else result.stdout + result.stderr

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def cli(made: FastWorkspace, models: Path) -> Cli:
    return Cli(made, models)


def test_running_on_the_command_line(made: FastWorkspace, model: FakeModelServer, cli: Cli, tmp_path: Path) -> None:
    run = cli.json("prompts", "run", "shorten", "--input", "text=many words = long")
    assert (run["status"], model.seen[-1].body["messages"][-1]["content"].count("many words = long")) == ("done", 1)
    inputs = tmp_path / "inputs.yaml"
    inputs.write_text("text: from a file\n")
    assert "11:30" in cli("prompts", "run", "shorten", "--inputs", inputs)
    listed = cli.json("prompts", "runs")["items"]
    assert [one["inputs"]["text"] for one in listed] == ["from a file", "many words = long"]
    assert "many words" in cli("prompts", "run-show", run["id"])
    assert "is not NAME=VALUE" in cli("prompts", "run", "shorten", "--input", "text", code=2)
    told = cli("prompts", "run", "shorten", "--input", "text=a", code=3, VOUCH_GENERATOR="extractive")
    assert "needs a model: set generator = openai" in told
    model.close()
    assert "failed" in cli("prompts", "run", "shorten", "--input", "text=a", code=3)


def test_releases_on_the_command_line(made: FastWorkspace, cli: Cli) -> None:
    newer = release(made, prompt_text("shorten", task="Cut: {{text}}"), "ready").version
    _, secret = made.keys.create(Role.ADMIN, None)
    made_release = cli.json("releases", "add", "--prompt", "shorten@ready", "-m", "the newer one")
    assert made_release["manifest"]["prompts"] == {"shorten": newer}
    assert "release 1, ready" in cli("releases", "show", 1)
    assert "prompt shorten: 1 -> 2" in cli("releases", "diff", 1)
    assert "another person must" in json.dumps(cli.json("releases", "activate", 1, code=1))
    assert "release 1 is in force" in cli("releases", "activate", 1, "--key", secret)
    assert "no release is in force any more" in cli("releases", "rollback", "--reason", "no")
    assert [one["release"] for one in cli.json("releases", "moves")["items"]] == [1, None]
    assert cli.json("releases")["items"][0]["in_force"] is False


def test_the_library_on_the_command_line(made: FastWorkspace, cli: Cli, tmp_path: Path) -> None:
    cli("prompts", "favourite", "shorten")
    assert cli.json("prompts", "favourites")["items"] == [{"name": "shorten"}]
    hits = cli.json("prompts", "search", "makes", "texts", "short")["items"]
    assert (hits[0]["name"], hits[0]["favourite"]) == ("shorten", True)
    assert "no favourites" in cli("prompts", "favourite", "shorten", "--off")
    cli("prompts", "run", "shorten", "--input", "text=long")
    assert "answers 0, runs 1" in cli("prompts", "usage", "shorten")
    assert "nothing to list" in cli("prompts", "used-by", "shorten")
    found = cli("prompts", "improve", "shorten", "--rules")
    assert "saved as draft shorten@2" in found
    again = cli("prompts", "improve", "shorten@2", "--rules")
    assert "saved" not in again.replace("no draft was saved", "")
    assert "no draft was saved" in again
    draft = tmp_path / "draft.md"
    draft.write_text(prompt_text("shorten", task="Cut: {{text}}"))
    assert "both say the same" in cli("prompts", "try", draft, "--input", "text=long")
    assert "both say the same" in cli("prompts", "try", "shorten@2", "--input", "text=long")
    assert "cannot be read" in cli("prompts", "try", tmp_path / "none.md", code=2)
