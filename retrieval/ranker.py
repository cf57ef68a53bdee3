"""The second stage: two small networks over the features of the candidates, their weights kept as plain numbers.

The first network weighs how a passage fits the question. The passages that it likes best are anchors; the second
looks at each pair of an anchor and a candidate, keeps the strongest of what the anchors have to say for a candidate
(and, for an anchor, of what follows from it), and weighs that with the features of the passage itself. So a passage is
judged within the set that it would be read with, after the message passing of Gilmer et al. (2017) with the graph and
the text as edges. Several pairs of networks, trained from other beginnings, are averaged.

The weights come with a record of what they were trained on (`ranker.json`, written by `bench/train_ranker.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.errors import IntegrityFailure
from kernel.ids import canonical_json, sha256
from retrieval.features import (
    FIRST,
    QUESTION,
    Candidates,
    Floats,
    Ints,
    Surroundings,
    first_features,
    question_features,
    surroundings,
)
from retrieval.hops import place_within
from retrieval.networks import Networks, Parts
from retrieval.pairs import SECOND, pair_features
from retrieval.question import Asked
from retrieval.view import View

ANCHORS = 6
SPREAD = 0.25
"""How much a second passage of one document is held back, in units of the model's log-odds."""
STANDING = ("score", "place")
"""What the first network said of a passage: its score less the best one's, in fours, and 1 / (1 + its rank)."""
LOWEST = -20.0
BRIEF = ("dense", "dense_gap", "lexical", "coverage", "target", "walk", "sentence", "titled", "title_asked")
"""The features of both passages that the second network sees beside those of the pair."""
_BRIEF = [FIRST.index(name) for name in BRIEF]
SHAPES: dict[str, tuple[int | str, ...]] = {
    "mean": (len(FIRST),),
    "spread": (len(FIRST),),
    "first_linear": (len(FIRST),),
    "first_in": (len(FIRST) + len(QUESTION), "h"),
    "first_in_bias": ("h",),
    "first_mid": ("h", "h"),
    "first_mid_bias": ("h",),
    "first_out": ("h",),
    "pair_mean": (len(SECOND),),
    "pair_spread": (len(SECOND),),
    "pair_in": (len(SECOND) + 2 * (len(BRIEF) + len(STANDING)), "p"),
    "pair_in_bias": ("p",),
    "pair_out": ("p", "m"),
    "pair_out_bias": ("m",),
    "linear": (len(FIRST) + len(STANDING),),
    "in": (len(FIRST) + len(STANDING) + len(QUESTION), "h"),
    "in_messages": (3, "m", "h"),
    "in_bias": ("h",),
    "mid": ("h", "h"),
    "mid_bias": ("h",),
    "out": ("h",),
}
"""Every array of a member, with its shape; a letter stands for the same size wherever it comes."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a question's candidates once the first network has chosen the anchors.

    `first` is `[n, FIRST]`, `question` `[QUESTION]`, `standing` `[n, STANDING]`, `pairs` `[anchors, n, SECOND]`.
    """

    first: Floats
    question: Floats
    standing: Floats
    anchors: Ints
    pairs: Floats


@dataclass(frozen=True, slots=True)
class Ranking:
    """Positions best first, their scores, and the features that the scores come from, `[n, FIRST + SECOND]`.

    Of each in SECOND it is the highest over the anchors other than the passage itself.
    """

    places: NDArray[np.int64]
    scores: Floats
    features: Floats


@dataclass(frozen=True, slots=True)
class Ranker:
    """The shipped networks. `members` are averaged."""

    version: int
    sha256: str
    members: Sequence[Parts]
    networks: Networks

    def rank(self, view: View, asked: Asked, candidates: Candidates) -> Ranking:
        """Score every candidate; best first, of equal scores in the order of the index's key."""
        if not len(candidates.places):
            return Ranking(candidates.places, np.zeros(0), np.zeros((0, len(FIRST) + len(SECOND))))
        known = self.known(view, asked, candidates)
        key = view.index.key[candidates.places]
        score = np.round(spread(self.score(known), view.index.document_id[candidates.places], key), 6)
        best = np.lexsort((key, -score))
        features = np.concatenate([known.first, _most(known)], axis=1)
        return Ranking(candidates.places[best], score[best], features[best])

    def known(self, view: View, asked: Asked, candidates: Candidates) -> Known:
        """The features of the candidates, and of their pairs with the anchors that the first networks choose."""
        around = surroundings(view, asked, candidates)
        first = first_features(view, asked, candidates, around)
        question = question_features(asked, first)
        return known_after(asked, candidates, around, first, question, self.networks.first(first, question))

    def score(self, known: Known) -> Floats:
        """The score of each candidate."""
        return self.networks.second(known.first, known.question, known.standing, known.anchors, known.pairs)

    def contributions(self, known: Known, row: int) -> dict[str, float]:
        """How much each feature adds to the score of the candidate at `row`: what is lost where it is as usual.

        As usual means its mean in training; in pairs, that of all pairs with this candidate together. The parts do
        not add up to the score, since the networks are not linear.
        """
        if row not in known.anchors:
            known, row = _with_anchors(known, row)
        full = self.score(known)[row]
        found: dict[str, float] = {}
        for column, name in enumerate(FIRST):
            first = known.first.copy()
            first[row, column] = np.mean([member["mean"][column] for member in self.members])
            found[name] = full - self.score(_with(known, first=first))[row]
        for column, name in enumerate(SECOND):
            pairs = known.pairs.copy()
            pairs[:, row, column] = np.mean([member["pair_mean"][column] for member in self.members])
            found[name] = full - self.score(_with(known, pairs=pairs))[row]
        return {name: round(float(value), 4) + 0.0 for name, value in found.items()}  # adding 0 takes a zero's sign


def known_after(
    asked: Asked, candidates: Candidates, around: Surroundings, first: Floats, question: Floats, score: Floats
) -> Known:
    """What is known of the candidates once the first network gave them these scores."""
    score = np.round(score, 6)
    order = np.lexsort((around.key, -score))
    place = np.empty(len(order))
    place[order] = 1.0 / (1.0 + np.arange(len(order)))
    standing = np.stack([np.maximum(score - score.max(), LOWEST) / 4, place], axis=1)
    anchors = order[:ANCHORS]
    pairs = pair_features(asked, candidates, around, anchors)
    return Known(first, question, standing, anchors, pairs)


def _most(known: Known) -> Floats:
    """`[n, SECOND]`: the highest of each pair feature over the anchors other than the passage itself, 0 without one."""
    others = np.arange(len(known.first))[None, :] != known.anchors[:, None]
    highest = np.where(others[:, :, None], known.pairs, -np.inf).max(axis=0)
    return np.where(np.isfinite(highest), highest, 0.0)


def spread(score: Floats, document: NDArray[np.int64], key: NDArray[np.uint64]) -> Floats:
    """Scores less a penalty for each better passage of the same document, so that one document cannot fill the top."""
    order = np.lexsort((key, -np.round(score, 6), document))
    spread = score.copy()
    spread[order] -= SPREAD * np.log1p(place_within(document[order]))
    return spread


def _with(known: Known, *, first: Floats | None = None, pairs: Floats | None = None) -> Known:
    return Known(
        known.first if first is None else first,
        known.question,
        known.standing,
        known.anchors,
        known.pairs if pairs is None else pairs,
    )


def _with_anchors(known: Known, row: int) -> tuple[Known, int]:
    """A candidate that is no anchor with the anchors alone, and its row there: its score depends on nothing else."""
    rows = np.append(known.anchors, row)
    own = np.arange(len(known.anchors))
    return Known(known.first[rows], known.question, known.standing[rows], own, known.pairs[:, rows]), len(own)


@cache
def shipped_ranker() -> Ranker:
    """The weights that come with this version. Raises IntegrityFailure where they do not fit its features."""
    data = json.loads((Path(__file__).parent / "ranker.json").read_text())
    return ranker_from(data)


def ranker_from(data: Mapping[str, Any]) -> Ranker:
    """A ranker from its JSON form: the names of the features, and the arrays of each member by name."""
    names = {"first": list(FIRST), "second": list(SECOND), "question": list(QUESTION), "brief": list(BRIEF)}
    members = [{name: np.array(values, np.float64) for name, values in one.items()} for one in data["members"]]
    if data["features"] != names or not members or not all(_fits(member) for member in members):
        raise IntegrityFailure("the ranker's weights were made for other features; train it again")
    return Ranker(int(data["version"]), sha256(canonical_json(data["members"])), members, Networks(members, _BRIEF))


def _fits(member: Parts) -> bool:
    sizes: dict[int | str, int] = {}
    if set(member) != set(SHAPES) or any(member[name].ndim != len(shape) for name, shape in SHAPES.items()):
        return False
    return all(
        length == (size if isinstance(size, int) else sizes.setdefault(size, length))
        for name, shape in SHAPES.items()
        for size, length in zip(shape, member[name].shape, strict=True)
    )
