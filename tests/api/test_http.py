"""The HTTP API over a real server: roles, groups, problems, answers, lineage, time travel, listings."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
import rdflib
from http_site import QUESTION, SALARY, Site, site_at
from pydantic import BaseModel

from api import problems, schemas
from api.auth import ROLE
from kernel.records import StoredRevision

REACHED_BY = {
    "app": {"app", "editor", "reviewer", "admin"},
    "editor": {"editor", "admin"},
    "reviewer": {"reviewer", "admin"},
    "editor or reviewer": {"editor", "reviewer", "admin"},
    "admin": {"admin"},
}
LEAST = {
    "get_answer_proof": "app",
    "get_checkpoint": "app",
    "get_consistency": "app",
    "get_ledger_key": "app",
    "list_ledger_entries": "reviewer",
    "get_audit_report": "reviewer",
    "query": "app",
    "retrieve": "app",
    "list_answers": "app",
    "get_answer": "app",
    "get_answer_lineage": "app",
    "replay_answer": "app",
    "impact": "reviewer",
    "list_lineage_queries": "reviewer",
    "run_lineage_query": "reviewer",
    "list_documents": "app",
    "get_document": "app",
    "get_document_text": "app",
    "upload_documents": "admin",
    "delete_document": "admin",
    "list_sources": "admin",
    "create_source": "admin",
    "sync_source": "admin",
    "list_jobs": "admin",
    "get_job": "admin",
    "list_snapshots": "app",
    "rollback_snapshot": "admin",
    "list_entities": "app",
    "get_entity": "app",
    "list_neighbours": "app",
    "find_path": "app",
    "list_policies": "reviewer",
    "get_policy": "reviewer",
    "add_policy": "admin",
    "check_policy": "reviewer",
    "release_policy": "admin",
    "rollback_policy": "admin",
    "list_prompts": "app",
    "get_prompt": "app",
    "save_prompt": "editor",
    "check_prompt": "editor or reviewer",
    "export_prompts": "editor or reviewer",
    "import_prompts": "editor",
    "list_prompt_versions": "editor or reviewer",
    "get_prompt_version": "editor or reviewer",
    "compare_prompts": "editor or reviewer",
    "get_prompt_history": "editor or reviewer",
    "render_prompt": "editor or reviewer",
    "search_prompts": "app",
    "list_favourites": "app",
    "mark_favourite": "app",
    "unmark_favourite": "app",
    "prompt_usage": "app",
    "prompt_dependents": "editor or reviewer",
    "promote_answer": "editor",
    "try_prompt": "editor",
    "improve_prompt": "editor",
    "test_prompt": "editor",
    "run_prompt": "app",
    "list_prompt_runs": "app",
    "get_prompt_run": "app",
    "list_experiments": "reviewer",
    "get_experiment": "reviewer",
    "start_experiment": "admin",
    "stop_experiment": "admin",
    "promote_experiment": "admin",
    "list_releases": "admin",
    "get_release": "admin",
    "diff_release": "admin",
    "add_release": "admin",
    "activate_release": "admin",
    "rollback_release": "admin",
    "give_feedback": "app",
    "submit_prompt": "editor",
    "approve_prompt": "reviewer",
    "reject_prompt": "reviewer",
    "comment_prompt": "editor or reviewer",
    "comment_prompt_version": "editor or reviewer",
    "retire_prompt": "admin",
    "retire_prompt_version": "admin",
    "label_prompt": "admin",
    "unlabel_prompt": "admin",
    "rollback_prompt": "admin",
    "get_prompt_rules": "editor or reviewer",
    "set_prompt_rules": "admin",
    "list_reviews": "app",
    "get_review": "app",
    "assign_review": "reviewer",
    "comment_review": "app",
    "approve_review": "app",
    "edit_review": "reviewer",
    "reject_review": "app",
    "list_keys": "admin",
    "create_key": "admin",
    "revoke_key": "admin",
    "erase": "admin",
    "list_erasures": "admin",
    "get_erasure": "admin",
    "list_holds": "admin",
    "place_hold": "admin",
    "release_hold": "admin",
    "get_retention": "admin",
    "apply_retention": "admin",
    "list_workflows": "app",
    "list_triggers": "editor or reviewer",
    "export_workflows": "editor or reviewer",
    "import_workflows": "editor",
    "check_workflow": "editor or reviewer",
    "promote_to_workflow": "editor",
    "get_workflow": "app",
    "save_workflow": "editor",
    "list_workflow_versions": "editor or reviewer",
    "get_workflow_version": "editor or reviewer",
    "compare_workflows": "editor or reviewer",
    "get_workflow_history": "editor or reviewer",
    "submit_workflow": "editor",
    "approve_workflow": "reviewer",
    "reject_workflow": "reviewer",
    "comment_workflow": "editor or reviewer",
    "pilot_workflow": "reviewer",
    "release_workflow": "admin",
    "rollback_workflow": "admin",
    "retire_workflow_version": "admin",
    "retire_workflow": "admin",
    "pause_workflow": "admin",
    "list_event_secrets": "admin",
    "make_event_secret": "admin",
    "end_event_secret": "admin",
    "review_figures": "reviewer",
    "review_breaches": "reviewer",
    "preview_review": "app",
    "delegate_review": "app",
    "escalate_review": "app",
    "mark_review": "app",
    "answer_review": "app",
    "start_run": "app",
    "estimate_run": "app",
    "get_run_cost": "app",
    "list_runs": "app",
    "get_run": "app",
    "follow_run": "app",
    "open_chain": "app",
    "compare_runs": "app",
    "cancel_run": "app",
    "resume_run": "app",
    "fork_run": "app",
    "send_event": "editor",
}
OPEN = {"/livez", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Site]:
    with site_at(tmp_path_factory.mktemp("site"), models) as made:
        yield made


def operations(site: Site) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in site.anonymous.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = schemas.Problem.model_validate(response.json())
    assert problem.type == f"urn:vouch:problem:{slug}"
    assert problem.status == status
    assert problem.instance == f"urn:vouch:request:{response.headers['request-id']}"
    return response.json()


# --- Who may do what --------------------------------------------------------------------------------------------------


def test_every_route_is_closed_below_its_role(site: Site) -> None:
    clients = {"app": site.app_key, "editor": site.editor, "reviewer": site.reviewer, "admin": site.admin}
    found = {}
    for method, template, operation in operations(site):
        if template in OPEN:
            continue
        least = found[operation["operationId"]] = operation[ROLE]
        path = template.replace("{number}", "999999").replace("{", "").replace("}", "")
        assert_problem(site.anonymous.request(method, path), 401, "unauthenticated")
        for role, client in clients.items():
            response = client.request(method, path)
            if role not in REACHED_BY[least]:
                assert_problem(response, 403, "forbidden")
            else:
                assert response.status_code in (200, 404, 409, 422), (role, method, path, response.text)
    assert found == LEAST


def test_only_health_and_the_reference_are_open(site: Site) -> None:
    for path in (*OPEN, "/openapi.json", "/docs"):
        assert site.anonymous.get(path).status_code == 200
    assert {path for _, path, operation in operations(site) if ROLE not in operation} == OPEN


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer vouch_wrong", "Basic dm91Y2g6eA==", "Bearer " + "x" * 4000])
def test_a_key_that_does_not_hold_is_refused_before_the_body_is_read(site: Site, header: str) -> None:
    response = site.anonymous.post("/v1/query", content=b"not json", headers={"Authorization": header})
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "vouch_wrong" not in response.text


def test_a_revoked_key_ends_at_once(site: Site) -> None:
    made = site.admin.post("/v1/keys", json={"role": "app", "name": "short"})
    assert made.status_code == 201
    key = schemas.NewKey.model_validate(made.json())
    headers = {"Authorization": f"Bearer {key.key}"}
    assert site.anonymous.get("/v1/documents", headers=headers).status_code == 200
    ended = schemas.Key.model_validate(site.admin.delete(f"/v1/keys/{key.id}").json())
    assert ended.revoked_at is not None
    assert_problem(site.anonymous.get("/v1/documents", headers=headers), 401, "unauthenticated")
    assert key.key not in site.admin.get("/v1/keys?limit=200").text


def test_keys_see_all_documents_only_where_that_was_said(site: Site) -> None:
    def groups(**body: Any) -> list[str] | None:
        return site.admin.post("/v1/keys", json=body).raise_for_status().json()["groups"]

    assert groups(role="app") == []
    assert groups(role="app", groups=None) == []
    assert groups(role="reviewer") == []
    assert groups(role="app", groups=["hr", "law"]) == ["hr", "law"]
    assert groups(role="app", all_groups=True) is None
    assert groups(role="admin") is None
    assert groups(role="admin", all_groups=False) == []
    both = site.admin.post("/v1/keys", json={"role": "app", "groups": ["hr"], "all_groups": True})
    assert_problem(both, 422, "invalid-input")
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert_problem(site.admin.post("/v1/keys", json={"role": "app", "expires_at": past}), 422, "invalid-input")


def test_documents_of_a_group_do_not_exist_for_others(site: Site) -> None:
    everything = {document["external_id"]: document for document in site.walk(site.hr, "/v1/documents", 50)}
    pay = everything["pay"]
    assert pay["groups"] == ["hr"]
    assert {d["external_id"] for d in site.walk(site.app_key, "/v1/documents", 50)} == everything.keys() - {"pay"}
    for path in ("/v1/documents/{}", "/v1/documents/{}/text"):
        hidden = assert_problem(site.app_key.get(path.format(pay["id"])), 404, "not-found")
        unknown = assert_problem(site.app_key.get(path.format("doc_unknown")), 404, "not-found")
        assert hidden["detail"].replace(pay["id"], "X") == unknown["detail"].replace("doc_unknown", "X")
    assert site.hr.get(f"/v1/documents/{pay['id']}/text").json()["text"].strip() == SALARY

    (entity,) = site.hr.get("/v1/entities", params={"prefix": "Quetzal"}).json()["items"]
    assert site.app_key.get("/v1/entities", params={"prefix": "quetzal"}).json()["items"] == []
    assert_problem(site.app_key.get(f"/v1/entities/{entity['id']}"), 404, "not-found")

    ask = {"question": "What is the salary band of Quetzalcoatl?"}
    found = site.hr.post("/v1/retrieve", json=ask).json()["results"]
    assert found[0]["external_id"] == "pay"
    for as_of in (None, 1, 2):
        hidden_from = site.app_key.post("/v1/retrieve", json=ask | {"as_of": as_of})
        assert "91000" not in hidden_from.raise_for_status().text
    assert "91000" in site.hr.post("/v1/query", json=ask).json()["answer"]
    assert "91000" not in site.app_key.post("/v1/query", json=ask).text


def test_names_and_counts_in_snapshots_are_for_keys_that_see_everything(site: Site) -> None:
    shown = site.admin.get("/v1/snapshots").json()["items"][-1]
    hidden = site.app_key.get("/v1/snapshots").json()["items"][-1]
    assert (shown["reason"], shown["documents"]) == ("ingest handbook", 10)
    assert (hidden["reason"], hidden["documents"]) == (None, None)


def test_answers_belong_to_their_key_and_to_reviewers(site: Site) -> None:
    made = site.hr.post("/v1/query", json={"question": QUESTION}).json()
    path = f"/v1/answers/{made['id']}"
    for suffix in ("", "/lineage"):
        assert site.hr.get(path + suffix).status_code == 200
        assert site.reviewer.get(path + suffix).status_code == 200
        assert_problem(site.app_key.get(path + suffix), 404, "not-found")
    assert made["id"] in [item["id"] for item in site.walk(site.reviewer, "/v1/answers", 50)]
    assert made["id"] not in [item["id"] for item in site.walk(site.app_key, "/v1/answers", 50)]


# --- Problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "slug"),
    [
        ("GET", "/v1/nothing", None, 404, "not-found"),
        ("GET", "/v1/documents/", None, 404, "not-found"),
        ("GET", "/v1/answers/ans_none", None, 404, "not-found"),
        ("GET", "/v1/documents/a%00b", None, 422, "invalid-input"),
        ("GET", "/v1/entities?prefix=%00", None, 422, "invalid-input"),
        ("GET", "/v1/entities/zebra", None, 422, "invalid-input"),
        ("GET", "/v1/graph/path?from=ent_1", None, 422, "invalid-input"),
        ("GET", "/v1/documents?limit=0", None, 422, "invalid-input"),
        ("GET", "/v1/documents?status=odd", None, 422, "invalid-input"),
        ("GET", "/v1/documents?cursor=rubbish", None, 422, "invalid-input"),
        ("GET", "/v1/documents?cursor=W10", None, 422, "invalid-input"),
        ("GET", "/v1/documents?as_of=99", None, 404, "not-found"),
        ("DELETE", "/v1/query", None, 405, "method-not-allowed"),
        ("POST", "/v1/query", {"question": "   "}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": "x" * 4001}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": "a\x00b"}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": 7}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "stream": True}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "depth": 3}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "top_k": 0}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "top_k": True}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "as_of": 99}, 404, "not-found"),
        ("POST", "/v1/query", {"question": QUESTION, "as_of": 10**30}, 404, "not-found"),
        ("POST", "/v1/query", {"question": QUESTION, "as_of": "yesterday"}, 422, "invalid-input"),
        ("POST", "/v1/query", {"question": QUESTION, "as_of": "0001-01-01T00:00+23:59"}, 422, "invalid-input"),
        ("POST", "/v1/snapshots/99/rollback", {}, 404, "not-found"),
        ("POST", f"/v1/snapshots/{10**30}/rollback", {}, 404, "not-found"),
        ("POST", "/v1/sources", {"path": "relative/folder"}, 422, "invalid-input"),
        ("POST", "/v1/sources", {"path": "/no/such/folder"}, 422, "invalid-input"),
        ("POST", "/v1/sources/none/sync", {}, 404, "not-found"),
        ("POST", "/v1/documents", None, 422, "invalid-input"),
        ("DELETE", "/v1/keys/key_none", None, 404, "not-found"),
    ],
)
def test_refusals_are_problems(
    site: Site, method: str, path: str, body: dict[str, Any] | None, status: int, slug: str
) -> None:
    assert_problem(site.admin.request(method, path, json=body), status, slug)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b'{"question": "\\ud800"}', b"\xff\xfe", b""])
def test_bodies_that_are_no_request_are_problems_without_an_echo(site: Site, content: bytes) -> None:
    response = site.app_key.post("/v1/query", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500
    problem = assert_problem(
        response, response.status_code, "invalid-input" if response.status_code == 422 else "bad-request"
    )
    assert all(error.keys() == {"loc", "msg"} for error in problem.get("errors", []))


def test_a_validation_problem_names_the_field_and_not_its_value(site: Site) -> None:
    problem = assert_problem(
        site.app_key.post("/v1/query", json={"question": "x", "top_k": "vouch_secret"}), 422, "invalid-input"
    )
    assert problem["errors"] == [{"loc": ["body", "top_k"], "msg": problem["errors"][0]["msg"]}]
    assert "vouch_secret" not in str(problem)


def test_streaming_is_said_not_to_be_offered(site: Site) -> None:
    response = site.app_key.post("/v1/query", json={"question": QUESTION, "stream": True})
    assert "not offered" in response.json()["detail"]


# --- Answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [QUESTION, "Who won the chess olympiad of 1927?"])
def test_answers_are_what_the_reference_says_and_are_recorded(site: Site, question: str) -> None:
    made = site.app_key.post("/v1/query", json={"question": question, "top_k": 5}).raise_for_status().json()
    schemas.Answer.model_validate(made, strict=True)
    read = site.app_key.get(f"/v1/answers/{made['id']}").json()
    schemas.Answer.model_validate(read, strict=True)
    assert {**read, "timings_ms": None} == {**made, "timings_ms": None}
    assert site.app_key.get("/v1/answers?limit=1").json()["items"][0]["id"] == made["id"]


def test_a_citation_is_the_exact_slice_of_the_text_that_the_server_gives(site: Site) -> None:
    made = site.app_key.post("/v1/query", json={"question": QUESTION}).json()
    assert "45 days" in made["answer"]
    assert made["citations"]
    for citation in made["citations"]:
        path = f"/v1/documents/{citation['document_id']}/text?revision={citation['revision']}"
        text = schemas.DocumentText.model_validate(site.app_key.get(path).json(), strict=True).text
        assert text[citation["start"] : citation["end"]] == citation["quote"]


@pytest.mark.parametrize("explain", [False, True])
def test_retrieval_is_what_the_reference_says(site: Site, explain: bool) -> None:
    body = {"question": QUESTION, "top_k": 3, "explain": explain}
    found = site.app_key.post("/v1/retrieve", json=body).raise_for_status().json()
    results = schemas.Retrieval.model_validate(found, strict=True).results
    assert len(results) == 3
    assert [bool(result.signals) for result in results] == [explain] * 3
    assert [result.contributions and set(result.contributions) for result in results] == [
        set(result.signals) if result.signals else None for result in results
    ]
    assert "45 days" in results[0].text


def test_why_not_tells_of_a_document_that_the_key_may_see_and_of_no_other(site: Site) -> None:
    listed = {document["external_id"]: document["id"] for document in site.walk(site.hr, "/v1/documents", 50)}
    body = {"question": QUESTION, "top_k": 2}

    def ask(client: httpx.Client, name: str, **more: Any) -> httpx.Response:
        return client.post("/v1/retrieve", json=body | {"why_not": name} | more)

    plain = site.hr.post("/v1/retrieve", json=body).json()
    assert "why_not" not in plain
    found = ask(site.hr, listed["pay"]).raise_for_status().json()
    assert found["results"] == plain["results"]
    why = schemas.Retrieval.model_validate(found, strict=True).why_not
    assert why is not None
    assert (why.verdict, why.shown, why.title) == ("ranked lower", 2, "Salaries")
    assert why.behind is not None
    assert why.behind.chunk_id == plain["results"][-1]["chunk_id"]

    hidden = assert_problem(ask(site.app_key, listed["pay"]), 404, "not-found")
    unknown = assert_problem(ask(site.app_key, "doc_unknown"), 404, "not-found")
    assert hidden["detail"].replace(listed["pay"], "X") == unknown["detail"].replace("doc_unknown", "X")
    assert {**hidden, "detail": "", "instance": ""} == {**unknown, "detail": "", "instance": ""}
    assert ask(site.app_key, listed["canteen"]).status_code == 200
    assert "Quetzalcoatl" not in ask(site.app_key, listed["canteen"]).text
    assert_problem(ask(site.hr, listed["pay"], as_of=0), 404, "not-found")
    assert_problem(ask(site.hr, "Salaries"), 404, "not-found")


def test_as_of_answers_from_the_past_and_rollback_makes_it_the_present(site: Site) -> None:
    def answer(**more: Any) -> str:
        body = site.app_key.post("/v1/query", json={"question": QUESTION, **more}).raise_for_status().json()
        return str(body["answer"])

    moments = {item["number"]: item["created_at"] for item in site.app_key.get("/v1/snapshots").json()["items"]}
    assert "30 days" in answer(as_of=1)
    assert "30 days" in answer(as_of="1")
    assert "30 days" in answer(as_of=_between(moments[1], moments[2]))
    assert "30 days" in answer(as_of=moments[1])
    assert "45 days" in answer(as_of=moments[2])
    assert "45 days" in answer(as_of=2)
    orion = next(d for d in site.walk(site.app_key, "/v1/documents", 50) if d["path"] == "orion.md")
    old = site.app_key.get(f"/v1/documents/{orion['id']}?as_of=1").json()
    assert (old["revision"], orion["revision"]) == (1, 2)
    assert "30 days" in site.app_key.get(f"/v1/documents/{orion['id']}/text?revision=1").json()["text"]
    assert site.admin.post("/v1/snapshots/1/rollback").json() == {"live": 1}
    try:
        assert "30 days" in answer()
    finally:
        site.admin.post("/v1/snapshots/2/rollback").raise_for_status()
    assert "45 days" in answer()


def _between(one: str, other: str) -> str:
    """The moment in the middle, told in another time zone."""
    first, second = datetime.fromisoformat(one), datetime.fromisoformat(other)
    return (first + (second - first) / 2).astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat()


def test_text_that_was_staged_and_never_published_is_nobodys_to_read(site: Site) -> None:
    workspace = site.workspace
    source = next(one for one in workspace.catalog.sources(2) if one.name == "handbook")
    draft = StoredRevision("lyra.md", None, "0" * 64, "text/plain", "Draft", "", "not yet public", None, {}, None)
    workspace.catalog.stage(source.id, workspace.recipe, [draft])
    lyra = next(d for d in site.walk(site.app_key, "/v1/documents", 50) if d["path"] == "lyra.md")
    for client in (site.app_key, site.admin):
        response = client.get(f"/v1/documents/{lyra['id']}/text", params={"revision": lyra["revision"] + 1})
        assert_problem(response, 404, "not-found")


# --- Lineage ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/turtle", "text/turtle"),
        ("application/ld+json, application/json;q=0.5", "application/ld+json"),
        ("text/*;q=0.9, application/json;q=0.1", "text/turtle"),
        ("application/json;q=0, */*", "text/turtle"),
    ],
)
def test_lineage_comes_in_the_accepted_form(site: Site, accept: str | None, expected: str) -> None:
    made = site.app_key.post(
        "/v1/query", json={"question": QUESTION}, headers={"Idempotency-Key": "for lineage"}
    ).json()
    headers = {"Accept": accept} if accept else {}
    response = site.app_key.get(f"/v1/answers/{made['id']}/lineage", headers=headers).raise_for_status()
    assert response.headers["content-type"].partition(";")[0] == expected
    assert response.headers["vary"] == "Accept"
    if expected == "application/json":
        assert response.json()["answer"]["id"] == made["id"]
        assert any(item["quotes"] for item in response.json()["context"])
        return
    form = "turtle" if expected == "text/turtle" else "json-ld"
    graph = rdflib.Graph().parse(data=response.text, format=form)
    assert any(made["id"] in str(subject) for subject in graph.subjects())


@pytest.mark.parametrize("accept", ["application/pdf", "text/html, image/*", "application/json;q=0"])
def test_lineage_in_another_form_is_refused(site: Site, accept: str) -> None:
    made = site.app_key.post(
        "/v1/query", json={"question": QUESTION}, headers={"Idempotency-Key": "for lineage"}
    ).json()
    response = site.app_key.get(f"/v1/answers/{made['id']}/lineage", headers={"Accept": accept})
    assert_problem(response, 406, "not-acceptable")


# --- Idempotency ------------------------------------------------------------------------------------------------------


def test_a_repeated_request_gets_the_first_answer(site: Site) -> None:
    def ask(client: httpx.Client, question: str) -> httpx.Response:
        return client.post("/v1/query", json={"question": question}, headers={"Idempotency-Key": "k1"})

    first, again = ask(site.app_key, QUESTION), ask(site.app_key, QUESTION)
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(ask(site.app_key, "Another question?"), 409, "conflict")
    assert ask(site.hr, QUESTION).json()["id"] != first.json()["id"]
    ids = [item["id"] for item in site.walk(site.app_key, "/v1/answers", 50)]
    assert ids.count(first.json()["id"]) == 1


def test_repetitions_at_the_same_time_run_once(site: Site) -> None:
    before = len(site.walk(site.app_key, "/v1/answers", 50))
    ids: list[str] = []

    def ask() -> None:
        headers = {"Idempotency-Key": "at once"}
        ids.append(site.app_key.post("/v1/query", json={"question": QUESTION}, headers=headers).json()["id"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1
    assert len(site.walk(site.app_key, "/v1/answers", 50)) == before + 1
    assert len(site.app.state.services.locks) == 0


def test_a_request_that_failed_may_be_sent_again_under_its_key(site: Site) -> None:
    headers = {"Idempotency-Key": "after a failure"}
    assert_problem(site.app_key.post("/v1/query", json={"question": " "}, headers=headers), 422, "invalid-input")
    assert site.app_key.post("/v1/query", json={"question": QUESTION}, headers=headers).status_code == 200


def test_the_secret_of_a_key_is_not_kept_for_repetitions(site: Site) -> None:
    body, headers = {"role": "app", "name": "once"}, {"Idempotency-Key": "new key"}
    first = site.admin.post("/v1/keys", json=body, headers=headers).json()
    again = site.admin.post("/v1/keys", json=body, headers=headers)
    assert again.status_code == 201
    assert again.json() == first | {"key": None}
    schemas.NewKey.model_validate(again.json(), strict=True)


# --- Listings, the graph, what runs the server ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/documents", schemas.Document),
        ("/v1/entities", schemas.Entity),
        ("/v1/answers", schemas.AnswerSummary),
        ("/v1/snapshots", schemas.Snapshot),
        ("/v1/keys", schemas.Key),
        ("/v1/sources", schemas.Source),
    ],
)
def test_walking_a_listing_meets_everything_once(site: Site, path: str, model: type[BaseModel]) -> None:
    site.admin.post("/v1/query", json={"question": QUESTION})
    whole = site.walk(site.admin, path, 200)
    assert whole
    for limit in (1, 3, len(whole)):
        assert site.walk(site.admin, path, limit) == whole
    for item in whole:
        model.model_validate(item, strict=True)
    assert len({str(item.get("id", item.get("number"))) for item in whole}) == len(whole)


def test_a_walk_stays_in_the_snapshot_that_it_began_in(site: Site) -> None:
    first = site.app_key.get("/v1/documents?limit=1&as_of=1").json()
    assert_problem(site.app_key.get(f"/v1/entities?cursor={first['next_cursor']}"), 422, "invalid-input")
    second = site.app_key.get(f"/v1/documents?limit=50&cursor={first['next_cursor']}").json()
    revisions = {item["path"]: item["revision"] for item in first["items"] + second["items"]}
    assert revisions["orion.md"] == 1


def test_the_graph_names_the_passages_that_support_it(site: Site) -> None:
    items = site.walk(site.app_key, "/v1/entities", 50)
    one = next(item for item in items if "orion" in item["name"])
    detail = schemas.EntityDetail.model_validate(site.app_key.get(f"/v1/entities/{one['id']}").json(), strict=True)
    assert detail.chunks
    page = site.app_key.get(f"/v1/entities/{one['id']}/neighbours").json()
    near = schemas.Page[schemas.Neighbour].model_validate(page, strict=True).items
    assert near
    assert all(neighbour.chunks for neighbour in near)
    asked = {"from": one["id"], "to": near[0].id}
    path = schemas.EntityPath.model_validate(site.app_key.get("/v1/graph/path", params=asked).json(), strict=True).path
    assert path[0].entity is not None
    assert path[1].chunk_id is not None
    assert path[-1].entity is not None
    assert (path[0].entity.id, path[-1].entity.id) == (one["id"], near[0].id)


def test_metrics_count_requests_by_route_and_answers_by_status(site: Site) -> None:
    def value(name: str) -> float:
        lines = site.anonymous.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    counted = 'vouch_http_requests_total{method="POST",route="/v1/query",status="200"}'
    before = [value(counted), value("vouch_answers_total{"), value('vouch_stage_seconds_count{stage="retrieve"}')]
    status = site.app_key.post("/v1/query", json={"question": QUESTION}).json()["status"]
    assert value(counted) == before[0] + 1
    assert value(f'vouch_answers_total{{status="{status}"}}') >= 1
    assert value('vouch_stage_seconds_count{stage="retrieve"}') == before[2] + 1
    site.anonymous.get("/v1/documents/some-id-of-a-caller")
    assert "some-id-of-a-caller" not in site.anonymous.get("/metrics").text


def test_a_ready_server_says_so(site: Site) -> None:
    ready = site.anonymous.get("/readyz")
    assert ready.json() == {"ready": True, "checks": {"database": "ok", "index": "ok", "jobs": "ok"}}
    assert site.anonymous.get("/livez").json() == {"live": True}
    assert ready.headers["cache-control"] == "no-store"
    assert ready.headers["x-content-type-options"] == "nosniff"


def test_the_reference_describes_every_route(site: Site) -> None:
    document = site.anonymous.get("/openapi.json").json()
    page = site.anonymous.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    for _, path, operation in operations(site):
        assert operation["summary"], path
        assert operation["description"], path
        assert f"id='{operation['operationId']}'" in page.text
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")) and path not in OPEN:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    known = document["components"]["schemas"]
    assert "HTTPValidationError" not in known
    assert document["paths"]["/v1/query"]["post"]["responses"]["200"]["content"]["application/json"]
    assert known["QueryRequest"]["examples"]


def test_the_reference_page_lists_every_route_with_its_role(site: Site) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+ /\S+)` \| ([a-z ]*?) *\|", text, re.MULTILINE)
    assert dict(rows) == {f"{method} {path}": operation.get(ROLE, "") for method, path, operation in operations(site)}
    named = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| \d{3}", text, re.MULTILINE)
    slugs = set(re.findall(r"`([a-z-]+)`", "".join(named)))
    assert slugs | {"parse-failure"} == set(problems.TITLES)
