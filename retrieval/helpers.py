"""The optional steps of a search that ask a model: off unless configured, and no question ever fails for want of one.

A reranker reads the best passages together with the question and reorders them (Nogueira and Cho 2019). A decomposer
names simpler questions, whose passages become candidates too; what comes first among them is decided as ever, by the
question as it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernel.errors import Unavailable
from kernel.ports import Decomposer, Reranker
from kernel.records import Decomposed, Passage, Reranked
from retrieval.ranker import Ranking

USED = "used"
FAILED = "failed: "


@dataclass(frozen=True, slots=True)
class Helpers:
    """What a search may ask. `passages` is how many of the best the reranker is sent."""

    reranker: Reranker | None = None
    passages: int = 30
    decomposer: Decomposer | None = None

    @property
    def method(self) -> dict[str, object]:
        """What of this takes part in a search, and how: part of what a record pins. Empty where nothing does."""
        found: dict[str, object] = {}
        if self.reranker is not None:
            found["reranker"] = {"model": self.reranker.model, "passages": self.passages}
        if self.decomposer is not None:
            found["decomposer"] = {"model": self.decomposer.model, "prompt": self.decomposer.prompt}
        return found

    def decompose(self, question: str) -> Decomposed | None:
        """The sub-questions of a question; None where no decomposer is configured."""
        if self.decomposer is None:
            return None
        model, prompt = self.decomposer.model, self.decomposer.prompt
        try:
            return Decomposed(model, prompt, USED, self.decomposer.parts(question))
        except Unavailable as error:
            return Decomposed(model, prompt, f"{FAILED}{error}")

    def rerank(self, question: str, passages: Sequence[Passage]) -> Reranked | None:
        """The scores of these passages; None where no reranker is configured or there is nothing to reorder."""
        if self.reranker is None or len(passages) < 2:
            return None
        try:
            scores = self.reranker.score(question, [as_read(passage) for passage in passages])
        except Unavailable as error:
            return Reranked(self.reranker.model, f"{FAILED}{error}")
        ids = [passage.chunk_id for passage in passages]
        return Reranked(self.reranker.model, USED, tuple(zip(ids, map(_rounded, scores.tolist()), strict=True)))


def _rounded(score: float) -> float:
    """To six significant digits: models give logits as well as shares, and of weak passages very small ones."""
    return float(f"{score:.6g}")


def as_read(passage: Passage) -> str:
    """A passage as a reranker reads it: its title and headings, then its text."""
    path = [passage.title, *(heading for heading in passage.heading if heading != passage.title)]
    return "\n".join(filter(None, (" > ".join(filter(None, path)), passage.text)))


def reordered(ranking: Ranking, reranked: Reranked) -> Ranking:
    """The passages that were scored first, by falling score and of equals in our own order; the rest as they were."""
    scores = np.array([score for _, score in reranked.scores])
    first = np.argsort(-scores, kind="stable")
    order = np.concatenate([first, np.arange(len(first), len(ranking.places))])
    return Ranking(ranking.places[order], ranking.scores[order], ranking.features[order])
