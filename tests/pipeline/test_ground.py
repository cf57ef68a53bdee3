"""Grounding: quotes that are exact slices, citations that exist, and labels that a reader would give."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.ids import sha256
from kernel.records import (
    AnswerStatus,
    Evidence,
    Generation,
    Grounded,
    Notice,
    Passage,
    SentenceScore,
    Support,
)
from pipeline.grounding import Checks, ground

LEAVE = "An employee may take 16 weeks of parental leave.", "The People Office approves each request."
RECEIPTS = "Receipts are due within 30 days of the journey.", "Alcohol is not refunded to employees."


def passage(number: int, *sentences: str, start: int = 1000, **changes: object) -> Passage:
    """A passage of these sentences that begins at character `start` of its revision."""
    text, spans = "", []
    for sentence in sentences:
        begin = len(text) + (1 if text else 0)
        text = f"{text} {sentence}" if text else sentence
        spans.append(SentenceScore(begin, len(text), 0.5))
    values: dict[str, object] = {
        "chunk_id": f"chk_{number}",
        "document_id": f"doc_{number}",
        "external_id": None,
        "revision": 3,
        "source": "s",
        "title": f"Rules {number}",
        "uri": "file:///x",
        "heading": (),
        "text": text,
        "start": start,
        "end": start + len(text),
        "page": 2,
        "score": 1.0,
        "sentences": tuple(spans),
    }
    return Passage(**(values | changes))  # type: ignore[arg-type]


EVIDENCE = Evidence(1, (passage(1, *LEAVE), passage(2, *RECEIPTS)))


def labels(grounded: Grounded) -> list[str]:
    return [sentence.support.label for sentence in grounded.sentences]


def test_an_exact_quote() -> None:
    found = ground(Generation(f"{LEAVE[0]} [c1]"), EVIDENCE)
    (citation,) = found.citations
    assert (found.status, found.answer) == (AnswerStatus.ANSWERED, LEAVE[0])
    assert found.sentences[0].support == Support("supported", 1.0)
    assert 0 < found.confidence < 1
    assert (citation.quote, citation.start, citation.end) == (LEAVE[0], 1000, 1000 + len(LEAVE[0]))
    assert (citation.chunk_id, citation.revision, citation.page) == ("chk_1", 3, 2)
    assert citation.quote_sha256 == sha256(LEAVE[0])
    assert found.sentences[0].citations == ("c1",)


def test_the_quote_is_the_sentence_that_carries_the_claim() -> None:
    found = ground(Generation("Each request is approved by the People Office [c1]."), EVIDENCE)
    assert [citation.quote for citation in found.citations] == [LEAVE[1]]


@pytest.mark.parametrize("mark", ["", " [c3]", " [c0]", " [c9999]"])
def test_a_citation_of_what_is_not_there_is_dropped(mark: str) -> None:
    found = ground(Generation(f"{RECEIPTS[0]} [c2] {LEAVE[0]}{mark}"), EVIDENCE)
    assert labels(found) == ["supported", "not_found"]
    assert found.sentences[1].citations == ()
    assert found.status == AnswerStatus.PARTIAL
    assert found.reason is not None
    assert "1 of 2" in found.reason
    assert found.confidence < ground(Generation(f"{RECEIPTS[0]} [c2]"), EVIDENCE).confidence


@pytest.mark.parametrize(
    ("claim", "mark", "label"),
    [
        ("An employee may take 12 weeks of parental leave.", "c1", "contradicted"),
        ("An employee may not take 16 weeks of parental leave.", "c1", "contradicted"),
        ("Alcohol is refunded to employees.", "c2", "contradicted"),
        ("An employee may take 16 weeks of parental leave.", "c1", "supported"),
        ("Employees may take parental leave for 16 weeks.", "c1", "supported"),
        ("Marta Silva owns a sailing boat in Porto.", "c1", "not_found"),
        ("An employee may take 16 weeks of parental leave.", "c2", "not_found"),
    ],
)
def test_labels(claim: str, mark: str, label: str) -> None:
    found = ground(Generation(f"{claim} [{mark}] {RECEIPTS[0]} [c2]"), EVIDENCE)
    assert labels(found) == [label, "supported"]


@pytest.mark.parametrize(
    "reply", ["", "  ", "NOT FOUND", "not found.", "Boats are blue. [c1]", "No mark at all.", "[c1] [c2]", "..."]
)
def test_abstentions(reply: str) -> None:
    found = ground(Generation(reply), EVIDENCE)
    assert (found.status, found.answer, found.confidence) == (AnswerStatus.ABSTAINED, "", 0.0)
    assert found.reason
    assert found.sentences == found.citations == ()


def test_a_sentence_is_supported_from_the_threshold_on() -> None:
    generation = Generation(f"Employees may take parental leave for 16 weeks. [c1] {RECEIPTS[0]} [c2]")
    score = ground(generation, EVIDENCE).sentences[0].support.score
    assert 0 < score < 1
    for threshold, label in ((score, "supported"), (min(score + 0.001, 1.0), "not_found")):
        found = ground(generation, EVIDENCE, Checks(supported=threshold))
        assert (found.sentences[0].support.label == "supported") == (label == "supported")


def test_an_abstention_keeps_its_reason() -> None:
    assert ground(Generation("", "No such thing."), EVIDENCE).reason == "No such thing."


def test_documents_that_disagree() -> None:
    other = "An employee may take 20 weeks of parental leave."
    found = ground(Generation(f"{LEAVE[0]} [c1]"), Evidence(1, (passage(1, LEAVE[0]), passage(2, other))))
    (conflict,) = found.conflicts
    assert found.status == AnswerStatus.PARTIAL
    quotes = {citation.id: citation.quote for citation in found.citations}
    assert {quotes[one] for one in conflict.citations} == {LEAVE[0], other}
    assert "16" in conflict.reason
    assert "20" in conflict.reason


def test_one_document_does_not_disagree_with_itself() -> None:
    two = passage(2, "An employee may take 20 weeks of parental leave.", document_id="doc_1")
    assert not ground(Generation(f"{LEAVE[0]} [c1]"), Evidence(1, (passage(1, *LEAVE), two))).conflicts


def test_notices_of_what_is_cited_come_along() -> None:
    notice = Notice("doc_1", "revoked", "bod 22 01", "chk_2", "revokes")
    evidence = Evidence(1, (passage(1, *LEAVE, notices=(notice,)), passage(2, *RECEIPTS)))
    assert ground(Generation(f"{LEAVE[0]} [c1]"), evidence).notices == (notice,)
    assert ground(Generation(f"{RECEIPTS[0]} [c2]"), evidence).notices == ()


WORDS = st.sampled_from(
    [
        "leave",
        "not",
        "16",
        "30.5",
        "Receipts",
        "BOD 22-01",
        "e.g.",
        "Dr.",
        "É",
        "**bold**",
        "`x_y`",
        "|",
        "(",
        "\n",
        "1.",
    ]
)
text = st.lists(WORDS | st.text(max_size=5), min_size=1, max_size=8).map(" ".join)
mark = st.sampled_from([" [c1]", " [c2][c1]", " [c3] [c9]", "[c2].", " ", " [c", "]", " [c01]"])
reply = st.lists(st.tuples(text, st.sampled_from([".", "!", "", "?\n"]), mark).map("".join), max_size=5).map(" ".join)


@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@given(st.lists(st.lists(text, min_size=1, max_size=3), max_size=3), reply, st.booleans())
def test_every_quote_and_sentence_is_exact(sentences: list[list[str]], said: str, spans: bool) -> None:
    """Whatever a model says of whatever passages: spans are true, ids exist, numbers are in range."""
    passages = tuple(passage(n, *some, start=17 * n) for n, some in enumerate(sentences, 1))
    if not spans:
        passages = tuple(passage(n, " ".join(some), start=17 * n, sentences=()) for n, some in enumerate(sentences, 1))
    found = ground(Generation(said), Evidence(1, passages))
    by_chunk = {one.chunk_id: one for one in passages}
    for citation in found.citations:
        source = by_chunk[citation.chunk_id]
        assert source.start <= citation.start <= citation.end <= source.end
        assert citation.quote == source.text[citation.start - source.start : citation.end - source.start]
        assert citation.quote_sha256 == sha256(citation.quote)
    ids = [citation.id for citation in found.citations]
    assert ids == [f"c{number}" for number in range(1, len(ids) + 1)]
    for sentence in found.sentences:
        assert found.answer[sentence.start : sentence.end] == sentence.text
        assert set(sentence.citations) <= set(ids)
        assert bool(sentence.citations) or sentence.support.label == "not_found"
        assert 0 <= sentence.support.score <= 1
    assert " ".join(sentence.text for sentence in found.sentences) == found.answer
    assert (found.status == AnswerStatus.ABSTAINED) == (found.answer == "")
    assert 0 <= found.confidence <= 1
