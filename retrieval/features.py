"""What is known of each candidate passage, as numbers for the second stage to weigh.

The first group compares a passage with the question; a small one describes the question itself. How one passage leads
to another is in `retrieval/pairs.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
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
QUESTION = ("entities", "compares", "who", "when", "where", "best_coverage", "best_dense", "best_titled", "titles")
_CUES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:or|both|same|also|more|older|younger|first|earlier|later|longer|than)\b",
        r"\b(?:who|whose)\b",
        r"\b(?:when|year|date)\b",
        r"\b(?:where|place|country|city)\b",
    )
)


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


def best_of_each(values: Floats, owner: Ints, otherwise: Floats) -> Floats:
    """The highest value of each passage's sentences, `otherwise` where it has none: `[rows, n]`."""
    return of_each(np.maximum, values, owner, otherwise)


def of_each(combine: np.ufunc, values: Floats, owner: Ints, otherwise: Floats) -> Floats:
    """The columns of one owner (ascending) taken together, `otherwise` where there are none: `[rows, n]`."""
    found = otherwise.copy()
    begins = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))[: len(owner)]
    if len(begins):
        found[:, owner[begins]] = combine.reduceat(values, begins, axis=1)
    return found


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
def _name_terms(name: str) -> frozenset[str]:
    return frozenset(content_terms(name))


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
