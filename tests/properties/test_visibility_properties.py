"""Who sees what, against a model that a child could check; and what may not be seen changes nothing at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch, stored_revision
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.records import LOCAL_OWNER, LiveState, Principal, Role
from retrieval.search import Found

RECIPE = "rcp_test"
DOCUMENTS, VERSIONS = 6, 2
TITLES = ("BOD 19-02", "BOD 22-01", "Travel Policy", "Travel Policy", "Alpha Team", "Harbour Register")
SENTENCES = (
    "Alpha Team keeps the Harbour Register in Lisbon.",
    "This directive supersedes BOD 19-02.",
    "BOD 22-01 requires Alpha Team to patch within 14 days.",
    "The Travel Policy revokes the Harbour Register (HR).",
    "This page is outdated.",
    "Beta Office amends the Travel Policy of 4 May 2021.",
    "HR is part of Beta Office.",
)
QUESTIONS = ("Who keeps the Harbour Register?", "Is BOD 19-02 in force?", "Travel Policy of Beta Office", "HR")
PRINCIPALS = (
    LOCAL_OWNER,
    Principal("key_none", Role.APP),
    Principal("key_a", Role.APP, frozenset({"a"})),
    Principal("key_ab", Role.APP, frozenset({"a", "b"})),
)

texts = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3).map(" ".join)
library = st.lists(
    st.lists(texts, min_size=VERSIONS, max_size=VERSIONS, unique=True), min_size=DOCUMENTS, max_size=DOCUMENTS
)
revision = st.tuples(st.integers(0, DOCUMENTS - 1), st.integers(0, VERSIONS - 1))
births = st.dictionaries(st.integers(0, DOCUMENTS - 1), st.integers(0, VERSIONS - 1), max_size=4).map(
    lambda d: set(d.items())
)
publish = st.tuples(st.just("publish"), births, st.sets(revision, max_size=4))
rollback = st.tuples(st.just("rollback"), st.integers(0, 6), st.none())
regroup = st.tuples(
    st.just("groups"), st.integers(0, DOCUMENTS - 1), st.sampled_from([(), ("a",), ("b",), ("c",), ("b", "c")])
)
steps = st.lists(st.one_of(publish, publish, rollback, regroup), min_size=1, max_size=8)


@dataclass
class Model:
    """What should be: what each snapshot shows, which one is live, and who may see each document."""

    shown: list[set[tuple[int, int]]] = field(default_factory=lambda: [set()])
    live: int = 0
    groups: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def publish(self, births: set[tuple[int, int]], deaths: set[tuple[int, int]]) -> None:
        replaced = {document for document, _ in births}
        kept = {one for one in self.shown[self.live] - deaths if one[0] not in replaced}
        if kept | births != self.shown[self.live]:
            self.shown.append(kept | births)
            self.live = len(self.shown) - 1

    def visible(self, number: int, principal: Principal) -> set[tuple[int, int]]:
        def may(document: int) -> bool:
            groups = self.groups.get(document, ())
            return principal.groups is None or not groups or bool(principal.groups & set(groups))

        return {one for one in self.shown[number] if may(one[0])}


class Store:
    """A workspace with every revision of the library staged, whether it will ever be seen or not."""

    def __init__(self, home: Path, texts: Sequence[Sequence[str]], only: set[tuple[int, int]] | None = None) -> None:
        self.made: FastWorkspace = fast_workspace(home)
        source = self.made.catalog.source_id("library", "/")
        wanted = [(d, v) for v in range(VERSIONS) for d in range(DOCUMENTS) if only is None or (d, v) in only]
        revisions = [stored_revision(f"{d}", texts[d][v], TITLES[d]) for d, v in wanted]
        self.rows = dict(zip(wanted, self.made.catalog.stage(source, RECIPE, revisions), strict=True))
        found = self.made.catalog.document_rows(source, [str(d) for d in range(DOCUMENTS)])
        self.documents = {int(path): row for path, row in found.items()}

    def state(self, number: int) -> LiveState:
        live = self.made.snapshots.live()
        return replace(live, snapshot=number, last_chunk=self.made.snapshots.last_chunk(number))


def play(store: Store, history: Sequence[tuple[str, Any, Any]]) -> Model:
    """Do everything to the store and to the model."""
    model = Model()
    for what, one, two in history:
        if what == "publish":
            store.made.snapshots.publish("step", {store.rows[r] for r in one}, {store.rows[r] for r in two - one})
            model.publish(one, two - one)
        elif what == "rollback":
            model.live = one % len(model.shown)
            store.made.snapshots.rollback(model.live)
        else:
            store.made.catalog.set_groups({store.documents[one]: two})
            model.groups[one] = two
        assert store.made.snapshots.live().snapshot == model.live
    return model


def check_visible(store: Store, model: Model, number: int, principal: Principal) -> None:
    """What the store shows in its listings is exactly what the model says."""
    expected = model.visible(number, principal)
    rows = store.made.snapshots.visible_revisions(number, principal)
    assert rows == sorted(store.rows[one] for one in expected)
    listed = store.made.catalog.documents(number, principal, limit=100)
    assert sorted((int(item.path), item.revision - 1) for item in listed) == sorted(expected)


def check_found(store: Store, model: Model, number: int, principal: Principal, question: str) -> None:
    """Whatever a search gives, names or leans on is visible."""
    visible = {store.rows[one] for one in model.visible(number, principal)}
    found = store.made.searcher.search(question, store.state(number), principal, 10)
    rows = [row for row in store.made.corpus.index_rows(0) if row.revision_id in visible]
    ids = {row.public_id for row in rows}
    assert {passage.chunk_id for passage in found.passages} <= ids
    assert {chunk_id for chunk_id, _ in found.candidates} <= ids
    assert {notice.chunk_id for passage in found.passages for notice in passage.notices} <= ids
    steps = {step.chunk_id for passage in found.passages for step in passage.path if step.chunk_id}
    assert steps <= ids
    assert (not rows) == (not found.passages)


@pytest.mark.slow
@given(library, steps)
def test_everyone_sees_exactly_what_they_may(texts: list[list[str]], history: list[tuple[str, Any, Any]]) -> None:
    with scratch() as root:
        store = Store(root, texts)
        with store.made:
            model = play(store, history)
            for number in range(len(model.shown)):
                for principal in PRINCIPALS:
                    check_visible(store, model, number, principal)
                    check_found(store, model, number, principal, QUESTIONS[number % len(QUESTIONS)])


def bytes_of(found: Found) -> bytes:
    """All that a search shows, but for times and numbers of revisions."""
    passages = [asdict(replace(passage, revision=0)) for passage in found.passages]
    rest = [found.candidates, found.entities, found.rarity]
    return json.dumps([passages, rest], indent=1, sort_keys=True).encode()


@pytest.mark.slow
@given(library, steps, st.sampled_from(PRINCIPALS[1:]))
@example([[SENTENCES[0], f"{SENTENCES[0]} {SENTENCES[0]}"]] * DOCUMENTS, [("publish", {(0, 1)}, set())], PRINCIPALS[1])
def test_what_may_not_be_seen_changes_nothing(
    texts: list[list[str]], history: list[tuple[str, Any, Any]], principal: Principal
) -> None:
    """A store that never held a thing beyond what the principal sees gives the same bytes."""
    with scratch() as root:
        full = Store(root / "full", texts)
        with full.made:
            model = play(full, history)
            visible = model.visible(model.live, principal)
            bare = Store(root / "bare", texts, only=visible)
            with bare.made:
                bare.made.snapshots.publish("all", bare.rows.values(), [])
                for question in QUESTIONS:
                    with_hidden, without = (
                        store.made.searcher.search(question, store.made.snapshots.live(), principal, 10, explain=True)
                        for store in (full, bare)
                    )
                    assert bytes_of(with_hidden).decode() == bytes_of(without).decode()


def test_many_hidden_documents_change_nothing() -> None:
    """More hidden passages name a thing than a walk follows links of one entity; the visible ones come last."""
    hidden = [stored_revision(f"hidden {n}", f"The Harbour Register has entry {n}.", f"Entry {n}") for n in range(300)]
    open_ones = [
        stored_revision("open", "The Harbour Register lies in Lisbon. Alpha Team keeps it.", "Register"),
        stored_revision("other", "Alpha Team meets on Monday. The Harbour Register is closed then.", "Team"),
    ]
    staff = Principal("key_none", Role.APP)
    with scratch() as root:
        shown = []
        for name, stored in (("full", hidden + open_ones), ("bare", open_ones)):
            with fast_workspace(root / name) as made:
                source = made.catalog.source_id("library", "/")
                made.snapshots.publish("all", made.catalog.stage(source, RECIPE, stored), [])
                rows = made.catalog.document_rows(source, [one.path for one in stored if one in hidden])
                made.catalog.set_groups(dict.fromkeys(rows.values(), ("a",)))
                state = made.snapshots.live()
                found = made.searcher.search(QUESTIONS[0], state, staff, 10, explain=True)
                shown.append(bytes_of(found).decode())
        assert shown[0] == shown[1]
