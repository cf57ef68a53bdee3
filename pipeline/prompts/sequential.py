"""Comparing two arms while anyone looks at any time: the chance of ever naming a false winner stays below `alpha`.

Outcomes lie in [0, 1]. Those of both arms are put into blocks, and each block gives a difference d in [-1, 1] of its
means. Against "the mean difference is at most m" one bets: the capital that is a mixture, over fractions s of it, of
products of 1 - s + s (1 + d) / (1 + m) is a nonnegative martingale at m and a supermartingale below it, so that it ever
reaches 1 / alpha with a probability of at most alpha (Ville's inequality), however often one looks and whenever one
stops. Nothing is assumed of the outcomes but their range. All m that neither this bet nor its mirror image refutes are
the confidence sequence of the difference.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024); Ramdas,
Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38 (2023);
Cover, "Universal portfolios", Mathematical Finance 1 (1991), for the mixture; Wang and Ramdas, "False discovery rate
control with e-values", JRSS B 84 (2022), for `notable`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

STAKES = np.array([0.95 * 0.62**power for power in range(10)])
"""The fractions of the capital that are bet, from those that see disasters at once to those that see small effects."""
WEIGHTS = np.array([0.25, *[0.75 / 9] * 9])
"""How the first capital is spread over them."""
WAITING = 8
"""So many blocks' worth of outcomes wait for the other arm. Older ones are left out: a shift that both arms share, such
as new documents, then biases no more than these.
"""
STEPS = 30
"""Halvings that find an end of a confidence sequence: to 2**-29."""
LARGEST = 1e12
"""Evidence above this is told as this."""


@dataclass(frozen=True, slots=True)
class Block:
    """Outcomes of both arms that are compared with each other."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def difference(self) -> float:
        """The mean of the second arm less that of the first."""
        return sum(self.second) / len(self.second) - sum(self.first) / len(self.first)


@dataclass(slots=True)
class Blocks:
    """Puts outcomes of two arms, as they come, into blocks of about the proportion of their shares.

    Which outcomes meet in a block depends on the order of the arms alone, never on an outcome.
    """

    first_share: float
    second_share: float
    _waiting: tuple[deque[float], deque[float]] = field(init=False)
    _sizes: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        ratio = self.second_share / self.first_share
        self._sizes = (max(1, round(1 / ratio)), max(1, round(ratio)))
        first, second = (deque[float](maxlen=size * WAITING) for size in self._sizes)
        self._waiting = (first, second)

    def add(self, second: bool, outcome: float) -> Block | None:
        """The block that this outcome completes, if it does."""
        self._waiting[second].append(outcome)
        if any(len(some) < size for some, size in zip(self._waiting, self._sizes, strict=True)):
            return None
        made = [
            tuple(some.popleft() for _ in range(size)) for some, size in zip(self._waiting, self._sizes, strict=True)
        ]
        return Block(*made)


class Capital:
    """What betting on differences above `null` has made of 1; with `below`, on differences below it."""

    def __init__(self, null: float = 0.0, *, below: bool = False) -> None:
        self.null = null
        self._sign = -1.0 if below else 1.0
        self._logs = np.log(WEIGHTS)

    def add(self, difference: float) -> None:
        """Bet on one more difference in [-1, 1]."""
        self._logs = self._logs + np.log(_factors(np.array([difference]), self.null, self._sign)[0])

    @property
    def value(self) -> float:
        """The capital: evidence of 20 and more ever comes up by chance in one of 20 cases at most."""
        return _total(self._logs)


def wealth(differences: ArrayLike, null: float = 0.0, *, below: bool = False) -> NDArray[np.float64]:
    """The capital after each of the differences, as `Capital` counts it; its logarithm, base e."""
    found = np.asarray(differences, np.float64)
    logs = np.cumsum(np.log(_factors(found, null, -1.0 if below else 1.0)), axis=0) + np.log(WEIGHTS)
    most = logs.max(axis=1, initial=-np.inf)
    return np.asarray(most + np.log(np.exp(logs - most[:, None]).sum(axis=1)), np.float64)


def _factors(differences: NDArray[np.float64], null: float, sign: float) -> NDArray[np.float64]:
    """By difference and stake: what the capital is multiplied with. Never below 0.05."""
    gain = (1.0 + sign * differences) / max(1.0 + sign * null, 1e-12)
    return np.asarray(1.0 - STAKES + STAKES * gain[:, None], np.float64)


def _total(logs: NDArray[np.float64]) -> float:
    most = float(logs.max())
    log = most + math.log(float(np.exp(logs - most).sum()))
    return math.exp(min(log, math.log(LARGEST)))


class Comparison:
    """Two arms compared by one metric. `difference` is the second arm's mean less the first's."""

    def __init__(self, shares: tuple[float, float] = (0.5, 0.5)) -> None:
        self._blocks = Blocks(*shares)
        self._above, self._below = Capital(), Capital(below=True)
        self.differences: list[float] = []
        self.evidence_peak = 0.0

    def add(self, second: bool, outcome: float) -> bool:
        """Take in an outcome in [0, 1]; whether it completed a block."""
        found = self._blocks.add(second, min(1.0, max(0.0, outcome)))
        if found is None:
            return False
        self.differences.append(found.difference)
        for capital in (self._above, self._below):
            capital.add(found.difference)
        self.evidence_peak = max(self.evidence_peak, self.evidence)
        return True

    @property
    def evidence(self) -> float:
        """The e-value against "there is no difference", both directions weighed in."""
        return max(self._above.value, self._below.value) / 2

    @property
    def difference(self) -> float | None:
        """The mean difference of the blocks; None before the first."""
        return float(np.mean(self.differences)) if self.differences else None

    def winner(self, alpha: float) -> int | None:
        """1 where the second arm is better, 0 where the first is, None where that is not known now."""
        needed = 2 / alpha
        if self._above.value >= needed:
            return 1
        return 0 if self._below.value >= needed else None

    def interval(self, alpha: float) -> tuple[float, float]:
        """Where the difference lies: it was ever outside what this said with a probability of at most alpha."""
        return confidence_interval(self.differences, alpha)


class Learned:
    """What betting has made of 1 against "the second arm's mean is at least the first's less `margin`", by what the
    blocks before taught of both means. It sees a disaster after a few blocks, where `Capital` can at most double.

    The bet on a block is the ratio of likelihoods of 0-or-1 outcomes (linear between) under the means that were learned
    and under the closest means of the hypothesis, by relative entropy. Its expectation is at most 1 under every pair of
    means of the hypothesis: its logarithm is concave in them, 0 at the closest pair, and falls from there into the
    hypothesis, which is convex (Turner, Ly and Grünwald, "Generic e-variables for exact sequential k-sample tests that
    allow for optional stopping", JSPI 230, 2024).
    """

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._sums, self._counts = [0.5, 0.5], [1.0, 1.0]
        self._log = 0.0

    def add(self, block: Block) -> None:
        """Bet on one more block, then learn from it."""
        first, second = (total / count for total, count in zip(self._sums, self._counts, strict=True))
        if second < first - self._margin:
            null = _closest((first, second), (len(block.first), len(block.second)), self._margin)
            for mean, other, some in zip((first, second), null, (block.first, block.second), strict=True):
                self._log += sum(math.log(y * mean / other + (1 - y) * (1 - mean) / (1 - other)) for y in some)
        for arm, some in enumerate((block.first, block.second)):
            self._sums[arm] += sum(some)
            self._counts[arm] += len(some)

    @property
    def value(self) -> float:
        """The capital."""
        return math.exp(min(self._log, math.log(LARGEST)))


def _closest(means: tuple[float, float], sizes: tuple[int, int], margin: float) -> tuple[float, float]:
    """The means of a block that lie just `margin` apart and are nearest to those given: where the slope of the relative
    entropy, which is convex, changes its sign.
    """
    low, high = margin, 1.0
    for _ in range(48):
        first = (low + high) / 2
        second = first - margin
        slope = sizes[0] * (first - means[0]) / max(first * (1 - first), 1e-300)
        slope += sizes[1] * (second - means[1]) / max(second * (1 - second), 1e-300)
        low, high = (low, first) if slope > 0 else (first, high)
    return high, high - margin


class WorseBy:
    """Evidence that the second arm is worse than the first by more than a margin: half of it by each way to bet."""

    def __init__(self, margin: float, shares: tuple[float, float]) -> None:
        self._blocks = Blocks(*shares)
        self._capital, self._learned = Capital(-margin, below=True), Learned(margin)
        self.peak = 1.0

    def add(self, second: bool, goodness: float) -> None:
        """Take in an outcome in [0, 1], of which more is better."""
        block = self._blocks.add(second, min(1.0, max(0.0, goodness)))
        if block is not None:
            self._capital.add(block.difference)
            self._learned.add(block)
            self.peak = max(self.peak, (self._capital.value + self._learned.value) / 2)


def confidence_interval(differences: Sequence[float], alpha: float) -> tuple[float, float]:
    """The differences that no bet refutes, as an interval. The capital of a bet on "above m" falls as m grows, so each
    end is found by halving.
    """
    if not differences:
        return -1.0, 1.0
    return -_highest([-one for one in differences], alpha), _highest(differences, alpha)


def _highest(differences: Sequence[float], alpha: float) -> float:
    values, needed = np.asarray(differences, np.float64), math.log(2 / alpha)
    low, high = float(values.mean()), 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        logs = np.log(WEIGHTS) + np.log(_factors(values, middle, -1.0)).sum(axis=0)
        most = float(logs.max())
        refuted = most + math.log(float(np.exp(logs - most).sum())) >= needed
        low, high = (low, middle) if refuted else (middle, high)
    return high


def imbalance(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The evidence that those who were drawn are not spread as was declared: the ratio of the likelihood of their
    counts under all shares alike to that under the declared ones. It may be looked at any time; of 1,000 and more,
    something between the draw and the record is broken (Lindon and Malek, "Anytime-valid inference for multinomial
    count data", NeurIPS 2022).
    """
    total, arms = sum(counts), len(counts)
    log = math.lgamma(arms) - math.lgamma(arms + total) + sum(math.lgamma(1 + count) for count in counts)
    log -= sum(count * math.log(share) for count, share in zip(counts, shares, strict=True))
    return math.exp(min(log, math.log(LARGEST)))


def notable(evidence: Mapping[str, float], alpha: float) -> set[str]:
    """Of several metrics, those with a difference: at most a share of alpha of them falsely, on average (e-BH)."""
    ranked = sorted(evidence, key=lambda name: -evidence[name])
    count = max(
        (place for place, name in enumerate(ranked, 1) if evidence[name] >= len(ranked) / (alpha * place)), default=0
    )
    return set(ranked[:count])
