"""Searching whole: what comes first, why it came up, how its document stands, and what fits into a context."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fast_parts import InlineParser, fast_workspace
from handbook import DOCUMENTS, STARLING, TERMS, far_apart, fill, handbook

from api.assembly import Workspace
from kernel.records import LOCAL_OWNER, Passage, Principal, Question, Role
from retrieval.analysis import content_terms
from retrieval.candidates import find_candidates, search_words
from retrieval.context import assemble
from retrieval.features import FIRST
from retrieval.pairs import SECOND
from retrieval.paths import entities_of
from retrieval.question import Asked
from retrieval.search import Found

ROOT = Path(__file__).parents[2]
STAFF = Principal("key_staff", Role.APP)
BOARD = Principal("key_board", Role.APP, frozenset({"board"}))
SMALL = {
    "leave.md": "# Parental leave\n\n## Length\n\nEvery employee may take 26 weeks of parental leave after six months "
    "of service.\n\n## Request\n\nA request for parental leave is sent to the People Office eight weeks before it "
    "begins.\n",
    "people.md": "# People Office\n\nThe People Office is led by Marta Lindqvist, who answers every request within ten "
    "days.\n",
    "records.jsonl": '{"id": "r1", "title": "Badges", "text": "A lost badge is reported to the Front Desk and costs '
    '15 euros."}\n{"id": "r2", "title": "Parking", "text": "The car park of the Oslo site closes at 22:00."}\n',
}


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models) as made:
        yield made


def search(made: Workspace, question: str, who: Principal = LOCAL_OWNER, top_k: int = 10) -> Found:
    return made.searcher.search(question, made.snapshots.live(), who, top_k, explain=True)


def titles(found: Found) -> list[str]:
    return [passage.title for passage in found.passages]


@pytest.mark.parametrize(
    "question",
    [
        "How many weeks of parental leave may an employee take?",
        "What does a lost badge cost?",
        "When does the car park close?",
    ],
)
def test_a_passage_that_is_merely_named_never_comes_first(models: Path, question: str) -> None:
    """The passage with the whole answer names the People Office; that does not lift the People Office above it."""
    with handbook(models, SMALL) as made:
        first = search(made, question).passages[0]
    assert first.title == {"How": "Parental leave", "What": "Badges", "When": "Parking"}[question.split()[0]]


def test_the_second_hop_is_found(models: Path) -> None:
    """What the question asks for lies in a document that shares no word with it and is only named by another."""
    question = "Under what licence may one copy the library that Webkit Lite employs for routing?"
    assert not set(content_terms(question)) & set(content_terms(f"Starling {' '.join(STARLING.values())}"))
    with handbook(models, far_apart()) as made:
        found = search(made, question, top_k=5)
    assert "employs Starling" in found.passages[0].text
    hops = [passage for passage in found.passages if passage.title == "Starling"]
    hop = next((passage for passage in hops if TERMS in passage.text), None)
    assert hop is not None
    assert hop.signals["named_by_anchor"] > 0


def test_a_bridge_leads_to_what_no_signal_finds(models: Path) -> None:
    """With next to no room for what the other signals find, the named document is among the candidates still."""
    question = "Under what licence may one copy the library that Webkit Lite employs for routing?"
    with handbook(models, far_apart()) as made:
        view, dense = made.library.view(made.snapshots.live(), LOCAL_OWNER)
        wording = search_words(view, question, 1)
        asked = Asked(question, made.embedder.embed([question])[0], wording.entities)
        places = find_candidates(view, dense, asked, wording, 1).places
        starling = view.index.entity("starling")
        titles = {place for place in places.tolist() if starling in entities_of(view, place)}
        named = {
            passage.title for passage, _ in made.corpus.passages(view.index.chunk_id[sorted(titles)].tolist()).values()
        }
    assert len(places) < 20
    assert "Starling" in named


def test_an_anchor_that_holds_everything_leads_nowhere(models: Path) -> None:
    """The direct answer names the People Office, and is all that was asked for: that gives the office no credit."""
    with handbook(models, SMALL) as made:
        found = search(made, "How many weeks of parental leave may an employee take?")
    office = next(passage for passage in found.passages if passage.title == "People Office")
    assert "People Office" in found.passages[0].text
    assert office.signals["named_by_anchor"] == 0


def test_each_step_of_a_path_is_there(site: Workspace) -> None:
    """Every chunk of a path names the entities beside it, and the path ends at its passage."""
    seen = 0
    for question in ("Who leads the office that approves parental leave?", "Is BOD 19-02 in force?", "Lisbon", "toner"):
        found = search(site, question)
        index = found.view.index
        places = {index.chunk_name(place): place for place in range(len(index))}
        for passage in found.passages:
            entity = None
            for step in passage.path:
                if step.entity is not None:
                    number = index.entity(step.entity)
                    assert number is not None
                    assert entity is None or number in entities_of(found.view, entity)
                    waiting = number
                else:
                    assert step.chunk_id is not None
                    entity = places[step.chunk_id]
                    assert waiting in entities_of(found.view, entity)
                    seen += 1
            assert not passage.path or passage.path[-1].chunk_id == passage.chunk_id
            assert not passage.path or index.entity(str(passage.path[0].entity)) in set(index_numbers(found))
    assert seen >= 6


def index_numbers(found: Found) -> list[int | None]:
    return [found.view.index.entity(name) for name in found.entities]


def kinds(found: Found, title: str) -> dict[str, str | None]:
    passage = next(one for one in found.passages if one.title == title)
    return {notice.kind: notice.by for notice in passage.notices}


def test_how_documents_stand(site: Workspace) -> None:
    found = search(site, "vulnerabilities printer leave")
    assert kinds(found, "BOD 19-02") == {"revoked": "bod 22 01"}
    assert kinds(found, "Printer guide") == {"outdated": None}
    assert kinds(found, "BOD 22-01") == kinds(found, "Parental leave") == {}
    old = next(one for one in found.passages if one.title == "BOD 19-02")
    (notice,) = old.notices
    assert notice.quote in DOCUMENTS["bod-22-01.md"]
    assert "revokes BOD 19-02" in notice.quote
    assert notice.document_id == old.document_id
    assert notice.chunk_id != old.chunk_id


def test_a_notice_needs_a_visible_document(models: Path) -> None:
    """Who may not see the document that supersedes another is not told of it, nor is one who asks as of before."""
    record = {
        "id": "new",
        "title": "Travel Policy 2024",
        "text": "This policy supersedes Travel Policy 2019.",
        "groups": ["board"],
    }
    old = {"id": "old", "title": "Travel Policy 2019", "text": "Every journey by train is paid in full."}
    with handbook(models, {"a.jsonl": json.dumps(old) + "\n" + json.dumps(record)}) as made:
        assert kinds(search(made, "journey by train", BOARD), old["title"]) == {"superseded": "travel policy 2024"}
        assert kinds(search(made, "journey by train"), old["title"]) == {"superseded": "travel policy 2024"}
        hidden = search(made, "journey by train", STAFF)
        assert titles(hidden) == [old["title"]]
        assert kinds(hidden, old["title"]) == {}


def test_near_duplicates_are_marked_and_left_out(models: Path) -> None:
    text = " ".join(f"Rule {n} says that sector {n * 7} of the harbour closes at {n % 24} o'clock." for n in range(8))
    documents = {
        "a.txt": f"{text}\n",
        "b.txt": text.replace("Rule 3", "Rule  3") + "\n",
        "c.txt": "Sector 99 is open.\n",
    }
    with handbook(models, documents) as made:
        found = search(made, "When does sector 7 of the harbour close?")
        evidence = assemble(found, 1, 1500)
    by_title: dict[str, Passage] = {passage.title: passage for passage in found.passages}
    first, second = sorted((by_title["a"], by_title["b"]), key=found.passages.index)
    assert (first.duplicate_of, second.duplicate_of) == (None, first.chunk_id)
    assert by_title["c"].duplicate_of is None
    assert second.chunk_id not in {passage.chunk_id for passage in evidence.passages}
    assert {first.chunk_id, by_title["c"].chunk_id} <= {passage.chunk_id for passage in evidence.passages}


def test_the_context_keeps_to_its_budget(site: Workspace) -> None:
    found = search(site, "Who leads the People Office?")
    sizes = {budget: assemble(found, 1, budget) for budget in (1, 60, 120, 10_000)}
    assert [len(one.passages) for one in sizes.values()] == sorted(len(one.passages) for one in sizes.values())
    assert len(sizes[1].passages) == 1
    assert len(sizes[10_000].passages) == len(found.passages)
    for budget, evidence in sizes.items():
        assert len(evidence.passages) == 1 or evidence.tokens <= budget
        standing = [any(n.kind != "amended" for n in passage.notices) for passage in evidence.passages]
        assert standing == sorted(standing)


@pytest.mark.parametrize("question", ["?", "the", "…", "É", "zzzz qqqq", "a " * 500, "NOT", "22"])
def test_numbers_stay_finite(tmp_path: Path, question: str) -> None:
    """With nothing to go on: no terms, no entities, one chunk or none."""
    with fast_workspace(tmp_path / "home") as made:
        assert search(made, question).passages == ()
        fill(tmp_path / "docs", {"one.txt": "Nothing."})
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "one")
        (passage,) = search(made, question).passages
    assert set(passage.signals) == {*FIRST, *SECOND}
    assert all(math.isfinite(value) for value in (*passage.signals.values(), passage.score))


def test_signals_are_for_those_who_ask(site: Workspace) -> None:
    plain = site.answering.retrieve(Question("receipts"))
    explained = site.answering.retrieve(Question("receipts"), explain=True)
    assert all(not passage.signals for passage in plain.passages)
    assert [replace(one, signals={}, contributions={}) for one in explained.passages] == list(plain.passages)
    assert [one.score for one in plain.passages] == sorted((one.score for one in plain.passages), reverse=True)
    assert len(site.answering.retrieve(Question("receipts", top_k=2)).passages) == 2


CHILD = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from fast_parts import fast_workspace
from kernel.records import LOCAL_OWNER
with fast_workspace(Path(sys.argv[1])) as made:
    for question in sys.argv[2:]:
        found = made.searcher.search(question, made.snapshots.live(), LOCAL_OWNER, 10, explain=True)
        print(json.dumps([[asdict(one) for one in found.passages], found.candidates, found.entities, found.rarity]))
"""


@pytest.mark.slow
def test_every_process_ranks_alike(tmp_path: Path) -> None:
    """Byte for byte, whatever the order in which this process's sets and dictionaries hash."""
    fill(tmp_path / "docs", DOCUMENTS)
    with fast_workspace(tmp_path / "home") as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
    questions = (
        "Who leads the office that approves parental leave?",
        "Is BOD 19-02 in force?",
        "within 14 days of May",
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "home"), *questions],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    outputs = [child.communicate(timeout=60)[0] for child in running]
    assert [child.returncode for child in running] == [0, 0]
    assert outputs[0].count(b"\n") == len(questions)
    assert outputs[0] == outputs[1]
