"""Over HTTP: an answer that a policy holds back, from the question to its release; nothing of it shows before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fast_parts import InlineParser, fast_workspace, scratch
from http_site import client_of, served

from api.app import create_app
from api.assembly import Workspace
from api.schemas import Answer, Page, Policy, Review, ReviewDetail
from kernel.records import Role

QUESTION = {"question": "Where does Alpha Team keep register 0?"}
SECRET = "Lisbon"
POLICY = """\
format: 1
name: careful
topics: {door: [door code]}
input:
  - {rule: codes, topics: [door], then: refuse, message: The policy keeps codes.}
output:
  - {rule: serious, stakes: [high], then: review, approvals: 2}
  - {rule: all, always: true, then: review}
"""


@dataclass
class Office:
    """A served workspace and a client for each person."""

    workspace: Workspace
    app: httpx.Client
    one: httpx.Client
    two: httpx.Client
    admin: httpx.Client

    def ask(self, who: httpx.Client | None = None, **more: Any) -> dict[str, Any]:
        headers = more.pop("headers", None)
        response = (who or self.app).post("/v1/query", json=QUESTION | more, headers=headers)
        assert response.status_code == 200, response.text
        Answer.model_validate(response.json())
        found: dict[str, Any] = response.json()
        return found


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with scratch() as home:
        folder = home / "folder"
        folder.mkdir()
        (folder / "0.md").write_text(f"# Register 0\n\nAlpha Team keeps register 0 in {SECRET}.\n")
        with fast_workspace(home / "home") as workspace:
            workspace.indexer.ingest(InlineParser(), [folder], "folder")
            keys = [
                workspace.keys.create(role, None)[1] for role in (Role.APP, Role.REVIEWER, Role.REVIEWER, Role.ADMIN)
            ]
            with served(create_app(workspace)) as url:
                clients = [client_of(url, key) for key in keys]
                made = Office(workspace, *clients)
                stored = made.admin.post("/v1/policies", json={"text": POLICY, "message": "careful"})
                assert stored.status_code == 201, stored.text
                assert made.admin.post(f"/v1/policies/{stored.json()['version']}/release").status_code == 200
                yield made
                for client in clients:
                    client.close()


def test_ask_wait_approve_see(office: Office) -> None:
    made = office.ask()
    assert (made["status"], made["answer"], made["review"]["state"]) == ("pending_review", "", "open")
    assert SECRET not in str(made)
    review = f"/v1/reviews/{made['review']['id']}"
    for path in (f"/v1/answers/{made['id']}", "/v1/answers", f"/v1/answers/{made['id']}/lineage"):
        shown = office.app.get(path)
        assert shown.status_code == 200
        assert SECRET not in shown.text
    assert office.app.get(review).status_code == 403
    detail = office.one.get(review).json()
    ReviewDetail.model_validate(detail)
    assert SECRET in detail["answer"]["answer"]
    approved = office.one.post(f"{review}/approve", json={"text_of": detail["text_of"], "comment": "ok"})
    assert approved.status_code == 200, approved.text
    Review.model_validate(approved.json())
    seen = office.app.get(f"/v1/answers/{made['id']}").json()
    Answer.model_validate(seen)
    assert (seen["status"], seen["review"]["state"]) == ("answered", "approved")
    assert SECRET in seen["answer"]
    assert SECRET in office.app.get("/v1/answers").text
    assert office.two.post(f"{review}/reject", json={"reason": "late"}).status_code == 409


def test_the_asker_cannot_approve(office: Office) -> None:
    made = office.ask(office.one)
    review = f"/v1/reviews/{made['review']['id']}"
    for act, body in (("approve", {}), ("edit", {"text": "x"}), ("reject", {"reason": "x"})):
        assert office.one.post(f"{review}/{act}", json=body).status_code == 403
    assert office.two.post(f"{review}/approve", json={}).json()["state"] == "approved"


def test_high_stakes_need_two(office: Office) -> None:
    made = office.ask(stakes="high")
    review = f"/v1/reviews/{made['review']['id']}"
    assert office.one.post(f"{review}/approve", json={}).json()["state"] == "open"
    assert office.one.post(f"{review}/approve", json={}).status_code == 409
    assert office.app.get(f"/v1/answers/{made['id']}").json()["status"] == "pending_review"
    assert office.admin.post(f"{review}/approve", json={}).json()["state"] == "approved"
    assert SECRET in office.app.get(f"/v1/answers/{made['id']}").text


def test_a_repeated_request_gives_nothing_away(office: Office) -> None:
    headers = {"Idempotency-Key": "once"}
    first = office.ask(headers=headers)
    again = office.ask(headers=headers)
    assert first == again
    assert SECRET not in str(again)
    review = f"/v1/reviews/{first['review']['id']}"
    comment = {"text": "hm"}
    for _ in range(2):
        assert office.one.post(f"{review}/comment", json=comment, headers=headers).status_code == 200
    events = office.one.get(review).json()["events"]
    assert [event["kind"] for event in events] == ["opened", "commented"]


def test_edit_and_reject(office: Office) -> None:
    edited, rejected = office.ask(), office.ask()
    text = "Alpha Team keeps register 0."
    done = office.one.post(f"/v1/reviews/{edited['review']['id']}/edit", json={"text": text})
    assert done.status_code == 200, done.text
    seen = office.app.get(f"/v1/answers/{edited['id']}").json()
    Answer.model_validate(seen)
    assert (seen["answer"], seen["review"]["state"]) == (text, "edited")
    assert seen["citations"]
    office.one.post(f"/v1/reviews/{rejected['review']['id']}/reject", json={"reason": "Outdated."}).raise_for_status()
    seen = office.app.get(f"/v1/answers/{rejected['id']}").json()
    assert (seen["status"], seen["reason"]) == ("abstained", "A reviewer rejected the answer: Outdated.")
    assert SECRET not in str(seen)


def test_the_inbox_pages_and_narrows(office: Office) -> None:
    ids = [office.ask()["review"]["id"] for _ in range(3)]
    me = next(key.id for key in office.workspace.keys.items() if key.role == Role.REVIEWER)
    assert office.two.post(f"/v1/reviews/{ids[1]}/assign", json={"key": me}).json()["assignee"] == me
    found: list[str] = []
    cursor = None
    while True:
        page = office.two.get(
            "/v1/reviews", params={"limit": 2, "state": "open"} | ({"cursor": cursor} if cursor else {})
        )
        Page[Review].model_validate(page.json())
        found += [item["id"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert found == sorted(found, reverse=True)
    assert set(ids) <= set(found)
    assert [item["id"] for item in office.one.get("/v1/reviews?mine=true").json()["items"]] == [ids[1]]
    assert office.two.get("/v1/reviews?mine=true").json()["items"] == []
    assert office.one.get("/v1/reviews?state=lost").status_code == 422
    assert office.one.get("/v1/reviews/rev_none").status_code == 404


def test_policies_over_http(office: Office) -> None:
    refused = office.app.post("/v1/query", json={"question": "What is the door code?"}).json()
    assert (refused["status"], refused["reason"]) == ("abstained", "The policy keeps codes.")
    assert office.app.get("/v1/policies").status_code == 403
    assert office.one.post("/v1/policies", json={"text": POLICY, "message": "x"}).status_code == 403
    listed = office.one.get("/v1/policies").json()
    Page[Policy].model_validate(listed)
    current = next(item for item in listed["items"] if item["in_force"])
    assert office.one.get(f"/v1/policies/{current['version']}").json()["text"] == POLICY
    wrong = office.admin.post("/v1/policies", json={"text": POLICY.replace("rule: all", "rull: all"), "message": "x"})
    assert wrong.status_code == 422
    assert "line 8" in wrong.json()["detail"]
    again = office.admin.post("/v1/policies", json={"text": POLICY, "message": "x"})
    assert again.status_code == 409
    tried = office.one.post("/v1/policies/check", json={"text": POLICY, "question": "The door code, please"}).json()
    assert tried["question"]["refused"] == "The policy keeps codes."
    for path in ("/v1/policies/99999999999999999999", "/v1/policies/77"):
        assert office.one.get(path).status_code == 404
    back = office.admin.post("/v1/policies/rollback").json()
    assert (back["version"], back["in_force"]) == (0, True)
    assert office.ask()["status"] == "answered"
    assert office.admin.post("/v1/policies/rollback").json()["version"] == current["version"]
    assert office.ask()["status"] == "pending_review"


def test_the_server_writes_expiry_down(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.jobs.SWEEP_SECONDS", 0.0)
    text = POLICY.replace("  - {rule: all, ", "  - {deadline_hours: 0.0001, rule: all, ")
    version = office.admin.post("/v1/policies", json={"text": text, "message": "quick"}).json()["version"]
    office.admin.post(f"/v1/policies/{version}/release").raise_for_status()
    made = office.ask()
    kinds: list[str] = []
    for _ in range(200):
        kinds = [event.kind for event in office.workspace.reviews.events(made["review"]["id"])]
        if len(kinds) > 1:
            break
        time.sleep(0.05)
    assert kinds == ["opened", "expired"]
    seen = office.app.get(f"/v1/answers/{made['id']}").json()
    assert (seen["status"], seen["reason"]) == ("abstained", "Nobody approved the answer before its deadline.")


def test_the_record_holds(office: Office, tmp_path: Path) -> None:
    assert list(office.workspace.verifier.faults()) == []
