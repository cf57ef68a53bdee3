"""What an index grows by: the columns' new rows and their run, made from stored chunks.

Nothing is computed anew for the chunks that were there. The one thing that new chunks change about older ones, which
of them word a title that has just come, is looked up through the postings of the title's words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from graph.names import STOPWORDS, base_name, name_key
from graph.relations import NOTABLE
from graph.walk import gather
from kernel.storage.corpus import IndexRow
from retrieval.analysis import plain, stem, term_hash, terms, words
from retrieval.index import NAMED, PHRASE, TITLE, Addition, Index, Run, UInt64, distinct, word_hash
from retrieval.lists import Array, Int64, Lists, lists_of

PHRASE_WORDS = 8
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.int64(1) << np.int64(32)
SCAN_FROM = 100_000
"""Words of older chunks a new title from which on looking it up costs less than reading them all."""
_FIRST_BITS = np.uint32((1 << 20) - 1)
_MOST_COUNTED = 65535


Links = tuple[Int64, Int64, Int64]
"""Chunk, entity and kind of some links."""


@dataclass(frozen=True, slots=True)
class Additions:
    """What came since an index was built: chunks, `(chunk, entity key, is title)`,
    `(chunk, subject, predicate, object, start, end)`."""

    rows: Sequence[IndexRow]
    mentions: Sequence[tuple[int, str, bool]]
    relations: Sequence[tuple[int, str, str, str, int, int]]


def addition(index: Index, new: Additions) -> Addition:
    """What `index` grows by. The additions' chunks must follow all chunks of `index`; there must be one at least."""
    low = len(index)
    place = {int(row.chunk_id): number for number, row in enumerate(new.rows)}
    word_rows = [np.array([word_hash(word) for word in words(plain(row.text))], np.uint32) for row in new.rows]
    stream = np.concatenate(word_rows)
    entities = _Entities(index, new)
    titles = _Titles(index, new.rows, entities)
    links = _links(index, new, place, entities, _Stream(_begins(word_rows), stream), titles)
    late = titles.in_older_chunks(index)
    lengths, postings = _postings(new.rows, low)
    edges, edge_lists = _edges(index, [(place[r[0]] + low, *r[1:]) for r in new.relations], entities)
    columns = _chunk_columns(new.rows)
    rows = columns | {
        "length": lengths,
        "word_ptr": _begins(word_rows)[1:] + index.word_ptr[-1],
        "words": stream,
        "pass_ptr": np.searchsorted(links[0], np.arange(1, len(new.rows) + 1)) + index.pass_ptr[-1],
        "pass_entity": links[1].astype(np.int32),
        "pass_kind": links[2].astype(np.uint8),
        "sent_ptr": _begins([row.sentence_vectors for row in new.rows])[1:] + index.sent_ptr[-1],
        "sent_vec": np.concatenate([row.sentence_vectors for row in new.rows]),
        "entity_key": entities.new,
        "name_ptr": _begins(entities.names)[1:] + index.name_ptr[-1],
        "names": np.frombuffer(b"".join(entities.names), np.uint8),
        "edges": edges,
    }
    chunk, entity, kind = (np.concatenate(parts) for parts in zip((links[0] + low, *links[1:]), late, strict=True))
    key = np.concatenate([columns["key"][links[0]], index.key[late[0]]])
    run = Run(
        low=low,
        high=low + len(new.rows),
        terms=postings,
        entities=lists_of(entities.new, (entities.count + np.arange(len(entities.new))).astype(np.int32)),
        links=_inverted(chunk, entity, kind, key),
        late=lists_of(
            late[0], late[1].astype(np.int32), late[2].astype(np.uint8), np.full(len(late[0]), low, np.int32)
        ),
        phrases=titles.phrases,
        cells=None,
        **edge_lists,
    )
    return Addition(rows, run)


def _begins(rows: Sequence[Sized]) -> Int64:
    """Where each of some rows begins when they lie after each other, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum([len(row) for row in rows], dtype=np.int64)])


def _chunk_columns(rows: Sequence[IndexRow]) -> dict[str, Array]:
    return {
        "chunk_id": np.array([row.chunk_id for row in rows], np.int64),
        "public_id": np.array([row.public_id.encode() for row in rows], "S32"),
        "key": np.array([term_hash(row.public_id) for row in rows], np.uint64),
        "revision_id": np.array([row.revision_id for row in rows], np.int64),
        "document_id": np.array([row.document_id for row in rows], np.int64),
        "ordinal": np.array([row.ordinal for row in rows], np.int32),
        "title": np.array([term_hash(name_key(row.title)) for row in rows], np.uint64),
        "vectors": np.stack([row.vector for row in rows]),
        "signature": np.stack([row.signature for row in rows]),
    }


def _postings(rows: Sequence[IndexRow], low: int) -> tuple[Array, Lists]:
    hashes: list[int] = []
    chunks: list[int] = []
    counts: list[int] = []
    lengths: list[int] = []
    for place, row in enumerate(rows, start=low):
        found = terms(plain(f"{row.title}\n{' '.join(row.heading)}\n{row.text}"))
        lengths.append(len(found))
        held = Counter(found)
        hashes += [term_hash(term) for term in held]
        chunks += [place] * len(held)
        counts += held.values()
    tf = np.minimum(np.array(counts, np.int64), _MOST_COUNTED).astype(np.uint16)
    return np.array(lengths, np.float32), lists_of(np.array(hashes, np.uint64), np.array(chunks, np.int32), tf)


class _Entities:
    """Numbers for the entities of some additions: those that the index knows, and new ones after its last.

    `new` and `names` are the hash and the name of each new one.
    """

    def __init__(self, index: Index, new: Additions) -> None:
        named = {key for _, key, _ in new.mentions} | {key for relation in new.relations for key in relation[1:4]}
        named |= {key for row in new.rows for key, _ in _phrases_of(row.title)}
        hashes = {term_hash(key): key for key in sorted(named)}
        wanted = np.array(sorted(hashes), np.uint64)
        numbers = index.numbers(wanted)
        self.count = len(index.entity_key)
        self.new = wanted[numbers < 0]
        self.names = [hashes[value].encode() for value in self.new.tolist()]
        numbers[numbers < 0] = self.count + np.arange(len(self.new))
        self._wanted, self._numbers = wanted, numbers

    def numbers(self, keys: Sequence[str]) -> Int64:
        """The number of each of these keys."""
        hashes = np.array([term_hash(key) for key in keys], np.uint64)
        return self._numbers[np.searchsorted(self._wanted, hashes)] if len(hashes) else np.zeros(0, np.int64)

    def keys(self, index: Index, numbers: Int64) -> UInt64:
        """The hash of each of these numbers."""
        known = index.entity_key[np.minimum(numbers, max(self.count - 1, 0))] if self.count else self.new[:1]
        fresh = self.new[np.clip(numbers - self.count, 0, max(len(self.new) - 1, 0))] if len(self.new) else known
        found: UInt64 = np.where(numbers < self.count, known, fresh)
        return found


@dataclass(frozen=True, slots=True)
class _Stream:
    """The words of some chunks as hashes, and where each chunk's begin and the last one's end."""

    ptr: Int64
    words: NDArray[np.uint32]


class _Titles:
    """Titles of several words that have come: `phrases` maps their rolling hash to the entity that each stands for."""

    def __init__(self, index: Index, rows: Sequence[IndexRow], entities: _Entities) -> None:
        found = dict(phrase for title in dict.fromkeys(row.title for row in rows) for phrase in _phrases_of(title))
        numbers = entities.numbers(list(found))
        hashes = np.array([_rolled(pieces) for pieces in found.values()], np.uint64)
        fresh = np.array(
            [not _holds(index, value, number) for value, number in zip(hashes, numbers, strict=True)], np.bool_
        )
        first = np.array([word_hash(pieces[0]) for pieces in found.values()], np.uint32)[fresh]
        self.phrases = distinct(lists_of(hashes[fresh], numbers[fresh].astype(np.int32), first))
        self._pieces = [pieces for pieces, new in zip(found.values(), fresh.tolist(), strict=True) if new]
        self._numbers, self._hashes = numbers[fresh], hashes[fresh]

    def in_older_chunks(self, index: Index) -> Links:
        """Where chunks of `index` word them and were not yet known to."""
        if len(self._pieces) * SCAN_FROM > len(index.words):
            chunk, entity = find_phrases([self.phrases], _Stream(index.word_ptr, index.words))
        else:
            finds = [_chunks_wording(index, pieces) for pieces in self._pieces]
            chunk = np.concatenate([np.zeros(0, np.int64), *finds])
            entity = np.repeat(self._numbers, [len(find) for find in finds])
        pair = np.unique(chunk * _PAIR + entity)
        chunk = np.unique(chunk)
        owner, slots = gather(index.pass_ptr, chunk)
        known = [chunk[owner] * _PAIR + index.pass_entity[slots]]
        for run in index.runs:
            owner, slots = run.late.slots(chunk)
            known.append(chunk[owner] * _PAIR + run.late.values[0][slots])
        pair = pair[~np.isin(pair, np.concatenate(known))]
        return pair // _PAIR, pair % _PAIR, np.full(len(pair), PHRASE, np.int64)


def _holds(index: Index, phrase: np.uint64, entity: int) -> bool:
    return any(entity in run.phrases.values[0][run.phrases.span(phrase)] for run in index.runs)


def _phrases_of(title: str) -> list[tuple[str, tuple[str, ...]]]:
    """The keys, each with its words, under which a title may be worded in a text: itself, and without its qualifier."""
    found = []
    for name in (title, base_name(title)):
        key = name_key(name) if name else ""
        pieces = tuple(words(key))
        if 2 <= len(pieces) <= PHRASE_WORDS and not all(piece in STOPWORDS for piece in pieces):
            found.append((key, pieces))
    return found


def _hashes(pieces: Sequence[str]) -> UInt64:
    return np.array([word_hash(piece) for piece in pieces], np.uint64)


def _rolled(pieces: Sequence[str]) -> int:
    return int(_windows(_hashes(pieces), len(pieces))[0])


def _windows(hashes: UInt64, width: int) -> UInt64:
    """A hash of every run of `width` words: polynomial, modulo 2^64, salted with the width."""
    rolled = hashes
    for _ in range(width - 1):
        rolled = hashes[: len(rolled) - 1] + _PRIME * rolled[1:]
    return rolled ^ np.uint64(width)


def _chunks_wording(index: Index, pieces: Sequence[str]) -> Int64:
    """The chunks whose words hold these after each other: those that hold all their terms, looked through."""
    lists = sorted((index.postings(term)[0] for term in {stem(piece) for piece in pieces}), key=len)
    chunks = reduce(lambda some, more: some[_isin(some, more)], lists).astype(np.int64)
    if not len(chunks):
        return chunks
    owner, slots = gather(index.word_ptr, chunks)
    rolled = _windows(index.words[slots].astype(np.uint64), len(pieces))
    last = len(pieces) - 1
    hits = (rolled == np.uint64(_rolled(pieces))) & (owner[: len(rolled)] == owner[last:])
    wording: Int64 = chunks[np.unique(owner[: len(rolled)][hits])]
    return wording


def _isin(some: Array, ascending: Array) -> Array:
    if not len(ascending):
        return np.zeros(len(some), np.bool_)
    found: Array = ascending[np.minimum(np.searchsorted(ascending, some), len(ascending) - 1)] == some
    return found


def find_phrases(known: Sequence[Lists], stream: _Stream) -> tuple[Int64, Int64]:
    """Where chunks word a known phrase: the chunk's place in the stream, and the entity, of each find.

    Only where a phrase's first word stands (by some bits of its hash) are the words after it looked at.
    """
    begins = np.zeros(int(_FIRST_BITS) + 1, np.bool_)
    for phrases in known:
        begins[phrases.values[1] & _FIRST_BITS] = True
    at = np.flatnonzero(begins[stream.words & _FIRST_BITS])
    chunk = np.searchsorted(stream.ptr, at, side="right") - 1
    end = stream.ptr[chunk + 1]
    chunks, entities = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    rolled = stream.words[at].astype(np.uint64)
    factor = np.ones(1, np.uint64)
    for width in range(2, PHRASE_WORDS + 1):
        fits = at + width <= end
        at, chunk, end, rolled, factor = at[fits], chunk[fits], end[fits], rolled[fits], factor * _PRIME
        rolled = rolled + factor * stream.words[at + width - 1].astype(np.uint64)
        for phrases in known:
            owner, slots = phrases.slots(rolled ^ np.uint64(width))
            chunks.append(chunk[owner])
            entities.append(phrases.values[0][slots].astype(np.int64))
    return np.concatenate(chunks), np.concatenate(entities)


def _links(
    index: Index, new: Additions, place: Mapping[int, int], entities: _Entities, stream: _Stream, titles: _Titles
) -> Links:
    """Chunk (its place among the new ones), entity and kind of each link of the new chunks, by chunk."""
    found = find_phrases([*(run.phrases for run in index.runs), titles.phrases], stream)
    chunk = np.concatenate([np.array([place[m[0]] for m in new.mentions], np.int64), found[0]])
    entity = np.concatenate([entities.numbers([m[1] for m in new.mentions]), found[1]])
    named = np.array([TITLE if m[2] else NAMED for m in new.mentions], np.int64)
    kind = np.concatenate([named, np.full(len(found[0]), PHRASE, np.int64)])
    pair, inverse = np.unique(chunk * _PAIR + entity, return_inverse=True)
    joined = np.zeros(len(pair), np.int64)
    np.bitwise_or.at(joined, inverse, kind)
    chunk, entity = pair // _PAIR, pair % _PAIR
    order = np.lexsort((entities.keys(index, entity), chunk))
    return chunk[order], entity[order], joined[order]


def _inverted(chunk: Int64, entity: Int64, kind: Int64, key: UInt64) -> Lists:
    """The links by entity, in the order in which they are read; `key` is that of each link's chunk."""
    order = np.lexsort((key, (kind & TITLE) == 0, entity))
    values = chunk[order].astype(np.int32), kind[order].astype(np.uint8)
    return lists_of(entity[order].astype(np.int32), *values)


def _edges(
    index: Index, relations: Sequence[tuple[int, str, str, str, int, int]], entities: _Entities
) -> tuple[Array, dict[str, Lists]]:
    chunk = np.array([row[0] for row in relations], np.int64)
    ends = entities.numbers([key for row in relations for key in row[1:4]]).reshape(-1, 3)
    spans = np.array([row[4:] for row in relations], np.int64).reshape(-1, 2)
    order = np.argsort(chunk, kind="stable")
    edges = np.concatenate([chunk[:, None], ends, spans], axis=1)[order]
    notable = np.array([relations[place][2] in NOTABLE for place in order.tolist()], np.bool_)
    number = (len(index.edges) + np.arange(len(edges))).astype(np.int32)
    return edges, {"edges": _by_end(edges, number), "notable": _by_end(edges[notable], number[notable])}


def _by_end(edges: Array, number: Array) -> Lists:
    ends = np.concatenate([edges[:, 1], edges[:, 3]]).astype(np.int32)
    return lists_of(ends, np.concatenate([number, number]))
