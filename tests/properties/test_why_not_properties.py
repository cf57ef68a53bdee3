"""What is told of a document that did not come up agrees with what is shown, and tells nothing of what is hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch, stored_revision
from fates import UNKNOWN, fate, narrow
from hypothesis import given, settings
from hypothesis import strategies as st

from api.assembly import Workspace
from kernel.errors import NotFound
from kernel.records import LOCAL_OWNER, Principal, Role
from retrieval.analysis import words
from retrieval.view import View

STAFF = Principal("key_staff", Role.APP)
SOME = settings().max_examples // 5
"""Each case looks at every document of a library, so there are fewer of them."""
WORDS = ("harbour", "register", "Lisbon", "patch", "Alpha", "Beta", "travel", "policy", "toner", "leave", "is", "BOD 1")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=70).map(" ".join), min_size=2, max_size=8)


def stocked(home: Path, texts: list[str], hidden: int = 0, first: int = 0) -> FastWorkspace:
    """Every text from the `first` on as a document; the first `hidden` ones for one group alone."""
    made = fast_workspace(home)
    source = made.catalog.source_id("library", "/")
    stored = [stored_revision(str(number), text, f"Title {number % 4}") for number, text in enumerate(texts)][first:]
    made.snapshots.publish("all", made.catalog.stage(source, "rcp_test", stored), [])
    rows = made.catalog.document_rows(source, [str(number) for number in range(hidden)])
    made.catalog.set_groups(dict.fromkeys(rows.values(), ("board",)))
    return made


def check_signals(made: Workspace, view: View, shown: dict[str, Any], question: str) -> None:
    """Ranks are those of all passages, counted here from nothing but the vectors and the words."""
    signals = {signal["name"]: signal for signal in shown["passage"]["signals"]}
    place = [view.index.chunk_name(place) for place in range(len(view.index))].index(shown["passage"]["chunk_id"])
    cosine = np.round((view.index.vectors @ made.embedder.embed([question])[0]).astype(float), 6)
    ahead = sorted(range(len(cosine)), key=lambda one: (-cosine[one], int(view.index.key[one])))
    assert signals["dense"]["rank"] == ahead.index(place) + 1
    for signal in signals.values():
        assert not signal["taken"] or signal["score"] >= signal["needed"]
        assert not signal["taken"] or shown["passage"]["candidate"]
        assert signal["rank"] is not None or not signal["taken"]
    held = {word["word"].casefold() for word in shown["passage"]["words"]["held"]}
    assert held <= set(words(question))
    assert bool(held) == (signals["lexical"]["rank"] is not None)


@given(TEXTS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=SOME)
def test_the_verdict_is_what_the_results_say(texts: list[str], asked: list[str], each: int, top_k: int) -> None:
    question = " ".join(asked)
    with scratch() as root, stocked(root, texts) as made:
        found = narrow(made, each).search(question, made.snapshots.live(), LOCAL_OWNER, top_k)
        ranked = [chunk_id for chunk_id, _ in found.candidates]
        of = {row.public_id: row.document_id for row in made.corpus.index_rows(0)}
        for one in made.catalog.documents(1, LOCAL_OWNER, limit=100):
            shown = fate(made, one, each, top_k, question)
            mine = {chunk_id for chunk_id, row in of.items() if row == made.corpus.document_row(one.id)}
            ranks = [rank for rank, chunk_id in enumerate(ranked, 1) if chunk_id in mine]
            assert (shown["verdict"] == "shown") == (one.id in {passage.document_id for passage in found.passages})
            assert (shown["verdict"] == "no candidate") == (not ranks)
            assert shown["rank"] == min(ranks, default=None)
            assert (shown["candidates"], shown["shown"]) == (len(ranked), len(found.passages))
            assert shown["passage"]["chunk_id"] in mine
            assert shown["passage"]["candidate"] == (shown["passage"]["chunk_id"] in ranked)
            if mine <= set(ranked):
                assert shown["would_rank"] == shown["rank"]
            assert 1 <= shown["would_rank"] <= len(set(ranked) - mine) + 1
            last = shown["behind"] and shown["behind"]["chunk_id"]
            assert last == (found.passages[-1].chunk_id if shown["would_rank"] > shown["shown"] else None)
            check_signals(made, found.view, shown, question)


@given(TEXTS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.integers(1, 4))
@settings(max_examples=SOME)
def test_what_is_hidden_cannot_be_felt(texts: list[str], asked: list[str], each: int) -> None:
    """The same bytes as where the hidden documents never were; and a hidden one is as unknown as one that never was."""
    hidden, question = len(texts) // 2, " ".join(asked)
    with scratch() as root:
        full = stocked(root / "full", texts, hidden)
        bare = stocked(root / "bare", texts, first=hidden)
        told = []
        with full, bare:
            for made in (full, bare):
                number = made.snapshots.live().snapshot
                listed = made.catalog.documents(number, STAFF, limit=100)
                told.append([fate(made, one, each, 2, question, STAFF) for one in listed])
            unseen = {one.id for one in full.catalog.documents(1, LOCAL_OWNER, limit=100)}
            unseen -= {shown["document_id"] for shown in told[0]}
            assert len(unseen) == hidden
            for public_id in unseen:
                with pytest.raises(NotFound, match=f"^no document {public_id}$"):
                    full.catalog.document(public_id, 1, STAFF)
                found, never = (
                    full.searcher.why_not(question, full.snapshots.live(), STAFF, 2, name)
                    for name in (public_id, UNKNOWN)
                )
                assert found == never
        assert json.dumps(told[0], sort_keys=True) == json.dumps(told[1], sort_keys=True)
