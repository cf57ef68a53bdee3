"""How sure an answer says it is: high where it is plainly right, low where the documents do not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from handbook import DOCUMENTS, far_apart, handbook
from hypothesis import given
from hypothesis import strategies as st

from api.assembly import Workspace
from kernel.errors import IntegrityFailure
from kernel.records import Evidence, Generation, Question
from pipeline.calibration import ANSWER_FEATURES, read_confidence, shipped_confidence
from pipeline.grounding import ground

RIGHT = {
    "How many weeks of parental leave may an employee take?": "16 weeks",
    "Who approves parental leave requests?": "People Office",
    "Who leads the People Office?": "Marta Silva",
    "When are receipts due?": "30 days",
    "Within how many days must agencies remediate vulnerabilities listed in the catalog?": "14 days",
    "What does every claim need?": "the receipt itself",
    "When was the first version of Webkit Lite written?": "2014",
    "Who repairs broken clocks?": "A carpenter",
}
ELSEWHERE = (
    "Who directed The Last Emperor?",
    "Which enzyme unwinds DNA before it is copied?",
    "When was the treaty of Westphalia signed?",
    "How many moons does Neptune have?",
    "Does smoking raise the risk of a stroke?",
)
NEAR = {
    "How many weeks of sick leave may an employee take?": "How many weeks of parental leave may an employee take?",
    "When are invoices due?": "When are receipts due?",
    "Who repairs broken laptops?": "Who repairs broken clocks?",
}
spreads = st.lists(st.floats(-4, 4), min_size=len(ANSWER_FEATURES), max_size=len(ANSWER_FEATURES))


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models, {**DOCUMENTS, **far_apart()}) as made:
        yield made


def evidence_for(site: Workspace, question: str) -> Evidence:
    return site.answering.compose(site.answering.pin(Question(question))).evidence


def insisted(site: Workspace, question: str) -> float:
    """The confidence of a generator that never abstains, but quotes the sentence nearest to the question."""
    evidence = evidence_for(site, question)
    number, sentence = max(
        ((number, one) for number, passage in enumerate(evidence.passages) for one in passage.sentences),
        key=lambda pair: pair[1].score,
    )
    quote = evidence.passages[number].text[sentence.start : sentence.end]
    return ground(Generation(f"{quote} [c{number + 1}]"), evidence, question=question).confidence


def test_plainly_right_answers_are_sure_and_answers_from_the_wrong_corpus_are_not(site: Workspace) -> None:
    sure = {}
    for question, fact in RIGHT.items():
        answer = site.answering.ask(Question(question))
        assert fact in answer["answer"]
        sure[question] = answer["confidence"]
    wrong = {question: insisted(site, question) for question in ELSEWHERE}
    assert min(sure.values()) > 0.7, sure
    assert max(wrong.values()) < 0.3, wrong


def test_to_be_shown_fewer_passages_makes_nothing_surer(site: Workspace) -> None:
    """What else was considered counts as a rival though it was not shown."""
    for question in RIGHT:
        one, ten = (site.answering.ask(Question(question, top_k=top_k))["confidence"] for top_k in (1, 10))
        assert one <= ten + 0.01, question


def test_a_question_about_something_near_is_less_sure_by_far(site: Workspace) -> None:
    for near, told in NEAR.items():
        assert insisted(site, near) < insisted(site, told) - 0.3, near


@given(spreads, st.integers(0, len(ANSWER_FEATURES) - 1), st.floats(0, 4))
def test_more_of_a_sign_never_counts_the_other_way(at: list[float], which: int, more: float) -> None:
    model = shipped_confidence()
    before = np.array(at) * model.spread + model.mean
    after = before.copy()
    after[which] += more * model.spread[which] * list(ANSWER_FEATURES.values())[which]
    assert 0 < model.chance(before) <= model.chance(after) < 1


def test_weights_of_other_features_are_refused() -> None:
    kept = {"features": list(ANSWER_FEATURES), "mean": [0.0], "spread": [1.0], "weights": [[0.0]], "bias": 0.0}
    with pytest.raises(IntegrityFailure, match="each stretch"):
        read_confidence(kept, "")
    with pytest.raises(IntegrityFailure, match="other features"):
        read_confidence(kept | {"features": ["coverage"]}, "")
