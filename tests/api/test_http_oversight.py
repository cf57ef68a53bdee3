"""Replay, impact and lineage queries over HTTP: who may, what comes back, and that withdrawing holds at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rdflib
from http_site import QUESTION, Site, site_at

from api import schemas

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own use of rdflib


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Site]:
    with site_at(tmp_path_factory.mktemp("oversight"), models) as made:
        yield made


def asked(site: Site, question: str = QUESTION) -> dict[str, Any]:
    found: dict[str, Any] = site.app_key.post("/v1/query", json={"question": question}).raise_for_status().json()
    return found


def test_an_answer_is_replayed_for_those_who_may_read_it(site: Site) -> None:
    made = asked(site)
    path = f"/v1/answers/{made['id']}/replay"
    for client in (site.app_key, site.reviewer, site.admin):
        report = schemas.Replay.model_validate(client.post(path, json={}).raise_for_status().json(), strict=True)
        assert report.identical
        assert report.fresh is None
    assert site.hr.post(path, json={}).status_code == 404
    assert site.admin.post("/v1/answers/ans_none/replay", json={}).status_code == 404
    assert site.admin.post(path, json={"nonsense": 1}).status_code == 422
    before = site.workspace.ledger.size()
    current = site.app_key.post(path, json={"current": True}).raise_for_status().json()
    today = schemas.TodayAnswer.model_validate(current, strict=True)
    assert (today.same, today.changes) == (True, [])
    assert site.workspace.ledger.size() == before
    past = site.app_key.post("/v1/query", json={"question": QUESTION, "as_of": 1}).json()
    again = site.app_key.post(f"/v1/answers/{past['id']}/replay", json={"current": True}).json()
    changed = schemas.TodayAnswer.model_validate(again, strict=True)
    assert not changed.same
    assert {one.kind for one in changed.changes} >= {"snapshot", "document"}


def test_impact_withdrawal_and_restoration(site: Site) -> None:
    made = asked(site, "Where does the lead of the Lyra team sit?")
    document = made["citations"][0]["document_id"]
    found = site.reviewer.post("/v1/impact", json={"document": document}).raise_for_status().json()
    report = schemas.ImpactAnswer.model_validate(found, strict=True)
    assert report.answers is not None
    assert made["id"] in {one.id for one in report.answers.items}
    refused = site.reviewer.post("/v1/impact", json={"document": document, "withdraw": True, "reason": "wrong"})
    assert refused.status_code == 403
    assert site.admin.post("/v1/impact", json={"document": document, "withdraw": True}).status_code == 422
    body = {"document": document, "withdraw": True, "reason": "wrong", "reask": True}
    headers = {"Idempotency-Key": "withdraw once"}
    first = site.admin.post("/v1/impact", json=body, headers=headers).raise_for_status()
    done = schemas.ImpactAnswer.model_validate(first.json(), strict=True)
    assert done.withdrawal is not None
    assert done.withdrawal.documents == [document]
    assert done.withdrawal.stale_answers == report.answers.count
    assert made["id"] in {one.answer_id for one in done.reasked or ()}
    again = site.admin.post("/v1/impact", json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert site.admin.post("/v1/impact", json=body).status_code == 409
    read = schemas.Answer.model_validate(site.app_key.get(f"/v1/answers/{made['id']}").json(), strict=True)
    assert read.stale is not None
    assert (read.stale[0].document_ids, read.stale[0].reason) == ([document], "wrong")
    after = asked(site, "Where does the lead of the Lyra team sit?")
    assert document not in {citation["document_id"] for citation in after["citations"]}
    assert site.admin.get(f"/v1/documents/{document}").status_code == 404
    back = site.admin.post("/v1/impact", json={"document": document, "restore": True, "reason": "it was right"})
    assert schemas.ImpactAnswer.model_validate(back.json(), strict=True).restoration is not None
    assert "stale" not in site.app_key.get(f"/v1/answers/{made['id']}").json()
    assert not list(site.workspace.verifier.faults())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"document": "doc_x", "source": "y"}, 422),
        ({"document": "doc_none"}, 404),
        ({"source": "none"}, 404),
        ({"entity": "no such name at all"}, 404),
        ({"prompt": "grounded-answer@77"}, 404),
        ({"revision": "doc_none"}, 404),
        ({"source": "handbook", "part": "planets"}, 422),
        ({"source": "handbook", "limit": 0}, 422),
    ],
)
def test_a_wrong_impact_is_refused(site: Site, body: dict[str, Any], status: int) -> None:
    assert site.reviewer.post("/v1/impact", json=body).status_code == status


def test_pages_of_an_impact(site: Site) -> None:
    for _ in range(3):
        asked(site)
    every = site.reviewer.post("/v1/impact", json={"source": "handbook", "limit": 200}).json()["answers"]["items"]
    items, cursor = [], None
    while True:
        body = {"source": "handbook", "part": "answers", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = schemas.ImpactAnswer.model_validate(site.reviewer.post("/v1/impact", json=body).json(), strict=True)
        assert page.answers is not None
        items += [one.id for one in page.answers.items]
        cursor = page.answers.next_cursor
        if cursor is None:
            break
    assert items == [one["id"] for one in every]


def test_lineage_queries(site: Site) -> None:
    made = asked(site)
    listed = site.reviewer.get("/v1/lineage/queries").raise_for_status().json()
    names = {query.name for query in schemas.Page[schemas.LineageQuery].model_validate(listed, strict=True).items}
    path = "/v1/lineage/queries/answers_by_entity_and_prompt"
    given = {"entity": "Team Orion", "prompt": made["prompt"]["name"], "since": "2020-01-01"}
    assert "answers_by_entity_and_prompt" in names
    found = site.reviewer.get(path, params=given).raise_for_status().json()
    page = schemas.LineagePage.model_validate(found, strict=True)
    assert made["id"] in {item["id"] for item in page.items}
    walked, cursor = [], None
    while cursor is not None or not walked:
        more = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        one = site.reviewer.get(path, params=given | more).raise_for_status().json()
        walked, cursor = walked + one["items"], one["next_cursor"]
    assert walked == page.items
    assert site.reviewer.get(path, params=given | {"colour": "red"}).status_code == 422
    assert site.reviewer.get(path, params=given | {"cursor": "x"}).status_code == 422
    assert site.reviewer.get("/v1/lineage/queries/none").status_code == 404
    assert site.app_key.get(path, params=given).status_code == 403
    turtle = site.reviewer.get(path, params=given | {"limit": "1"}, headers={"Accept": "text/turtle"})
    graph = rdflib.Graph().parse(data=turtle.raise_for_status().text, format="turtle")
    terms = rdflib.Namespace("urn:vouch:terms:")
    assert len(set(graph.subjects(rdflib.RDF.type, terms.Answer))) == 1
    following = turtle.headers["link"].partition(">")[0].lstrip("<")
    assert following.startswith("/v1/lineage/queries/")
    rest = site.reviewer.get(following, headers={"Accept": "text/turtle"})
    other = rdflib.Graph().parse(data=rest.raise_for_status().text, format="turtle")
    assert not set(graph.subjects(rdflib.RDF.type, terms.Answer)) & set(other.subjects(rdflib.RDF.type, terms.Answer))
    assert site.reviewer.get(path, params=given, headers={"Accept": "image/png"}).status_code == 406
    near = site.reviewer.get("/v1/lineage/queries/neighbours", params={"kind": "answer", "id": made["id"]}).json()
    assert {"principal", "prompt", "chunk", "revision"} <= {item["kind"] for item in near["items"]}
