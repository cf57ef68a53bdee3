"""What is known of two passages, one after the other, as numbers for the second stage to weigh.

They follow the question's next hop without a model call: for each of the best passages found so far (anchors) and each
candidate, how the one leads to the other: by a name, by a rare entity that both hold, by terms of the question that the
anchor lacks, and by the likeness of the passage to the question taken together with the anchor's best sentences (a hop
vector).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from graph.names import STOPWORDS
from retrieval.analysis import content_terms, words
from retrieval.features import Candidates, Floats, Ints, Surroundings, best_of_each, of_each
from retrieval.index import word_hash
from retrieval.question import Asked

SECOND = (
    "named_by_anchor",
    "names_anchor",
    "unasked_title",
    "shared_rarity",
    "shared_asked",
    "rarest_shared",
    "alike",
    "hop",
    "hop_sentence",
    "hop_gap",
    "nearby",
    "nearby_gap",
    "title_said",
    "away_sentence",
    "sentence_alike",
    "adds_coverage",
    "joint_coverage",
    "same_document",
    "same_title",
)
OPEN = 0.1
"""Share of the question's terms, by rarity, from which on a passage that lacks them leads to others in full."""
HOP_SENTENCES = 2
REACH = 8
"""Words before and after a name within which the question's words count as said of it."""
TIED = 0.25
"""Rarity of a shared entity from which on two passages count as tied, beside that of an entity which only one names."""
_ENDINGS = "s es ed d er or ing ion ions e r rs ers ors al ly y ment ation".split()  # noqa: SIM905 - one line
"""Endings that words of one meaning may differ in; a wrong form does no harm, since no passage holds it."""
LEAST_BASE = 4
_BEFORE = 1 / (1 + (1 + np.arange(REACH)) / 3)
_AFTER = 1 / (2 + np.arange(REACH) / 3)


def pair_features(asked: Asked, candidates: Candidates, around: Surroundings, anchors: Ints) -> Floats:
    """`[anchors, n, len(SECOND)]`: how each of the candidates follows from each anchor (a row of the candidates).

    Names that an anchor holds count the less, the more of the question it covers: where nothing is left to ask, it
    leads nowhere.
    """
    trust = np.clip((1.0 - candidates.whole_coverage[anchors]) / OPEN, 0.0, 1.0)[:, None]
    elsewhere = around.document[anchors][:, None] != around.document[None, :]
    columns = _ties(around, anchors)
    columns = {name: value * trust * elsewhere for name, value in columns.items()}
    columns |= _likeness(asked, candidates, around, anchors)
    columns["nearby"] = _nearby(asked, candidates, around, anchors) * elsewhere
    columns["nearby_gap"] = columns["nearby"] - columns["nearby"].max(axis=1, keepdims=True)
    columns["title_said"] = _title_said(asked, around, anchors) * trust * elsewhere
    columns["hop_gap"] = _gap(columns["hop_sentence"], columns["rarest_shared"] > TIED)
    weighed = candidates.holds * candidates.idf
    total = max(float(candidates.idf.sum()), 1e-9)
    columns["adds_coverage"] = candidates.coverage - weighed[anchors] @ candidates.holds.T / total
    columns["joint_coverage"] = columns["adds_coverage"] + candidates.coverage[anchors][:, None]
    columns["same_document"] = (~elsewhere).astype(np.float64)
    columns["same_title"] = (around.title[anchors][:, None] == around.title[None, :]).astype(np.float64)
    pairs = np.stack([columns[name] for name in SECOND], axis=2)
    np.round(pairs, 9, out=pairs)
    pairs += 0.0  # no negative zeros: their sign would tell in which order sums were taken
    return pairs


def _ties(around: Surroundings, anchors: Ints) -> dict[str, Floats]:
    """By what names and entities the anchors and the candidates hang together, `[anchors, n]` each."""
    ceiling = max(float(np.log1p(around.count)), 1.0)
    unasked = 1 - around.asked
    named, titled = _rows(around, anchors, around.is_named), _rows(around, anchors, around.is_title)
    titles, names = np.flatnonzero(around.is_title), np.flatnonzero(around.is_named)
    found = np.zeros((len(anchors), len(around.key)))

    def tie(combine: np.ufunc, rows: Floats, weights: Floats, links: Ints | slice = slice(None)) -> Floats:
        """The sum, or the highest, over each candidate's `links` of those that an anchor holds as well."""
        values = rows[:, around.local[links]] * weights[links]
        return of_each(combine, values, around.entity_owner[links], found)

    held, rare = np.maximum(named, titled), around.rarity * unasked / ceiling
    return {
        "named_by_anchor": np.minimum(tie(np.add, named, around.sharpness, titles), 1.0),
        "names_anchor": np.minimum(tie(np.add, titled, around.sharpness, names), 1.0),
        "unasked_title": np.minimum(tie(np.add, named, around.sharpness * unasked, titles), 1.0),
        "shared_rarity": np.minimum(tie(np.add, held, rare), 4.0),
        "shared_asked": np.minimum(tie(np.add, held, around.rarity * around.asked / ceiling), 4.0),
        "rarest_shared": tie(np.maximum, held, rare),
    }


def _rows(around: Surroundings, anchors: Ints, which: NDArray[np.bool_]) -> Floats:
    """`[anchors, entities]`: 1 where an anchor holds an entity in the way that `which` says of each link."""
    rows = np.zeros((len(anchors), int(around.local.max(initial=-1)) + 1))
    for row, anchor in zip(rows, anchors.tolist(), strict=True):
        low, high = np.searchsorted(around.entity_owner, (anchor, anchor + 1))
        row[around.local[low:high][which[low:high]]] = 1.0
    return rows


def _likeness(asked: Asked, candidates: Candidates, around: Surroundings, anchors: Ints) -> dict[str, Floats]:
    """How like the candidates are to each anchor, and to the question together with its best sentences or less them.

    The product with a sum of vectors is the sum of products, so each vector is multiplied out once.
    """
    question = asked.vector.astype(np.float64)
    leads = _best_sentences(around, anchors)
    flat = leads.reshape(-1, leads.shape[-1])
    together, apart = _length(question + flat), _length(question - 0.5 * flat)
    passages, sentences = flat @ around.vectors.T, flat @ around.sentences.T
    groups = (len(anchors), HOP_SENTENCES, -1)

    def best(values: Floats, otherwise: Floats) -> Floats:
        return best_of_each(values.reshape(groups).max(axis=1), around.sentence_owner, otherwise)

    alike = around.vectors[anchors] @ around.vectors.T
    hop = ((candidates.dense + passages) / together).reshape(groups).max(axis=1)
    return {
        "alike": alike,
        "hop": hop,
        "hop_sentence": best((around.similarity + sentences) / together, hop),
        "away_sentence": best((around.similarity - 0.5 * sentences) / apart, np.zeros_like(alike)),
        "sentence_alike": best(sentences, alike),
    }


def _length(vectors: Floats) -> Floats:
    """`[n, 1]`: the length of each vector."""
    lengths: Floats = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return lengths


def _best_sentences(around: Surroundings, anchors: Ints) -> Floats:
    """`[anchors, HOP_SENTENCES, d]`: the sentences nearest to the question; the whole passage where there are fewer."""
    leads = np.repeat(around.vectors[anchors][:, None, :], HOP_SENTENCES, axis=1)
    for lead, anchor in zip(leads, anchors.tolist(), strict=True):
        low, high = np.searchsorted(around.sentence_owner, (anchor, anchor + 1))
        best = low + np.argsort(-around.similarity[low:high], kind="stable")[:HOP_SENTENCES]
        lead[: len(best)] = around.sentences[best]
    return leads


def _gap(values: Floats, tied: NDArray[np.bool_]) -> Floats:
    """How far each tied candidate lies behind the best that is tied to the same anchor; -0.5 for one that is not."""
    best = np.where(tied, values, -1.0).max(axis=1, keepdims=True, initial=-1.0)
    return np.where(tied, values - best, -0.5)


def _nearby(asked: Asked, candidates: Candidates, around: Surroundings, anchors: Ints) -> Floats:
    """`[anchors, n]`: how much of the question, by rarity, an anchor says close to where it names a candidate's title.

    "Directed by" stands beside the director, and not beside the actors.
    """
    forms, weights = _forms_asked(asked, candidates, around)
    found = np.zeros((len(anchors), len(candidates.places)))
    titles = np.flatnonzero(around.is_title)
    named = _rows(around, anchors, around.is_named)[:, around.local[titles]] > 0
    for row, anchor, which in zip(found, anchors.tolist(), named, strict=True):
        stream, mine, near = _words_of(around, anchor), titles[which], dict[int, float]()
        spot = np.minimum(np.searchsorted(forms, stream), len(forms) - 1)
        weight = np.where(forms[spot] == stream, weights[spot], 0.0)
        for owner, node in zip(around.entity_owner[mine].tolist(), around.entity[mine].tolist(), strict=True):
            if node not in near:
                near[node] = _around_name(stream, weight, _name_hashes(around.names[node]))
            row[owner] = max(row[owner], near[node])
    return found


def _title_said(asked: Asked, around: Surroundings, anchors: Ints) -> Floats:
    """`[anchors, n]`: the share of a candidate's title, less the question's words, whose words an anchor holds.

    This ties names that are written differently: "James Ward" leads to "James M. Ward" as well.
    """
    found = np.zeros((len(anchors), len(around.key)))
    nodes, names = np.array(list(around.names), np.int64), [_telling(name) for name in around.names.values()]
    word = np.array(list(chain.from_iterable(names)), np.uint32)
    of_node = np.repeat(np.arange(len(nodes)), [len(name) for name in names])
    left = ~np.isin(word, np.array([word_hash(one) for one in words(asked.text)], np.uint32))
    word, of_node = word[left], of_node[left]
    if not len(word):
        return found
    distinct, place = np.unique(word, return_inverse=True)
    begins = np.flatnonzero(np.append(True, of_node[1:] != of_node[:-1]))
    said = np.stack([_holds(distinct, _words_of(around, anchor)) for anchor in anchors.tolist()])[:, place]
    share = np.zeros((len(anchors), len(nodes)))
    share[:, of_node[begins]] = np.add.reduceat(said, begins, axis=1) / np.diff(np.append(begins, len(word)))
    titles = np.flatnonzero(around.is_title)
    number = np.searchsorted(nodes, around.entity[titles])
    return best_of_each(share[:, number], around.entity_owner[titles], found)


def _words_of(around: Surroundings, row: int) -> NDArray[np.uint32]:
    """The words of a candidate, in order."""
    begin, end = np.searchsorted(around.word_owner, (row, row + 1))
    return around.word[begin:end]


def _holds(wanted: NDArray[np.uint32], stream: NDArray[np.uint32]) -> Floats:
    """Of each of the ascending `wanted` words 1 where the stream holds it."""
    held = np.zeros(len(wanted))
    spot = np.minimum(np.searchsorted(wanted, stream), len(wanted) - 1)
    held[spot[wanted[spot] == stream]] = 1.0
    return held


@lru_cache(maxsize=65536)
def _telling(name: str) -> tuple[int, ...]:
    """Hashes of a name's words that are no stopwords."""
    return tuple(word_hash(word) for word in words(name) if word not in STOPWORDS)


def _around_name(stream: NDArray[np.uint32], weight: Floats, name: tuple[int, ...]) -> float:
    """The weight of the words within REACH of a name, those close to it and those before it counting more."""
    if not name:
        return 0.0
    best = 0.0
    for start in np.flatnonzero(stream == np.uint32(name[0])).tolist():
        end = start + len(name)
        if tuple(stream[start:end].tolist()) == name:
            before, after = weight[max(start - REACH, 0) : start][::-1], weight[end : end + REACH]
            close = float(before @ _BEFORE[: len(before)]) + float(after @ _AFTER[: len(after)])
            best = max(best, close)
    return best


@lru_cache(maxsize=65536)
def _name_hashes(name: str) -> tuple[int, ...]:
    return tuple(word_hash(word) for word in words(name))


def _forms_asked(asked: Asked, candidates: Candidates, around: Surroundings) -> tuple[NDArray[np.uint32], Floats]:
    """Hashes, ascending, of the forms of the question's words with content, and the weight of each as a share."""
    rare = float(np.log1p(around.count))
    stems = {word: content_terms(word) for word in words(asked.text)}
    forms = [(_forms(word), candidates.rarity.get(stem[0], rare)) for word, stem in stems.items() if stem]
    hashes = np.concatenate([np.zeros(1, np.uint32), *(some for some, _ in forms)])
    weights = np.repeat([0.0, *(weight for _, weight in forms)], [1, *(len(some) for some, _ in forms)])
    order = np.lexsort((-weights, hashes))
    hashes, weights = hashes[order], weights[order]
    first = np.append(True, hashes[1:] != hashes[:-1])
    return hashes[first], weights[first] / max(float(candidates.idf.sum()), 1e-9)


@lru_cache(maxsize=65536)
def _forms(word: str) -> NDArray[np.uint32]:
    """Hashes of a word and of words like it by their endings: director, directed, directs."""
    bases = {word} | {word.removesuffix(ending) for ending in _ENDINGS if len(word) - len(ending) >= LEAST_BASE}
    bases = bases if len(word) > LEAST_BASE else {word}
    forms = {base + ending for base in bases for ending in _ENDINGS} if len(word) > LEAST_BASE else set()
    return np.array([word_hash(form) for form in sorted(forms | bases)], np.uint32)
