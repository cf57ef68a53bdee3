"""Evidence that a test case pins: passages that it brings along, or a snapshot of the workspace that is searched.

Passages of a case go the way that documents go: split into sentences, embedded with their title, scored against the
question, their terms weighed by how many of them hold each. So generators and grounding see what they see in real
answers; no ranker weighed the passages, so there is no confidence. Each passage of a case stays one passage, under its
number in the case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ingest.split import split
from kernel.ids import derived_id
from kernel.ports import Embedder, Tokenizer, Vector
from kernel.records import Evidence, ParsedDocument, Passage, Principal, Role, SentenceScore
from kernel.storage.snapshots import Snapshots
from pipeline.indexing import embedding_input
from pipeline.prompts.cases import Case, PinnedPassage
from retrieval.analysis import terms
from retrieval.context import assemble
from retrieval.lexical import question_terms
from retrieval.search import Searcher

ANYBODY = Principal("tests", Role.APP, frozenset())
"""Whose documents a pinned snapshot shows: those that everybody may see, so that a test gives the same whoever runs it,
and its record holds nothing that its readers may not see."""
SOURCE = "case"


class Encoder(Embedder, Tokenizer, Protocol):
    """The workspace's embedding model with its tokenizer."""


@dataclass(frozen=True, slots=True)
class PinnedEvidence:
    """Makes the evidence of cases. `searcher` is asked for when a case names a snapshot, and not before."""

    encoder: Encoder
    snapshots: Snapshots
    searcher: Callable[[], Searcher]
    chunk_tokens: int
    top_k: int
    context_tokens: int

    def of(self, case: Case) -> Evidence:
        """What a case is answered from. Raises NotFound for a snapshot that is not there."""
        if case.context is None:
            return self._of_snapshot(case.question, case.snapshot)
        return self._of_passages(case.question, case.context)

    def _of_snapshot(self, question: str, number: int | None) -> Evidence:
        state = self.snapshots.live()
        if number is not None:
            named = self.snapshots.resolve(str(number))
            state = replace(state, snapshot=named, last_chunk=self.snapshots.last_chunk(named))
        found = self.searcher().search(question, state, ANYBODY, self.top_k)
        return assemble(found, state.snapshot, self.context_tokens)

    def _of_passages(self, question: str, pinned: Sequence[PinnedPassage]) -> Evidence:
        if not pinned:
            return Evidence(0, ())
        vector = self.encoder.embed([question])[0]
        passages = tuple(self._passage(number, one, vector) for number, one in enumerate(pinned, 1))
        scores = sorted(((one.chunk_id, one.score) for one in passages), key=lambda pair: (-pair[1], pair[0]))
        return Evidence(
            0,
            passages,
            rarity=_rarity(question, passages),
            candidates=tuple(scores),
            tokens=sum(one.tokens for one in passages),
        )

    def _passage(self, number: int, pinned: PinnedPassage, question: Vector) -> Passage:
        text = unicodedata.normalize("NFC", pinned.text).strip()
        title = pinned.title or f"Passage {number}"
        drafts = split(ParsedDocument(text, "text/plain", pinned.title or None), self.encoder, self.chunk_tokens)
        vectors = self.encoder.embed_passages([embedding_input(pinned.title, draft) for draft in drafts])
        sentences = tuple(
            SentenceScore(draft.start + span.start, draft.start + span.end, score)
            for draft, one in zip(drafts, vectors, strict=True)
            for span, score in zip(draft.sentences, _cosines(one.sentences, question), strict=True)
        )
        return Passage(
            chunk_id=derived_id("chk", SOURCE, str(number), title, text),
            document_id=derived_id("doc", SOURCE, title),
            external_id=None,
            revision=1,
            source=SOURCE,
            title=title,
            uri="",
            heading=(),
            text=text,
            start=0,
            end=len(text),
            page=None,
            score=max(_cosines(np.array([one.passage for one in vectors]), question), default=0.0),
            sentences=sentences,
            tokens=sum(draft.tokens for draft in drafts),
        )


def _cosines(vectors: Vector, question: Vector) -> list[float]:
    """As the index has them: kept as float16, rounded to five places."""
    if not len(vectors):
        return []
    found: list[float] = np.round(vectors.astype(np.float16).astype(np.float32) @ question, 5).tolist()
    return found


def _rarity(question: str, passages: Sequence[Passage]) -> dict[str, float]:
    """The idf of the question's terms among the passages, of those that one of them holds (as BM25 has it)."""
    held = [frozenset(terms(f"{one.title} {one.text}")) for one in passages]
    counts = {term: sum(term in one for one in held) for term in question_terms(question)}
    return {term: float(np.log1p((len(held) - count + 0.5) / (count + 0.5))) for term, count in counts.items() if count}
