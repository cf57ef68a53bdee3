"""The index of a workspace: what searching reads of its chunks, derived from the store and disposable.

Two kinds of parts. Columns have a row for each chunk, sentence, entity and so on, in the order in which they came;
growing adds rows at their end and changes none. Runs hold the look-ups by term, name and entity of a range of chunks
each; growing adds a run, and small runs are merged into larger ones (a log-structured merge, O'Neil et al., 1996).
So growing costs what is added, and an open index stays as it is while another grows out of it.

Position `i` of every column of chunks is the chunk of the i-th lowest row id, visible or not: which chunks a question
may use is decided by its `View`, never here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from graph.walk import gather
from retrieval.analysis import term_hash
from retrieval.cells import Cells
from retrieval.lists import Array, Int64, Lists, joined, lists_of, merged

Int32 = NDArray[np.int32]
UInt64 = NDArray[np.uint64]
UInt32 = NDArray[np.uint32]
UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

NAMED, TITLE, PHRASE = 1, 2, 4
"""How a passage holds an entity: named in its text; what it is about; or worded in it just as a title reads."""
WORD_BITS = 0xFFFFFFFF
"""Of the hash of a word, what the stream of words keeps."""


def word_hash(word: str) -> int:
    """What stands for a folded word in a stream of words."""
    return term_hash(word) & WORD_BITS


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows over `n` chunks, `m` sentences and `e` entities; `d` is the embedding's dimension."""

    chunk_id: Int64  # [n] row ids, ascending
    public_id: NDArray[np.bytes_]  # [n] public ids, ASCII
    key: UInt64  # [n] hash of the chunk's public id: the order of equals, which no history of ingests changes
    revision_id: Int64  # [n]
    document_id: Int64  # [n]
    ordinal: Int32  # [n] place in the document
    title: UInt64  # [n] hash of the key of the document's title
    length: Float32  # [n] number of terms
    vectors: Float32  # [n, d] unit vectors
    signature: UInt32  # [n, 16] MinHash of the text
    sent_ptr: Int64  # [n + 1] the sentences of each chunk
    sent_vec: NDArray[np.float16]  # [m, d] unit vectors
    word_ptr: Int64  # [n + 1] the words of each chunk
    words: UInt32  # [words] hashes of folded words, in order
    pass_ptr: Int64  # [n + 1] the entities of each chunk, as known when it came (later finds are in `Run.late`)
    pass_entity: Int32  # [links]
    pass_kind: UInt8  # [links] NAMED | TITLE | PHRASE
    entity_key: UInt64  # [e] hashes of entity keys (and of predicates), in the order in which they came
    name_ptr: Int64  # [e + 1] the name of each entity, in UTF-8, through `names`
    names: UInt8
    edges: Int64  # [r, 6] chunk, subject, predicate, object (the last three entity numbers), start, end; by chunk

    def arrays(self) -> dict[str, Array]:
        """Every column by its name."""
        return {field.name: getattr(self, field.name) for field in fields(Columns)}


def no_rows(dimension: int) -> Columns:
    """Columns of no chunks."""
    none, begin = np.zeros(0, np.int64), np.zeros(1, np.int64)
    return Columns(
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
        sent_ptr=begin,
        sent_vec=np.zeros((0, dimension), np.float16),
        word_ptr=begin,
        words=none.astype(np.uint32),
        pass_ptr=begin,
        pass_entity=none.astype(np.int32),
        pass_kind=none.astype(np.uint8),
        entity_key=none.astype(np.uint64),
        name_ptr=begin,
        names=none.astype(np.uint8),
        edges=np.zeros((0, 6), np.int64),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """The look-ups of the chunks at positions `[low, high)`."""

    low: int
    high: int
    terms: Lists  # hash of a term -> chunk (int32), count in it (uint16)
    entities: Lists  # hash of an entity's key -> its number (int32)
    links: Lists  # entity -> chunk (int32), kind (uint8): passages about it first, then by the chunks' keys
    late: Lists  # chunk -> entity (int32), kind (uint8), index length then (int32): finds in chunks that were there
    phrases: Lists  # rolling hash of a title of several words -> entity (int32), hash of its first word (uint32)
    edges: Lists  # entity -> number of an edge (int32)
    notable: Lists  # entity -> number of an edge (int32) that says how a document stands or of another name
    cells: Cells | None = None  # the nearest-neighbour cells of the chunks' vectors, where they are many

    def lists(self) -> dict[str, Lists]:
        """Every look-up by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.type == "Lists"}


@dataclass(frozen=True, slots=True)
class Addition:
    """What an index grows by: the rows to put at the end of its columns, and their run. See `build.addition`."""

    rows: Mapping[str, Array]
    run: Run


@dataclass(frozen=True, slots=True)
class Index(Columns):
    """Columns and the runs over them, in the order of their chunks. `lineage` is shared by all that grew from one."""

    runs: tuple[Run, ...]
    lineage: str

    def __len__(self) -> int:
        return len(self.chunk_id)

    @property
    def last_chunk(self) -> int:
        """The highest row id that is indexed; 0 for an empty index."""
        return int(self.chunk_id[-1]) if len(self) else 0

    def postings(self, term: str) -> tuple[Int32, NDArray[np.uint16]]:
        """Positions, ascending, and counts of the chunks that hold a term."""
        value = term_hash(term)
        found = []
        for run in self.runs:
            span = run.terms.span(value)
            if span.stop > span.start:
                found.append(tuple(values[span] for values in run.terms.values))
        return joined(found, (np.zeros(0, np.int32), np.zeros(0, np.uint16)))  # type: ignore[return-value]

    def sentences_in(self, places: Int64) -> tuple[Int64, NDArray[np.float64]]:
        """Of each sentence of the chunks at `places`: its chunk's place in `places`, and its unit vector."""
        owner, rows = gather(self.sent_ptr, places)
        return owner, self.sent_vec[rows].astype(np.float64)

    def numbers(self, keys: UInt64) -> Int64:
        """The number of the entity of each key's hash; -1 where no chunk names it."""
        found = np.full(len(keys), -1, np.int64)
        for run in self.runs:
            owner, slots = run.entities.slots(keys)
            found[owner] = run.entities.values[0][slots]
        return found

    def number(self, key: int) -> int | None:
        """The number of the entity whose key has this hash, if any chunk names it."""
        found = int(self.numbers(np.array([key], np.uint64))[0])
        return found if found >= 0 else None

    def entity(self, key: str) -> int | None:
        """The number of the entity with this key, if any chunk holds it."""
        return self.number(term_hash(key))

    def edges_of(self, entity: int, *, notable: bool = False) -> Int64:
        """The typed relations of an entity, `[r, 6]`: all, or only those of standing and other names."""
        lists = [run.notable if notable else run.edges for run in self.runs]
        parts = [(found.values[0][found.span(entity)],) for found in lists]
        numbers = np.unique(joined(parts, (np.zeros(0, np.int32),))[0])
        rows: Int64 = self.edges[numbers]
        return rows

    def noted(self, entities: Int64) -> NDArray[np.bool_]:
        """Whether any chunk, visible or not, says something of the standing or of another name of each entity."""
        found = np.zeros(len(entities), np.bool_)
        for run in self.runs:
            found[run.notable.slots(entities)[0]] = True
        return found

    def chunk_name(self, place: int) -> str:
        """The public id of the chunk at a position."""
        return bytes(self.public_id[place]).decode()

    def name(self, entity: int) -> str:
        """The key of an entity, or of a predicate, by its number."""
        return self.names[int(self.name_ptr[entity]) : int(self.name_ptr[entity + 1])].tobytes().decode()


def empty_index(dimension: int, lineage: str = "") -> Index:
    """The index of no chunks."""
    return Index(**no_rows(dimension).arrays(), runs=(), lineage=lineage)


def grown(index: Index, addition: Addition) -> Index:
    """`index` with an addition, in memory."""
    columns = {name: np.concatenate([column, addition.rows[name]]) for name, column in index.arrays().items()}
    return Index(**columns, runs=settled((*index.runs, addition.run), columns["key"]), lineage=index.lineage)


def settled(runs: tuple[Run, ...], key: UInt64) -> tuple[Run, ...]:
    """The runs, the last ones merged until each is less than half as large as the one before it.

    So there are few, and a chunk is merged a number of times that grows with the logarithm of their number.
    """
    while len(runs) > 1 and 2 * (runs[-1].high - runs[-1].low) >= runs[-2].high - runs[-2].low:
        runs = (*runs[:-2], _merged(runs[-2], runs[-1], key))
    return runs


def _merged(one: Run, other: Run, key: UInt64) -> Run:
    lists = {name: merged(part, other.lists()[name]) for name, part in one.lists().items()}
    lists["links"] = _by_key(lists["links"], key)
    lists["phrases"] = distinct(lists["phrases"])
    return Run(low=one.low, high=other.high, cells=None, **lists)


def _by_key(links: Lists, key: UInt64) -> Lists:
    """An entity's links in the order in which they are read: passages about it first, then by their keys."""
    owner = np.repeat(np.arange(len(links.keys)), np.diff(links.ptr))
    chunk, kind = links.values
    order = np.lexsort((key[chunk], (kind & TITLE) == 0, owner))
    return replace(links, values=(chunk[order], kind[order]))


def distinct(lists: Lists) -> Lists:
    """Each row of values once a key."""
    owner = np.repeat(np.arange(len(lists.keys)), np.diff(lists.ptr))
    rows = np.unique(np.stack([owner, *(value.astype(np.int64) for value in lists.values)], axis=1), axis=0)
    values = (column.astype(value.dtype) for column, value in zip(rows.T[1:], lists.values, strict=True))
    return lists_of(lists.keys[rows[:, 0]], *values)
