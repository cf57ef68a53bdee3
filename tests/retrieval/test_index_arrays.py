"""The index against definitions: BM25 and cosine by brute force on random corpora; growth leaves no trace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.similar import signature
from kernel.storage.corpus import IndexRow
from retrieval import build, lexical
from retrieval import dense as dense_module
from retrieval import shelf as shelf_module
from retrieval.analysis import content_terms, plain, terms
from retrieval.build import Additions, addition
from retrieval.dense import DenseIndex
from retrieval.index import Index, empty_index, grown
from retrieval.lexical import K1, B, Lexical, question_terms
from retrieval.shelf import Shelf
from retrieval.view import View, view_of

DIMENSION = 6
VOCABULARY = ("leave", "receipts", "the", "harbour", "22-01", "directive", "licence", "licensed", "of", "register", "é")
TITLES = ("Harbour Register", "Travel Policy", "Leave", "Harbour Register (old)", "The Directive 22-01")
ENTITIES = ("harbour register", "travel policy", "bod 22 01", "leave", "alpha team")
CASES = settings(deadline=None, max_examples=80, derandomize=True, database=None)


def rows_of(seed: int, count: int) -> list[IndexRow]:
    """Random chunks; some vectors are equal, some rows share a revision and a title."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        text = " ".join(rng.choice(VOCABULARY, rng.integers(0, 12)).tolist())
        vector = np.round(rng.normal(size=DIMENSION), 0 if rng.random() < 0.3 else 9) + 1e-3
        sentences = rng.normal(size=(int(rng.integers(0, 3)), DIMENSION)).astype(np.float16)
        revision = 10 + int(rng.integers(0, max(count // 2, 1)))
        found.append(
            IndexRow(
                chunk_id=3 * number + 5,
                public_id=f"chk_{rng.integers(1 << 40)}_{number}",
                revision_id=revision,
                document_id=revision % 7,
                ordinal=number,
                title=str(rng.choice(TITLES)),
                heading=("Scope",) if rng.random() < 0.3 else (),
                text=text,
                sentences=np.zeros((len(sentences), 2), np.int32),
                vector=(vector / np.linalg.norm(vector)).astype(np.float32),
                sentence_vectors=sentences,
                signature=signature(text),
            )
        )
    return found


def additions(rows: Sequence[IndexRow], seed: int) -> Additions:
    """The rows with mentions and relations that follow from each row alone."""
    mentions: list[tuple[int, str, bool]] = []
    relations: list[tuple[int, str, str, str, int, int]] = []
    for row in rows:
        rng = np.random.default_rng([seed, row.chunk_id])
        names = rng.choice(ENTITIES, rng.integers(0, 4), replace=False).tolist()
        mentions += [(row.chunk_id, name, bool(rng.random() < 0.3)) for name in names]
        if rng.random() < 0.4:
            one, other = rng.choice(ENTITIES, 2, replace=False).tolist()
            relations.append((row.chunk_id, one, "revokes", other, 0, 5))
    return Additions(rows, mentions, relations)


def extended(index: Index, new: Additions) -> Index:
    return grown(index, addition(index, new)) if new.rows else index


def built(rows: Sequence[IndexRow], seed: int = 0) -> Index:
    return extended(empty_index(DIMENSION, "toy"), additions(rows, seed))


def some_of(rows: Sequence[IndexRow], seed: int, share: float) -> NDArray[np.int64]:
    """Ascending revisions, of which about `share` are visible."""
    rng = np.random.default_rng(seed)
    revisions = np.array(sorted({row.revision_id for row in rows}), np.int64)
    return revisions[rng.random(len(revisions)) < share]


corpus = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 25)).map(lambda pair: rows_of(*pair))
share = st.sampled_from([0.0, 0.3, 0.8, 1.0])
question = st.lists(st.sampled_from((*VOCABULARY, "licenses", "unseen")), max_size=4).map(" ".join)


def plain_bm25(rows: Sequence[IndexRow], visible: set[int], text: str) -> list[float]:
    """The formula, over dictionaries: idf ln(1 + (N - df + 0.5) / (df + 0.5)), statistics of what is visible."""
    held = {
        place: Counter(terms(plain(f"{row.title}\n{' '.join(row.heading)}\n{row.text}")))
        for place, row in enumerate(rows)
        if row.revision_id in visible
    }
    average = max(sum(sum(count.values()) for count in held.values()) / max(len(held), 1), 1.0)
    scores = [0.0] * len(rows)
    for term in set(content_terms(text) or terms(text)):
        frequency = sum(term in count for count in held.values())
        idf = math.log(1 + (len(held) - frequency + 0.5) / (frequency + 0.5))
        for place, count in held.items():
            norm = K1 * (1 - B + B * sum(count.values()) / average)
            scores[place] += idf * count[term] * (K1 + 1) / (count[term] + norm)
    return scores


@CASES
@given(corpus, share, question, st.integers(1, 6), st.sampled_from([(0, 0), (4096, 0), (0, 1 << 20)]))
def test_bm25_is_its_formula(rows: list[IndexRow], visible: float, text: str, k: int, bounds: tuple[int, int]) -> None:
    """Also where every term has to prove that it can matter, and where all contributions are kept."""
    revisions = some_of(rows, 7, visible)
    view = view_of(built(rows), revisions)
    formula = np.array(plain_bm25(rows, set(revisions.tolist()), text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "CHEAP", bounds[0])
        patch.setattr(lexical, "ROOM", bounds[1])
        found = Lexical(view, text)
        best = found.best(k)
    every = np.flatnonzero(view.mask)
    scores = np.zeros(len(rows))
    scores[every] = found.at(every)
    np.testing.assert_allclose(scores, formula, rtol=2e-5, atol=1e-6)
    assert set(found.rarity) <= set(question_terms(text))
    rounded = np.round(scores, 6)
    order = np.lexsort((view.index.key, -rounded))
    expected = order[rounded[order] > 0][:k]
    assert rounded[best].tolist() == rounded[expected].tolist()
    if len(set(rounded[rounded > 0].tolist())) == int((rounded > 0).sum()):
        assert best.tolist() == expected.tolist()


def nearest(view: View, vector: NDArray[np.float32], k: int) -> list[int]:
    """Brute force: visible places by falling cosine (to 6 places), then by key."""
    scores = np.round((view.index.vectors @ vector).astype(np.float32), 6)
    places = np.flatnonzero(view.mask)
    return places[np.lexsort((view.index.key[places], -scores[places]))][:k].tolist()


@CASES
@given(corpus, share, st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_dense_is_brute_force(rows: list[IndexRow], visible: float, k: int, seed: int) -> None:
    index = built(rows)
    view = view_of(index, some_of(rows, seed, visible))
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    places, scores = DenseIndex(index).search(view, vector, k)
    assert len(places) == min(k, view.count)
    assert view.mask[places].all()
    expected = nearest(view, vector, k)
    np.testing.assert_allclose(scores, index.vectors[expected] @ vector, atol=3e-6)
    same = np.abs(np.diff(np.sort(index.vectors @ vector))) < 2e-6
    assert same.any() or places.tolist() == expected


def test_equal_vectors_come_in_the_order_of_keys() -> None:
    rows = rows_of(3, 12)
    index = built([replace(row, vector=rows[0].vector) for row in rows])
    view = view_of(index, some_of(rows, 0, 1.0))
    places, _ = DenseIndex(index).search(view, rows[0].vector, 4)
    assert places.tolist() == np.argsort(index.key)[:4].tolist()


def seen(view: View) -> dict[str, object]:
    """All that a view lets searching read, by names and not by numbers: what no way of growing may change."""
    index, names = view.index, [view.index.chunk_name(place) for place in range(len(view.index))]
    places, entities = np.arange(len(index)), np.arange(len(index.entity_key))
    owner, entity, title, named = view.links.entities_in(places)
    down = {(names[o], index.name(e), t, n) for o, e, t, n in zip(owner, entity, title, named, strict=True)}
    ups = {}
    for most in (None, 1, 3):
        owner, place, title = view.links.passages_of(entities, most)
        held: dict[str, list[tuple[str, bool]]] = {}
        for one, other, about in zip(owner, place, title, strict=True):
            held.setdefault(index.name(int(one)), []).append((names[int(other)], bool(about)))
        ups[most] = held if most is None else {name: sorted(found) for name, found in held.items()}
    edges = sorted((names[e[0]], *map(index.name, e[1:4]), *e[4:]) for e in view.edges.tolist())
    notable = {}
    for node in entities.tolist():
        rows = view.edges_of(node, notable=True).tolist()
        notable[index.name(node)] = [(names[e[0]], *map(index.name, e[1:4])) for e in rows]
    return {
        "down": down,
        "links": len(owner),
        "up": ups,
        "degree": {index.name(int(e)): int(view.links.degree[e]) for e in entities if view.links.degree[e]},
        "weight": {index.name(int(e)): float(view.links.weight[e]) for e in entities if view.links.degree[e]},
        "edges": edges,
        "notable": {name: found for name, found in notable.items() if found},
        "postings": {
            term: [(names[c], int(n)) for c, n in zip(*index.postings(term), strict=True)]
            for term in sorted({term for word in VOCABULARY for term in terms(word)})
        },
        "length": (view.count, view.average_length, index.length.tolist()),
    }


@CASES
@given(corpus, st.lists(st.integers(0, 25), max_size=5), st.integers(0, 1000), share, share, st.booleans())
def test_grown_in_steps_is_built_at_once(
    rows: list[IndexRow], cuts: list[int], seed: int, before: float, now: float, scan: bool
) -> None:
    """In memory and on the shelf, whether older chunks are read or looked up for new titles; and a view made from an
    older one, of whatever index, is one made anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "SCAN_FROM", 10**9 if scan else 0)
        check_growth(rows, cuts, seed, before, now)


def check_growth(rows: list[IndexRow], cuts: list[int], seed: int, before: float, now: float) -> None:
    whole, revisions = built(rows, seed), some_of(rows, seed, now)
    index, view = empty_index(DIMENSION, "toy"), None
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    with TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder), "recipe", DIMENSION)
        stored = shelf.begin()
        shelf.adopt(stored)
        for low, high in pairwise(bounds):
            index = extended(index, additions(rows[low:high], seed))
            if high > low:
                stored = shelf.finish(shelf.append(stored, addition(stored, additions(rows[low:high], seed))))
            view = view_of(index, some_of(rows[:high], seed + high, before), view)
        opened = Shelf(Path(folder), "recipe", DIMENSION).open()
        assert opened is not None
        expected = seen(view_of(whole, revisions))
        for one in (index, stored, opened):
            assert seen(view_of(one, revisions)) == expected
        assert seen(view_of(index, revisions, view)) == expected
        assert shelf.faults() == []


def test_a_title_is_known_wherever_it_is_worded() -> None:
    """Also in chunks that came before the document of that title, in the same way whichever came first."""
    rows = rows_of(1, 2)
    names = replace(rows[0], title="Notes", heading=(), text="see the harbour register, please")
    titled = replace(rows[1], title="Harbour Register (old)", heading=(), text="nothing", revision_id=99)
    for pair in ((names, titled), (replace(titled, chunk_id=1), names)):
        index = empty_index(DIMENSION)
        for row in pair:
            key = (row.chunk_id, "harbour register", True)
            index = extended(index, Additions([row], [key] if row.title.startswith("Harbour") else [], []))
        view = view_of(index, np.array(sorted({row.revision_id for row in pair}), np.int64))
        entity = index.entity("harbour register")
        assert entity is not None
        assert view.links.degree[entity] == 2
        hidden = view_of(index, np.array([names.revision_id], np.int64))
        assert hidden.links.degree[entity] == 0


@pytest.mark.parametrize("visible", [1.0, 0.5, 0.001])
def test_cells_find_what_exact_search_finds(visible: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Vectors in clusters, as text has them: of the ten nearest, cells find nearly all; exact search is exact."""
    rng = np.random.default_rng(5)
    middles = rng.normal(size=(60, 24))
    vectors = middles[rng.integers(0, 60, 6000)] + 0.5 * rng.normal(size=(6000, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    (row,) = rows_of(2, 1)
    nothing = np.zeros((0, 24), np.float16)
    rows = [
        replace(row, chunk_id=n + 1, public_id=f"chk_{n}", revision_id=n, vector=v, sentence_vectors=nothing)
        for n, v in enumerate(vectors)
    ]
    for module in (shelf_module, dense_module):
        monkeypatch.setattr(module, "CELLS_FROM", 1000)
    shelf = Shelf(tmp_path, "recipe", 24)
    begun = shelf.begin()
    shelf.adopt(begun)
    shelf.finish(shelf.append(begun, addition(begun, Additions(rows, [], []))))
    index = Shelf(tmp_path, "recipe", 24).open()
    assert index is not None
    assert index.runs[0].cells is not None
    view = view_of(index, np.flatnonzero(rng.random(6000) < visible))
    hits = []
    for number in range(40):
        exact = DenseIndex(index, exact=True).search(view, vectors[number], 10)[0].tolist()
        found = DenseIndex(index).search(view, vectors[number], 10)[0].tolist()
        assert exact == nearest(view, vectors[number], 10)
        assert view.mask[found].all()
        hits.append(len(set(found) & set(exact)) / max(len(exact), 1))
    assert np.mean(hits) >= 0.95
