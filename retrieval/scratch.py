"""Ranking a few passages that are in no store: an index of them alone, in memory, searched as any other is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.build import Additions, addition
from retrieval.candidates import find_candidates, search_words
from retrieval.dense import DenseIndex
from retrieval.index import empty_index, grown
from retrieval.question import Asked
from retrieval.ranker import Ranker
from retrieval.view import view_of


@dataclass(frozen=True, slots=True)
class Ranked:
    """The score of each passage by its chunk id, and the rarity of the question's terms among them."""

    scores: Mapping[int, float]
    rarity: Mapping[str, float]


def ranked(new: Additions, question: str, vector: NDArray[np.float32], ranker: Ranker, each: int) -> Ranked:
    """How these passages, and no others, are ranked for a question whose vector is `[d]`. There must be some."""
    begun = empty_index(len(vector))
    index = grown(begun, addition(begun, new))
    view = view_of(index, np.unique(index.revision_id))
    wording = search_words(view, question, each)
    asked = Asked(question, vector, wording.entities)
    candidates = find_candidates(view, DenseIndex(index, exact=True), asked, wording, each, np.arange(len(index)))
    ranking = ranker.rank(view, asked, candidates)
    chunks = index.chunk_id[ranking.places].tolist()
    return Ranked(dict(zip(chunks, ranking.scores.tolist(), strict=True)), dict(candidates.rarity))
