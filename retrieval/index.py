"""The index of a workspace: flat arrays over all its chunks, derived from the store and disposable.

Position `i` of every array is the chunk of the i-th lowest row id, visible or not: which chunks a question may
use is decided by its `View`, never here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from graph.walk import gather
from retrieval.analysis import term_hash

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
UInt64 = NDArray[np.uint64]
UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

NAMED, TITLE, PHRASE = 1, 2, 4
"""How a passage holds an entity: named in its text; what it is about; or worded in it just as a title reads."""


@dataclass(frozen=True, slots=True)
class Index:
    """Arrays over `n` chunks, `m` sentences, `t` terms and `e` entities; `d` is the embedding's dimension."""

    chunk_id: Int64  # [n] row ids, ascending
    public_id: NDArray[np.bytes_]  # [n] public ids, ASCII
    key: UInt64  # [n] hash of the chunk's public id: the order of equals, which no history of ingests changes
    revision_id: Int64  # [n]
    document_id: Int64  # [n]
    ordinal: Int32  # [n] place in the document
    title: UInt64  # [n] hash of the key of the document's title
    length: Float32  # [n] number of terms
    vectors: Float32  # [n, d] unit vectors
    signature: NDArray[np.uint32]  # [n, 16] MinHash of the text
    sent_ptr: Int64  # [n + 1] the sentences of each chunk
    sent_vec: NDArray[np.float16]  # [m, d] unit vectors
    terms: UInt64  # [t] hashes, ascending
    post_ptr: Int64  # [t + 1] the postings of each term
    post_chunk: Int32  # [postings]
    post_tf: Float32  # [postings]
    word_ptr: Int64  # [n + 1] the words of each chunk
    words: UInt64  # [words] hashes of folded words, in order
    entities: UInt64  # [e] hashes of entity keys (and of predicates), ascending
    name_ptr: Int64  # [e + 1] the name of each entity, in UTF-8, through `names`
    names: UInt8
    pass_ptr: Int64  # [n + 1] the entities of each chunk
    pass_entity: Int32  # [links]
    pass_kind: UInt8  # [links] NAMED | TITLE | PHRASE
    ent_ptr: Int64  # [e + 1] the chunks of each entity
    ent_chunk: Int32  # [links] of each entity in the order of the chunks' keys
    ent_kind: UInt8  # [links]
    phrase: UInt64  # [p] rolling hashes of titles of several words, ascending
    phrase_entity: UInt64  # [p] the entity that each stands for
    edges: Int64  # [r, 6] chunk, subject, predicate, object (the last three entity numbers), start, end; by chunk
    edge_ptr: Int64  # [e + 1] the edges of each entity, through `edge_of`
    edge_of: Int32  # [2r] numbers of edges

    def __len__(self) -> int:
        return len(self.chunk_id)

    @property
    def last_chunk(self) -> int:
        """The highest row id that is indexed; 0 for an empty index."""
        return int(self.chunk_id[-1]) if len(self.chunk_id) else 0

    def postings(self, term: str) -> tuple[Int32, Float32]:
        """Positions and counts of the chunks that hold a term."""
        place = find(self.terms, term_hash(term))
        if place is None:
            return self.post_chunk[:0], self.post_tf[:0]
        span = slice(int(self.post_ptr[place]), int(self.post_ptr[place + 1]))
        return self.post_chunk[span], self.post_tf[span]

    def sentences_in(self, places: Int64) -> tuple[Int64, Float32]:
        """Of each sentence of the chunks at `places`: its chunk's place in `places`, and its unit vector."""
        owner, rows = gather(self.sent_ptr, places)
        return owner, self.sent_vec[rows].astype(np.float32)

    def entity(self, key: str) -> int | None:
        """The number of the entity with this key, if any chunk holds it."""
        return find(self.entities, term_hash(key))

    def chunk_name(self, place: int) -> str:
        """The public id of the chunk at a position."""
        return bytes(self.public_id[place]).decode()

    def name(self, entity: int) -> str:
        """The key of an entity, or of a predicate, by its number."""
        return self.names[int(self.name_ptr[entity]) : int(self.name_ptr[entity + 1])].tobytes().decode()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every array by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def find(ascending: UInt64, value: int) -> int | None:
    """The place of `value` in an ascending array."""
    place = int(np.searchsorted(ascending, np.uint64(value)))
    return place if place < len(ascending) and int(ascending[place]) == value else None
