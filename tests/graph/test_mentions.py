"""What a passage names: examples for each shape, then promises that hold for any text, hostile ones too."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.mentions import about, find_mentions
from graph.names import name_key
from kernel.records import Mention, MentionKind

AMOUNT, CODE, DATE, NAME, TERM, TITLE = (
    MentionKind.AMOUNT,
    MentionKind.CODE,
    MentionKind.DATE,
    MentionKind.NAME,
    MentionKind.TERM,
    MentionKind.TITLE,
)
PIECES = (
    "BOD 22-01",
    "CVE-2020-1350",
    "4 May 2021",
    "Sept. 3, 2020",
    "1999-12-31",
    "$1,500.00",
    "15 %",
    "14 days",
    "The Bank of England’s",
    "José Álvarez",
    "O'Brien & Co.",
    "J. R. R. Tolkien",
    "`grace_period`",
    "“in force”",
    "snake_case",
    "camelCase",
    "two-factor",
    "In 2021",
    " ",
    "\n",
    ". ",
    ", ",
    "(",
    "]",
    "É",
    "ﬁ",
    "中文",
    "1.1.1",
)
HOSTILE = ("1.", "May ", "A & ", "A1-", "abc-", "a_", '"a', "`", "1 May ", "$1,", "(ABC)")


def found(text: str, kind: MentionKind) -> list[tuple[str, str]]:
    """Key and surface of the mentions of one kind."""
    return [(one.key, text[one.start : one.end]) for one in find_mentions(text) if one.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "key", "surface"),
    [
        ("See BOD 22-01.", CODE, "bod 22 01", "BOD 22-01"),
        ("NIST SP 800-63B applies", CODE, "sp 800 63b", "SP 800-63B"),
        ("patch CVE-2020-1350 now", CODE, "cve 2020 1350", "CVE-2020-1350"),
        ("certified to ISO 27001, then", CODE, "iso 27001", "ISO 27001"),
        ("needs Log4j to go", CODE, "log4j", "Log4j"),
        ("the Bank of England's rate", NAME, "bank of england", "Bank of England's"),
        ("the Bank of England’s rate", NAME, "bank of england", "Bank of England’s"),
        ("In 2021 NASA flew.", NAME, "nasa", "NASA"),
        ("The People Office pays.", NAME, "people office", "People Office"),
        ("by J. R. R. Tolkien alone", NAME, "j r r tolkien", "J. R. R. Tolkien"),
        ("met José Álvarez there", NAME, "jose alvarez", "José Álvarez"),
        ("set `max_retries` to 3", TERM, "max retries", "max_retries"),
        ("the “grace period” ends", TERM, "grace period", "grace period"),
        ('the "grace period" ends', TERM, "grace period", "grace period"),
        ("use two-factor-auth here", TERM, "two factor auth", "two-factor-auth"),
        ("within 14 days", AMOUNT, "amount 14 days", "14 days"),
        ("pays $1,500 a month", AMOUNT, "amount usd 1 500", "$1,500"),
        ("about €20 million", AMOUNT, "amount eur 20 million", "€20 million"),
    ],
)
def test_shapes(text: str, kind: MentionKind, key: str, surface: str) -> None:
    assert (key, surface) in found(text, kind)


@pytest.mark.parametrize(
    "text",
    ["4 May 2021", "4th May 2021", "May 4, 2021", "May 4th 2021", "2021-05-04"],
)
def test_one_day_has_one_key(text: str) -> None:
    assert found(f"It ended on {text}.", DATE) == [("date 2021", text), ("date 2021 05 04", text)]


@pytest.mark.parametrize("text", ["Sept. 3, 2020", "Sep 3, 2020", "September 3, 2020", "3 Sept 2020", "2020-09-03"])
def test_short_months(text: str) -> None:
    assert ("date 2020 09 03", text) in found(f"on {text}.", DATE)
    assert not found(f"on {text}.", CODE)


def test_months_and_years_alone() -> None:
    assert found("since May 2021", DATE) == [("date 2021", "May 2021"), ("date 2021 05", "May 2021")]
    assert found("since 1789", DATE) == [("date 1789", "1789")]
    assert not found("room 4021 or part 12-1999-7", DATE)


def test_percent_is_one_amount_however_written() -> None:
    assert {key for key, _ in found("15%, 15 %, 15 percent", AMOUNT)} == {"amount 15 percent"}


@pytest.mark.parametrize("text", ["The", "However, it is so.", "In 2021", "May 2021", "no names at all"])
def test_words_that_name_nothing(text: str) -> None:
    assert not [one for one in find_mentions(text) if one.kind in (NAME, CODE, TERM)]


def test_a_name_ends_at_a_full_stop() -> None:
    assert [key for key, _ in found("He saw Ed Wood. Time Warner paid.", NAME)] == ["ed wood", "time warner"]


def test_about_a_title_and_its_headings() -> None:
    kinds = {one.key: one.kind for one in about("Ed Wood (film)", ["Plot", "The", "Ed Wood (film)"])}
    assert kinds == {"ed wood film": TITLE, "ed wood": TITLE, "plot": TERM}


def check(text: str, one: Mention) -> None:
    assert 0 <= one.start < one.end <= len(text)
    assert one.key
    if one.kind in (NAME, CODE, TERM):
        assert name_key(text[one.start : one.end]) == one.key
    else:
        assert one.key.startswith(f"{one.kind} ")


@settings(deadline=None, max_examples=120, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=20).map("".join))
def test_every_span_reads_as_its_key(text: str) -> None:
    mentions = find_mentions(text)
    for one in mentions:
        check(text, one)
    places = [(one.start, one.end, one.key) for one in mentions]
    assert places == sorted(set(places))


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_length_alone(piece: str) -> None:
    """A megabyte of the worst that these patterns could meet; quadratic would take hours."""
    text = piece * (1_000_000 // len(piece))
    begin = time.process_time()
    find_mentions(text)
    assert time.process_time() - begin < 8
