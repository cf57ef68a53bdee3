"""What depends on what, withdrawals, and the graph of lineage: against a walk through all records; both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from copies import CopyOf
from fast_parts import FastWorkspace, InlineParser
from rdflib import PROV, RDF, Graph, Namespace
from sqlalchemy import delete, insert, select, update

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, Generation, Principal, Question, Role
from kernel.storage.access import Withdrawals
from kernel.storage.answers import OvertakenError
from kernel.storage.impact import Of, Scope, merged
from kernel.storage.ledger import append
from kernel.storage.lineage_queries import HOPS
from kernel.storage.schema import answer, chunk, ledger_payload, mention, relation, review, review_event, stale
from pipeline.answering import Answering
from pipeline.extractive import ExtractiveGenerator
from pipeline.oversight.impact import ImpactDesk
from pipeline.oversight.queries import QUERIES

TERMS = Namespace("urn:vouch:terms:")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own use of rdflib
ASKERS = (Principal("key_one", Role.APP), Principal("key_two", Role.APP))


def build(made: FastWorkspace, folder: Path) -> None:
    for place in ("Lisbon", "Porto"):
        write(folder / "registers", 4, place)
        ingest(made, folder / "registers")
    (folder / "notes").mkdir()
    (folder / "notes" / "n.md").write_text("# Notes\n\nAlpha Team reads register 1 on Monday.\n")
    ingest(made, folder / "notes")
    for n in range(4):
        for who in ASKERS:
            made.answering.ask(Question(f"Who keeps register {n}?", who, as_of=2 if n == 3 else None))


@pytest.fixture
def made(copy_of: CopyOf) -> Iterator[FastWorkspace]:
    """Three snapshots of five documents of two sources, and answers of two people."""
    with copy_of(build, chunk_tokens=48, top_k=2) as workspace:
        yield workspace


def write(folder: Path, pages: int, place: str) -> None:
    folder.mkdir(exist_ok=True)
    for n in range(pages):
        (folder / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in {place}.\n")


def ingest(made: FastWorkspace, folder: Path) -> Any:
    return made.indexer.ingest(InlineParser(), [folder], folder.name)[0]


def records(made: FastWorkspace) -> list[Any]:
    return [record for _, record in made.answers.items(LOCAL_OWNER, limit=1000)]


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def used(made: FastWorkspace) -> str:
    """The document that the newest answer of the live snapshot cites first."""
    return next(
        str(record.body["citations"][0]["document_id"])
        for record in records(made)
        if record.body["citations"] and record.body["retrieval"]["as_of"] is None
    )


def all_pages(page: Callable[[int | None], dict[str, Any]]) -> list[dict[str, Any]]:
    items, cursor = [], None
    while True:
        found = page(cursor)
        items += found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            return items


def scopes(made: FastWorkspace) -> list[tuple[Scope, Callable[[dict[str, Any]], bool]]]:
    """Every kind of scope, and whether an item of a context belongs to it."""
    document = used(made)
    with made.database.read() as connection:
        named = {row[0]: row[1] for row in connection.execute(select(chunk.c.public_id, chunk.c.text))}
    notes = next(d.id for d in made.catalog.documents(3, LOCAL_OWNER, limit=99) if d.source == "notes")
    return [
        (Scope(Of.DOCUMENT, document), lambda item: item["document_id"] == document),
        (Scope(Of.REVISION, f"{document}:2"), lambda item: (item["document_id"], item["revision"]) == (document, 2)),
        (Scope(Of.SOURCE, "registers"), lambda item: item["document_id"] != notes),
        (Scope(Of.ENTITY, "The Alpha Team"), lambda item: "Alpha Team" in named[item["chunk_id"]]),
    ]


def test_impact_is_what_a_walk_through_all_records_finds(made: FastWorkspace) -> None:
    for scope, belongs in scopes(made):
        report = made.impact.report(scope, 2)
        expected = {r.id: r for r in records(made) if any(belongs(item) for item in r.run["context"])}
        cited = {
            r.id
            for r in expected.values()
            if {item["chunk_id"] for item in r.run["context"] if belongs(item)}
            & {citation["chunk_id"] for citation in r.body["citations"]}
        }
        assert expected, scope
        answers = report["answers"]
        counts = (len(expected), len(cited), len(expected) - len(cited))
        assert (answers["count"], answers["cited"], answers["context_only"]) == counts
        listed = all_pages(lambda cursor, scope=scope: made.impact.page(scope, "answers", 2, cursor))
        assert [one["id"] for one in listed] == list(expected)
        assert {one["id"] for one in listed if one["cited"]} == cited
        for part in ("chunks", "edges", "snapshots"):
            every = all_pages(lambda cursor, scope=scope, part=part: made.impact.page(scope, part, 1, cursor))
            assert len(every) == report[part]["count"]
            assert every[:2] == report[part]["items"]
            assert len({str(one) for one in every}) == len(every)


def test_impact_counts_chunks_and_snapshots(made: FastWorkspace) -> None:
    document = used(made)
    found = made.impact.report(Scope(Of.DOCUMENT, document))
    assert found["chunks"]["count"] == 2
    assert [one["number"] for one in found["snapshots"]["items"]] == [1, 2, 3]
    second = made.impact.report(Scope(Of.REVISION, f"{document}:2"))
    assert [one["number"] for one in second["snapshots"]["items"]] == [2, 3]
    prompt = made.impact.report(Scope(Of.PROMPT, "grounded-answer@1"))
    assert (prompt["answers"]["count"], prompt["answers"]["cited"]) == (8, None)
    assert [one["number"] for one in prompt["snapshots"]["items"]] == [2, 3]


@pytest.mark.parametrize(
    ("of", "name", "error"),
    [
        (Of.DOCUMENT, "doc_none", NotFound),
        (Of.REVISION, "doc_none:1", NotFound),
        (Of.SOURCE, "none", NotFound),
        (Of.ENTITY, "no such name", NotFound),
        (Of.PROMPT, "grounded-answer@99", NotFound),
        (Of.PROMPT, "grounded-answer@x", InvalidInput),
    ],
)
def test_what_is_not_there_is_said(made: FastWorkspace, of: Of, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        made.impact.report(Scope(of, name))


def test_ranges_of_snapshots_are_merged() -> None:
    assert merged([(5, 7), (1, 2), (2, 4), (6, 9)]) == [(1, 4), (5, 9)]


# --- Withdrawals ------------------------------------------------------------------------------------------------------


def test_a_withdrawn_document_is_in_no_answer_and_those_before_are_stale(made: FastWorkspace, tmp_path: Path) -> None:
    document = used(made)
    affected = [r for r in records(made) if any(item["document_id"] == document for item in r.run["context"])]
    bodies = {r.id: dict(r.body) for r in records(made)}
    told: list[tuple[list[int], str]] = []
    desk = desk_with(made, lambda connection, numbers, reason: told.append((list(numbers), reason)))
    done = desk.withdraw(Scope(Of.DOCUMENT, document), " misprint ", LOCAL_OWNER)
    assert done["stale_answers"] == len(affected) > 0
    assert told == [(sorted(r.number for r in affected), "misprint")]
    for as_of in (None, 1, 2):
        again = made.answering.ask(Question("Who keeps register 3?", ASKERS[0], as_of=as_of))
        context = made.answers.get(again["id"], LOCAL_OWNER).run["context"]
        assert context
        assert document not in {item["document_id"] for item in context}
    marks = made.stale.marks([r.number for r in records(made)])
    assert sorted(marks) == sorted(r.number for r in affected)
    (mark,) = marks[affected[0].number]
    assert (mark["document_ids"], mark["reason"], mark["leaf"]) == ([document], "misprint", done["leaf"])
    assert {r.id: dict(r.body) for r in records(made) if r.id in bodies} == bodies
    assert faults(made) == []
    with pytest.raises(Conflict, match="already"):
        desk.withdraw(Scope(Of.DOCUMENT, document), "again", LOCAL_OWNER)
    check_it_stays_away(made, tmp_path, document)
    back = desk.restore(Scope(Of.DOCUMENT, document), "it was right", LOCAL_OWNER)
    assert back["documents"] == [document]
    assert made.stale.marks([r.number for r in records(made)]) == {}
    assert made.answering.retrieve(Question("Who keeps register 3?")).passages
    assert faults(made) == []


def desk_with(made: FastWorkspace, open_reviews: Any) -> ImpactDesk:
    return ImpactDesk(
        made.impact._impact, Withdrawals(made.database), made.stale, made.answers, lambda: made.answering, open_reviews
    )


def check_it_stays_away(made: FastWorkspace, tmp_path: Path, document: str) -> None:
    """Neither the same files nor changed ones bring it back; the report counts them as ever."""
    same = ingest(made, tmp_path / "registers")
    assert (same.added, same.changed, same.unchanged, same.removed) == (0, 0, 4, 0)
    write(tmp_path / "registers", 4, "Faro")
    other = ingest(made, tmp_path / "registers")
    assert (other.added, other.changed, other.unchanged, other.removed) == (0, 4, 0, 0)
    found = made.answering.retrieve(Question("Who keeps register 0 to 3?", top_k=10)).passages
    assert found
    assert document not in {passage.document_id for passage in found}
    assert made.queries.run("withdrawn_documents", {}, 10)["items"][0]["document_id"] == document


def test_a_source_is_withdrawn_whole_and_only_the_rest_of_it_if_some_was(made: FastWorkspace) -> None:
    document = used(made)
    made.impact.withdraw(Scope(Of.DOCUMENT, document), "first", LOCAL_OWNER)
    done = made.impact.withdraw(Scope(Of.SOURCE, "registers"), "all", LOCAL_OWNER)
    assert len(done["documents"]) == 3
    assert document not in done["documents"]
    assert made.impact.report(Scope(Of.SOURCE, "registers"))["withdrawn"] == 4
    marks = made.stale.marks([r.number for r in records(made)])
    assert {len(found) for found in marks.values()} == {1, 2}
    stale_now = made.queries.run("stale_answers", {"source": "registers"}, 100)["items"]
    assert [one["index"] for one in stale_now] == sorted(marks, reverse=True)
    assert all(one["stale"] for one in stale_now)
    assert faults(made) == []


@pytest.mark.parametrize("of", [Of.REVISION, Of.ENTITY, Of.PROMPT])
def test_only_whole_documents_are_withdrawn(made: FastWorkspace, of: Of) -> None:
    with pytest.raises(InvalidInput, match="whole documents"):
        made.impact.withdraw(Scope(of, "x"), "why not", LOCAL_OWNER)
    with pytest.raises(InvalidInput, match="reason"):
        made.impact.withdraw(Scope(Of.DOCUMENT, used(made)), "  ", LOCAL_OWNER)


def test_reviews_that_cannot_be_opened_undo_the_withdrawal(made: FastWorkspace) -> None:
    document = used(made)

    def fails(*_: object) -> None:
        raise OSError("no room")

    before = made.ledger.size()
    with pytest.raises(OSError, match="no room"):
        desk_with(made, fails).withdraw(Scope(Of.DOCUMENT, document), "misprint", LOCAL_OWNER)
    assert made.ledger.size() == before
    assert made.impact.report(Scope(Of.DOCUMENT, document))["withdrawn"] == 0
    assert faults(made) == []


class Slow:
    """A generator during whose work something happens."""

    info = ExtractiveGenerator().info

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile
        self.asked = 0

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked += 1
        if self.asked == 1:
            self.meanwhile()
        return ExtractiveGenerator().generate(request)


def test_an_answer_under_way_does_not_escape_a_withdrawal(made: FastWorkspace) -> None:
    """What is withdrawn while an answer is made is not in the answer that is recorded."""
    document = used(made)
    scope = Scope(Of.DOCUMENT, document)

    def withdraw() -> None:
        worker = threading.Thread(target=lambda: made.impact.withdraw(scope, "just now", LOCAL_OWNER))
        worker.start()
        worker.join()

    slow = Slow(withdraw)
    answering = Answering(made.snapshots, made.searcher, slow, made.answers, made.answering_settings)
    pinned = answering.pin(Question("Who keeps register 3?"))
    stood_on = answering.compose(pinned)
    assert document in {passage.document_id for passage in stood_on.evidence.passages}
    with pytest.raises(OvertakenError):
        answering._record(stood_on, 0.0)
    made.impact.restore(scope, "back", LOCAL_OWNER)
    slow.asked = 0
    body = answering.ask(Question("Who keeps register 3?"))
    assert slow.asked == 2
    assert document not in {i["document_id"] for i in made.answers.get(body["id"], LOCAL_OWNER).run["context"]}
    assert made.stale.marks([body["ledger"]["index"]]) == {}


def test_affected_questions_are_asked_again_as_who_asked_them(made: FastWorkspace) -> None:
    document = used(made)
    scope = Scope(Of.DOCUMENT, document)
    twice = made.answering.ask(Question("Who keeps register 3?", ASKERS[0]))
    again = made.answering.ask(Question("Who keeps register 3?", ASKERS[0]))
    assert list(made.impact.reask(scope)) == []
    made.impact.withdraw(scope, "misprint", LOCAL_OWNER)
    stale_before = made.stale.numbers([document])
    done = list(made.impact.reask(scope))
    asked = {(made.answers.get(one["answer_id"], LOCAL_OWNER).principal, one["question"]) for one in done}
    assert len(asked) < len(done) + 1
    assert {*(one["answer_id"] for one in done), *(i for one in done for i in one["also"])} == {
        r.id for r in made.answers.records(stale_before)
    }
    for one in done:
        old, new = (made.answers.get(one[name], LOCAL_OWNER) for name in ("answer_id", "new_id"))
        assert (new.principal, new.body["question"]) == (old.principal, old.body["question"])
        assert new.body["retrieval"]["as_of"] == old.body["retrieval"]["as_of"]
        assert new.run["reask_of"] == old.id
        assert one["same"] == ((old.body["status"], old.body["answer"]) == (new.body["status"], new.body["answer"]))
        assert bool(one["diff"]) == (old.body["answer"] != new.body["answer"])
        assert [one["id"] for one in made.queries.run("reasked_as", {"answer": old.id}, 9)["items"]] == [new.id]
        assert made.replayer.replay(new.id, LOCAL_OWNER)["identical"]
    merged_one = next(one for one in done if twice["id"] in one["also"])
    assert merged_one["answer_id"] == again["id"]
    assert any(not one["same"] for one in done)
    assert list(made.impact.reask(scope)) == []
    assert faults(made) == []


@pytest.mark.parametrize("what", ["add", "remove", "move", "reask_of", "leaf"])
def test_a_changed_mark_is_found(made: FastWorkspace, what: str) -> None:
    done = made.impact.withdraw(Scope(Of.DOCUMENT, used(made)), "misprint", LOCAL_OWNER)
    marked = made.stale.numbers(done["documents"])
    others = [r.number for r in records(made) if r.number not in marked]
    with made.database.write() as connection:
        if what == "add":
            connection.execute(insert(stale).values(answer_number=others[0], leaf=done["leaf"]))
        elif what == "remove":
            connection.execute(delete(stale).where(stale.c.answer_number == marked[0]))
        elif what == "move":
            connection.execute(update(stale).where(stale.c.answer_number == marked[0]).values(answer_number=others[0]))
        elif what == "leaf":
            connection.execute(update(stale).where(stale.c.answer_number == marked[0]).values(leaf=1))
        else:
            connection.execute(update(answer).where(answer.c.number == marked[0]).values(reask_of="ans_x"))
    found = faults(made)
    assert any(f"entry {done['leaf']}" in one or "its columns do not say" in one for one in found), found


# --- The graph --------------------------------------------------------------------------------------------------------


def approve(made: FastWorkspace, number: int, actor: str) -> None:
    """A review of an answer as the tables hold one."""
    moment = "2026-11-20T10:00:00.000000+00:00"
    with made.database.write() as connection:
        leaf = append(made.database, connection, "review.approved", "rev_1", {}).number
        values = {"id": "rev_1", "answer_number": number, "reason": "stakes", "state": "approved", "approvals": 1}
        connection.execute(insert(review).values(**values, deadline=moment, created_at=moment))
        event = {"leaf": leaf, "review_id": "rev_1", "kind": "approved", "actor": actor, "created_at": moment}
        connection.execute(insert(review_event).values(**event))


def test_every_query_answers_and_pages(made: FastWorkspace) -> None:
    every = records(made)
    document = used(made)
    one = next(r for r in every if document in {item["document_id"] for item in r.run["context"]})
    approve(made, one.number, "key_reviewer")
    made.impact.withdraw(Scope(Of.DOCUMENT, document), "misprint", LOCAL_OWNER)
    list(made.impact.reask(Scope(Of.DOCUMENT, document)))
    given = {
        "answer": one.id,
        "document": document,
        "revision": f"{document}:2",
        "source": "registers",
        "entity": "Alpha Team",
        "prompt": "grounded-answer@1",
        "model": "extractive/sentence-selection-1",
        "principal": "key_one",
        "reviewer": "key_reviewer",
        "snapshot": "3",
        "kind": "document",
        "id": document,
        "since": "2026-01-01",
        "until": "2999-01-01",
    }
    for query in QUERIES.values():
        if query.name == "answers_by_policy":
            continue
        mine = {name: given[name] for name in (*query.required, *query.optional)}
        found = made.queries.run(query.name, mine, 200)
        assert found["next_cursor"] is None
        assert found["items"] or query.name == "reasked_as", query.name
        paged = all_pages(lambda cursor, name=query.name, mine=mine: made.queries.run(name, mine, 1, cursor))
        assert paged == found["items"], query.name
        if "until" in query.optional:
            assert made.queries.run(query.name, mine | {"until": "2020-01-01T00:00"}, 9)["items"] == []
    both = made.queries.run("answers_by_entity_and_prompt", {"entity": "alpha team", "prompt": "grounded-answer"}, 200)
    assert [item["id"] for item in both["items"]] == [
        r.id for r in records(made) if any("Alpha Team" in m["content"] for m in r.run["messages"][1:])
    ]
    approved = made.queries.run("approved_by", {"reviewer": "key_reviewer"}, 9)["items"]
    assert [(item["answer_id"], item["event"]) for item in approved] == [(one.id, "approved")]
    who = made.queries.run("answers_by_principal", {"principal": "key_one"}, 200)["items"]
    assert {item["id"] for item in who} == {r.id for r in records(made) if r.principal == "key_one"}


@pytest.mark.parametrize(
    ("name", "given", "error"),
    [
        ("no_such_query", {}, NotFound),
        ("answers_by_document", {}, InvalidInput),
        ("answers_by_document", {"document": "doc_none"}, NotFound),
        ("answers_by_document", {"document": "x", "prompt": "y"}, InvalidInput),
        ("answers_by_principal", {"principal": "x", "since": "yesterday"}, InvalidInput),
        ("answers_by_snapshot", {"snapshot": "one"}, InvalidInput),
        ("neighbours", {"kind": "planet", "id": "mars"}, InvalidInput),
        ("neighbours", {"kind": "answer", "id": "ans_none"}, NotFound),
        ("neighbours", {"kind": "revision", "id": "doc_none"}, InvalidInput),
        ("neighbours", {"kind": "snapshot", "id": "9 or 1=1"}, NotFound),
        ("answers_by_policy", {"policy": "7"}, NotFound),
    ],
)
def test_a_wrong_question_is_refused(
    made: FastWorkspace, name: str, given: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        made.queries.run(name, given, 10)


def test_the_graph_is_walked_both_ways(made: FastWorkspace) -> None:
    """From an answer every node is reached, and each edge that leads somewhere leads back."""
    number = records(made)[0].number
    approve(made, number, "key_reviewer")
    seen = {("answer", records(made)[0].id)}
    edges: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    waiting = list(seen)
    while waiting:
        kind, node = waiting.pop()
        for item in made.queries.run("neighbours", {"kind": kind, "id": node}, 1000)["items"]:
            other = (item["kind"], item["id"])
            edges.add(((kind, node), other))
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    assert {kind for kind, _ in seen} >= set(HOPS) - {"job", "policy"}
    assert len([node for kind, node in seen if kind == "answer"]) == 8
    ties = {(one[0], other[0]) for one, other in edges}
    for pair in (("answer", "principal"), ("answer", "prompt"), ("answer", "chunk"), ("document", "revision")):
        assert pair in ties
        assert pair[::-1] in ties
    assert all((other, one) in edges for one, other in edges if {one[0], other[0]} == {"answer", "revision"})


def test_answers_of_a_query_are_one_provenance_graph(made: FastWorkspace) -> None:
    approve(made, records(made)[0].number, "key_reviewer")
    document = used(made)
    text, rest = made.queries.export("answers_by_document", {"document": document}, 2, None, LOCAL_OWNER, "turtle")
    graph = Graph().parse(data=text, format="turtle")
    assert rest is not None
    assert len(set(graph.subjects(RDF.type, TERMS.Answer))) == 2
    assert len(set(graph.subjects(RDF.type, TERMS.Prompt))) == 1
    assert list(graph.subjects(RDF.type, PROV.Plan))
    both, _ = made.queries.export("answers_by_document", {"document": document}, 200, None, LOCAL_OWNER, "jsonld")
    other = Graph().parse(data=both, format="json-ld")
    quoted = [(c["start"], c["end"]) for r in records(made) for c in r.body["citations"]]
    assert len(list(other.subjects(RDF.type, PROV.Quotation))) <= len(quoted)
    answers = set(other.subjects(RDF.type, TERMS.Answer))
    assert sum(len(list(other.objects(one, PROV.qualifiedDerivation))) for one in answers) == sum(
        len(r.body["citations"]) for r in records(made) if f"urn:vouch:answer:{r.id}" in {str(a) for a in answers}
    )
    with pytest.raises(InvalidInput, match="lists no answers"):
        made.queries.export("withdrawn_documents", {}, 9, None, LOCAL_OWNER, "turtle")


def test_lineage_shows_what_is_left_of_what_was_erased(made: FastWorkspace) -> None:
    record = records(made)[0]
    before = made.lineage.lineage(record.id, LOCAL_OWNER)
    with made.database.write() as connection:
        connection.execute(delete(ledger_payload).where(ledger_payload.c.number == record.number))
    left = made.lineage.lineage(record.id, LOCAL_OWNER)
    assert left["erased"]
    assert not before["erased"]
    for name in ("snapshot", "model", "prompt"):
        assert {**left[name], "label": ""} == {**before[name], "label": ""} if name == "prompt" else True
    kept = ("document_id", "revision", "chunk_id", "text_sha256", "cited", "source")
    assert [{k: item[k] for k in kept} for item in left["context"]] == [
        {k: item[k] for k in kept} for item in before["context"]
    ]
    assert left["answer"]["question"] == ""
    for form in ("turtle", "jsonld", "dot"):
        assert record.id in made.lineage.text(record.id, LOCAL_OWNER, form)
    listed = made.queries.run("answers_by_document", {"document": before["context"][0]["document_id"]}, 200)["items"]
    assert {one["question"]: one["status"] for one in listed if one["id"] == record.id} == {"": "erased"}
    assert asdict(made.queries._queries.facts(record.number))["prompt"] == "grounded-answer@1"


def test_lineage_names_passages_whose_text_was_erased(made: FastWorkspace) -> None:
    """Chunks of a revision are gone: its document, number and hashes still show what an answer stood on."""
    record = records(made)[0]
    before = made.lineage.lineage(record.id, LOCAL_OWNER)["context"]
    lost = before[0]
    with made.database.write() as connection:
        mine = select(chunk.c.id).where(chunk.c.public_id == lost["chunk_id"])
        for table in (mention, relation):
            connection.execute(delete(table).where(table.c.chunk_id.in_(mine)))
        connection.execute(delete(chunk).where(chunk.c.public_id == lost["chunk_id"]))
    after = made.lineage.lineage(record.id, LOCAL_OWNER)["context"]
    assert [item["erased"] for item in after] == [True] + [False] * (len(before) - 1)
    assert after[0] == lost | {"erased": True, "entities": []}
    assert lost["chunk_id"] in made.lineage.text(record.id, LOCAL_OWNER, "turtle")
    read = made.queries.run("documents_of_answer", {"answer": record.id}, 99)["items"]
    assert {(one["document_id"], one["revision"]) for one in read} == {
        (item["document_id"], item["revision"]) for item in before
    }
    assert made.impact.report(Scope(Of.DOCUMENT, lost["document_id"]))["answers"]["count"]
