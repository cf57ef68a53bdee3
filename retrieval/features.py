"""What is known of each candidate passage, as numbers for the second stage to weigh.

The first group compares a passage with the question. The second follows the question's next hop without a model call:
for each of the best passages found so far (anchors) and each candidate, how the one leads to the other: by a name, by
a rare entity that both hold, by terms of the question that the anchor lacks, and by the likeness of the passage to
the question taken together with the anchor's best sentences (a hop vector). A third, small group describes the
question itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.names import STOPWORDS
from graph.walk import gather
from retrieval.analysis import content_terms, words
from retrieval.hops import value_at
from retrieval.index import word_hash
from retrieval.question import Asked
from retrieval.view import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST = (
    "dense",
    "dense_rank",
    "dense_gap",
    "lexical",
    "lexical_rank",
    "lexical_share",
    "coverage",
    "coverage_rank",
    "coverage_gap",
    "whole_coverage",
    "target",
    "walk",
    "walk_rank",
    "named_walk",
    "named_walk_rank",
    "meant_walk",
    "meant_walk_rank",
    "sentence",
    "sentence_rank",
    "sentence_gap",
    "two_sentences",
    "titled",
    "titled_x_sentence",
    "title_asked",
    "asks_title",
    "entity_share",
    "bigrams",
    "length",
    "beside_dense",
    "beside_lexical",
)
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
QUESTION = ("entities", "compares", "who", "when", "where", "best_coverage", "best_dense", "best_titled", "titles")
OPEN = 0.1
"""Share of the question's terms, by rarity, from which on a passage that lacks them leads to others in full."""
HOP_SENTENCES = 2
REACH = 8
"""Words before and after a name within which the question's words count as said of it."""
TIED = 0.25
"""Rarity of a shared entity from which on two passages count as tied, beside that of an entity which only one names."""
_CUES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:or|both|same|also|more|older|younger|first|earlier|later|longer|than)\b",
        r"\b(?:who|whose)\b",
        r"\b(?:when|year|date)\b",
        r"\b(?:where|place|country|city)\b",
    )
)
_ENDINGS = "s es ed d er or ing ion ions e r rs ers ors al ly y ment ation".split()  # noqa: SIM905 - one line
"""Endings that words of one meaning may differ in; a wrong form does no harm, since no passage holds it."""
LEAST_BASE = 4
_BEFORE = 1 / (1 + (1 + np.arange(REACH)) / 3)
_AFTER = 1 / (2 + np.arange(REACH) / 3)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate positions `[n]`, ascending, with each signal's score (0 where it did not find one).

    `holds` says which of the question's terms a passage holds, `idf` their rarity (as `rarity` by term); `coverage` is
    the share of all that it holds, `target` of those that say what is asked for; `unknown` the weight of terms that no
    passage holds. `walk` is `[n, 2]`: the walk from what the question names, and from what it means. `beside_*` are
    the scores of the better of the chunks before and after.
    """

    places: Ints
    dense: Floats
    lexical: Floats
    walk: Floats
    coverage: Floats
    target: Floats
    rarity: dict[str, float]
    holds: NDArray[np.bool_]
    idf: Floats
    unknown: float
    beside_dense: Floats
    beside_lexical: Floats

    @property
    def whole_coverage(self) -> Floats:
        """Coverage of all the question's terms, those that no passage holds among them."""
        known = float(self.idf.sum())
        return self.coverage * (known / max(known + self.unknown, 1e-9))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The sentences, entities and words of the candidates, gathered once; every `*owner` is ascending.

    Whether a passage is about an entity (title) or names it in its text is told apart: the passages of one long
    document share its title, and that alone does not lead from one of them to the next. `asked` is how surely the
    question means each entity, `names` the names of those that passages are about, `similarity` that of each
    sentence to the question; `local` numbers the distinct entities; `count` passages are visible.
    """

    count: int
    key: NDArray[np.uint64]
    vectors: Floats
    sentences: Floats
    sentence_owner: Ints
    similarity: Floats
    entity: Ints
    entity_owner: Ints
    local: Ints
    is_title: NDArray[np.bool_]
    is_named: NDArray[np.bool_]
    asked: Floats
    names: dict[int, str]
    rarity: Floats
    sharpness: Floats
    word: NDArray[np.uint32]
    word_owner: Ints
    document: Ints
    title: NDArray[np.uint64]


def surroundings(view: View, asked: Asked, candidates: Candidates) -> Surroundings:
    """Read what the features need of each candidate's sentences, entities and words."""
    index, places = view.index, candidates.places
    sentence_owner, sentences = index.sentences_in(places)
    owner, entity, is_title, is_named = view.links.entities_in(places)
    word_owner, slots = gather(index.word_ptr, places)
    rarity = view.links.weight[entity].astype(np.float64)
    distinct, local = np.unique(entity, return_inverse=True)
    titles = distinct[np.bincount(local[is_title], minlength=len(distinct)) > 0]
    return Surroundings(
        count=view.count,
        key=index.key[places],
        vectors=index.vectors[places].astype(np.float64),
        sentences=sentences,
        sentence_owner=sentence_owner,
        similarity=rounded(sentences @ asked.vector.astype(np.float64)),
        entity=entity,
        entity_owner=owner,
        local=local,
        is_title=is_title,
        is_named=is_named,
        asked=value_at(asked.entities, entity),
        names={node: index.name(node) for node in titles.tolist()},
        rarity=rarity,
        sharpness=np.minimum(rarity / max(float(np.log1p(view.count / 2)), 1.0), 1.0) ** 2,
        word=index.words[slots],
        word_owner=word_owner,
        document=index.document_id[places],
        title=index.title[places],
    )


def first_features(view: View, asked: Asked, candidates: Candidates, around: Surroundings) -> Floats:
    """`[n, len(FIRST)]`: how a passage fits the question itself."""
    best, second = _two_best(around, candidates.dense)
    titled, title_asked, asks_title = _titles(view, asked, candidates, around)
    walk = candidates.walk.max(axis=1, initial=0.0)
    lexical_ceiling = max(2.2 * float(candidates.idf.sum()), 1e-9)
    columns = {
        "dense": candidates.dense,
        "lexical": scaled(candidates.lexical),
        "lexical_share": candidates.lexical / lexical_ceiling,
        "coverage": candidates.coverage,
        "whole_coverage": candidates.whole_coverage,
        "target": candidates.target,
        "walk": on_log_scale(walk),
        "named_walk": on_log_scale(candidates.walk[:, 0]),
        "meant_walk": on_log_scale(candidates.walk[:, 1]),
        "sentence": best,
        "two_sentences": (best + second) / 2,
        "titled": titled,
        "titled_x_sentence": titled * best,
        "title_asked": title_asked,
        "asks_title": asks_title,
        "entity_share": _entity_share(view, asked, around, len(best)),
        "bigrams": _bigrams(asked, around, len(best)),
        "length": np.log1p(np.bincount(around.word_owner, minlength=len(best))) / 5,
        "beside_dense": candidates.beside_dense,
        "beside_lexical": candidates.beside_lexical / max(float(candidates.lexical.max(initial=0.0)), 1e-9),
    }
    ranked = ("dense", "lexical", "coverage", "walk", "named_walk", "meant_walk", "sentence")
    columns |= {f"{name}_rank": _reciprocal_rank(columns[name]) for name in ranked}
    columns |= {f"{name}_gap": columns[name] - columns[name].max() for name in ("dense", "coverage", "sentence")}
    return np.stack([columns[name] for name in FIRST], axis=1) + 0.0


def question_features(asked: Asked, first: Floats) -> Floats:
    """`[len(QUESTION)]`: what kind of question it is, as far as its words and its best candidates tell."""
    cues = [float(cue.search(asked.text) is not None) for cue in _CUES]
    coverage, dense, titled = (first[:, FIRST.index(name)] for name in ("coverage", "dense", "titled"))
    entities = min(len(asked.entities.nodes), 6) / 6
    return np.array([entities, *cues, coverage.max(), dense.max(), titled.max(), min(int((titled > 0.3).sum()), 5) / 5])


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


def rounded(values: NDArray[np.floating[Any]]) -> Floats:
    """Values in double precision, rounded to what sums taken in another order have in common."""
    exact = values.astype(np.float64)
    return np.round(exact, 6, out=exact)


def scaled(scores: Floats) -> Floats:
    """Scores as shares of the highest."""
    return scores / max(float(scores.max(initial=0.0)), 1e-9)


def on_log_scale(mass: Floats) -> Floats:
    """A walk's mass from 0 to 1, a hundredth of the highest near the middle."""
    shares: Floats = np.log1p(100 * mass / max(float(mass.max(initial=0.0)), 1e-12)) / np.log(101)
    return shares


def _ties(around: Surroundings, anchors: Ints) -> dict[str, Floats]:
    """By what names and entities the anchors and the candidates hang together, `[anchors, n]` each."""
    ceiling = max(float(np.log1p(around.count)), 1.0)
    unasked = 1 - around.asked
    named, titled = _rows(around, anchors, around.is_named), _rows(around, anchors, around.is_title)
    titles, names = np.flatnonzero(around.is_title), np.flatnonzero(around.is_named)
    found = np.zeros((len(anchors), len(around.key)))

    def of_each(combine: np.ufunc, rows: Floats, weights: Floats, links: Ints | slice = slice(None)) -> Floats:
        """The sum, or the highest, over each candidate's `links` of those that an anchor holds as well."""
        values = rows[:, around.local[links]] * weights[links]
        return _of_each(combine, values, around.entity_owner[links], found)

    held, rare = np.maximum(named, titled), around.rarity * unasked / ceiling
    return {
        "named_by_anchor": np.minimum(of_each(np.add, named, around.sharpness, titles), 1.0),
        "names_anchor": np.minimum(of_each(np.add, titled, around.sharpness, names), 1.0),
        "unasked_title": np.minimum(of_each(np.add, named, around.sharpness * unasked, titles), 1.0),
        "shared_rarity": np.minimum(of_each(np.add, held, rare), 4.0),
        "shared_asked": np.minimum(of_each(np.add, held, around.rarity * around.asked / ceiling), 4.0),
        "rarest_shared": of_each(np.maximum, held, rare),
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
        return _best_of_each(values.reshape(groups).max(axis=1), around.sentence_owner, otherwise)

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


def _best_of_each(values: Floats, owner: Ints, otherwise: Floats) -> Floats:
    """The highest value of each passage's sentences, `otherwise` where it has none: `[rows, n]`."""
    return _of_each(np.maximum, values, owner, otherwise)


def _of_each(combine: np.ufunc, values: Floats, owner: Ints, otherwise: Floats) -> Floats:
    """The columns of one owner (ascending) taken together, `otherwise` where there are none: `[rows, n]`."""
    found = otherwise.copy()
    begins = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))[: len(owner)]
    if len(begins):
        found[:, owner[begins]] = combine.reduceat(values, begins, axis=1)
    return found


def _gap(values: Floats, tied: NDArray[np.bool_]) -> Floats:
    """How far each tied candidate lies behind the best that is tied to the same anchor; -0.5 for one that is not."""
    best = np.where(tied, values, -1.0).max(axis=1, keepdims=True, initial=-1.0)
    return np.where(tied, values - best, -0.5)


def _two_best(around: Surroundings, otherwise: Floats) -> tuple[Floats, Floats]:
    order = np.lexsort((-around.similarity, around.sentence_owner))
    owner, similarity = around.sentence_owner[order], around.similarity[order]
    best, second = otherwise.copy(), otherwise.copy()
    first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))[: len(owner)]
    best[owner[first]] = second[owner[first]] = similarity[first]
    follows = first + 1
    follows = follows[(follows < len(owner))]
    follows = follows[owner[follows] == owner[follows - 1]]
    second[owner[follows]] = similarity[follows]
    return best, second


def _titles(view: View, asked: Asked, candidates: Candidates, around: Surroundings) -> tuple[Floats, Floats, Floats]:
    """Whether the question names a passage's title; what share of the title's terms it holds; and of its own terms."""
    count = len(candidates.places)
    titled, title_asked, asks_title = np.zeros(count), np.zeros(count), np.zeros(count)
    rows = np.flatnonzero(around.is_title)
    owner = around.entity_owner[rows]
    np.maximum.at(titled, owner, around.asked[rows] * around.sharpness[rows])
    terms = set(content_terms(asked.text))
    rare = float(np.log1p(view.count))
    total = max(sum(candidates.rarity.get(term, rare) for term in terms), 1e-9)
    for place, entity in zip(owner.tolist(), around.entity[rows].tolist(), strict=True):
        mine = _name_terms(around.names[entity])
        both = mine & terms
        if both:
            title_asked[place] = max(title_asked[place], len(both) / len(mine))
            share = sum(candidates.rarity.get(term, rare) for term in both) / total
            asks_title[place] = max(asks_title[place], share)
    return titled, title_asked, np.round(asks_title, 9)


@lru_cache(maxsize=65536)
def _name_hashes(name: str) -> tuple[int, ...]:
    return tuple(word_hash(word) for word in words(name))


@lru_cache(maxsize=65536)
def _name_terms(name: str) -> frozenset[str]:
    return frozenset(content_terms(name))


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
    return _best_of_each(share[:, number], around.entity_owner[titles], found)


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


def _entity_share(view: View, asked: Asked, around: Surroundings, count: int) -> Floats:
    """The share of the question's entities, by rarity, that each passage holds."""
    total = float((view.links.weight[asked.entities.nodes] * asked.entities.values).sum())
    return np.bincount(around.entity_owner, around.rarity * around.asked, count) / max(total, 1e-9)


def _bigrams(asked: Asked, around: Surroundings, count: int) -> Floats:
    """The share of the question's pairs of neighbouring words, not both stopwords, that each passage holds."""
    said = words(asked.text)
    pairs = {(one, other) for one, other in pairwise(said) if not (one in STOPWORDS and other in STOPWORDS)}
    if not pairs or len(around.word) < 2:
        return np.zeros(count)
    held = np.zeros((count, len(pairs)), np.bool_)
    starts = np.array([word_hash(one) for one, _ in pairs], np.uint32)
    begins = np.flatnonzero(np.isin(around.word[:-1], starts))
    begins = begins[around.word_owner[begins] == around.word_owner[begins + 1]]
    for column, (one, other) in enumerate(sorted(pairs)):
        hit = (around.word[begins] == word_hash(one)) & (around.word[begins + 1] == word_hash(other))
        held[around.word_owner[begins[hit]], column] = True
    shares: Floats = held.sum(axis=1) / len(pairs)
    return shares


def _reciprocal_rank(scores: Floats) -> Floats:
    """1 for the highest score, falling with the rank, equal for equals; 0 where the score is not positive."""
    rounded = np.round(scores, 9)
    rank = np.searchsorted(np.sort(-rounded), -rounded)
    return np.where(scores > 0, 1.0 / (1.0 + rank / 4.0), 0.0)
