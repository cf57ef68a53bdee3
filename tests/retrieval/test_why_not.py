"""Why a document did not come up: every verdict; what each signal adds to a passage that did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fast_parts import fast_workspace, stored_revision
from fates import QUESTION, UNKNOWN, fate
from handbook import DOCUMENTS, far_apart, handbook

from api.assembly import Workspace
from kernel.records import LOCAL_OWNER, DocumentInfo
from retrieval.features import FIRST
from retrieval.pairs import SECOND
from retrieval.ranker import Known, shipped_ranker
from retrieval.reasons import MEANINGS, ordinal
from retrieval.why_not import Verdict


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models, {**far_apart(), **DOCUMENTS, "empty.md": ""}) as made:
        yield made


def document(made: Workspace, title: str) -> DocumentInfo:
    listed = made.catalog.documents(1, LOCAL_OWNER, limit=100)
    return next(one for one in listed if title in (one.title, one.path))


def test_a_document_that_is_shown(site: Workspace) -> None:
    shown = fate(site, document(site, "People Office"), 40, 3)
    assert (shown["verdict"], shown["rank"], shown["would_rank"], shown["behind"]) == ("shown", 2, 2, None)
    assert shown["reasons"][0].startswith("It is shown: its best passage is result 2 of 3; of all passages it is 2nd ")
    passage = shown["passage"]
    assert [word["word"] for word in passage["words"]["held"]] == ["office"]
    assert {word["word"] for word in passage["words"]["lacked"]} == {"approves", "parental", "leave"}
    assert passage["words"]["unknown"] == ["leads"]
    assert passage["entities"] == {"held": [], "lacked": ["parental leave"]}
    assert [step.get("entity") for step in passage["path"]] == ["parental leave", None, "people office", None]


def test_a_document_that_ranks_lower(site: Workspace) -> None:
    """It is told from the last passage shown by what that one has more of, the costliest first."""
    shown = fate(site, document(site, "Printer guide"), 40, 2)
    assert (shown["verdict"], shown["shown"]) == ("ranked lower", 2)
    assert shown["reasons"][0] == (
        f"Its best passage ranks {ordinal(shown['rank'])} of {shown['candidates']} candidates; 2 are shown."
    )
    assert shown["reasons"][1].startswith("It lacks the words “leave”, “parental”")
    assert shown["reasons"][-1] == "The document is outdated: answers take it only after those in force."
    behind = shown["behind"]
    assert (behind["rank"], behind["title"]) == (2, "People Office")
    costs = [feature["cost"] for feature in behind["features"]]
    assert 0 < len(costs) <= 6
    assert costs == sorted(costs, reverse=True)
    assert min(costs) > 0
    assert {feature["name"] for feature in behind["features"]} <= {*FIRST, *SECOND}


def test_a_document_that_no_signal_found(site: Workspace) -> None:
    shown = fate(site, document(site, "Guide to kilns"), 1, 1)
    assert (shown["verdict"], shown["rank"], shown["passage"]["candidate"]) == ("no candidate", None, False)
    assert 1 < shown["would_rank"] <= shown["candidates"] + 2
    assert shown["reasons"][0].startswith("No signal had one of its passages among its best 1: its best one is ")
    assert shown["reasons"][1].endswith(f"it would rank {ordinal(shown['would_rank'])}.")
    dense = shown["passage"]["signals"][0]
    assert not dense["taken"]
    assert dense["score"] < dense["needed"]
    assert not any(signal["taken"] for signal in shown["passage"]["signals"])


def test_a_document_without_passages(site: Workspace) -> None:
    shown = fate(site, document(site, "empty.md"), 40, 10)
    assert (shown["verdict"], shown["passage"], shown["would_rank"]) == ("no passages", None, None)
    assert shown["reasons"] == ["The document could not be read: is empty"]


def test_an_empty_workspace_has_nothing_to_tell(tmp_path: Path) -> None:
    with fast_workspace(tmp_path) as made:
        found = made.searcher.why_not("anything", made.snapshots.live(), LOCAL_OWNER, 10, UNKNOWN)
    assert (found.why.verdict, found.why.candidates, found.passage) == (Verdict.NO_PASSAGES, 0, None)


# --- What each signal adds --------------------------------------------------------------------------------------------


def test_every_feature_is_explained_in_words() -> None:
    assert set(MEANINGS) == {*FIRST, *SECOND}


def test_a_passage_that_is_no_anchor_is_weighed_with_the_anchors_alone(site: Workspace) -> None:
    """That is quicker, and the same as what the score loses among all the candidates."""
    made, source = shipped_ranker(), np.random.default_rng(5)
    standing = np.stack([-source.random(30), 1 / (1 + np.arange(30))], axis=1)
    first, pairs = source.random((30, len(FIRST))), source.random((8, 30, len(SECOND)))
    known = Known(first, source.random(9), standing, np.arange(8), pairs)
    for row in (3, 20):
        parts = made.contributions(known, row)
        assert set(parts) == {*FIRST, *SECOND}
        for name in ("dense", "coverage", "sentence"):
            usual, column = first.copy(), FIRST.index(name)
            usual[row, column] = np.mean([member["mean"][column] for member in made.members])
            without = Known(usual, known.question, standing, known.anchors, pairs)
            lost = made.score(known)[row] - made.score(without)[row]
            assert parts[name] == pytest.approx(lost, abs=1e-4)


def test_explaining_adds_what_each_signal_contributes(site: Workspace) -> None:
    found = site.searcher.search(QUESTION, site.snapshots.live(), LOCAL_OWNER, 3, explain=True)
    assert [set(passage.contributions) for passage in found.passages] == [{*FIRST, *SECOND}] * 3
    assert all(any(passage.contributions.values()) for passage in found.passages)
    plain = site.searcher.search(QUESTION, site.snapshots.live(), LOCAL_OWNER, 3)
    assert not any(passage.contributions for passage in plain.passages)


def test_documents_are_named_as_people_know_them(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as made:
        source = made.catalog.source_id("library", "/")
        paths = {"a/leave.md": "Leave", "b/leave.md": "Leave of absence", "leave_1.md": "Élan", "c/leave%1.md": "Toner"}
        stored = [stored_revision(path, f"About {title}.", title) for path, title in paths.items()]
        made.snapshots.publish("all", made.catalog.stage(source, "rcp_test", stored), [])

        def named(name: str) -> list[str]:
            return sorted(one.path for one in made.catalog.named(name, 1, LOCAL_OWNER, 5))

        assert named("a/leave.md") == ["a/leave.md"]
        assert named("leave.md") == ["a/leave.md", "b/leave.md"]
        assert named("leave") == named("LEAVE") == ["a/leave.md"]
        assert named("Élan") == ["leave_1.md"]
        assert named("leave_1.md") == ["leave_1.md"]
        assert named("leave%1.md") == ["c/leave%1.md"]
        assert named("%") == named("nothing") == []
