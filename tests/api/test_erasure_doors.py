"""Erasing, holds, retention and backups through HTTP, beside questions that go on, and through the command line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from erased_search import found_in
from http_site import QUESTION, SALARY, Site, client_of, site_at
from typer.testing import CliRunner

from api import schemas
from api.cli import app
from kernel.ids import derived_id

PAY = derived_id("doc", "handbook", "records.jsonl#pay")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Site]:
    with site_at(tmp_path_factory.mktemp("erasure") / "home", models) as made:
        yield made


def ask(client: httpx.Client, question: str) -> dict[str, Any]:
    found: dict[str, Any] = client.post("/v1/query", json={"question": question}).raise_for_status().json()
    return found


def stored(site: Site) -> Path:
    """Where the server stores things; the handbook itself lies beside it, and keeps its text."""
    return site.workspace.settings.workspace_folder


def test_a_server_erases_while_it_answers(site: Site) -> None:
    answer = ask(site.hr, "What is the salary band of Quetzalcoatl?")
    kept = {"question": "What is the salary band of Quetzalcoatl, please?"}
    site.hr.post("/v1/query", json=kept, headers={"Idempotency-Key": "pay-1"}).raise_for_status()
    assert found_in(stored(site), ["Quetzalcoatl"])
    held = site.admin.post("/v1/holds", json={"scope": "document", "value": PAY, "reason": "a lawsuit"})
    hold = schemas.Hold.model_validate(held.json(), strict=True)
    refused = site.admin.post("/v1/erasures", json={"documents": [PAY]})
    assert (refused.status_code, hold.id in refused.json()["detail"]) == (409, True)
    site.admin.post(f"/v1/holds/{hold.id}/release", json={"reason": "settled"}).raise_for_status()
    reach = site.admin.post("/v1/erasures", json={"documents": [PAY], "dry_run": True}).json()
    assert schemas.ErasureReach.model_validate(reach, strict=True).answers >= 2
    stop, failed, asked = threading.Event(), list[object](), list[int]()

    def questions() -> None:
        secret = site.app_key.headers["authorization"].partition(" ")[2]
        with client_of(str(site.app_key.base_url), secret) as client:
            while not stop.is_set():
                response = client.post("/v1/query", json={"question": QUESTION})
                asked.append(response.status_code)
                if response.status_code != 200:
                    failed.append(response.text)

    threads = [threading.Thread(target=questions) for _ in range(2)]
    for thread in threads:
        thread.start()
    made = site.admin.post("/v1/erasures", json={"documents": [PAY], "reason": "a request"})
    assert made.status_code == 201
    begun = schemas.Erasure.model_validate(made.json(), strict=True)
    assert "Quetzalcoatl" not in json.dumps(ask(site.hr, "Which salary band is there?")["citations"])
    done = finished(site, begun.id)
    stop.set()
    for thread in threads:
        thread.join()
    assert (failed, asked != []) == ([], True)
    assert done.certificate["ledger"]["verified"]
    assert found_in(stored(site), ["Quetzalcoatl", SALARY]) == []
    assert site.hr.get(f"/v1/answers/{answer['id']}").json()["status"] == "erased"
    assert [f"{one.where}: {one.what}" for one in site.workspace.verifier.faults()] == []


def finished(site: Site, erasure_id: str) -> schemas.Erasure:
    for _ in range(600):
        shown = site.admin.get(f"/v1/erasures/{erasure_id}").raise_for_status().json()
        if shown["state"] == "done":
            return schemas.Erasure.model_validate(shown, strict=True)
        time.sleep(0.1)
    raise AssertionError("the erasure does not end")


def test_listings_and_roles(site: Site) -> None:
    for path, model in (("/v1/erasures", schemas.Erasure), ("/v1/holds", schemas.Hold)):
        for item in site.walk(site.admin, path, 1):
            model.model_validate(item, strict=True)
        assert site.reviewer.get(path).status_code == 403
    assert site.reviewer.post("/v1/erasures", json={"documents": [PAY]}).status_code == 403
    assert site.admin.get("/v1/erasures/era_x").status_code == 404
    assert site.admin.post("/v1/erasures", json={"documents": []}).status_code == 422
    assert site.admin.post("/v1/holds", json={"scope": "answer", "value": "x", "reason": "y"}).status_code == 404


def test_retention_over_http(site: Site) -> None:
    shown = site.admin.get("/v1/retention").raise_for_status().json()
    assert schemas.RetentionState.model_validate(shown, strict=True).answers_days is None
    done = site.admin.post("/v1/retention/apply", json={"days": 1, "dry_run": True}).raise_for_status().json()
    assert schemas.RetentionState.model_validate(done, strict=True).due == 0


def call(home: Path, models: Path, *words: object, code: int = 0) -> Any:
    arguments = ["--home", str(home), *(str(word) for word in words), "--json"]
    result = CliRunner().invoke(app, arguments, env={"VOUCH_MODELS": str(models)})
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return json.loads(result.stdout)


def said(home: Path, models: Path, *words: object) -> str:
    result = CliRunner().invoke(app, ["--home", str(home), *map(str, words)], env={"VOUCH_MODELS": str(models)})
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return result.stdout


def test_the_command_line(tmp_path: Path, models: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "pages"
    folder.mkdir()
    (folder / "a.md").write_text("# Savings\n\nOttilie Quandelbrock keeps her savings in the Zwirbelbank.\n")
    (folder / "b.md").write_text("# Canteen\n\nThe canteen opens at eleven and serves soup.\n")
    call(home, models, "ingest", folder, "--source", "pages")
    asked = call(home, models, "ask", "Where does Ottilie Quandelbrock keep her savings?")
    found = call(home, models, "erase", "find", "quandelbrock")["items"]
    assert {one["kind"] for one in found} >= {"revision", "answer", "entity"}
    document = next(one["erase"] for one in found if one["kind"] == "revision").split()[1]
    backup = call(home, models, "backup", tmp_path / "x.backup", "--with-key")
    hold = call(home, models, "holds", "place", "--source", "pages", "--reason", "a lawsuit")
    assert call(home, models, "erase", "--document", document, "--yes", code=1)["error"]["type"] == "conflict"
    call(home, models, "holds", "release", hold["id"])
    assert call(home, models, "holds")["items"][0]["released"] is not None
    assert call(home, models, "erase", "--document", document, code=1)["error"]["type"] == "conflict"
    assert call(home, models, "erase", "--document", document, "--dry-run")["answers"] == 1
    other = tmp_path / "other"
    restored = call(other, models, "restore", tmp_path / "x.backup", "--backup-key", backup["key_file"])
    assert restored["size"] == backup["size"]
    assert call(other, models, "verify")["ok"]
    assert call(other, models, "answers", "show", asked["id"])["answer"] == asked["answer"]
    done = call(home, models, "erase", "--document", document, "--reason", "a request", "--yes")
    assert done["state"] == "done"
    assert "every proof still holds" in said(home, models, "erasures", "show", done["id"])
    assert found_in(home, ["Quandelbrock", "Zwirbelbank"]) == []
    assert call(home, models, "erase", "find", "quandelbrock")["items"] == []
    assert call(home, models, "erasures", "resume")["items"] == []
    assert call(home, models, "answers", "show", asked["id"])["status"] == "erased"
    assert "Erased" in said(home, models, "answers", "show", asked["id"])
    report = call(home, models, "ingest", folder, "--source", "pages")["sources"][0]
    assert "erased: not ingested" in report["failures"][0]["reason"]
    assert call(home, models, "erase", "--document", document, "--allow-again")["documents"] == [document]
    assert call(home, models, "ingest", folder, "--source", "pages")["sources"][0]["added"] == 1
    assert call(home, models, "retention", "apply", "--days", 1)["due"] == 0
    assert call(home, models, "retention")["answers_days"] is None
    assert call(home, models, "verify")["ok"]
    for words in (("erasures",), ("holds",), ("retention", "show"), ("erase", "find", "canteen")):
        assert said(home, models, *words)
    assert call(home, models, "erase", code=2)["error"]["type"] == "invalid-input"
    assert call(home, models, "restore", tmp_path / "x.backup", code=1)["error"]["type"] == "conflict"
