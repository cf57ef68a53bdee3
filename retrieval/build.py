"""Building an index from stored chunks, and extending one by the chunks that came since.

An extension computes nothing anew for the chunks that were there: it decodes their arrays, appends, and sorts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.names import STOPWORDS, base_name, name_key
from kernel.storage.corpus import IndexRow
from retrieval.analysis import plain, term_hash, terms, words
from retrieval.index import NAMED, PHRASE, TITLE, Index, Int64, UInt64

PHRASE_WORDS = 8
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Additions:
    """What came since an index was built: chunks, `(chunk, entity key, is title)`,
    `(chunk, subject, predicate, object, start, end)`."""

    rows: Sequence[IndexRow]
    mentions: Sequence[tuple[int, str, bool]]
    relations: Sequence[tuple[int, str, str, str, int, int]]


def empty_index(dimension: int) -> Index:
    """The index of no chunks."""
    none = np.zeros(0, np.int64)
    return Index(
        chunk_id=none,
        public_id=none.astype("S32"),
        key=none.astype(np.uint64),
        revision_id=none,
        document_id=none,
        ordinal=none.astype(np.int32),
        title=none.astype(np.uint64),
        length=none.astype(np.float32),
        vectors=np.zeros((0, dimension), np.float32),
        signature=np.zeros((0, 16), np.uint32),
        sent_ptr=np.zeros(1, np.int64),
        sent_vec=np.zeros((0, dimension), np.float16),
        terms=none.astype(np.uint64),
        post_ptr=np.zeros(1, np.int64),
        post_chunk=none.astype(np.int32),
        post_tf=none.astype(np.float32),
        word_ptr=np.zeros(1, np.int64),
        words=none.astype(np.uint64),
        entities=none.astype(np.uint64),
        name_ptr=np.zeros(1, np.int64),
        names=none.astype(np.uint8),
        pass_ptr=np.zeros(1, np.int64),
        pass_entity=none.astype(np.int32),
        pass_kind=none.astype(np.uint8),
        ent_ptr=np.zeros(1, np.int64),
        ent_chunk=none.astype(np.int32),
        ent_kind=none.astype(np.uint8),
        phrase=none.astype(np.uint64),
        phrase_entity=none.astype(np.uint64),
        edges=np.zeros((0, 6), np.int64),
        edge_ptr=np.zeros(1, np.int64),
        edge_of=none.astype(np.int32),
    )


def extend(index: Index, new: Additions) -> Index:
    """`index` and the additions as one index. The additions' chunks must follow all chunks of `index`."""
    if not new.rows:
        return index
    key = np.concatenate([index.key, np.array([term_hash(row.public_id) for row in new.rows], np.uint64)])
    chunk_id = np.concatenate([index.chunk_id, np.array([row.chunk_id for row in new.rows], np.int64)])
    word_rows = [np.array([term_hash(word) for word in words(row.text)], np.uint64) for row in new.rows]
    word_ptr, all_words = _append(index.word_ptr, index.words, word_rows)
    lexical = _extend_postings(index, new.rows)
    links = _extend_links(index, new, key, word_ptr, all_words)
    sent_ptr, sent_vec = _append(index.sent_ptr, index.sent_vec, [row.sentence_vectors for row in new.rows])
    return Index(
        chunk_id=chunk_id,
        public_id=np.concatenate([index.public_id, np.array([row.public_id.encode() for row in new.rows], "S32")]),
        key=key,
        revision_id=np.concatenate([index.revision_id, np.array([row.revision_id for row in new.rows], np.int64)]),
        document_id=np.concatenate([index.document_id, np.array([row.document_id for row in new.rows], np.int64)]),
        ordinal=np.concatenate([index.ordinal, np.array([row.ordinal for row in new.rows], np.int32)]),
        title=np.concatenate([index.title, np.array([term_hash(name_key(row.title)) for row in new.rows], np.uint64)]),
        vectors=np.concatenate([index.vectors, np.stack([row.vector for row in new.rows])]),
        signature=np.concatenate([index.signature, np.stack([row.signature for row in new.rows])]),
        sent_ptr=sent_ptr,
        sent_vec=sent_vec,
        word_ptr=word_ptr,
        words=all_words,
        **lexical,
        **links,
    )


def _append(ptr: Int64, values: NDArray, rows: Sequence[NDArray]) -> tuple[Int64, NDArray]:  # type: ignore[type-arg]
    lengths = np.array([len(row) for row in rows], np.int64)
    return np.concatenate([ptr, ptr[-1] + np.cumsum(lengths)]), np.concatenate([values, *rows])


def _extend_postings(index: Index, rows: Sequence[IndexRow]) -> dict[str, NDArray]:  # type: ignore[type-arg]
    hashes: list[int] = []
    chunks: list[int] = []
    counts: list[int] = []
    lengths: list[int] = []
    for place, row in enumerate(rows, start=len(index)):
        found = terms(plain(f"{row.title}\n{' '.join(row.heading)}\n{row.text}"))
        lengths.append(len(found))
        for term, count in Counter(found).items():
            hashes.append(term_hash(term))
            chunks.append(place)
            counts.append(count)
    old = np.repeat(index.terms, np.diff(index.post_ptr))
    key = np.concatenate([old, np.array(hashes, np.uint64)])
    order = np.argsort(key, kind="stable")
    unique, ptr = _groups(key[order])
    return {
        "length": np.concatenate([index.length, np.array(lengths, np.float32)]),
        "terms": unique,
        "post_ptr": ptr,
        "post_chunk": np.concatenate([index.post_chunk, np.array(chunks, np.int32)])[order],
        "post_tf": np.concatenate([index.post_tf, np.array(counts, np.float32)])[order],
    }


def _groups(ascending: UInt64) -> tuple[UInt64, Int64]:
    """Distinct values of an ascending array and, with one more entry at the end, where each begins."""
    unique, starts = np.unique(ascending, return_index=True)
    return unique, np.append(starts, len(ascending)).astype(np.int64)


def _extend_links(
    index: Index, new: Additions, chunk_key: UInt64, word_ptr: Int64, all_words: UInt64
) -> dict[str, NDArray]:  # type: ignore[type-arg]
    place = {int(row.chunk_id): number for number, row in enumerate(new.rows, start=len(index))}
    old_chunk = np.repeat(np.arange(len(index), dtype=np.int64), np.diff(index.pass_ptr))
    old = (old_chunk, index.entities[index.pass_entity], index.pass_kind.astype(np.int64))
    named = (
        np.array([place[chunk] for chunk, _, _ in new.mentions], np.int64),
        np.array([term_hash(key) for _, key, _ in new.mentions], np.uint64),
        np.array([TITLE if title else NAMED for _, _, title in new.mentions], np.int64),
    )
    titles = _title_phrases(new.rows)
    known = _distinct_phrases((index.phrase, index.phrase_entity), titles)
    before = find_phrases(*titles, index.word_ptr, index.words)
    after = find_phrases(*known, word_ptr[len(index) :] - word_ptr[len(index)], all_words[word_ptr[len(index)] :])
    phrases = before, (after[0] + len(index), *after[1:])
    chunk, key, kind = (np.concatenate(parts) for parts in zip(old, named, *phrases, strict=True))
    keys = {term_hash(k): k for _, k, _ in new.mentions} | {term_hash(k): k for r in new.relations for k in r[1:4]}
    entities = np.unique(np.concatenate([index.entities, np.array(list(keys), np.uint64)]))
    return {
        "entities": entities,
        "phrase": known[0],
        "phrase_entity": known[1],
        **_name_arrays(index, keys, entities),
        **_link_arrays(chunk, np.searchsorted(entities, key), kind, chunk_key, len(entities)),
        **_edge_arrays(index, [(place[r[0]], *r[1:]) for r in new.relations], entities),
    }


def _name_arrays(index: Index, keys: dict[int, str], entities: UInt64) -> dict[str, NDArray]:  # type: ignore[type-arg]
    pieces = [b""] * len(entities)
    blob = index.names.tobytes()
    for place, low, high in zip(
        np.searchsorted(entities, index.entities).tolist(),
        index.name_ptr[:-1].tolist(),
        index.name_ptr[1:].tolist(),
        strict=True,
    ):
        pieces[place] = blob[low:high]
    hashes = np.array(list(keys), np.uint64)
    for place, key in zip(np.searchsorted(entities, hashes).tolist(), keys.values(), strict=True):
        pieces[place] = key.encode()
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    return {
        "name_ptr": np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        "names": np.frombuffer(b"".join(pieces), np.uint8),
    }


def _link_arrays(chunk: Int64, entity: Int64, kind: Int64, key: UInt64, entities: int) -> dict[str, NDArray]:  # type: ignore[type-arg]
    pair, inverse = np.unique(chunk * entities + entity, return_inverse=True)
    joined = np.zeros(len(pair), np.int64)
    np.bitwise_or.at(joined, inverse, kind)
    chunk, entity = pair // max(entities, 1), pair % max(entities, 1)
    order = np.lexsort((key[chunk], entity))
    return {
        "pass_ptr": np.searchsorted(chunk, np.arange(len(key) + 1)).astype(np.int64),
        "pass_entity": entity.astype(np.int32),
        "pass_kind": joined.astype(np.uint8),
        "ent_ptr": np.searchsorted(entity[order], np.arange(entities + 1)).astype(np.int64),
        "ent_chunk": chunk[order].astype(np.int32),
        "ent_kind": joined[order].astype(np.uint8),
    }


def _edge_arrays(
    index: Index, relations: Sequence[tuple[int, str, str, str, int, int]], entities: UInt64
) -> dict[str, NDArray]:  # type: ignore[type-arg]
    renumber = np.searchsorted(entities, index.entities)
    old = index.edges.copy()
    if len(old):
        old[:, 1:4] = renumber[old[:, 1:4]]
    hashes = np.array([[term_hash(key) for key in row[1:4]] for row in relations], np.uint64).reshape(-1, 3)
    chunk = np.array([row[0] for row in relations], np.int64)
    spans = np.array([row[4:] for row in relations], np.int64).reshape(-1, 2)
    fresh = np.concatenate([chunk[:, None], np.searchsorted(entities, hashes), spans], axis=1)
    edges = np.concatenate([old, fresh[np.argsort(chunk, kind="stable")]])
    ends = np.concatenate([edges[:, 1], edges[:, 3]])
    order = np.argsort(ends, kind="stable")
    return {
        "edges": edges,
        "edge_ptr": np.searchsorted(ends[order], np.arange(len(entities) + 1)).astype(np.int64),
        "edge_of": (order % max(len(edges), 1)).astype(np.int32),
    }


def _title_phrases(rows: Sequence[IndexRow]) -> tuple[UInt64, UInt64]:
    """Rolling hashes of the titles that have several words, with the entity that each stands for."""
    found: dict[tuple[int, int], None] = {}
    for title in dict.fromkeys(row.title for row in rows):
        for name in (title, base_name(title)):
            key = name_key(name) if name else ""
            pieces = words(key)
            if 2 <= len(pieces) <= PHRASE_WORDS and not all(piece in STOPWORDS for piece in pieces):
                hashes = np.array([term_hash(piece) for piece in pieces], np.uint64)
                found[int(_windows(hashes, len(pieces))[0]), term_hash(key)] = None
    pairs = np.array(list(found), np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _distinct_phrases(*parts: tuple[UInt64, UInt64]) -> tuple[UInt64, UInt64]:
    """All pairs of phrase and entity, ascending, each once: a title stays one, however many revisions bear it."""
    pairs = np.unique(np.concatenate([np.stack(part, axis=1) for part in parts]), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _windows(hashes: UInt64, width: int) -> UInt64:
    """A hash of every run of `width` words: polynomial, modulo 2^64, salted with the width."""
    rolled = hashes
    for _ in range(width - 1):
        rolled = hashes[: len(rolled) - 1] + _PRIME * rolled[1:]
    return rolled ^ np.uint64(width)


def find_phrases(phrase: UInt64, entity: UInt64, word_ptr: Int64, stream: UInt64) -> tuple[Int64, UInt64, Int64]:
    """Where chunks word a title: chunk, entity hash and kind of each find. `stream` holds the chunks' words."""
    order = np.argsort(phrase, kind="stable")
    phrase, entity = phrase[order], entity[order]
    chunk_of = np.repeat(np.arange(len(word_ptr) - 1, dtype=np.int64), np.diff(word_ptr))
    chunks, entities = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    for width in range(2, PHRASE_WORDS + 1):
        if not len(phrase) or len(stream) < width:
            break
        rolled = _windows(stream, width)
        low, high = np.searchsorted(phrase, rolled), np.searchsorted(phrase, rolled, side="right")
        hits = np.flatnonzero((high > low) & (chunk_of[: len(rolled)] == chunk_of[width - 1 :]))
        for hit in hits.tolist():
            finds = entity[low[hit] : high[hit]]
            chunks.append(np.full(len(finds), chunk_of[hit], np.int64))
            entities.append(finds)
    chunk = np.concatenate(chunks)
    return chunk, np.concatenate(entities), np.full(len(chunk), PHRASE, np.int64)
