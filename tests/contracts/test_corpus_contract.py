"""What reading stored chunks promises, on both databases."""

from __future__ import annotations

import pytest
from stored_samples import DIMENSION, RECIPE, revision

from kernel.records import Span
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus

TEXT = "Alpha knows Beta.\n\nÉmile knows Gamma \U0001f600."


@pytest.fixture
def stored(catalog: Catalog) -> list[int]:
    source = catalog.source_id("handbook", "/")
    return catalog.stage(source, RECIPE, [revision("a", TEXT), revision("b", "Beta sleeps.")])


def test_index_rows_hold_what_was_stored(corpus: Corpus, stored: list[int]) -> None:
    rows = list(corpus.index_rows(0))
    assert [row.chunk_id for row in rows] == sorted(row.chunk_id for row in rows)
    assert [(row.revision_id, row.ordinal) for row in rows] == [(stored[0], 0), (stored[0], 1), (stored[1], 0)]
    assert [row.text for row in rows] == ["Alpha knows Beta.", "Émile knows Gamma \U0001f600.", "Beta sleeps."]
    assert {(row.title, row.heading) for row in rows} == {("Title of a", ("Heading",)), ("Title of b", ("Heading",))}
    second = rows[1]
    assert second.sentences.tolist() == [[0, len(second.text)]]
    assert second.vector.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert second.sentence_vectors.shape == (1, DIMENSION)
    assert (second.sentence_vectors.dtype, second.signature.shape) == ("float16", (16,))


def test_reading_goes_on_where_it_stopped(corpus: Corpus, stored: list[int]) -> None:
    first, *rest = corpus.index_rows(0)
    after = first.chunk_id
    assert [row.chunk_id for row in corpus.index_rows(after)] == [row.chunk_id for row in rest]
    assert {mention[0] for mention in corpus.mentions(after)} == {row.chunk_id for row in rest}
    assert {relation[0] for relation in corpus.relations(after)} == {row.chunk_id for row in rest}
    last = rest[-1].chunk_id
    assert (list(corpus.index_rows(last)), corpus.mentions(last), corpus.relations(last)) == ([], [], [])


def test_mentions_and_relations_name_their_entities(corpus: Corpus, stored: list[int]) -> None:
    mentions, relations = corpus.mentions(0), corpus.relations(0)
    names = corpus.entity_names(
        [entity for _, entity, _ in mentions] + [thing for r in relations for thing in (r[1], r[3])]
    )
    assert sorted((names[entity], title) for _, entity, title in mentions) == [
        ("alpha", False), ("beta", False), ("topic", True), ("topic", True), ("topic", True), ("émile", False),
    ]  # fmt: skip
    stated = [(names[subject], predicate, names[thing]) for _, subject, predicate, thing, _, _ in relations]
    assert stated == [("alpha", "knows", "somebody"), ("émile", "knows", "somebody"), ("beta", "knows", "somebody")]
    assert [end - start for *_, start, end in relations] == [len(row.text) for row in corpus.index_rows(0)]


def test_passages_are_slices_of_their_revision(catalog: Catalog, corpus: Corpus, stored: list[int]) -> None:
    rows = list(corpus.index_rows(0))
    passages = corpus.passages([row.chunk_id for row in rows] + [10**6])
    assert set(passages) == {row.chunk_id for row in rows}
    for passage, sentences in passages.values():
        text = catalog.text(passage.document_id, passage.revision)
        assert text[passage.start : passage.end] == passage.text
        assert sentences == (Span(0, len(passage.text)),)
        assert (passage.source, passage.page, passage.score) == ("handbook", 1, 0.0)
    assert (corpus.passages([]), corpus.entity_names([])) == ({}, {})
