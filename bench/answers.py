"""How sure an answer says it is, and how often it is right: `python -m bench.answers` fits `pipeline/confidence.json`.

Answers are those of the extractive pipeline to the questions of `bench/asked.py`, which says what is right. Abstentions
give no answer and are not counted. Each kind of question weighs the same, however many it has, so that no set's share
of right answers rules; but a kind with few answers counts no more than FEW would. Fitted on questions with even
numbers, reported on those with odd ones, and on each set and kind with weights that were fitted without it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from api.assembly import Workspace
from bench.asked import KINDS, UNTOLD, Asked, asked_of, lying
from bench.confidence_before import confidence_before
from bench.homes import open_set
from kernel.ids import sha256
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, AnswerStatus, Evidence, Grounded, LiveState
from pipeline.calibration import (
    ANSWER_FEATURES,
    BENDS,
    Confidence,
    answer_features,
    read_confidence,
    shipped_confidence,
    stretches,
    support_of,
)
from pipeline.grounding import Checks, ground
from pipeline.reading import Floats
from retrieval.context import assemble
from retrieval.view import View

TARGET = Path(__file__).resolve().parents[1] / "pipeline" / "confidence.json"
PENALTY = 1.0
FEW = 150
"""A kind, or a set's part of one, with fewer answers than this weighs as much less."""
BINS = 10
CUTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer that was given: its question's kind, set and half, whether it is right, what is seen of it, how far its
    sentences are supported, and how sure the version before would have been.
    """

    kind: str
    set: str
    half: int
    right: bool
    features: Floats
    held: float
    before: float


@cache
def outcomes(name: str) -> tuple[Outcome, ...]:
    """What became of the questions of a set, abstentions left out."""
    found: list[Outcome] = []
    workspace, _ = open_set(name)
    with workspace:
        state = workspace.snapshots.live()
        view, _ = workspace.library.view(state, LOCAL_OWNER)
        for one in asked_of(name, workspace, view):
            grounded, evidence = _answer(workspace, state, view, one)
            if grounded.status in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL):
                features, held = answer_features(grounded, evidence, one.text), support_of(grounded)
                before = confidence_before(grounded, evidence)
                found.append(Outcome(one.kind, name, one.half, one.right(grounded), features, held, before))
    return tuple(found)


def _answer(workspace: Workspace, state: LiveState, view: View, one: Asked) -> tuple[Grounded, Evidence]:
    """An answer as the pipeline gives it, without a record of it; as though what is held back had not come up."""
    settings = workspace.settings
    found = workspace.searcher.search(one.text, state, LOCAL_OWNER, settings.top_k)
    names = [
        {passage.external_id, int(view.index.document_id[place])}
        for passage, place in zip(found.passages, found.places, strict=True)
    ]
    kept = [number for number, some in enumerate(names) if not some & one.without]
    gone = {passage.chunk_id for passage in found.passages} - {found.passages[number].chunk_id for number in kept}
    found = replace(
        found,
        candidates=tuple(pair for pair in found.candidates if pair[0] not in gone),
        passages=tuple(found.passages[number] for number in kept),
        places=tuple(found.places[number] for number in kept),
    )
    evidence = assemble(found, state.snapshot, settings.context_tokens)
    if not evidence.passages:
        return Grounded(AnswerStatus.ABSTAINED, None, "", 0.0), evidence
    ids = tuple(passage.chunk_id for passage in evidence.passages)
    generation = workspace.generator.generate(GenerationRequest(one.text, (), evidence, ids))
    return ground(generation, evidence, Checks(embedder=workspace.embedder), one.text), evidence


# --- Fitting --------------------------------------------------------------------------------------------------------


def shares(some: Sequence[Outcome]) -> Floats:
    """What each answer weighs, one in the mean: kinds weigh the same, those of UNTOLD together as one."""
    kinds = ["" if one.kind in UNTOLD else one.kind for one in some]
    counts = Counter(kinds)
    found = np.array([1.0 / max(counts[kind], FEW) for kind in kinds])
    return found / found.mean()


def fit(some: Sequence[Outcome]) -> dict[str, Any]:
    """Logistic regression over the stretches of each feature, with an L2 penalty; signs as ANSWER_FEATURES has them."""
    rows, weigh = np.array([one.features for one in some]), shares(some)
    mean = np.average(rows, axis=0, weights=weigh)
    spread = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weigh))
    spread = np.where(spread > 1e-6, spread, 1.0)
    inputs, weigh_ = torch.tensor(stretches(rows, mean, spread)), torch.tensor(weigh)
    right = torch.tensor([float(one.right) for one in some], dtype=torch.float64)
    signs = torch.tensor(list(ANSWER_FEATURES.values()), dtype=torch.float64)[:, None]
    roots = torch.full((len(ANSWER_FEATURES), len(BENDS) + 1), 0.5, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([roots, bias], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        weights = signs * roots**2
        score = (inputs * weights).sum(dim=(1, 2)) + bias
        each = torch.nn.functional.binary_cross_entropy_with_logits(score, right, weight=weigh_, reduction="sum")
        value = each + PENALTY * (weights**2).sum()
        value.backward()
        return value

    search.step(loss)
    weights = (signs * roots**2).detach().numpy()
    kept = {"mean": mean, "spread": spread, "weights": weights}
    return {
        "features": list(ANSWER_FEATURES),
        **{name: (np.round(value, 5) + 0.0).tolist() for name, value in kept.items()},
        "bias": round(float(bias.detach()), 5),
    }


def fitted(some: Sequence[Outcome]) -> Confidence:
    """A confidence fitted on some answers."""
    kept = fit(some)
    return read_confidence(kept, sha256(json.dumps(kept)))


# --- Measuring ------------------------------------------------------------------------------------------------------


def calibration(chances: Floats, right: Floats, weigh: Floats | None = None) -> dict[str, float]:
    """Expected calibration error over ten equal bins (Naeini et al. 2015) and the Brier score."""
    weigh = np.ones(len(right)) if weigh is None else weigh
    places = np.minimum((chances * BINS).astype(int), BINS - 1)
    gaps = [abs((weigh * (chances - right))[places == place].sum()) for place in range(BINS)]
    return {
        "ECE": round(float(sum(gaps) / weigh.sum()), 4),
        "Brier": round(float(np.average((chances - right) ** 2, weights=weigh)), 4),
    }


def discrimination(chances: Floats, right: Floats, weigh: Floats) -> float | str:
    """AUC: how likely a right answer is surer than a wrong one, ties counting half; empty where all are of one kind."""
    good, bad = right > 0, right == 0
    if not good.any() or not bad.any():
        return ""
    values, places = np.unique(chances, return_inverse=True)
    up, down = (np.bincount(places[some], weigh[some], len(values)) for some in (good, bad))
    below = np.cumsum(down) - down
    return round(float((up * (below + down / 2)).sum() / (up.sum() * down.sum())), 4)


def confidence() -> dict[str, dict[str, Any]]:
    """Rows of the table, all of odd questions: the shipped confidence, the one before, and a constant, of all answers
    with kinds weighing the same, and of each kind and corpus; and of each with weights that were fitted without it.
    """
    found = [one for name in lying() for one in outcomes(name)]
    even, odd = ([one for one in found if one.half == half] for half in (0, 1))
    usual = float(np.average([one.right for one in even], weights=shares(even)))
    rows: dict[str, dict[str, Any]] = {}
    for name, parts in _parts(odd):
        some = [one for one in odd if parts & {one.kind, f"corpus {one.set}"}]
        others = [one for one in even if not parts & {one.kind, f"corpus {one.set}"}]
        ways = {"ours": _said(some, shipped_confidence()), "before": np.array([one.before for one in some])}
        ways |= {"ours, fitted without": _said(some, fitted(others))} if len(parts) == 1 else {}
        ways |= {"always the mean of even ones": np.full(len(some), usual)}
        rows |= {f"{name}: {way}": _row(some, chances) for way, chances in ways.items()}
    return rows


def thresholds() -> dict[str, dict[str, Any]]:
    """Rows of the table: what a policy that withholds answers below a confidence keeps of all odd questions' answers,
    kinds weighing the same.
    """
    some = [one for name in lying() for one in outcomes(name) if one.half == 1]
    chances, right, weigh = _said(some, shipped_confidence()), np.array([one.right for one in some]), shares(some)
    rows: dict[str, dict[str, Any]] = {}
    for cut in CUTS:
        kept = chances >= cut
        rows[f"from {cut} on"] = {
            "answers kept": round(float(np.average(kept, weights=weigh)), 3),
            "right of these": round(float(np.average(right[kept], weights=weigh[kept])), 3),
            "right ones withheld": round(float(np.average(~kept[right], weights=weigh[right])), 3),
            "wrong ones withheld": round(float(np.average(~kept[~right], weights=weigh[~right])), 3),
        }
    return rows


def _parts(found: Sequence[Outcome]) -> list[tuple[str, frozenset[str]]]:
    """Names of groups of answers, each with the kinds or corpora that belong to it."""
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in found)]
    sets = dict.fromkeys(f"corpus {one.set}" for one in found)
    told = frozenset(kinds) - {"plain", "near misses"}
    groups = [("all", frozenset(kinds)), ("all but plain and near misses", told)]
    groups += [(kind, frozenset([kind])) for kind in kinds]
    return groups + [(name, frozenset([name])) for name in sets]


def _said(some: Sequence[Outcome], model: Confidence) -> Floats:
    return np.array([model.chance(one.features) * one.held for one in some])


def _row(some: Sequence[Outcome], chances: Floats) -> dict[str, Any]:
    right, weigh = np.array([float(one.right) for one in some]), shares(some)
    measured = {"AUC": discrimination(chances, right, weigh)} | calibration(chances, right, weigh)
    return {"answers": len(some), "right": round(float(np.average(right, weights=weigh)), 4)} | measured


def main() -> None:
    """Fit on the even questions and write the weights."""
    torch.set_num_threads(1)
    found = [one for name in lying() for one in outcomes(name) if one.half == 0]
    training = {
        "method": "logistic regression over stretches of each feature, signs fixed, L2",
        "penalty": PENALTY,
        "half": "questions with even numbers",
        "answers": _counted(found),
        "right": round(float(np.average([one.right for one in found], weights=shares(found))), 4),
    }
    TARGET.write_text(json.dumps({"version": 2, "training": training} | fit(found), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)


def _counted(found: Sequence[Outcome]) -> Mapping[str, Mapping[str, int]]:
    sets = list(dict.fromkeys(one.set for one in found))
    return {
        kind: {name: count for name in sets if (count := sum((one.kind, one.set) == (kind, name) for one in found))}
        for kind in KINDS
    }


if __name__ == "__main__":
    main()
