"""What a passage is about where no title says so: its subject, its headings, its speakers, its rows."""

from __future__ import annotations

import time

import pytest

from graph.mentions import REACH, find_mentions, subjects, title_of
from graph.names import name_key
from graph.subjects import headings_in, speakers_in, subjects_of
from kernel.records import Mention, MentionKind


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The Starling Charter is a rule of the board.", "starling charter"),
        ("the starling charter is a rule of the board.", "starling charter"),
        ("Mira Olga Tann (born 3 May 1961) was a painter.", "mira tann"),
        ("mira olga tann( 1961 – 2004) was a painter.", "mira olga tann"),
        ("Mira Olga Tann (born 1961) was a painter.", "m o tann"),
        ('Sir Karel "Kaz" Venn, OBE (1900 – 1980) was a pilot.', "kaz venn"),
        ("Oskar Lind, known professionally as Blue Door, is a singer.", "blue door"),
        ("Tarn Water or Tarnsee is a lake.", "tarnsee"),
        ("Gone by Noon! is a 1931 film.", "gone by noon"),
        ("from the end of the pier may refer to:", "from the end of the pier"),
        ("from: ann\nsubject: new badge rules\n\nhello", "new badge rules"),
        ("Pellworth: A Life is a novel.", "pellworth"),
    ],
)
def test_the_subject_of_the_opening(text: str, name: str) -> None:
    assert name in [name_key(one) for one in subjects_of(text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "However, it was late.",
        "It is a rule.",
        "There is a rule.",
        "he was the first of them",
        "In 1990 there was a fire.",
        "After the war was over, she left.",
        "the film was released in may",
        "Born in Lund, she was a painter.",
        "This directive is the second one.",
        "costs rose by 4 percent",
    ],
)
def test_openings_that_do_not_say(text: str) -> None:
    assert subjects_of(text) == []


def about(text: str, rows: tuple[str, ...] = ()) -> list[str]:
    found = subjects(text, find_mentions(text), rows)
    assert all(one == Mention(one.key, MentionKind.TITLE, 0, 0) for one in found)
    return [one.key for one in found]


def test_a_name_that_opens_a_passage_is_its_subject() -> None:
    assert about("The Starling Board meets on Mondays.") == ["starling board"]
    assert about("Mondays are busy.") == []
    assert title_of("The Starling Board meets on Mondays.") == "Starling Board"
    assert title_of("nothing is said here at all, is it") == ""


def test_each_paragraph_has_a_subject() -> None:
    text = "it is steep.\n\nsalmon river is a river in idaho.\n\nThe Starling Board meets there."
    assert about(text) == ["salmon river", "starling board"]


@pytest.mark.parametrize(
    ("before", "keys"),
    [
        ("", []),
        ("salmon river is a river in idaho. ", ["salmon river"]),
        ("tarn peak is a hill.\n\nsalmon river is a river in idaho. ", ["salmon river"]),
        ("salmon river is a river in idaho.\n\n", []),
        ("travel\n\nask first.\n\nwhat it costs\n\nfour. ", ["what it costs"]),
        ("travel\n\n" + "ask first. " * REACH, []),
    ],
)
def test_a_passage_goes_on_with_what_the_text_before_it_is_about(before: str, keys: list[str]) -> None:
    found = subjects("it flows west past mills.", [], [], before[-REACH:])
    assert [one.key for one in found] == keys


def test_headings_speakers_and_rows() -> None:
    assert headings_in("travel rules\n\nask first.\n\n- one\n\nwhat it costs\n\nfour.") == [
        "travel rules",
        "what it costs",
    ]
    assert headings_in("a sentence that ends.\n\nfield: value\n\nx") == []
    assert speakers_in("ann: hi\nbob: hello\nann: bye") == ["ann", "bob"]
    assert speakers_in("[10:02] ann lee: hi\nsomething") == ["ann lee"]
    assert speakers_in("<v Ann Lee>hi") == ["Ann Lee"]
    assert speakers_in("note: hi\nterm: 4 days") == []
    assert about("id: 7 | town: lund", ("Tarn Group", "7", "the")) == ["tarn group"]


@pytest.mark.parametrize("piece", ["(", "a ", "A, ", "((a)", '" ', "or ", "A. ", "ab: ", "\n\nab", "[1:00"])
def test_time_grows_with_length_alone(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    begin = time.process_time()
    subjects_of(text), headings_in(text), speakers_in(text)
    assert time.process_time() - begin < 4
