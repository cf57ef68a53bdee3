"""Whether quotes carry a claim: supported, contradicted or not found, with a calibrated probability.

A multinomial logistic model over the features of `pipeline/evidence_features.py` weighs what speaks for each label
(weights and training record: `claims.json`, written by `bench/train_claims.py`). Rules stand above it where they are
certain: a quote that holds the claim word for word supports it; a number that the quotes do not give, two names that
changed places around one verb, or a plain denial of the same words can never be supported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kernel.errors import IntegrityFailure
from kernel.ids import sha256
from kernel.records import Support
from pipeline.amounts import disagreement, other_codes
from pipeline.evidence_features import FEATURES, Pair, features_of
from pipeline.reading import Floats, Reading
from pipeline.wording import clean

SUPPORTED, CONTRADICTED, NOT_FOUND = LABELS = ("supported", "contradicted", "not_found")
RULED_OUT = 0.05
"""Highest score of a claim that a rule says is not supported."""
_WORDS = re.compile(r"[\w%$€£]+")
_ENDS = ".!?;:|—–\n"
_OPENERS = " \t\"'“”‘’([{*-#>"
_CLOSERS = " \t\"'“”‘’)]}*"


ENOUGH = 0.5
"""The probability of being supported from which on a sentence counts as supported, where a policy says no other."""


@dataclass(frozen=True, slots=True)
class ClaimModel:
    """Weights of the three labels, `[3, features]`, over features less their `mean` and over their `spread`."""

    mean: Floats
    spread: Floats
    weights: Floats
    bias: Floats

    def chances(self, features: Floats) -> Floats:
        """P(supported), P(contradicted), P(not found) of `[n, features]` or of one row."""
        scores = ((features - self.mean) / self.spread) @ self.weights.T + self.bias
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares: Floats = scores / scores.sum(axis=-1, keepdims=True)
        return shares


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check found; `certain` is the label that a rule gave, where one was certain: no judge may change it."""

    support: Support
    certain: str | None


@dataclass(frozen=True, slots=True)
class ClaimChecker:
    """Two models: one for readings with vectors, one for those without."""

    with_vectors: ClaimModel
    without: ClaimModel
    digest: str

    def check(self, claim: Reading, quotes: Sequence[Reading], title: str = "", supported: float = ENOUGH) -> Verdict:
        """The label of a claim beside its quotes, and the probability that they support it (its score).

        `title` names the documents of the quotes: what it says need not be said again. The score is calibrated on
        labelled claims (`bench/claims.py`); 1.0 is kept for a claim that a quote holds word for word.
        """
        if verbatim(claim.text, [quote.text for quote in quotes], title):
            return Verdict(Support(SUPPORTED, 1.0), SUPPORTED)
        pair = Pair(claim, quotes, title)
        model = self.with_vectors if pair.has_vectors else self.without
        chances = np.round(model.chances(features_of(pair)), 4)
        label = label_of(chances, supported)
        ruled = forbidden(pair)
        if ruled is None:
            return Verdict(Support(label, float(chances[0])), None)
        label = label if label == CONTRADICTED else ruled
        return Verdict(Support(label, min(float(chances[0]), RULED_OUT)), label)


def label_of(chances: Floats, supported: float = ENOUGH) -> str:
    """Supported from the threshold on; below it, contradicted or not found, whichever is likelier."""
    if chances[0] >= supported:
        return SUPPORTED
    return CONTRADICTED if chances[1] > chances[2] else NOT_FOUND


def verbatim(claim: str, quotes: Sequence[str], title: str = "") -> bool:
    """Whether a quote holds the claim word for word as a whole statement, markup and a lead of the title aside."""
    words = _WORDS.findall(claim.casefold())
    lead = _WORDS.findall(title.casefold())
    forms = [words] + ([words[len(lead) :]] if lead and words[: len(lead)] == lead and len(words) > len(lead) else [])
    return any(_states(clean(quote).casefold(), form) for quote in quotes for form in forms if form)


def _states(quote: str, words: Sequence[str]) -> bool:
    """Whether a quote holds just these words between two ends of a statement: a part of one may deny the whole."""
    inside = re.compile(r"[^\w%$€£]+".join(map(re.escape, words)))
    for match in inside.finditer(quote):
        before, after = quote[: match.start()].rstrip(_OPENERS), quote[match.end() :].lstrip(_CLOSERS)
        if (not before or before[-1] in _ENDS) and (not after or after[0] in _ENDS):
            return True
    return False


def forbidden(pair: Pair) -> str | None:
    """The label that a claim gets instead of `supported` where a rule is certain that it is not; None where none is.

    In this order: numbers and dates that the quotes do not give, a code where they speak of another one of its family,
    two names that changed places, one word turned to its opposite, a denial of the same words.
    """
    denied, absent = disagreement(pair.claim.amounts, pair.amounts)
    if denied or absent:
        return CONTRADICTED if denied and pair.coverage >= 0.6 else NOT_FOUND
    if other_codes(pair.claim.text, " ".join([pair.about, *(quote.text for quote in pair.quotes)])):
        return NOT_FOUND
    if pair.names_swapped():
        return CONTRADICTED
    if pair.same_matter and (pair.word_turned() or pair.denied_apart()):
        return CONTRADICTED
    return None


@cache
def shipped_checker() -> ClaimChecker:
    """The checker whose weights come with the program. Raises IntegrityFailure where they are of other features."""
    text = Path(__file__).with_name("claims.json").read_text(encoding="utf-8")
    return read_checker(json.loads(text), sha256(text))


def read_checker(kept: Mapping[str, Any], digest: str) -> ClaimChecker:
    """A checker from its JSON form. Raises IntegrityFailure where its features are not this program's."""
    if tuple(kept["features"]) != FEATURES:
        raise IntegrityFailure("claims.json was made for other features; train it anew: python -m bench.train_claims")
    models = {name: _model(kept["models"][name]) for name in ("with_vectors", "without")}
    return ClaimChecker(models["with_vectors"], models["without"], digest)


def _model(kept: Mapping[str, Any]) -> ClaimModel:
    arrays = {name: np.array(kept[name], dtype=np.float64) for name in ("mean", "spread", "weights", "bias")}
    if arrays["weights"].shape != (3, len(FEATURES)) or not all(np.isfinite(one).all() for one in arrays.values()):
        raise IntegrityFailure("claims.json holds weights of another shape")
    return ClaimModel(**arrays)
