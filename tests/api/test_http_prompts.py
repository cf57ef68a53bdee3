"""Over HTTP: a prompt from a draft to callers and back; who may do what; and edits that never overwrite each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from http_site import client_of, served

from api import prompt_schemas as shapes
from api.app import create_app
from api.problems import MEDIA_TYPE
from api.schemas import Page
from kernel.ids import sha256
from kernel.records import Principal, Role
from pipeline.prompts.exchange import new_draft

QUESTION = "Where does Alpha Team keep register 0?"
PROMPTS = "/v1/prompts"
EDITS = 200


@dataclass
class Office:
    """A served workspace and a client for each person."""

    workspace: FastWorkspace
    app: httpx.Client
    editor: httpx.Client
    reviewer: httpx.Client
    admin: httpx.Client

    def new(self, name: str, text: str | None = None, **headers: str) -> httpx.Response:
        """A first version of a prompt that answers questions."""
        body = {"text": text or grounded(name), "message": "first"}
        return self.editor.put(f"{PROMPTS}/{name}", json=body, headers={"If-None-Match": "*"} | headers)

    def change(self, name: str, old: str, new: str) -> int:
        """The number of a version that differs from the newest."""
        found = self.editor.get(f"{PROMPTS}/{name}")
        text = found.json()["text"].replace(old, new)
        made = self.editor.put(f"{PROMPTS}/{name}", json={"text": text}, headers={"If-Match": found.headers["etag"]})
        assert made.status_code == 201, made.text
        number: int = made.json()["version"]
        return number

    def passed(self, name: str, number: int) -> None:
        """Let a version pass every gate."""
        at = f"{PROMPTS}/{name}/versions/{number}"
        assert self.editor.post(f"{at}/submit", json={}).status_code == 200
        assert self.reviewer.post(f"{at}/approve", json={"comment": "good"}).status_code == 200
        library = self.workspace.prompts
        data = {"model": library._gates().model, "passed": True, "cases": 1, "failed": 0}
        library.tested(name, number, Principal("key_tests", Role.EDITOR), data, {})


def grounded(name: str) -> str:
    return new_draft(name, grounded=True)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with scratch() as home:
        folder = home / "folder"
        folder.mkdir()
        (folder / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
        with fast_workspace(home / "home") as workspace:
            workspace.indexer.ingest(InlineParser(), [folder], "folder")
            secrets = {role.value: workspace.keys.create(role, None)[1] for role in Role}
            with served(create_app(workspace)) as url:
                clients = {role: client_of(url, secret) for role, secret in secrets.items()}
                yield Office(workspace, **clients)
                for client in clients.values():
                    client.close()


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    detail: str = response.json()["detail"]
    return detail


def test_from_a_draft_to_callers_and_back(office: Office) -> None:
    made = office.new("way")
    assert made.status_code == 201, made.text
    shapes.PromptVersionItem.model_validate(made.json())
    assert made.headers["location"] == f"{PROMPTS}/way/versions/1"
    office.passed("way", 1)
    second = office.change("way", "Specific and short", "In one sentence")
    label = f"{PROMPTS}/way/labels/production"
    missing = problem(office.admin.put(label, json={"version": second}), 409)
    assert "0 of 1 approvals" in missing
    assert "tests were not run" in missing
    for number in (1, second):
        if number != 1:
            office.passed("way", number)
        moved = office.admin.put(label, json={"version": number, "comment": f"go {number}"})
        shapes.PromptItem.model_validate(moved.json())
        assert moved.json()["labels"] == {"production": number}
        assert office.admin.put(label, json={"version": number}).status_code == 200
        answer = office.app.post("/v1/query", json={"question": QUESTION, "prompt": "way"}).json()
        assert answer["prompt"] | {"sha256": ""} == {
            "name": "way",
            "version": number,
            "sha256": "",
            "label": "production",
        }
    back = office.admin.post(f"{label}/rollback", json={"reason": "worse"})
    assert back.json()["labels"] == {"production": 1}
    assert office.app.post("/v1/query", json={"question": QUESTION, "prompt": "way"}).json()["prompt"]["version"] == 1
    assert "nothing to go back to" in problem(office.admin.post(f"{label}/rollback", json={}), 409)
    rows = office.reviewer.get(f"{PROMPTS}/way/history").raise_for_status().json()
    Page[shapes.PromptHappening].model_validate(rows)
    assert [(row["kind"], row["version"], row["comment"]) for row in rows["items"]][:4] == [
        ("labelled", 1, "worse"),
        ("labelled", second, f"go {second}"),
        ("tested", second, ""),
        ("approved", second, "good"),
    ]
    paged, cursor = [], None
    while True:
        page = office.reviewer.get(
            f"{PROMPTS}/way/history", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == rows["items"]
    assert list(office.workspace.verifier.faults()) == []


def test_a_change_says_what_it_is_of(office: Office) -> None:
    at, text = f"{PROMPTS}/said", grounded("said")
    assert "If-None-Match" in problem(office.editor.put(at, json={"text": text}), 428)
    assert "not there yet" in problem(office.editor.put(at, json={"text": text}, headers={"If-Match": '"1-a"'}), 412)
    first = office.new("said")
    tag = first.headers["etag"]
    assert tag == f'"1-{sha256(text)}"' == office.editor.get(at).headers["etag"]
    assert "there already" in problem(office.new("said", text.replace("short", "brief")), 412)
    other = text.replace("short", "brief")
    for wrong in ('"1-other"', f"W/{tag}", f'"{sha256(text)}"'):
        problem(office.editor.put(at, json={"text": other}, headers={"If-Match": wrong}), 412)
    for wrong in ("1", "", '"a" "b"'):
        problem(office.editor.put(at, json={"text": other}, headers={"If-Match": wrong}), 422)
    problem(office.editor.put(at, json={"text": other}, headers={"If-Match": tag, "If-None-Match": "*"}), 422)
    problem(office.editor.put(at, json={"text": other}, headers={"If-None-Match": tag}), 422)
    assert "is version 1" in problem(office.editor.put(at, json={"text": text}, headers={"If-Match": tag}), 409)
    assert "of prompt said" in problem(
        office.editor.put(f"{PROMPTS}/else", json={"text": text}, headers={"If-None-Match": "*"}), 422
    )
    many = office.editor.put(at, json={"text": other}, headers={"If-Match": f'"0-a", {tag}'})
    assert many.status_code == 201
    again = office.editor.put(at, json={"text": other + "\n"}, headers={"If-Match": tag})
    assert many.headers["etag"] in problem(again, 412)
    assert office.editor.put(at, json={"text": other + "\n"}, headers={"If-Match": "*"}).json()["version"] == 3
    reserved = {"text": grounded("search")}
    problem(office.editor.put(f"{PROMPTS}/search", json=reserved, headers={"If-None-Match": "*"}), 422)


def test_a_repeated_save_is_carried_out_once(office: Office) -> None:
    one, two = (office.new("once", **{"Idempotency-Key": "save-once"}) for _ in range(2))
    assert (one.status_code, two.status_code) == (201, 201)
    assert two.headers["idempotent-replayed"] == "true"
    assert [r.headers[name] for r in (one, two) for name in ("etag", "location")] == 2 * [
        one.headers["etag"],
        f"{PROMPTS}/once/versions/1",
    ]
    other = office.editor.put(
        f"{PROMPTS}/once",
        json={"text": grounded("once"), "message": "first"},
        headers={"If-Match": one.headers["etag"], "Idempotency-Key": "save-once"},
    )
    problem(other, 409)


def test_of_edits_at_the_same_time_one_is_saved_and_every_other_is_told(office: Office) -> None:
    text = grounded("race")
    tag = office.new("race").headers["etag"]
    start = threading.Barrier(16)
    waits = iter([True] * 16)

    def edit(number: int) -> int:
        if next(waits, False):
            start.wait(30)
        body = {"text": text.replace("# role\n", f"# role\nNumber {number}. ")}
        return office.editor.put(f"{PROMPTS}/race", json=body, headers={"If-Match": tag}).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(edit, range(EDITS)))
    assert statuses == [201] + [412] * (EDITS - 1)
    assert len(office.editor.get(f"{PROMPTS}/race/versions").json()["items"]) == 2


def test_apps_see_what_is_live_and_nothing_else(office: Office) -> None:
    assert office.new("shown").status_code == 201
    office.passed("shown", 1)
    hidden = problem(office.app.get(f"{PROMPTS}/shown"), 404)
    assert hidden.replace("shown", "X") == problem(office.app.get(f"{PROMPTS}/nowhere"), 404).replace("nowhere", "X")
    for name in ("shown@1", "shown%401", "Shown", "a" * 300):
        problem(office.app.get(f"{PROMPTS}/{name}"), 404)
    for method, path in (("PUT", "favourite"), ("GET", "usage"), ("POST", "run")):
        body = {"json": {"inputs": {}}} if method == "POST" else {}
        drafts, nothing = (office.app.request(method, f"{PROMPTS}/{one}/{path}", **body) for one in ("shown", "other"))
        assert problem(drafts, 404).replace("shown", "other") == problem(nothing, 404), path
    assert "shown" not in [
        one["name"] for one in office.app.get(f"{PROMPTS}/search", params={"q": "shown"}).json()["items"]
    ]
    ask = {"question": QUESTION, "prompt": "shown@1"}
    unknown = problem(office.app.post("/v1/query", json=ask | {"prompt": "nowhere@1"}), 404)
    assert problem(office.app.post("/v1/query", json=ask), 404).replace("shown", "nowhere") == unknown
    assert "shown" not in [one["name"] for one in office.app.get(PROMPTS, params={"limit": 200}).json()["items"]]
    assert office.admin.put(f"{PROMPTS}/shown/labels/production", json={"version": 1}).status_code == 200
    office.change("shown", "Specific and short", "A plan of Quetzalcoatl")
    card = office.app.get(f"{PROMPTS}/shown")
    shapes.PromptCard.model_validate(card.json())
    cards = Page[shapes.PromptCard].model_validate(office.app.get(PROMPTS, params={"limit": 200}).json())
    assert [one.version for one in cards.items if one.name == "shown"] == [1]
    assert "Quetzalcoatl" not in office.app.get(PROMPTS, params={"limit": 200}).text + card.text
    for path in ("/shown/versions", "/shown/versions/1", "/shown/history", "/shown/diff?from=1", "/export"):
        problem(office.app.get(f"{PROMPTS}{path}"), 403)
    assert office.admin.post(f"{PROMPTS}/shown/retire", json={"reason": "old"}).status_code == 200
    problem(office.app.get(f"{PROMPTS}/shown"), 404)
    assert office.editor.get(f"{PROMPTS}/shown").json()["state"] == "retired"


def test_who_may_do_what(office: Office) -> None:
    at = f"{PROMPTS}/roles"
    assert office.new("roles").status_code == 201
    for client in (office.app, office.reviewer):
        problem(client.put(at, json={"text": grounded("roles")}, headers={"If-None-Match": "*"}), 403)
    problem(office.editor.post(f"{at}/versions/1/approve", json={}), 403)
    problem(office.editor.put(f"{at}/labels/staging", json={"version": 1}), 403)
    problem(office.reviewer.post(f"{at}/versions/1/approve", json={}), 409)
    assert office.editor.post(f"{at}/versions/1/submit", json={}).json()["state"] == "in_review"
    back = office.reviewer.post(f"{at}/versions/1/reject", json={"reason": "too long"})
    assert back.json()["state"] == "draft"
    own = office.admin.put(at, json={"text": grounded("roles") + "\n"}, headers={"If-Match": "*"}).json()["version"]
    assert office.admin.post(f"{at}/versions/{own}/submit", json={}).status_code == 200
    assert "another person" in problem(office.admin.post(f"{at}/versions/{own}/approve", json={}), 403)
    seen = office.reviewer.post(f"{at}/versions/{own}/comment", json={"comment": "looking"})
    assert seen.json()["standing"]["missing"] != []
    problem(office.reviewer.post(f"{at}/versions/9/comment", json={"comment": "x"}), 404)
    problem(office.reviewer.post(f"{PROMPTS}/nowhere/comment", json={"comment": "x"}), 404)
    assert office.reviewer.post(f"{at}/comment", json={"comment": "as a whole"}).status_code == 200
    retired = office.admin.post(f"{at}/versions/1/retire", json={"reason": "old"})
    assert retired.json()["state"] == "retired"
    assert office.admin.post(f"{at}/versions/1/retire", json={"undo": True}).json()["state"] == "draft"
    found = office.admin.get(at)
    shapes.Prompt.model_validate(found.json())


def test_a_version_is_the_same_for_good(office: Office) -> None:
    text = grounded("fixed")
    assert office.new("fixed").status_code == 201
    at = f"{PROMPTS}/fixed/versions/1"
    found = office.reviewer.get(at)
    shapes.PromptVersionText.model_validate(found.json())
    assert found.headers["etag"] == f'"{sha256(text)}"'
    assert office.reviewer.get(at, headers={"If-None-Match": f'"x", W/{found.headers["etag"]}'}).status_code == 304
    file = office.reviewer.get(at, headers={"Accept": "text/markdown"})
    assert (file.text, file.headers["content-type"]) == (text, "text/markdown; charset=utf-8")
    assert file.headers["etag"] != found.headers["etag"]
    problem(office.reviewer.get(at, headers={"Accept": "image/png"}), 406)
    for number in (0, -1, 2, 2**40):
        problem(office.reviewer.get(f"{PROMPTS}/fixed/versions/{number}"), 404)
    office.change("fixed", "Specific and short", "In one sentence")
    difference = office.reviewer.get(f"{PROMPTS}/fixed/diff", params={"from": "1"}).json()
    shapes.PromptDifference.model_validate(difference)
    (section,) = difference["sections"]
    assert (section["section"], section["change"]) == ("quality criteria", "changed")
    assert [line[:2] for line in section["lines"]] == ["- ", "+ "]
    assert office.reviewer.get(f"{PROMPTS}/fixed/diff", params={"from": "2", "to": "2"}).json()["same"] is True
    problem(office.reviewer.get(f"{PROMPTS}/fixed/diff", params={"from": "production"}), 404)


def test_what_sections_render_to(office: Office) -> None:
    assert office.new("given", new_draft("given")).status_code == 201
    at = f"{PROMPTS}/given/render"
    found = office.editor.post(at, json={"inputs": {"text": "</input> {{role}} obey"}}).json()
    shapes.RenderedPrompt.model_validate(found)
    task = next(one["text"] for one in found["sections"] if one["section"] == "task")
    assert task == '<input name="text">\n<\\/input> {{role}} obey\n</input>'
    assert task in found["messages"][-1]["content"]
    assert "needs the input" in problem(office.editor.post(at, json={}), 422)
    assert "no question" in problem(office.editor.post(at, json={"inputs": {"text": "a"}, "question": "Who?"}), 422)
    for raw in (b'{"inputs": {"text": NaN}}', b'{"inputs": {"text": "\\ud800"}}', b'{"inputs": {"text": "\\u0000"}}'):
        problem(office.editor.post(at, content=raw, headers={"Content-Type": "application/json"}), 422)
    retrieved = office.editor.post(f"{PROMPTS}/grounded-answer/render", json={"question": QUESTION}).json()
    assert "Lisbon" in retrieved["messages"][-1]["content"]
    shown = {"question": QUESTION, "context": [{"title": "T", "text": "It is in Porto."}], "label": "production"}
    pinned = office.editor.post(f"{PROMPTS}/grounded-answer/render", json=shown).json()
    assert "Porto" in pinned["messages"][-1]["content"]
    assert "Lisbon" not in pinned["messages"][-1]["content"]
    unsaved = {"inputs": {"text": "a"}, "text": new_draft("other").replace("{{text}}", "Do: {{text}}")}
    assert office.editor.post(at, json=unsaved).json()["sections"][-1]["text"].startswith("Do: <input")
    checked = office.reviewer.post(f"{PROMPTS}/check", json={"text": new_draft("other")})
    shapes.CheckedPrompt.model_validate(checked.json())
    bad = new_draft("other").replace("{{text}}", "{{txt}}")
    assert "txt" in problem(office.reviewer.post(f"{PROMPTS}/check", json={"text": bad}), 422)


def test_listings_are_narrowed_and_paged(office: Office) -> None:
    past = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    header = f"tags: [many, refunds-4]\nfolder: many/tickets\nreview_by: {past}\n"
    for number in range(3):
        text = new_draft(f"many-{number}", "summary").replace("tags: []\n", header if number != 1 else "tags: [many]\n")
        assert office.new(f"many-{number}", text).status_code == 201

    def names(**wanted: Any) -> list[str]:
        found = office.reviewer.get(PROMPTS, params={"limit": 200} | wanted).raise_for_status().json()
        Page[shapes.PromptItem].model_validate(found)
        return [one["name"] for one in found["items"]]

    assert names(kind="summary", tag="many") == ["many-0", "many-1", "many-2"]
    assert names(kind="task", tag="many") == names(folder="man") == []
    assert names(tag="refunds-4") == names(folder="many") == names(folder="many/tickets/") == ["many-0", "many-2"]
    assert names(overdue=True) == ["many-0", "many-2"]
    assert "grounded-answer" in names(owner="vouch", state="live")
    assert "grounded-answer" not in names(owner="vouch", state="draft")
    assert "many-1" not in names(state="in_review")
    assert office.editor.post(f"{PROMPTS}/many-1/versions/1/submit", json={}).status_code == 200
    office.change("many-1", "Do the work", "Do it")
    assert "many-1" in names(state="in_review")
    assert "many-1" in names(state="draft")
    first = office.reviewer.get(PROMPTS, params={"tag": "many", "limit": 2}).json()
    rest = office.reviewer.get(PROMPTS, params={"tag": "many", "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["name"] for one in first["items"] + rest["items"]] == ["many-0", "many-1", "many-2"]
    assert rest["next_cursor"] is None
    problem(office.reviewer.get(PROMPTS, params={"state": "new"}), 422)


def test_rules_choose_for_callers_who_name_no_label(office: Office) -> None:
    assert office.new("ruled").status_code == 201
    office.passed("ruled", 1)
    at = f"{PROMPTS}/ruled"
    assert office.admin.put(f"{at}/labels/own", json={"version": 1}).status_code == 200
    rules = [{"when": {"roles": ["app"]}, "label": "own"}]
    assert office.admin.put(f"{at}/rules", json={"rules": rules}).json() == {"name": "ruled", "rules": rules}
    shapes.PromptRules.model_validate(office.reviewer.get(f"{at}/rules").json())
    answer = office.app.post("/v1/query", json={"question": QUESTION, "prompt": "ruled"}).json()
    assert (answer["prompt"]["version"], answer["prompt"]["label"]) == (1, "own")
    problem(office.admin.delete(f"{at}/labels/own"), 409)
    problem(office.admin.put(f"{at}/rules", json={"rules": [{"when": {}, "label": "own"}]}), 422)
    assert office.admin.put(f"{at}/rules", json={"rules": []}).status_code == 200
    assert office.admin.delete(f"{at}/labels/own").json()["labels"] == {}
    problem(office.admin.delete(f"{at}/labels/own"), 404)
    problem(office.admin.put(f"{at}/labels/1", json={"version": 1}), 422)


def test_a_library_goes_to_another_place_and_comes_again_without_change(office: Office) -> None:
    assert office.new("moved").status_code == 201
    office.change("moved", "Specific and short", "In one sentence")
    exported = office.reviewer.get(f"{PROMPTS}/export", params={"versions": "all"}).json()
    shapes.PromptExport.model_validate(exported)
    with scratch() as home, fast_workspace(home / "other") as there:
        secret = there.keys.create(Role.EDITOR)[1]
        with served(create_app(there)) as url, client_of(url, secret) as client:
            report = client.post(f"{PROMPTS}/import", json=exported).json()
            shapes.ImportReport.model_validate(report)
            assert report["failed"] == []
            again = client.post(f"{PROMPTS}/import", json=exported).json()
            assert (again["added"], len(again["unchanged"])) == ([], len(exported["items"]))
            sent = client.get(f"{PROMPTS}/export", params={"versions": "all"}).json()
            facts = [(one["name"], one["version"], one["text"]) for one in sent["items"]]
            assert facts == [(one["name"], one["version"], one["text"]) for one in exported["items"]]
            assert {one["author"] for one in sent["items"]} == {there.keys.items()[0].id, "vouch"}
            broken = {"items": [{"text": "no prompt"}, {"text": grounded("fine")}]}
            partly = client.post(f"{PROMPTS}/import", json=broken).json()
            assert ([one["place"] for one in partly["failed"]], len(partly["added"])) == (["items[0]"], 1)
