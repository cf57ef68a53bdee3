"""Values that sentences give to questions."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.workflows.values import ValueType, value_in


@pytest.mark.parametrize(
    ("sort", "question", "sentence", "value"),
    [
        ("number", "How many seats has the hall?", "The hall has 240 seats and 3 doors.", 240),
        ("number", "How many doors has the hall?", "The hall has 240 seats and 3 doors.", 3),
        ("number", "What is the ratio?", "The ratio is 0.75.", 0.75),
        ("date", "When does it end?", "It begins on 1 March 2026 and ends on 28 February 2028.", "2028-02-28"),
        ("date", "When was it signed?", "It was signed in March 2026.", "2026-03"),
        ("date", "When was it signed?", "It was signed by 12 people.", None),
        ("duration", "How long is the notice?", "The notice is 90 days.", {"value": 90, "unit": "days", "days": 90.0}),
        ("duration", "How long is it?", "It lasts two weeks.", {"value": 14, "unit": "days", "days": 14.0}),
        ("duration", "How long is it?", "It lasts 90 minutes.", {"value": 90, "unit": "minutes", "days": 0.0625}),
        ("duration", "How long is the term?", "The term is 2 years.", {"value": 24, "unit": "months", "days": 730.5}),
        ("money", "What is the fee?", "The fee is EUR 4,800 per month.", {"amount": 4800, "currency": "EUR"}),
        ("money", "What is the fee?", "The fee is CHF 900.", {"amount": 900, "currency": "CHF"}),
        ("money", "What is the fine?", "The fine is $1.5 million.", {"amount": 1500000, "currency": "USD"}),
        ("money", "What is the fine?", "The fine is 12 percent.", None),
        ("boolean", "Is smoking allowed?", "Smoking is not allowed.", False),
        ("boolean", "Is smoking allowed?", "Smoking is allowed on the roof.", True),
        ("text", "Who leads it?", "Ana Berg\nleads it.", "Ana Berg leads it."),
    ],
)
def test_a_value_is_read_from_its_sentence(sort: ValueType, question: str, sentence: str, value: Any) -> None:
    found = value_in([sentence], sort, question)
    assert (found[0] if found else None) == value


def test_of_several_sentences_the_one_that_speaks_of_the_question_counts() -> None:
    sentences = ["Invoices are due within 30 days.", "The notice period is 90 days."]
    for question, place in (("What is the notice period?", 1), ("When are invoices due?", 0)):
        found = value_in(sentences, "duration", question)
        assert found is not None
        assert found[1] == place
    assert value_in([], "text", "What?") is None
