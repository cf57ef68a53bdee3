"""What a claim and its quotes have in common and where they part, as numbers: what the claim model weighs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from pipeline.amounts import Amount, disagreement
from pipeline.polarity import denies, hedged, opposite, signs_of
from pipeline.reading import Floats, Reading, plain_reading
from retrieval.analysis import content_terms, stem

FEATURES = (
    "coverage",
    "quote_coverage",
    "soft_coverage",
    "least_covered",
    "returned",
    "similarity",
    "names_missing",
    "amounts_denied",
    "amounts_absent",
    "amounts_shared",
    "agree",
    "clash",
    "best_agree",
    "best_clash",
    "turn",
    "near_turn",
    "prefix",
    "denied_apart",
    "denied_terms",
    "empty_claim",
    "empty_quote",
    "empty_apart",
    "signs_apart",
    "crossed",
    "straight",
    "hedged_apart",
    "claim_length",
    "quote_length",
    "order",
    "uncovered_verb",
)
SAME = 0.8
"""Cosine from which two words in context are taken for the same."""
MUTUAL = frozenset(
    stem(word)
    for word in (
        *(
            "married",
            "marries",
            "met",
            "meets",
            "relates",
            "related",
            "associated",
            "correlated",
            "interacts",
            "borders",
        ),
        *("borders", "shares", "differs", "resembles", "equals", "alongside", "beside", "near", "together"),
    )
)
"""Stems of what is as true the other way round."""
NEAR = 0.3
"""How near to the same matter the opposite of a word must stand to deny it."""
CLOSE = 5.0
"""Words over which being near to what corresponds counts down to a third."""


def features(claim: Reading, quotes: Sequence[Reading], title: str = "") -> Floats:
    """`[len(FEATURES)]` of a claim beside its quotes, of documents called `title`."""
    return features_of(Pair(claim, quotes, title))


def features_of(pair: Pair) -> Floats:
    """`[len(FEATURES)]`, each about 0 to 1, rounded so that the last bits of a vector do not matter."""
    values = np.array([*_coverage(pair), *_amounts(pair), *_polarity(pair), *_denials(pair), *_shape(pair)])
    found: Floats = np.round(values, 3)
    return found


class Pair:
    """A claim beside its quotes: the words of all quotes in one row, and how far each corresponds to each of it."""

    def __init__(self, claim: Reading, quotes: Sequence[Reading], title: str) -> None:
        self.claim, self.quotes = claim, quotes
        self.about = title
        self.title = frozenset(content_terms(title))
        self.stems = [one for quote in quotes for one in quote.stems]
        self.words = [word for quote in quotes for word in quote.words]
        self.denied = np.array([flag for quote in quotes for flag in quote.denied], dtype=bool)
        shifts = np.cumsum([0, *(len(quote.words) for quote in quotes)])
        self.mine = np.array(claim.content, dtype=int)
        self.theirs = np.array(
            [n + shift for quote, shift in zip(quotes, shifts.tolist(), strict=False) for n in quote.content], dtype=int
        )
        self.alike = self._alike()
        self.best = self.alike.max(axis=1, initial=0.0)
        self.at = self.theirs[self.alike.argmax(axis=1)] if self.alike.size else np.zeros(len(self.mine), dtype=int)

    def _alike(self) -> Floats:
        """`[claim's content words, quotes' content words]`: 1 for one stem, else the cosine in context."""
        same = np.array([[self.claim.stems[i] == self.stems[j] for j in self.theirs] for i in self.mine], dtype=float)
        same = same.reshape(len(self.mine), len(self.theirs))
        vectors = [quote.vectors for quote in self.quotes if quote.vectors is not None]
        if self.claim.vectors is None or not vectors or not same.size:
            return same
        near = self.claim.vectors[self.mine] @ np.concatenate(vectors)[self.theirs].T
        # Of several places of one stem, the one in like context comes first.
        found: Floats = np.where(same > 0, 1.0 + 0.1 * near, np.clip(near, 0.0, 1.0))
        return found

    @property
    def has_vectors(self) -> bool:
        """Whether words can be compared in their contexts."""
        return self.claim.vectors is not None and all(quote.vectors is not None for quote in self.quotes)

    @cached_property
    def amounts(self) -> frozenset[Amount]:
        """The numbers and dates of the quotes, and of the title of their documents."""
        return frozenset().union(plain_reading(self.about).amounts, *(quote.amounts for quote in self.quotes))

    @cached_property
    def same_matter(self) -> bool:
        """Whether the quotes hold all of the claim's content words but one, or four fifths of them."""
        return len(self.mine) > 1 and (1 - self.coverage) * len(self.mine) <= max(1.001, 0.2 * len(self.mine))

    @cached_property
    def coverage(self) -> float:
        """Share of the claim's content words that the quotes or the title hold."""
        held = frozenset(self.stems) | self.title
        return _mean([self.claim.stems[i] in held for i in self.mine])

    def word_turned(self) -> bool:
        """Whether the quotes hold, in the same place, the opposite of a word of the claim instead of it."""
        held = frozenset(self.stems)
        for row, i in enumerate(self.mine.tolist()):
            word = self.claim.stems[i]
            if word in held or word in self.title:
                continue
            near = _context(self, row)
            for column, j in enumerate(self.theirs.tolist()):
                same_side = self.claim.denied[i] == bool(self.denied[j])
                if same_side and near[column] >= NEAR and opposite(word, self.stems[j]):
                    return True
        return False

    def denied_apart(self) -> bool:
        """Whether what a denial reaches in the one, and the other holds too, is not denied there: all of it, and two
        words of it or a third of all shared words.
        """
        shared = [
            (self.claim.denied[i], bool(self.denied[self.at[row]]))
            for row, i in enumerate(self.mine.tolist())
            if self.best[row] >= SAME
        ]
        touched = [mine != theirs for mine, theirs in shared if mine or theirs]
        return bool(touched) and all(touched) and (len(touched) > 1 or len(touched) * 3 >= len(shared))

    def names_swapped(self) -> bool:
        """Whether two names of the claim stand the other way round about the same verb in every quote that has it."""
        straight = crossed = False
        for one, verb, other, passive in _deeds(self.claim):
            for quote in self.quotes:
                for first, same_verb, second, other_passive in _deeds(quote):
                    if same_verb != verb:
                        continue
                    as_said = bool(first & one and second & other)
                    other_way = bool(first & other and second & one)
                    turned = passive != other_passive
                    straight |= other_way if turned else as_said
                    crossed |= as_said if turned else other_way
        return crossed and not straight


def _deeds(reading: Reading) -> Iterator[tuple[frozenset[str], str, frozenset[str], bool]]:
    """Who did what to whom: the stems of two names, those of the words between, and whether "by" turns it."""
    runs: list[list[int]] = []
    for n in reading.capitals:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    for one, other in pairwise(runs):
        between = range(one[-1] + 1, other[0])
        if any(not reading.words[n][0].isalnum() for n in between):
            continue
        passive = "by" in {reading.words[n] for n in between}
        for n in between:
            if n in reading.content and reading.stems[n] not in MUTUAL:
                names = (frozenset(reading.stems[k] for k in run) for run in (one, other))
                yield next(names), reading.stems[n], next(names), passive


def _coverage(both: Pair) -> list[float]:
    stems = [both.claim.stems[i] for i in both.mine]
    held = frozenset(both.stems)
    inside = [one in held for one in stems]
    above = [one in held or one in both.title for one in stems]
    soft = np.minimum(np.maximum(both.best, above), 1.0) if len(stems) else np.zeros(1)
    mine = frozenset(stems)
    back = [both.stems[j] in mine for j in both.theirs]
    wholes = [
        float(both.claim.whole @ q.whole) for q in both.quotes if both.claim.whole is not None and q.whole is not None
    ]
    names = [both.claim.stems[n] in held or both.claim.stems[n] in both.title for n in both.claim.names]
    return [
        _mean(above),
        _mean(inside),
        float(soft.mean()),
        float(np.sort(soft)[:2].mean()),
        _mean(back),
        max(wholes, default=0.0),
        1.0 - _mean(names) if names else 0.0,
    ]


def _amounts(both: Pair) -> list[float]:
    denied, absent = disagreement(both.claim.amounts, both.amounts)
    strict = sum(one.strict for one in both.claim.amounts)
    return [float(bool(denied)), float(bool(absent)), float(strict > len(denied) + len(absent))]


def _polarity(both: Pair) -> list[float]:
    """How far the pointing words of the claim point the same way as those that correspond to them, or another.

    Words of one stem correspond to each other first; what is left is weighed by how near it is to the same matter.
    """
    prefix = float(any(opposite(both.claim.stems[i], both.stems[j]) for i in both.mine for j in both.theirs))
    pairs = _same_stems(both)
    values = [
        (-1.0 if both.claim.denied[both.mine[r]] != bool(both.denied[both.theirs[c]]) else 1.0, 1.0) for r, c in pairs
    ]
    rows, columns = {r for r, _ in pairs}, {c for _, c in pairs}
    for row, i in enumerate(both.mine.tolist()):
        signs = {} if row in rows else dict(signs_of(both.claim.stems[i]))
        context = _context(both, row) if signs else np.zeros(0)
        for column, j in enumerate(both.theirs.tolist() if signs else ()):
            parts = [signs[axis] * sign for axis, sign in signs_of(both.stems[j]) if axis in signs]
            if not parts or column in columns:
                continue
            turned = both.claim.denied[i] != bool(both.denied[j])
            weight = context[column] * min(1.0, 0.3 + both.alike[row, column])
            values.append((max(parts) * (-1.0 if turned else 1.0), weight))
    agree = sum(weight for value, weight in values if value > 0)
    clash = sum(weight for value, weight in values if value < 0)
    turn = (agree - clash) / (agree + clash) if agree + clash > 0.05 else 0.0
    best = [max((weight for value, weight in values if value * side > 0), default=0.0) for side in (1, -1)]
    return [float(np.tanh(agree)), float(np.tanh(clash)), *best, turn, float(np.tanh(agree - clash)), prefix]


def _same_stems(both: Pair) -> list[tuple[int, int]]:
    """Pointing words of the claim with the word of the same stem, in the most alike context, that each meets."""
    found: list[tuple[int, int]] = []
    for row, i in enumerate(both.mine.tolist()):
        word = both.claim.stems[i]
        same = [column for column, j in enumerate(both.theirs.tolist()) if both.stems[j] == word]
        if same and signs_of(word):
            found.append((row, max(same, key=lambda column: (round(float(both.alike[row, column]), 3), -column))))
    return found


def _context(both: Pair, row: int) -> Floats:
    """How near each of the quotes' content words is to where the neighbours of a claim's word correspond."""
    others = [n for n in range(len(both.mine)) if n != row and both.best[n] > 0.5]
    if not others:
        return np.full(len(both.theirs), 0.3)
    weights = np.array([both.best[n] * np.exp(-abs(both.mine[n] - both.mine[row]) / CLOSE) for n in others])
    places = both.at[others]
    gaps = np.exp(-np.abs(both.theirs[:, None] - places[None, :]) / CLOSE)
    found: Floats = gaps @ weights / max(float(weights.sum()), 1e-9)
    return found


def _denials(both: Pair) -> list[float]:
    mine = any(denies(word) for word in both.claim.words)
    theirs = any(denies(word) for word in both.words)
    apart = [
        both.claim.denied[i] != bool(both.denied[both.at[row]])
        for row, i in enumerate(both.mine.tolist())
        if both.best[row] >= SAME
    ]
    empty = any(quote.empty for quote in both.quotes)
    down = [_down(both.claim.stems[i]) for i in both.mine]
    other = [_down(both.stems[j]) for j in both.theirs]
    claim_parity = (sum(down) + sum(both.claim.words.count(w) for w in ("not", "no", "never"))) % 2
    quote_parity = (sum(other) + sum(both.words.count(w) for w in ("not", "no", "never"))) % 2
    return [
        float(mine != theirs),
        _mean(apart),
        float(both.claim.empty),
        float(empty),
        float(both.claim.empty != empty),
        float(claim_parity != quote_parity),
    ]


def _down(word: str) -> bool:
    return dict(signs_of(word)).get("amount", 0) < 0


def _shape(both: Pair) -> list[float]:
    crossed, straight = _order(both)
    mine, theirs = hedged(both.claim.words), hedged(both.words)
    places = [both.at[row] for row in range(len(both.mine)) if both.best[row] >= SAME]
    steps = [b > a for a, b in pairwise(places) if a != b]
    polar = [row for row, i in enumerate(both.mine.tolist()) if signs_of(both.claim.stems[i])]
    return [
        crossed,
        straight,
        float(mine != theirs),
        np.tanh(len(both.mine) / 12),
        np.tanh(len(both.theirs) / 40),
        _mean(steps) if steps else 0.5,
        float(1.0 - min(both.best[row] for row in polar)) if polar else 0.0,
    ]


def _order(both: Pair) -> tuple[float, float]:
    """How many pairs of words around a shared pointing word or verb stand crossed in the quotes, and how many not."""
    crossed = straight = 0
    held: dict[str, list[int]] = {}
    for j in both.theirs.tolist():
        held.setdefault(both.stems[j], []).append(j)
    verbs = [i for i in both.mine.tolist() if signs_of(both.claim.stems[i]) and both.claim.stems[i] in held]
    for v in verbs:
        left = [i for i in both.mine.tolist() if i < v and both.claim.stems[i] in held]
        right = [i for i in both.mine.tolist() if i > v and both.claim.stems[i] in held]
        for w in held[both.claim.stems[v]]:
            for a in left:
                for b in right:
                    one = min(held[both.claim.stems[a]], key=lambda j: abs(j - w))
                    two = min(held[both.claim.stems[b]], key=lambda j: abs(j - w))
                    crossed += two < w < one
                    straight += one < w < two
    return float(np.tanh(crossed)), float(np.tanh(straight))


def _mean(values: Sequence[object]) -> float:
    return float(np.mean([float(bool(v)) if isinstance(v, bool) else float(v) for v in values])) if len(values) else 0.0  # type: ignore[arg-type]
