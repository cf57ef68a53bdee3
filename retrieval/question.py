"""What a question asks about: its vector, its terms and the entities of the graph that it names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.mentions import find_mentions
from graph.names import STOPWORDS
from graph.walk import Mass
from kernel.records import MentionKind
from retrieval.analysis import term_hash, words
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


def named_in(view: View, text: str) -> Mass:
    """The visible entities that `text` names: by the shape of its words, and by runs of them that are a known key."""
    weights: dict[int, float] = {}
    mentions = find_mentions(text)
    tokens = words(text)
    runs = [
        (start, width, " ".join(tokens[start : start + width]))
        for width in range(min(LONGEST_NAME, len(tokens)), 0, -1)
        for start in range(len(tokens) - width + 1)
    ]
    known = _known(view, {mention.key for mention in mentions} | {run for _, _, run in runs})
    for mention in mentions:
        if mention.key in known:
            _raise(weights, known[mention.key], _KIND_WEIGHT.get(mention.kind, 1.0))
    taken: set[int] = set()
    for start, width, run in runs:
        places = range(start, start + width)
        if run not in known or all(tokens[place] in STOPWORDS for place in places):
            continue
        if width == 1 and (start in taken or len(run) < 3):
            continue
        _raise(weights, known[run], 1.0 if width > 1 else _PLAIN_WORD)
        taken.update(places)
    for node in list(weights):
        for other in aliases(view, node):
            if view.links.degree[other]:
                weights.setdefault(other, _ALIAS * weights[node])
    nodes = np.array(sorted(weights), np.int64)
    return Mass(nodes, np.array([weights[node] for node in nodes.tolist()]))


def _known(view: View, keys: set[str]) -> dict[str, int]:
    """The entities among `keys` that a visible passage holds, by key."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    hashes = np.array([term_hash(key) for key in wanted], np.uint64)
    numbers = view.index.numbers(hashes)
    return {key: number for key, number in zip(wanted, numbers.tolist(), strict=True) if _visible(view, number)}


def _visible(view: View, number: int) -> bool:
    return number >= 0 and int(view.links.degree[number]) > 0


def _raise(weights: dict[int, float], node: int, weight: float) -> None:
    weights[node] = max(weights.get(node, 0.0), weight)
