"""What a question asks about: its vector, its terms and the entities of the graph that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graph.mentions import names_in
from graph.names import STOPWORDS
from graph.walk import Mass
from kernel.records import Mention, MentionKind
from retrieval.analysis import term_hash, words
from retrieval.standing import aliases
from retrieval.variants import slips, variants
from retrieval.view import View

LONGEST_NAME = 8
_PLAIN_WORD = 0.4
_LONE_TERM = 0.7
_ALIAS = 0.8
_RESPELT = 0.8
_MISSPELT = 0.6
MOST_MISSPELT = 2
"""Unknown names of a question for which slips are tried: each costs a thousand looks into the index."""
MOST_MEANT = 2
_KIND_WEIGHT = {MentionKind.DATE: 0.4, MentionKind.AMOUNT: 0.4}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as searching sees it. `entities` holds visible entities with how surely they are meant (0 to 1)."""

    text: str
    vector: NDArray[np.float32]
    entities: Mass


def named_in(view: View, text: str) -> Mass:
    """The visible entities that `text` names: by the shape of its words, and by runs of them that are a known key.

    What is no known key as it is written may be one in another spelling; that counts a little less.
    """
    weights: dict[int, float] = {}
    mentions = names_in(text)
    tokens = words(text)
    runs = _runs(tokens)
    known = _known(view, {mention.key for mention in mentions} | {run.key for run in runs})
    for mention in mentions:
        if mention.key in known:
            lone = mention.kind == MentionKind.TERM and " " not in mention.key
            _raise(weights, known[mention.key], _LONE_TERM if lone else _KIND_WEIGHT.get(mention.kind, 1.0))
    taken: set[int] = set()
    for run in runs:
        if run.key in known and (run.width > 1 or (run.start not in taken and len(run.key) > 2)):
            _raise(weights, known[run.key], 1.0 if run.width > 1 else _PLAIN_WORD)
            taken.update(run.places)
    _respelt(view, tokens, runs, taken, weights)
    _misspelt(view, [mention for mention in mentions if mention.key not in known], tokens, taken, weights)
    for node in list(weights):
        for other in aliases(view, node):
            if view.links.degree[other]:
                weights.setdefault(other, _ALIAS * weights[node])
    nodes = np.array(sorted(weights), np.int64)
    return Mass(nodes, np.array([weights[node] for node in nodes.tolist()]))


@dataclass(frozen=True, slots=True)
class _Run:
    """Words of a question that stand together: `width` of them from `start` on."""

    start: int
    width: int
    key: str

    @property
    def places(self) -> range:
        return range(self.start, self.start + self.width)


def _runs(tokens: Sequence[str]) -> list[_Run]:
    """Runs of at most LONGEST_NAME words, longest first, but those of stop words alone."""
    return [
        _Run(start, width, " ".join(tokens[start : start + width]))
        for width in range(min(LONGEST_NAME, len(tokens)), 0, -1)
        for start in range(len(tokens) - width + 1)
        if not STOPWORDS.issuperset(tokens[start : start + width])
    ]


def _respelt(
    view: View, tokens: Sequence[str], runs: Sequence[_Run], taken: set[int], weights: dict[int, float]
) -> None:
    """Add what runs of words that name nothing yet would name in another spelling."""
    free = [
        run
        for run in runs
        if taken.isdisjoint(run.places) and not {tokens[run.start], tokens[run.places[-1]]} & STOPWORDS
    ]
    forms = {run.start * LONGEST_NAME + run.width: variants(tokens[run.start : run.start + run.width]) for run in free}
    known = _known(view, {form for some in forms.values() for form in some})
    for run in free:
        found = [known[form] for form in forms[run.start * LONGEST_NAME + run.width] if form in known]
        plain = run.width == 1 and run.key.isalpha()
        if found and taken.isdisjoint(run.places) and not (plain and weights):
            for node in found:
                _raise(weights, node, _RESPELT * (_PLAIN_WORD if plain else 1.0))
            taken.update(run.places)


def _misspelt(
    view: View, unknown: Sequence[Mention], tokens: Sequence[str], taken: set[int], weights: dict[int, float]
) -> None:
    """Add what the first names that are unknown would name but for one slip, where that is hardly in doubt."""
    held = {tokens[place] for place in taken}
    names = [mention.key for mention in unknown if mention.kind in (MentionKind.NAME, MentionKind.TERM)]
    for name in [name for name in names if held.isdisjoint(name.split())][:MOST_MISSPELT]:
        found = _known(view, set(slips(name)))
        for node in found.values() if len(found) <= MOST_MEANT else ():
            _raise(weights, node, _MISSPELT)


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
