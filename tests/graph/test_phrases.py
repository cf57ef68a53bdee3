"""Names in text without usable capitals: when that is so, and which runs of words stand for names there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.mentions import find_mentions, names_in
from graph.names import name_key
from graph.phrases import find_phrases, lacks_capitals
from kernel.records import MentionKind

NOTE = "the bank of tarnsee hired mira tann on 3 may 1990 to audit log4j and the pell-wick ledger."


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (NOTE, True),
        (NOTE.upper(), True),
        ("ann: the API is down\nbob: restart the API and see\nann: it is up again, thanks to you all", True),
        ("The Bank of Tarnsee hired Mira Tann.", False),
        ("It names nothing, but it opens with a capital all the same, as prose does however long it may go on.", False),
        ("", False),
        ("12 / 7", False),
    ],
)  # fmt: skip
def test_when_capitals_say_nothing(text: str, lacks: bool) -> None:
    assert lacks_capitals(text) == lacks


@pytest.mark.parametrize("text", [NOTE, NOTE.upper()])
def test_names_without_capitals(text: str) -> None:
    keys = {one.key for one in names_in(text)}
    assert {"bank of tarnsee", "mira tann", "log4j", "pell wick ledger", "date 1990 05 03"} <= keys
    assert not keys & {"hired", "bank", "may", "3 may", "the"}


def test_text_with_capitals_keeps_to_its_names() -> None:
    text = "The Bank of Tarnsee hired Mira Tann to check its old and dusty ledgers."
    assert names_in(text) == find_mentions(text)


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(st.lists(st.sampled_from([*NOTE.split(), "É", "İ", "ﬁ", "7", ".", "\n"]) | st.text(max_size=4), max_size=20))
def test_every_span_reads_as_its_key(words: list[str]) -> None:
    text = " ".join(words)
    for one in find_phrases(text):
        assert one.kind == MentionKind.TERM
        assert name_key(text[one.start : one.end]) == one.key
    mentions = names_in(text)
    assert len({(one.start, one.end, one.key) for one in mentions}) == len(mentions)


@pytest.mark.parametrize("piece", ["abc ", "of ", "a-", "x of ", "may 1", "é'"])
def test_time_grows_with_length_alone(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    begin = time.process_time()
    names_in(text)
    assert time.process_time() - begin < 12
