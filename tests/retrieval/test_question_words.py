"""Words: how text becomes terms, and what a question asks for."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.analysis import content_terms, fold, plain, term_hash, terms
from retrieval.decompose import target_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("licence", "licenses"),
        ("organisation", "organizations"),
        ("José", "JOSE"),
        ("colours", "color"),
        ("analysed", "analyze"),
        ("requires", "required"),
    ],
)
def test_words_that_mean_the_same_are_one_term(one: str, other: str) -> None:
    assert terms(one) == terms(other)


def test_codes_are_kept_whole_and_in_parts() -> None:
    assert terms("BOD 22-01") == ["bod", "22", "01", "22-01"]
    assert "3.11" in terms("Python 3.11")
    assert content_terms("What is the licence of it?") == content_terms("licence")


def test_markup_is_not_searched() -> None:
    assert plain("see [the rules](https://example.org/secret) <b>now</b>").split() == ["see", "[the", "rules", "now"]
    assert plain("a < b") == "a < b"


def test_hashes_are_the_same_everywhere() -> None:
    assert term_hash("directive") == int.from_bytes(blake2b(b"directive", digest_size=8).digest(), "little")


@settings(deadline=None, max_examples=200, derandomize=True, database=None)
@given(st.text(max_size=60))
def test_folding_again_changes_nothing(text: str) -> None:
    assert terms(text) == terms(text.upper().lower()) or not text.isascii()
    assert all(term and term == term.strip() for term in terms(text))
    assert not text.isascii() or fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("question", "target"),
    [
        ("Which licence has the library that FastAPI uses?", "Which licence has the library "),
        ("Who leads the team which keeps the register?", "Who leads the team "),
        ("When did the firm whose founder was Ed Wood close?", "When did the firm "),
        ("Which licence has FastAPI?", "Which licence has FastAPI?"),
        ("Who is it?", "Who is it?"),
        ("What is that?", "What is that?"),
        ("Which is it, and which one?", "Which is it, and which one?"),
        ("", ""),
    ],
)
def test_what_is_asked_for(question: str, target: str) -> None:
    assert target_of(question) == target
    assert question.startswith(target)
