"""Over HTTP: a workflow from a draft to live and back; events by key and by signature; who may do what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch
from http_site import client_of, served
from workflow_texts import INPUTS, workflow_text

from api import workflow_schemas as shapes
from api.app import create_app
from api.problems import MEDIA_TYPE
from api.prompt_schemas import ImportReport, PromptDifference, PromptHappening
from api.routes.events import LARGEST_EVENT
from api.schemas import Page
from kernel.records import Role
from kernel.storage.runs import NewEvent, NewRun
from pipeline.workflows.signatures import HEADER, signature_of

AT = "/v1/workflows"
NO_INPUT = {"type": "object"}


@dataclass
class Office:
    """A served workspace and a client for each person."""

    workspace: FastWorkspace
    anonymous: httpx.Client
    app: httpx.Client
    editor: httpx.Client
    reviewer: httpx.Client
    admin: httpx.Client

    def new(self, name: str, **members: Any) -> httpx.Response:
        """A first version."""
        body = {"text": workflow_text(name, **members), "message": "first"}
        return self.editor.put(f"{AT}/{name}", json=body, headers={"If-None-Match": "*"})

    def passed(self, name: str, number: int) -> None:
        """Let a version pass every gate: approved by another person, with two green runs."""
        at = f"{AT}/{name}/versions/{number}"
        assert self.editor.post(f"{at}/submit", json={}).status_code == 200
        assert self.reviewer.post(f"{at}/approve", json={"comment": "good"}).status_code == 200
        version = self.workspace.workflows.find(f"{name}@{number}")
        runs = self.workspace.runs
        for _ in range(2):
            run, _ = runs.start(NewRun(name, number, version.sha256, "pilot", "hand", "key_x", {"input": {}}))
            taken = runs.take(run.id, run.turn)
            assert taken is not None
            runs.finish(run.id, taken.epoch, NewEvent("finished", data={"status": "done"}))

    def live(self, name: str, **members: Any) -> None:
        """A live workflow."""
        made = self.new(name, **members)
        assert made.status_code == 201, made.text
        self.passed(name, 1)
        moved = self.admin.post(f"{AT}/{name}/versions/1/live", json={})
        assert moved.status_code == 200, moved.text


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with scratch() as home, fast_workspace(home / "home") as workspace:
        secrets = {role.value: workspace.keys.create(role, None)[1] for role in Role}
        with served(create_app(workspace)) as url:
            clients = {role: client_of(url, secret) for role, secret in secrets.items()}
            with client_of(url, None) as anonymous:
                yield Office(workspace, anonymous, **clients)
            for client in clients.values():
                client.close()


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    detail: str = response.json()["detail"]
    return detail


def test_from_a_draft_to_live_and_back(office: Office) -> None:
    made = office.new("way")
    shapes.WorkflowVersionItem.model_validate(made.json())
    assert (made.status_code, made.headers["location"]) == (201, f"{AT}/way/versions/1")
    assert office.app.get(f"{AT}/way").status_code == 404
    missing = problem(office.admin.post(f"{AT}/way/versions/1/live", json={}), 409)
    assert "0 of 1 approvals" in missing
    assert "0 of 2 green unattended runs" in missing
    pilot = office.reviewer.post(f"{AT}/way/versions/1/pilot", json={"comment": "try"})
    assert (pilot.json()["state"], pilot.json()["labels"]) == ("pilot", ["pilot"])
    office.passed("way", 1)
    live = office.admin.post(f"{AT}/way/versions/1/live", json={"comment": "go"})
    assert shapes.WorkflowVersionItem.model_validate(live.json()).state == "live"
    found = office.editor.get(f"{AT}/way")
    shapes.WorkflowBody.model_validate(found.json())
    body = {"text": workflow_text("way", title="Second")}
    assert office.editor.put(f"{AT}/way", json=body).status_code == 428
    second = office.editor.put(f"{AT}/way", json=body, headers={"If-Match": found.headers["etag"]})
    assert second.json()["version"] == 2
    problem(office.editor.put(f"{AT}/way", json=body, headers={"If-Match": found.headers["etag"]}), 412)
    office.passed("way", 2)
    assert office.admin.post(f"{AT}/way/versions/2/live", json={}).json()["labels"] == ["live"]
    back = office.admin.post(f"{AT}/way/rollback", json={"reason": "too much"})
    assert shapes.WorkflowItem.model_validate(back.json()).labels == {"live": 1}
    shapes.WorkflowCard.model_validate(office.app.get(f"{AT}/way").json())
    rows = office.editor.get(f"{AT}/way/history", params={"limit": 3}).json()
    Page[PromptHappening].model_validate(rows)
    assert (rows["items"][0]["kind"], rows["items"][0]["comment"]) == ("labelled", "too much")
    changed = office.editor.get(f"{AT}/way/diff", params={"from": "1", "to": "2"}).json()
    assert PromptDifference.model_validate(changed).sections[0].section == "title"
    assert office.admin.post(f"{AT}/way/pause", json={}).json()["paused"] is True
    problem(office.admin.post(f"{AT}/way/pause", json={}), 409)
    assert office.admin.post(f"{AT}/way/pause", json={"resume": True}).json()["paused"] is False
    assert office.admin.post(f"{AT}/way/retire", json={}).json()["state"] == "retired"
    assert office.app.get(f"{AT}/way").status_code == 404


def test_four_eyes_and_roles(office: Office) -> None:
    office.new("eyes")
    at = f"{AT}/eyes/versions/1"
    for client, path, body in (
        (office.app, at + "/submit", {}),
        (office.editor, at + "/approve", {}),
        (office.editor, at + "/pilot", {}),
        (office.reviewer, at + "/live", {}),
        (office.reviewer, f"{AT}/eyes/rollback", {}),
        (office.editor, "/v1/events/any/secret", {}),
        (office.app, "/v1/events/any", {}),
    ):
        problem(client.post(path, json=body), 403)
    office.admin.post(at + "/submit", json={})
    assert "another person" in problem(office.admin.post(at + "/approve", json={}), 403)
    back = office.reviewer.post(at + "/reject", json={"reason": "no"})
    assert back.json()["state"] == "draft"
    said = office.reviewer.post(f"{AT}/eyes/comment", json={"comment": "hm"})
    shapes.WorkflowItem.model_validate(said.json())


def test_a_version_as_file_sheet_and_diagram(office: Office) -> None:
    office.new("forms")
    at = f"{AT}/forms/versions/1"
    shapes.WorkflowVersionText.model_validate(office.editor.get(at).json())
    for media, begin in (
        ("application/yaml", "name: forms"),
        ("text/markdown", "# "),
        ("text/vnd.mermaid", "flowchart"),
    ):
        found = office.editor.get(at, headers={"Accept": media})
        assert found.headers["content-type"].startswith(media)
        assert found.text.startswith(begin)
        again = office.editor.get(at, headers={"Accept": media, "If-None-Match": found.headers["etag"]})
        assert again.status_code == 304
    assert office.editor.get(at, headers={"Accept": "image/png"}).status_code == 406


def test_a_text_that_cannot_run_is_refused_with_line_and_field(office: Office) -> None:
    good = office.editor.post(f"{AT}/check", json={"text": workflow_text("fine")})
    assert shapes.CheckedWorkflow.model_validate(good.json()).outline.steps[0].id == "find"
    bad = workflow_text("bad").replace("input.question", "steps.other.output")
    detail = problem(office.editor.post(f"{AT}/check", json={"text": bad}), 422)
    assert "line " in detail
    assert "steps.find" in detail


def test_listing_export_and_import(office: Office) -> None:
    office.new("listed", tags=["one"])
    found = office.editor.get(AT, params={"tag": "one"}).json()
    assert [one.name for one in Page[shapes.WorkflowItem].model_validate(found).items] == ["listed"]
    assert office.editor.get(AT, params={"q": "list"}).json()["items"][0]["name"] == "listed"
    Page[shapes.WorkflowCard].model_validate(office.app.get(AT).json())
    out = office.reviewer.get(f"{AT}/export", params={"versions": "all"}).json()
    shapes.WorkflowExport.model_validate(out)
    report = ImportReport.model_validate(office.editor.post(f"{AT}/import", json=out).json())
    assert (len(report.unchanged), report.added, report.failed) == (len(out["items"]), [], [])


def test_an_event_by_key_and_by_signature(office: Office) -> None:
    office.live("triage", inputs=NO_INPUT, triggers=[{"event": "ticket.new", "when": "event.n > 0"}])
    office.live("answer", inputs=INPUTS, triggers=[{"event": "ticket.new", "input": {"question": "{{ event.q }}"}}])
    listed = office.editor.get(f"{AT}/triggers").json()
    assert {one.name for one in shapes.WorkflowTriggers.model_validate(listed).items} >= {"triage/event-1"}
    made = office.editor.post("/v1/events/ticket.new", json={"n": 1, "q": "Why?", "id": "7"})
    accepted = shapes.EventAccepted.model_validate(made.json())
    assert (made.status_code, [run.workflow for run in accepted.runs]) == (202, ["answer", "triage"])
    again = office.editor.post("/v1/events/ticket.new", json={"n": 1, "q": "Why?", "id": "7"})
    assert again.json() == made.json()
    half = office.editor.post("/v1/events/ticket.new", json={"n": 1}, headers={"Idempotency-Key": "k"}).json()
    assert ([run["workflow"] for run in half["runs"]], half["refused"][0]["workflow"]) == (["triage"], "answer")
    problem(office.editor.post("/v1/events/other", json={}), 404)
    problem(office.editor.post("/v1/events/ticket.new", content=b"[1]"), 422)
    problem(office.editor.post("/v1/events/ticket.new", content=b'{"n": NaN}'), 422)
    problem(office.editor.post("/v1/events/ticket.new", content=b" " * (LARGEST_EVENT + 1)), 413)

    def send(secret: str, body: bytes, at: float | None = None, **headers: str) -> httpx.Response:
        sign = signature_of(secret, body, int(at or time.time()))
        return office.anonymous.post("/v1/events/ticket.new", content=body, headers={HEADER: sign} | headers)

    body = json.dumps({"n": 2, "q": "How?"}).encode()
    assert send("vouch_event_x", body).status_code == 401
    first = office.admin.post("/v1/events/ticket.new/secret", json={})
    secret = shapes.NewEventSecret.model_validate(first.json()).secret
    assert secret is not None
    moment = time.time()
    signed = send(secret, body, moment)
    run = office.reviewer.get(f"/v1/runs/{signed.json()['runs'][0]['id']}/events", headers={"Last-Event-ID": "9" * 20})
    assert (run.status_code, run.json()["items"]) == (200, [])
    assert (signed.status_code, len(signed.json()["runs"])) == (202, 2)
    assert send(secret, body, moment).json() == signed.json(), "the same signature starts nothing new"
    overheard = send(secret, body, moment, **{"Idempotency-Key": "another"})
    assert overheard.json() == signed.json(), "nor does it under a key that nobody signed"
    assert send(secret, body, moment - 3600).status_code == 401
    assert office.anonymous.post("/v1/events/ticket.new", content=body).status_code == 401
    sign = {HEADER: signature_of(secret, body, int(moment))}
    assert office.anonymous.post("/v1/events/ticket.new", content=body + b" ", headers=sign).status_code == 401
    assert office.anonymous.post("/v1/events/ticket.old", content=body, headers=sign).status_code == 401
    assert office.anonymous.post("/v1/events/%00", content=body, headers=sign).status_code == 401
    assert office.anonymous.get(f"{AT}/triggers", headers=sign).status_code == 401
    assert send(secret, b" " * (LARGEST_EVENT + 1)).status_code == 413
    second = str(office.admin.post("/v1/events/ticket.new/secret", json={}).json()["secret"])
    assert [send(one, body, moment + 1).status_code for one in (secret, second)] == [202, 202]
    shapes.EventSecrets.model_validate(office.admin.get("/v1/events").json())
    shapes.EventSecretItem.model_validate(office.admin.delete("/v1/events/ticket.new/secret").json())
    assert send(second, body).status_code == 401
    problem(office.admin.post("/v1/events/Not%20one/secret", json={}), 422)


def test_an_event_that_comes_many_times_at_once_starts_one_run(office: Office) -> None:
    office.live("storm", inputs=NO_INPUT, triggers=[{"event": "storm"}])
    headers = {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: office.editor.post("/v1/events/storm", json={}, headers=headers), range(16)))
    assert {one.status_code for one in found} == {202}
    assert len({one.json()["runs"][0]["id"] for one in found}) == 1


def test_who_has_no_key_any_more_follows_a_run_no_longer(office: Office) -> None:
    keys, runs = office.workspace.keys, office.workspace.runs
    key, secret = keys.create(Role.APP)
    run, _ = runs.start(NewRun("any", 1, "a" * 64, "pilot", "hand", key.id, {"input": {}}), [NewEvent("note")])
    at, header = f"/v1/runs/{run.id}/events", {"Accept": "text/event-stream"}
    with client_of(str(office.app.base_url), secret) as client, client.stream("GET", at, headers=header) as found:
        lines = found.iter_lines()
        assert next(lines).startswith("id: ")
        keys.revoke(key.id)
        assert not any("event: run" in line for line in lines), "it ends, and the run does not"
    assert runs.get(run.id).status == "queued"
