"""Records without titles, text without capitals, and questions that spell a name in their own way."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch

from kernel.records import LOCAL_OWNER
from retrieval.question import named_in
from retrieval.variants import slips, variants

RECORDS = {
    "film": "crimson tide road is a 1971 drama film directed by mira olga tannhauser and shot in lund.",
    "person": "mira olga tannhauser (born 3 may 1931) was a director. she grew up in old pellworth.",
    "rule": "bod 22-01 orders a review of every known exploited fault within 14 days.",
    "agency": "the pellworth infrastructure and grid agency (piga) runs the cyber defence centre of old pellworth.",
    "war": "world war ii is a conflict that closed the emergency directive archive for the third season.",
}


@pytest.fixture(scope="module")
def site() -> Iterator[FastWorkspace]:
    with scratch() as root:
        lines = [json.dumps({"id": name, "text": text}) for name, text in RECORDS.items()]
        (root / "all_my_notes.jsonl").write_text("\n".join(lines))
        with fast_workspace(root / "home") as made:
            made.indexer.ingest(InlineParser(), [root / "all_my_notes.jsonl"], "notes")
            yield made


def named(site: FastWorkspace, question: str) -> set[str]:
    view, _ = site.library.view(site.snapshots.live(), LOCAL_OWNER)
    return {view.index.name(node) for node in named_in(view, question).nodes.tolist()}


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Who directed Crimson Tide Road?", "crimson tide road"),
        ("who directed crimson tide road?", "crimson tide road"),
        ("When was Mira Tannhauser born?", "mira tannhauser"),
        ("When was Mira Tanhauser born?", "mira tannhauser"),
        ("when was mira tannhausr born?", "mira tannhauser"),
        ("What does BOD 22-01 order?", "bod 22 01"),
        ("what does bod 2201 order?", "bod 22 01"),
        ("What does BOD-2201 order?", "bod 22 01"),
        ("What happened on 3 May 1931?", "date 1931 05 03"),
        ("what happened on 3 may 1931?", "date 1931 05 03"),
        ("Who runs the Cyber Defense Center?", "cyber defence centre"),
        ("who wrote the emergency directives?", "emergency directive"),
        ("What did World War 2 close?", "world war ii"),
        ("what does the piga run?", "pellworth infrastructure and grid agency"),
    ],
)
def test_a_name_in_another_spelling(site: FastWorkspace, question: str, name: str) -> None:
    assert name in named(site, question)


def test_a_question_that_names_nothing_is_still_answered(site: FastWorkspace) -> None:
    assert named(site, "zzyzx qwerty?") == set()
    assert site.searcher.search("zzyzx qwerty?", site.snapshots.live(), LOCAL_OWNER, 3).passages


def test_records_without_a_title_are_called_by_their_subject(site: FastWorkspace) -> None:
    found = site.searcher.search("Who directed crimson tide road?", site.snapshots.live(), LOCAL_OWNER, 5).passages
    titles = {passage.external_id: passage.title for passage in found}
    assert titles["film"] == "crimson tide road"
    assert titles["rule"] == "rule"
    assert "rule" not in named(site, "Which rule is it?")
    assert not any("all my notes" in title for title in titles.values())


@pytest.mark.slow
def test_the_second_hop_is_bound_by_a_subject(site: FastWorkspace) -> None:
    """The director's record is about the name in the film's, though neither has a title or a capital."""
    question = "Where did the director of Crimson Tide Road grow up?"
    found = site.searcher.search(question, site.snapshots.live(), LOCAL_OWNER, 5, explain=True).passages
    hop = next(passage for passage in found if passage.external_id == "person")
    assert hop.signals["named_by_anchor"] > 0


def test_mentions_come_from_the_chunk_alone() -> None:
    """A record has the same names whether it is stored alone, with others, or after them."""
    kept = []
    for order in (["person"], [*RECORDS], [*reversed(RECORDS)]):
        with scratch() as root, fast_workspace(root / "home") as made:
            for number, name in enumerate(order):
                path = root / f"notes{number}.jsonl"
                path.write_text(json.dumps({"id": name, "text": RECORDS[name]}))
                made.indexer.ingest(InlineParser(), [path], f"notes{number}")
            view, _ = made.library.view(made.snapshots.live(), LOCAL_OWNER)
            rows = view.index.chunk_id.tolist()
            passages = made.corpus.passages(rows)
            row = next(row for row in rows if passages[row][0].external_id == "person")
            kept.append(made.corpus.names_in([row])[row])
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize(
    ("words", "other"),
    [
        ("emergency directives", "emergency directive"),
        ("agency policy", "agency policies"),
        ("sp800 63b", "sp 800 63b"),
        ("bod 22 01", "bod2201"),
        ("third act", "3rd act"),
        ("apollo eleven", "apollo 11"),
        ("colour programme", "color program"),
    ],
)
def test_variants(words: str, other: str) -> None:
    assert other in variants(words.split())
    assert words not in variants(words.split())


def test_slips_keep_the_first_letter_and_short_names_alone() -> None:
    found = slips("tannhauser")
    assert {"tanhauser", "tannhausre", "tannhausen", "tannhauserr", "tann hauser"} <= set(found)
    assert all(one.startswith("t") for one in found)
    assert slips("ed wood") == []
