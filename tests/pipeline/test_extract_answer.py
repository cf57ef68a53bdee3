"""The generator without a model, over real passages: it answers from them, in their words, or says why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handbook import handbook

from api.assembly import Workspace
from kernel.ports import GenerationRequest
from kernel.records import Evidence, Generation, Question
from pipeline.extractive import ExtractiveGenerator, question_rarity, rank_sentences, unknown_names
from pipeline.grounding import ground
from retrieval.context import assemble

TWO_STEPS = {
    "web-kit.md": "# Webkit Lite\n\nWebkit Lite is a toolkit for building web pages. It uses Router Plus for the paths "
    "of requests. It is maintained by the Lisbon team.\n\nThis project is licensed under the MIT licence.\n",
    "router.md": "# Router Plus\n\nRouter Plus finds the handler of each request. Router Plus is released under the "
    "BSD-3-Clause licence.\n",
    "colours.md": "# Colours\n\nThe logo is blue on white. Printed matter uses the same blue.\n",
}


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models) as made:
        yield made


def evidence_for(site: Workspace, question: str) -> Evidence:
    asked = Question(question)
    found = site.searcher.search(question, site.snapshots.live(), asked.principal, 10)
    return assemble(found, 1, 1500)


def answer(question: str, evidence: Evidence) -> Generation:
    ids = tuple(passage.chunk_id for passage in evidence.passages)
    return ExtractiveGenerator().generate(GenerationRequest(question, (), evidence, ids))


@pytest.mark.parametrize(
    ("question", "says", "title"),
    [
        ("How many weeks of parental leave may an employee take?", "16 weeks", "Parental leave"),
        ("When are receipts due?", "within 30 days", "Expenses"),
        ("Which toner does the printer need?", "X12", "Printer guide"),
        ("Who leads the People Office?", "Marta Silva", "People Office"),
        ("What revokes BOD 19-02?", "This directive revokes BOD 19-02", "BOD 22-01"),
    ],
)
def test_answers_in_the_documents_words(site: Workspace, question: str, says: str, title: str) -> None:
    given: dict[str, Any] = site.answering.ask(Question(question))
    assert says in given["answer"]
    assert title in [citation["title"] for citation in given["citations"]]
    assert given["status"] == "answered"
    assert {sentence["support"]["label"] for sentence in given["sentences"]} == {"supported"}


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What does BOD 23-07 require?", "BOD 23-07"),
        ("What is the capital of Mongolia?", "Mongolia"),
        ("Does the policy mention CVE-2020-1350?", "CVE-2020-1350"),
    ],
)
def test_abstains_on_names_that_no_document_has(site: Workspace, question: str, names: str) -> None:
    evidence = evidence_for(site, question)
    said = answer(question, evidence)
    assert unknown_names(question, evidence) == [names]
    assert said.text == ""
    assert said.reason is not None
    assert names in said.reason


@pytest.mark.parametrize("question", ["how do whales sleep under water?", "what colour is the flag of the navy?"])
def test_abstains_on_other_matters(site: Workspace, question: str) -> None:
    said = answer(question, evidence_for(site, question))
    assert (said.text, bool(said.reason)) == ("", True)


def test_the_same_evidence_gives_the_same_answer(site: Workspace) -> None:
    for question in ("When are receipts due?", "Who leads the People Office?", "What does every claim need?"):
        evidence = evidence_for(site, question)
        assert answer(question, evidence) == answer(question, evidence)
        doubled = replace(evidence, rarity=dict(reversed(list(evidence.rarity.items()))))
        assert answer(question, evidence) == answer(question, doubled)


def test_a_list_is_given_whole(site: Workspace) -> None:
    given = site.answering.ask(Question("What does every claim for receipts need?"))
    for item in ("the receipt itself", "the name of the project", "the approval of a manager"):
        assert item in given["answer"]
    assert {sentence["support"]["label"] for sentence in given["sentences"]} == {"supported"}


def test_two_steps(models: Path) -> None:
    """The clause names a thing by what another document says of it; the licence asked for is that thing's own."""
    question = "Which licence has the library that Webkit Lite uses for the paths of requests?"
    with handbook(models, TWO_STEPS) as made:
        given = made.answering.ask(Question(question))
    assert "BSD-3-Clause" in given["answer"]
    assert "MIT" not in given["answer"]
    assert [citation["title"] for citation in given["citations"]] == ["Webkit Lite", "Router Plus"]
    assert {sentence["support"]["label"] for sentence in given["sentences"]} == {"supported"}


def test_every_sentence_is_supported_by_what_it_cites(site: Workspace) -> None:
    for question in ("What about parental leave?", "Tell me about receipts", "BOD 22-01", "People Office Lisbon"):
        evidence = evidence_for(site, question)
        found = ground(answer(question, evidence), evidence)
        assert {sentence.support.label for sentence in found.sentences} <= {"supported"}


def test_a_document_that_is_not_in_force_ranks_behind(site: Workspace) -> None:
    question = "Which toner does the printer need?"
    evidence = evidence_for(site, question)
    fresh = replace(evidence, passages=tuple(replace(one, notices=()) for one in evidence.passages))
    weights = ExtractiveGenerator()._weights
    best = [
        rank_sentences(question, one, question_rarity(question, one), weights)[0].score for one in (evidence, fresh)
    ]
    assert best[0] < best[1]


def test_no_passages_no_answer() -> None:
    said = answer("When are receipts due?", Evidence(1, ()))
    assert (said.text, bool(said.reason)) == ("", True)
