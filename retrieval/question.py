"""What a question asks about: its vector, its terms and the entities of the graph that it names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.mentions import find_mentions
from graph.names import STOPWORDS
from graph.walk import Mass
from kernel.records import MentionKind
from retrieval.analysis import words
from retrieval.standing import aliases
from retrieval.view import View

LONGEST_NAME = 8
_PLAIN_WORD = 0.4
_ALIAS = 0.8
_KIND_WEIGHT = {MentionKind.DATE: 0.4, MentionKind.AMOUNT: 0.4}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as searching sees it. `entities` holds visible entities with how surely they are meant (0 to 1)."""

    text: str
    vector: NDArray[np.float32]
    entities: Mass


def understand(view: View, text: str, vector: NDArray[np.float32]) -> Asked:
    """Find the entities that `text` names: by the shape of its words, and by every run of words that is a known key."""
    weights: dict[int, float] = {}
    for mention in find_mentions(text):
        _add(view, weights, mention.key, _KIND_WEIGHT.get(mention.kind, 1.0))
    tokens = words(text)
    taken = [False] * len(tokens)
    for width in range(min(LONGEST_NAME, len(tokens)), 0, -1):
        for start in range(len(tokens) - width + 1):
            run = tokens[start : start + width]
            if width == 1 and (taken[start] or run[0] in STOPWORDS or len(run[0]) < 3):
                continue
            if not all(word in STOPWORDS for word in run) and _add(
                view, weights, " ".join(run), 1.0 if width > 1 else _PLAIN_WORD
            ):
                taken[start : start + width] = [True] * width
    for node in list(weights):
        for other in aliases(view, node):
            if view.links.degree[other]:
                weights.setdefault(other, _ALIAS * weights[node])
    nodes = np.array(sorted(weights), np.int64)
    return Asked(text, vector, Mass(nodes, np.array([weights[node] for node in nodes.tolist()])))


def _add(view: View, weights: dict[int, float], key: str, weight: float) -> bool:
    node = view.index.entity(key)
    if node is None or view.links.degree[node] == 0:
        return False
    weights[node] = max(weights.get(node, 0.0), weight)
    return True
