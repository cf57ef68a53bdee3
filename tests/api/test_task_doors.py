"""Steps of runs in the inbox, over HTTP and on the command line: seen, previewed, edited, approved, delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch
from http_site import client_of, served
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app
from api.flows import Flows
from api.schemas import Page
from api.task_schemas import Breach, Task, TaskDetail, TaskFigures, TaskPreview
from kernel.records import Principal, Role
from kernel.storage.runs import OPEN, WAITING, Run
from pipeline.workflows.starting import Wanted

SPEC = """\
name: reply
title: Reply to a customer
owner: ann
inputs: {type: object, properties: {name: {type: string}}, required: [name]}
steps:
  - id: number
    kind: question
    with:
      question: "Which order of {{ input.name }} is it about?"
      form: {type: object, properties: {order: {type: integer}, note: {type: string}}, required: [order]}
  - id: look
    kind: review
    needs: [number]
    with:
      about: "The reply to {{ input.name }}"
      show: {order: "{{ steps.number.output.values.order }}"}
      form:
        type: object
        properties: {text: {type: string, minLength: 5, default: "Dear {{ input.name }}, we look into it."}}
      effects: [send]
      deadline: 2h
      remind: 1h
      escalate_to: admin
  - id: send
    kind: deliver
    needs: [look]
    with: {to: file, path: "{{ run.id }}.txt", text: "{{ steps.look.output.values.text }}"}
output: {file: "{{ steps.send.output.path }}"}
"""
EDIT = {"text": "Dear Ann, it is on its way."}


@dataclass
class Office:
    """A served workspace, the runs of one workflow in it, and a client for each person."""

    made: FastWorkspace
    flows: Flows
    app: httpx.Client
    one: httpx.Client
    two: httpx.Client
    admin: httpx.Client
    people: dict[str, Principal]
    secrets: dict[str, str]

    def drain(self, run_id: str) -> Run:
        """Do turns of a run until it waits or is finished."""
        run = self.made.runs.get(run_id)
        while run.status in OPEN and run.status != WAITING:
            self.flows.runner.advance(run_id, run.turn)
            run = self.made.runs.get(run_id)
        return run

    def asked(self) -> tuple[str, str]:
        """A run that waits at its question, and the question."""
        run = self.flows.desk.start(Wanted("reply@1", {"name": "Ann"}, self.people["starter"]))
        assert self.drain(run.id).status == WAITING
        return run.id, self.open_of(run.id)

    def open_of(self, run_id: str) -> str:
        """What a run asks now."""
        (found,) = self.admin.get("/v1/reviews", params={"run": run_id, "state": "open"}).json()["items"]
        Task.model_validate(found)
        return str(found["id"])

    def waiting(self) -> tuple[str, str]:
        """A run that waits at its review, and the review."""
        run_id, question = self.asked()
        answered = self.one.post(f"/v1/reviews/{question}/answer", json={"values": {"order": 7}})
        assert answered.status_code == 200, answered.text
        assert self.drain(run_id).status == WAITING
        return run_id, self.open_of(run_id)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with scratch() as home, fast_workspace(home) as made:
        roles = {"starter": Role.APP, "app": Role.APP, "one": Role.REVIEWER, "two": Role.REVIEWER, "admin": Role.ADMIN}
        secrets = {name: made.keys.create(role, None, name)[1] for name, role in roles.items()}
        people = {name: made.keys.authenticate(secret) for name, secret in secrets.items()}
        made.workflows.save(SPEC, people["two"].id, "first")
        made.workflows.pilot("reply", 1, people["admin"])
        flows = Flows(made)
        made_pilot = flows.library.find("reply@1")
        assert made_pilot.author == people["two"].id
        people["starter"] = Principal(people["starter"].id, Role.REVIEWER, frozenset())
        with served(create_app(made)) as url:
            clients = [client_of(url, secrets[name]) for name in ("starter", "one", "two", "admin")]
            yield Office(made, flows, *clients, people, secrets)
            for client in clients:
                client.close()


def test_the_starter_answers_and_another_approves_what_is_sent(office: Office) -> None:
    run_id, question = office.asked()
    mine = office.app.get("/v1/reviews", params={"mine": True, "state": "open"}).json()["items"]
    assert [one["id"] for one in mine] == [question]
    assert office.app.get(f"/v1/reviews/{question}").json()["may_decide"] is True
    assert office.app.post(f"/v1/reviews/{question}/approve", json={}).status_code == 409
    wrong = office.app.post(f"/v1/reviews/{question}/answer", json={"values": {"order": "seven"}})
    assert (wrong.status_code, "form" in wrong.json()["detail"]) == (422, True)
    assert office.app.post(f"/v1/reviews/{question}/answer", json={"values": {"order": 7}}).status_code == 200
    office.drain(run_id)
    review = f"/v1/reviews/{office.open_of(run_id)}"
    assert office.app.get(review).status_code == 403
    shown = office.one.get(review).json()
    TaskDetail.model_validate(shown)
    assert shown["shown"] == {"order": 7}
    assert shown["effects"][0]["with"]["text"] == "Dear Ann, we look into it."
    assert office.one.post(f"{review}/approve", json={}).status_code == 428
    assert office.one.post(f"{review}/approve", json={"seen": "0" * 64}).status_code == 409
    assert office.two.post(f"{review}/approve", json={"seen": shown["payload_sha256"]}).status_code == 403
    told = office.one.post(f"{review}/preview", json={"values": EDIT}).json()
    TaskPreview.model_validate(told)
    assert told["effects"][0]["with"]["text"] == EDIT["text"]
    body = {"seen": told["payload_sha256"], "values": EDIT, "comment": "warmer"}
    done = office.one.post(f"{review}/approve", json=body, headers={"Idempotency-Key": "k1"})
    assert done.status_code == 200, done.text
    Task.model_validate(done.json())
    again = office.one.post(f"{review}/approve", json=body, headers={"Idempotency-Key": "k1"})
    assert again.json() == done.json()
    assert office.drain(run_id).status == "done"
    (sent,) = office.made.settings.delivery_folder.glob(f"*{run_id}*")
    assert sent.read_text() == EDIT["text"]
    assert list(office.made.verifier.faults()) == []


def test_a_step_that_asks_is_journalled_once(office: Office) -> None:
    run_id, review = office.waiting()
    waits = [event.step for event in office.made.runs.events(run_id) if event.kind == "waits"]
    assert waits == ["number", "look"]
    seen = office.one.get(f"/v1/reviews/{review}").json()["payload_sha256"]
    assert office.one.post(f"/v1/reviews/{review}/approve", json={"seen": seen}).status_code == 200
    assert office.drain(run_id).status == "done"
    chain = CliRunner().invoke(app, ["--home", str(office.made.settings.home), "runs", "chain", run_id]).stdout
    assert f"tasks: {review}  approved\n" in chain


def test_who_started_a_run_finds_it_where_the_202_says(office: Office) -> None:
    started = office.one.post("/v1/workflows/reply/runs", json={"label": "pilot", "input": {"name": "Ann"}})
    assert started.status_code == 202, started.text
    at = started.headers["location"]
    assert at == f"/v1/runs/{started.json()['id']}"
    assert office.one.get(at).json()["id"] == started.json()["id"]
    assert office.one.post(f"{at}/cancel", json={}).status_code == 200


def test_answers_and_tasks_are_one_list(office: Office) -> None:
    _, review = office.waiting()
    listed = office.one.get("/v1/reviews", params={"limit": 1}).json()
    Page[Task].model_validate(listed)
    assert listed["items"][0]["id"] == review
    rest = office.one.get("/v1/reviews", params={"limit": 200, "cursor": listed["next_cursor"]}).json()
    assert review not in [one["id"] for one in rest["items"]]
    assert office.one.get("/v1/reviews", params={"sort": "answer"}).json()["items"] == []
    assert {one["sort"] for one in office.one.get("/v1/reviews", params={"sort": "question"}).json()["items"]} == {
        "question"
    }
    assert office.app.get("/v1/reviews").status_code == 200
    assert office.one.get("/v1/reviews", params={"state": "edited"}).json()["items"] == []
    assert office.one.get(f"/v1/reviews/tsk_{'0' * 30}").status_code == 404


def test_passing_on_marking_and_figures(office: Office) -> None:
    run_id, review = office.waiting()
    path, names = f"/v1/reviews/{review}", office.people
    for act, body, status in (
        ("delegate", {"key": names["two"].id}, 422),
        ("delegate", {"key": names["starter"].id}, 422),
        ("assign", {"key": names["app"].id}, 422),
        ("mark", {"label": "Not a label"}, 422),
        ("mark", {"label": "needs-action"}, 200),
        ("comment", {"text": "please look"}, 200),
        ("escalate", {"to": "app"}, 422),
        ("escalate", {"to": names["app"].id}, 422),
        ("escalate", {"reason": "I am away"}, 200),
        ("delegate", {"key": names["admin"].id}, 200),
    ):
        answer = office.one.post(f"{path}/{act}", json=body)
        assert answer.status_code == status, (act, answer.text)
    shown = office.admin.get(path).json()
    assert (shown["assignee"], shown["labels"]) == (names["admin"].id, ["needs-action"])
    assert shown["for"] == {"people": [names["admin"].id], "roles": ["admin", "reviewer"]}
    assert office.one.post(f"{path}/reject", json={"reason": "wrong order"}).status_code == 200
    assert office.drain(run_id).status == "failed"
    figures = office.one.get("/v1/reviews/figures").json()
    TaskFigures.model_validate(figures)
    assert figures["labels"] == {"needs-action": 1}
    assert figures["states"]["rejected"] == 1
    assert {one["step"] for one in figures["steps"]} >= {"look", "number"}
    assert office.app.get("/v1/reviews/figures").status_code == 403
    _, late = office.waiting()
    office.flows.watch.sweep(office.flows.tasks.get(late).deadline)
    breach = office.one.get("/v1/reviews/breaches", params={"limit": 1}).json()["items"][0]
    Breach.model_validate(breach)
    assert breach["id"] == late


def test_the_inbox_on_the_command_line(office: Office, tmp_path: Path) -> None:
    def run(*words: str, code: int = 0, typed: str | None = None) -> Any:
        arguments = ["--home", str(office.made.settings.home), "reviews", *words]
        result = CliRunner().invoke(app, arguments, input=typed)
        assert result.exit_code == code, (words, result.stdout, result.stderr, result.exception)
        return result.stdout

    def read(*words: str, code: int = 0, typed: str | None = None) -> Any:
        return json.loads(run(*words, "--json", code=code, typed=typed))

    run_id, question = office.asked()
    assert [one["id"] for one in read("list", "--run", run_id)["items"]] == [question]
    assert "Which order of Ann" in run("list", "--state", "open")
    assert "Which order of Ann" in run("show", question)
    assert read("answer", question, "--set", "order=x", code=2)["error"]["type"] == "invalid-input"
    assert read("answer", question, "--set", "order=12", "--set", "note=12")["state"] == "answered"
    office.drain(run_id)
    review = office.open_of(run_id)
    secret = office.secrets["one"]
    shown = run("show", review, "--key", "-", typed=f"{secret}\n")
    assert "will happen: send" in shown
    assert f"vouch reviews approve {review} --seen" in shown
    assert read("approve", review, code=1)["error"]["type"] == "precondition-required"
    assert read("edit", review, "--file", __file__, code=2)["error"]["type"] == "invalid-input"
    values = tmp_path / "values.json"
    values.write_text(json.dumps(EDIT))
    told = read("preview", review, "--values", str(values))
    assert EDIT["text"] in run("preview", review, "--set", f"text={EDIT['text']}")
    assert read("mark", review, "tone", "--key", secret)["id"] == review
    assert read("mark", review, "tone", "--off", "--key", secret)["id"] == review
    assert read("comment", review, "fine", "--key", secret)["state"] == "open"
    holder = office.people["admin"].id
    assert read("delegate", review, holder, "--key", secret)["assignee"] == holder
    assert read("escalate", review, "--to", "admin", "--key", secret)["assignee"] == holder
    assert read("assign", review, office.people["one"].id)["assignee"] == office.people["one"].id
    seen = told["payload_sha256"][:16]
    approved = read("approve", review, "--seen", seen, "--values", str(values), "--key", "-", typed=f"{secret}\n")
    assert approved["state"] == "approved"
    assert office.drain(run_id).status == "done"
    assert "differs: text (edited)" in run("show", review)
    assert "reply" in run("figures")
    assert read("figures", "--since", "2020-01-01")["states"]["approved"] >= 1
    assert isinstance(read("breaches")["items"], list)
    _, other = office.waiting()
    assert read("reject", other, "--reason", "no", "--key", secret)["state"] == "rejected"
