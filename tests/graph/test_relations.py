"""Relations: what running text and structure state, who does what to whom, and where it says so."""

from __future__ import annotations

import time

import pytest

from graph.mentions import find_mentions
from graph.names import name_key
from graph.relations import find_relations, initials, structural_relations, title_aliases
from kernel.records import ChunkDraft, Fact, Link, Relation


def stated(text: str, document: str = "Travel Policy") -> list[tuple[str, str, str]]:
    """Subject, predicate, object of what `text` states; every span must lie in it and not be empty."""
    found = find_relations(text, find_mentions(text), name_key(document))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    return [(one.subject, one.predicate, one.object) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BOD 22-01 revokes BOD 19-02.", ("bod 22 01", "revokes", "bod 19 02")),
        ("BOD 22-01 hereby rescinds BOD 19-02.", ("bod 22 01", "revokes", "bod 19 02")),
        ("BOD 22-01 replaces BOD 19-02.", ("bod 22 01", "supersedes", "bod 19 02")),
        ("BOD 22-01 amends BOD 19-02.", ("bod 22 01", "amends", "bod 19 02")),
        ("BOD 19-02 was superseded by BOD 22-01.", ("bod 22 01", "supersedes", "bod 19 02")),
        ("BOD 19-02 has been revoked by BOD 22-01.", ("bod 22 01", "revokes", "bod 19 02")),
        ("BOD 19-02 is hereby amended by BOD 22-01.", ("bod 22 01", "amends", "bod 19 02")),
        ("BOD 19-02 is revoked.", ("bod 19 02", "has status", "revoked")),
        ("This directive supersedes BOD 19-02.", ("travel policy", "supersedes", "bod 19 02")),
        ("These guidelines replace SP 800-63A.", ("travel policy", "supersedes", "sp 800 63a")),
        ("It supersedes BOD 19-02.", ("travel policy", "supersedes", "bod 19 02")),
        ("This page is outdated.", ("travel policy", "has status", "outdated")),
        ("This policy is no longer in force.", ("travel policy", "has status", "outdated")),
        ("HR is part of Beta Office.", ("hr", "part of", "beta office")),
        ("The Federal Acquisition Regulation (FAR) applies.", ("federal acquisition regulation", "alias", "far")),
    ],
)
def test_one_statement(text: str, expected: tuple[str, str, str]) -> None:
    assert stated(text) == [expected]


def test_a_list_of_objects() -> None:
    assert stated("This directive supersedes BOD 19-02 and ED 20-03.") == [
        ("travel policy", "supersedes", "bod 19 02"),
        ("travel policy", "supersedes", "ed 20 03"),
    ]


def test_of_nested_names_the_outer_one_is_meant() -> None:
    """To amend a section of a directive's annex is not to amend what the annex names."""
    assert stated("BOD 22-01 revokes Section 4 of ED 21-01.") == [("bod 22 01", "revokes", "section 4 of ed 21 01")]


@pytest.mark.parametrize(
    "text",
    [
        "BOD 22-01 is in force. BOD 19-02 too.",
        "This directive requires that BOD 19-02 stays.",
        "Nothing revokes, in itself.",
        "Revoked keys (OLD) are deleted.",
        "SP 800-63A, which is amended by SP 800-63B, stays.",
    ],
)
def test_nothing_is_read_into(text: str) -> None:
    assert stated(text) == []


def test_what_an_exception_names_is_no_object() -> None:
    text = "This policy replaces SP 800-63A, unless SP 800-63B applies."
    assert stated(text) == [("travel policy", "supersedes", "sp 800 63a")]


def test_an_acronym_must_fit() -> None:
    assert not stated("The Bank of England (XYZ) closed.")
    assert stated("Cybersecurity and Infrastructure Security Agency (CISA) says") == [
        ("cybersecurity and infrastructure security agency", "alias", "cisa")
    ]


def draft(text: str, start: int = 100) -> ChunkDraft:
    return ChunkDraft(0, start, start + len(text), text)


def test_front_matter_says_outdated() -> None:
    text = "outdated: true\nowner: People Office"
    facts = [
        Fact("Travel Policy", "outdated", "true", 100, 114),
        Fact("Travel Policy", "owner", "People Office", 115, 135),
    ]
    assert structural_relations(draft(text), "travel policy", facts, []) == [
        Relation("travel policy", "has status", "outdated", 0, 14),
        Relation("travel policy", "owner", "people office", 15, 35),
    ]
    assert structural_relations(draft(text, start=101), "travel policy", facts[:1], []) == []


def test_an_outdated_flag_that_says_no() -> None:
    facts = [Fact("Travel Policy", "outdated", "false", 100, 115)]
    (one,) = structural_relations(draft("outdated: false"), "travel policy", facts, [])
    assert one.predicate != "has status"


def test_links_become_relations_of_the_document() -> None:
    text = "See the Harbour Register and Travel Policy."
    links = [Link(108, 124, "register.md"), Link(129, 142, "#"), Link(200, 204, "elsewhere")]
    assert structural_relations(draft(text), "travel policy", [], links) == [
        Relation("travel policy", "links to", "harbour register", 8, 24)
    ]


def test_a_title_has_other_names() -> None:
    title = "Binding Operational Directive 19-02"
    assert initials(title) == ["BOD 19-02"]
    found = title_aliases(title, ["bod-19-02", title, "old_name"])
    assert [(one.subject, one.predicate, one.object) for one in found] == [
        ("binding operational directive 19 02", "alias", "bod 19 02"),
        ("binding operational directive 19 02", "alias", "old name"),
    ]
    assert initials("Policy 7") == []


@pytest.mark.parametrize("piece", ["Foo Bar revokes Baz Qux ", "revoke ", "This is ", "Foo Abc (FA) ", "is now "])
def test_time_grows_with_length_alone(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    mentions = find_mentions(text)
    begin = time.process_time()
    find_relations(text, mentions, "doc")
    assert time.process_time() - begin < 3
