"""Evidence that a test case pins: passages that it brings along, or a snapshot of the workspace that is searched.

Passages of a case go the way that documents go, in an index of their own: split, embedded with their title, ranked for
the question. So generators, grounding and confidence see what they see in real answers. Each passage of a case stays
one passage, under its number in the case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graph.mentions import title_of
from ingest.similar import signature
from ingest.split import split
from kernel.ids import derived_id
from kernel.ports import Embedder, PassageVectors, Tokenizer, Vector
from kernel.records import (
    ChunkDraft,
    Evidence,
    MentionKind,
    ParsedDocument,
    Passage,
    Principal,
    Role,
    SentenceScore,
)
from kernel.storage.corpus import IndexRow
from kernel.storage.snapshots import Snapshots
from pipeline.indexing import embedding_input, extract
from pipeline.prompts.cases import Case, PinnedPassage
from retrieval.build import Additions
from retrieval.context import assemble
from retrieval.ranker import shipped_ranker
from retrieval.scratch import Ranked, ranked
from retrieval.search import Searcher

MOST_CHUNKS = 100_000
"""More chunks than a passage of the greatest length can have."""
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
    each: int
    top_k: int
    context_tokens: int

    def of(self, case: Case) -> Evidence:
        """What a case is answered from. Raises NotFound for a snapshot that is not there."""
        if case.context is None:
            return self._of_snapshot(case.question, case.snapshot)
        return self.of_passages(case.question, case.context)

    def _of_snapshot(self, question: str, number: int | None) -> Evidence:
        state = self.snapshots.live()
        if number is not None:
            named = self.snapshots.resolve(str(number))
            state = replace(state, snapshot=named, last_chunk=self.snapshots.last_chunk(named))
        found = self.searcher().search(question, state, ANYBODY, self.top_k)
        return assemble(found, state.snapshot, self.context_tokens)

    def of_passages(self, question: str, pinned: Sequence[PinnedPassage]) -> Evidence:
        """What a question is answered from where these passages are all there is."""
        if not pinned:
            return Evidence(0, ())
        vector = self.encoder.embed([question])[0]
        made = [self._parts(number, one) for number, one in enumerate(pinned, 1)]
        rows = [row for part in made for row in part.rows]
        mentions = [one for part in made for one in part.mentions]
        relations = [one for part in made for one in part.relations]
        found = ranked(Additions(rows, mentions, relations), question, vector, shipped_ranker(), self.each)
        passages = tuple(_passage(part, vector, found) for part in made)
        scores = sorted(((one.chunk_id, one.score) for one in passages), key=lambda pair: (-pair[1], pair[0]))
        tokens = sum(one.tokens for one in passages)
        return Evidence(0, passages, rarity=found.rarity, candidates=tuple(scores), tokens=tokens)

    def _parts(self, number: int, pinned: PinnedPassage) -> _Parts:
        """What indexing makes of a passage: one row a chunk, with its mentions and relations."""
        text = unicodedata.normalize("NFC", pinned.text).strip()
        name = f"passage-{number}"
        title = pinned.title or title_of(text) or name
        document = ParsedDocument(text, "text/plain", pinned.title or None, external_id=name)
        drafts = split(document, self.encoder, self.chunk_tokens)
        heading = title if pinned.title else ""
        vectors = self.encoder.embed_passages([embedding_input(heading, draft) for draft in drafts])
        found = _Parts(number, title, text, drafts)
        for draft, one in zip(drafts, vectors, strict=True):
            chunk = number * MOST_CHUNKS + draft.ordinal
            mentions, relations = extract(title, name, draft, document)
            found.rows.append(_row(chunk, number, title, draft, one))
            found.mentions.extend((chunk, each.key, each.kind == MentionKind.TITLE) for each in mentions)
            found.relations.extend((chunk, *astuple(each)) for each in relations)
        return found


@dataclass(frozen=True, slots=True)
class _Parts:
    """A pinned passage as it would be indexed, in chunks."""

    number: int
    title: str
    text: str
    drafts: Sequence[ChunkDraft]
    rows: list[IndexRow] = field(default_factory=list)
    mentions: list[tuple[int, str, bool]] = field(default_factory=list)
    relations: list[tuple[int, str, str, str, int, int]] = field(default_factory=list)


def _row(chunk: int, document: int, title: str, draft: ChunkDraft, vectors: PassageVectors) -> IndexRow:
    return IndexRow(
        chunk_id=chunk,
        public_id=derived_id("chk", SOURCE, str(chunk), draft.text),
        revision_id=document,
        document_id=document,
        ordinal=draft.ordinal,
        title=title,
        heading=draft.heading,
        text=draft.text,
        sentences=np.array([(one.start, one.end) for one in draft.sentences], np.int32).reshape(-1, 2),
        vector=vectors.passage.astype(np.float32),
        sentence_vectors=vectors.sentences.astype(np.float16),
        signature=signature(draft.text),
    )


def _passage(part: _Parts, question: Vector, found: Ranked) -> Passage:
    """The whole passage under its number: its score is that of its best chunk."""
    sentences = tuple(
        SentenceScore(draft.start + span.start, draft.start + span.end, score)
        for draft, row in zip(part.drafts, part.rows, strict=True)
        for span, score in zip(draft.sentences, _cosines(row.sentence_vectors, question), strict=True)
    )
    return Passage(
        chunk_id=derived_id("chk", SOURCE, str(part.number), part.title, part.text),
        document_id=derived_id("doc", SOURCE, str(part.number)),
        external_id=None,
        revision=1,
        source=SOURCE,
        title=part.title,
        uri="",
        heading=(),
        text=part.text,
        start=0,
        end=len(part.text),
        page=None,
        score=max((found.scores[row.chunk_id] for row in part.rows if row.chunk_id in found.scores), default=0.0),
        sentences=sentences,
        tokens=sum(draft.tokens for draft in part.drafts),
    )


def _cosines(vectors: NDArray[np.float16], question: Vector) -> list[float]:
    """Of sentences to the question, rounded to five places as a search does."""
    found: list[float] = np.round(vectors.astype(np.float32) @ question, 5).tolist()
    return found
