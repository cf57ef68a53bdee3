"""Splitting keeps every visible character, exactly once, where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from fast_parts import FastEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.parse import parse
from ingest.split import split
from kernel.ports import Tokenizer
from kernel.providers.embedder import OnnxEmbedder
from kernel.records import ChunkDraft, ParsedDocument

PLAIN = ["alpha", "Beta", "gamma.", "delta!", "epsilon?", "Dr.", "e.g.", "3.14", "x"]
WORD = st.sampled_from([*PLAIN, "\u4f60\u597d\u3002", "caf\u00e9", "e\u0301", "\U0001f600"])
LINE = st.lists(WORD, min_size=1, max_size=40).map(" ".join)
LINES = st.lists(LINE, min_size=1, max_size=4)
BLOCK = st.one_of(
    LINE,
    st.builds("{} {}".format, st.sampled_from(["#", "##", "######"]), LINE),
    LINES.map(lambda lines: "\n".join(f"- {line}" for line in lines)),
    LINES.map(lambda lines: "\n".join(["| a | b |", "|---|---|", *(f"| {line} | x |" for line in lines)])),
    st.builds("```\n{}\n```".format, LINE),
    st.builds("[{}](https://example.org/{})".format, WORD, WORD),
    st.text(max_size=200),
    st.integers(1, 400).map(lambda n: "x" * n),
)
MARKDOWN = st.lists(BLOCK, max_size=12).map("\n\n".join)
FRONT = st.builds("---\ntitle: {}\ngroups: [a, b]\n---\n{}".format, WORD, MARKDOWN)
TEXT = st.one_of(st.text(max_size=400), st.text(st.characters(codec="utf-8"), max_size=400), MARKDOWN, FRONT)
TARGET = st.sampled_from([32, 48, 200])


def check(document: ParsedDocument, drafts: list[ChunkDraft], tokenizer: Tokenizer, target: int) -> None:
    """All that holds of the chunks of a document."""
    text = document.text
    assert [draft.ordinal for draft in drafts] == list(range(len(drafts)))
    last = 0
    for draft in drafts:
        assert last <= draft.start < draft.end <= len(text)
        assert not text[last : draft.start].strip(), "a chunk border swallowed text"
        assert draft.text == text[draft.start : draft.end]
        check_sentences(draft)
        size = sum(len(tokenizer.token_starts(draft.text[s.start : s.end])) for s in draft.sentences)
        # Cutting inside a word may turn its rest into more tokens, one at either end of a piece.
        assert size <= target + 2 * len(draft.sentences)
        last = draft.end
    assert not text[last:].strip(), "the end is missing"


def check_sentences(draft: ChunkDraft) -> None:
    """Sentences lie in order inside their chunk and hold all of it but white space."""
    last = 0
    for sentence in draft.sentences:
        assert last <= sentence.start < sentence.end <= len(draft.text)
        assert not draft.text[last : sentence.start].strip()
        last = sentence.end
    assert last == len(draft.text)


def chunks_of(text: str, name: str, tokenizer: Tokenizer, target: int) -> None:
    for document in parse(text.encode("utf-8", "replace"), name):
        if isinstance(document, ParsedDocument):
            check(document, split(document, tokenizer, target), tokenizer, target)


@given(TEXT, st.sampled_from(["a.md", "a.txt", "a.html"]), TARGET)
def test_chunks_are_exact_slices_that_cover_the_text(text: str, name: str, target: int) -> None:
    chunks_of(text, name, FastEmbedder(), target)


@pytest.fixture(scope="module")
def real(models: Path) -> OnnxEmbedder:
    return OnnxEmbedder(models / "all-MiniLM-L6-v2", 1)


@settings(max_examples=60)
@given(text=TEXT, target=TARGET)
def test_chunks_are_exact_slices_with_the_real_tokenizer(real: OnnxEmbedder, text: str, target: int) -> None:
    chunks_of(text, "a.md", real, target)


def test_one_endless_word_is_cut(real: OnnxEmbedder) -> None:
    for text in ("x" * 5000, "\u4f60" * 3000, "a\u0301" * 2000, "- " * 2000):
        chunks_of(text, "a.txt", real, 64)
