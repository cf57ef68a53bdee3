"""`python -m bench.claims`: how well sentences are checked against their quotes, and how far confidence holds.

Part `claims`: SciFact's odd claims, and claims made from plain sentences of half 1 (`bench/made_claims.py` says how
items are made), none of which the claim model was trained on, beside simple baselines. Part `confidence`: answers of
the extractive pipeline to questions with odd numbers; how sure it said it was, beside how often it was right. Part
`thresholds`: what of these answers a policy keeps that withholds those below a confidence.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.answers import calibration, confidence, thresholds
from bench.data import available
from bench.made_claims import CONTRADICTED, NOT_FOUND, SUPPORTED, Item, made, scifact
from bench.page import RESULTS, write
from bench.train_claims import local_embedder, macro_f1
from pipeline.amounts import amounts, disagreement
from pipeline.claims import LABELS, shipped_checker
from pipeline.reading import Floats, Reading, readings
from retrieval.analysis import content_terms

Labels = NDArray[np.int64]
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|cannot|without|n't)\b|n't\b", re.IGNORECASE)


def claims() -> dict[str, dict[str, Any]]:
    """Rows of the table: each way to label beside each other, on what none of them was tuned on."""
    embedder = local_embedder()
    own = scifact(embedder)
    odd, even = [one for one in own if one.half == 1], [one for one in own if one.half == 0]
    rows = {f"SciFact, {name}": row for name, row in _compared(odd, even, embedder).items()}
    hard = [one for one in odd if one.kind != "far"]
    rows["SciFact without unrelated abstracts, ours"] = _row(_labels(hard), *_ours(hard, embedder))
    rows["SciFact, ours without vectors"] = _row(_labels(odd), *_ours(odd, None))
    synthetic = made()
    new, old = [one for one in synthetic if one.half == 1], [one for one in synthetic if one.half == 0]
    rows |= {f"made claims, {name}": row for name, row in _compared(new, old, embedder).items()}
    rows["made claims, ours without vectors"] = _row(_labels(new), *_ours(new, None))
    return rows


def _compared(items: Sequence[Item], tuned_on: Sequence[Item], embedder: Any) -> dict[str, dict[str, Any]]:
    gold = _labels(items)
    near, near_before = similarities(items, embedder), similarities(tuned_on, embedder)
    cut = _best_cut(near_before, _labels(tuned_on))
    most = int(np.bincount(_labels(tuned_on)).argmax())
    return {
        "ours": _row(gold, *_ours(items, embedder)),
        "similarity threshold": _row(gold, np.where(near >= cut, SUPPORTED, NOT_FOUND)),
        "number match": _row(gold, np.array([number_match(one) for one in items])),
        "terms, numbers and negation (before)": _row(gold, np.array([term_rules(one) for one in items])),
        "always the most frequent": _row(gold, np.full(len(items), most)),
    }


def _labels(items: Sequence[Item]) -> Labels:
    return np.array([one.label for one in items])


def _row(gold: Labels, said: Labels, scores: Floats | None = None) -> dict[str, Any]:
    mean, each = macro_f1(gold, said)
    names = {f"F1 {name}": value for name, value in zip(LABELS, each, strict=True)}
    held = calibration(scores, (gold == SUPPORTED).astype(float)) if scores is not None else {"ECE": "", "Brier": ""}
    return {"items": len(gold), "accuracy": round(float((gold == said).mean()), 4), "macro-F1": mean, **names, **held}


def _ours(items: Sequence[Item], embedder: Any) -> tuple[Labels, Floats]:
    """The labels and scores of the shipped checker, rules included."""
    read = _read(items, embedder)
    checker = shipped_checker()
    found = [checker.check(read[one.claim], [read[one.quote]], one.title).support for one in items]
    return np.array([LABELS.index(one.label) for one in found]), np.array([one.score for one in found])


def _read(items: Sequence[Item], embedder: Any) -> dict[str, Reading]:
    texts = list(dict.fromkeys(text for one in items for text in (one.claim, one.quote)))
    found: dict[str, Reading] = {}
    for start in range(0, len(texts), 256):
        found |= dict(zip(texts[start : start + 256], readings(texts[start : start + 256], embedder), strict=True))
    return found


# --- Baselines ------------------------------------------------------------------------------------------------------


def similarities(items: Sequence[Item], embedder: Any) -> Floats:
    """The cosine of each claim to its quote."""
    mine, theirs = (embedder.embed([getattr(one, side) for one in items]) for side in ("claim", "quote"))
    found: Floats = (mine * theirs).sum(axis=1).astype(np.float64)
    return found


def _best_cut(near: Floats, gold: Labels) -> float:
    """The cosine that divides supported from not found with the best macro-F1."""
    cuts = np.round(np.arange(0.2, 0.96, 0.01), 2)
    return float(max(cuts, key=lambda cut: macro_f1(gold, np.where(near >= cut, SUPPORTED, NOT_FOUND))[0]))


def number_match(item: Item) -> int:
    """Supported where the quote holds each number of the claim, contradicted where it holds others instead."""
    denied, absent = disagreement(amounts(item.claim), amounts(item.quote))
    return CONTRADICTED if denied else NOT_FOUND if absent else SUPPORTED


def term_rules(item: Item) -> int:
    """The rules before this model: shared terms, numbers that must agree, negation that must not flip."""
    wanted, quote = set(content_terms(item.claim)), f"{item.title} {item.quote}"
    if len(wanted & set(content_terms(quote))) < 0.6 * max(len(wanted), 1):
        return NOT_FOUND
    stray = set(_NUMBER.findall(item.claim)) - set(_NUMBER.findall(quote))
    flipped = bool(_NEGATION.search(item.claim)) != bool(_NEGATION.search(quote))
    if not stray and not flipped:
        return SUPPORTED
    return CONTRADICTED if flipped or _NUMBER.search(quote) else NOT_FOUND


PARTS: dict[str, Callable[[], dict[str, dict[str, Any]]]] = {
    "claims": claims,
    "confidence": confidence,
    "thresholds": thresholds,
}


def main(wanted: Sequence[str]) -> int:
    """Measure the named parts, all by default; keep their rows beside other results, and print them."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no part {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if not available("scifact"):
        print("left out: its data does not lie beside this checkout", file=sys.stderr)
        return 0
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for part in wanted or PARTS:
        results[part] = PARTS[part]()
        RESULTS.write_text(json.dumps(results, indent=1))
        for row, values in results[part].items():
            print(f"{row:52s}", "  ".join(f"{column} {value}" for column, value in values.items()), flush=True)
    write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
