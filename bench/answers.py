"""How sure an answer says it is, and how often it is right: `python -m bench.answers` fits `pipeline/confidence.json`.

Answers are those of the extractive pipeline to the questions about documents and to those of the multi-hop sets. To a
question about documents an answer is right where its text holds a hit of every group of key facts, and wrong where the
documents do not say. To a multi-hop question it is right where its text, or a quote that it cites, holds one of the
gold answers as whole words; questions whose answer is yes or no are left out, since no quote holds that. Abstentions
give no answer and are not counted. Fitted on questions with even numbers, reported on those with odd ones.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from api.assembly import Workspace
from bench.data import DOCUMENTS, ROOT, SETS, available, jsonl
from bench.homes import open_set
from kernel.ids import sha256
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, AnswerStatus, Evidence, Grounded, Question
from pipeline.calibration import ANSWER_FEATURES, answer_features, read_confidence, standing, support_of
from pipeline.claims import SUPPORTED
from pipeline.grounding import Checks, ground
from pipeline.reading import Floats
from retrieval.analysis import content_terms, fold
from retrieval.context import assemble

TARGET = Path(__file__).resolve().parents[1] / "pipeline" / "confidence.json"
MULTIHOP = ("2wiki", "hotpotqa", "musique")
PENALTY = 1.0
BINS = 10
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer that was given: its question's set and half, whether it is right, and what is seen of it."""

    set: str
    half: int
    right: bool
    features: Floats
    held: float
    before: float


def outcomes(name: str) -> list[Outcome]:
    """What became of the questions of a set, abstentions left out."""
    found: list[Outcome] = []
    workspace, _ = open_set(name)
    with workspace:
        for number, row in enumerate(_questions(name)):
            if row is None:
                continue
            grounded, evidence = _answer(workspace, row["question"])
            if grounded.status in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL):
                features, held = answer_features(grounded, evidence), support_of(grounded)
                found.append(Outcome(name, number % 2, _right(row, grounded), features, held, _before(grounded)))
    return found


def _questions(name: str) -> Iterator[dict[str, Any] | None]:
    """The questions in file order; None for one that cannot be judged, so that numbers stay."""
    path = DOCUMENTS / "questions.jsonl" if name == "documents" else ROOT / SETS[name] / "questions.jsonl"
    for row in jsonl(path):
        yield None if {fold(one) for one in row.get("answers") or ()} & {"yes", "no"} else row


def _answer(workspace: Workspace, text: str) -> tuple[Grounded, Evidence]:
    """An answer as the pipeline gives it, without a record of it."""
    settings, question = workspace.settings, Question(text)
    state = workspace.snapshots.live()
    found = workspace.searcher.search(question.text, state, LOCAL_OWNER, settings.top_k)
    evidence = assemble(found, state.snapshot, settings.context_tokens)
    ids = tuple(passage.chunk_id for passage in evidence.passages)
    generation = workspace.generator.generate(GenerationRequest(text, (), evidence, ids))
    return ground(generation, evidence, Checks(embedder=workspace.embedder)), evidence


def _right(row: Mapping[str, Any], grounded: Grounded) -> bool:
    if "answers" not in row:
        text = grounded.answer.casefold()
        groups = row.get("key_facts") or []
        return row["expected"] != "abstain" and all(any(fact.casefold() in text for fact in one) for one in groups)
    shown = _spaced(" ".join([grounded.answer, *(citation.quote for citation in grounded.citations)]))
    return any(_spaced(answer) in shown for answer in row["answers"] if _spaced(answer).strip())


def _spaced(text: str) -> str:
    return f" {' '.join(_WORDS.findall(fold(text)))} "


def _before(grounded: Grounded) -> float:
    """The confidence of the version before: the least share of terms held, by the share of sentences supported."""
    quotes = {citation.id: f"{citation.title} {citation.quote}" for citation in grounded.citations}
    shares = []
    for sentence in grounded.sentences:
        wanted = set(content_terms(sentence.text))
        held = set(content_terms(" ".join(quotes[one] for one in sentence.citations)))
        shares.append(len(wanted & held) / max(len(wanted), 1) if sentence.support.label == SUPPORTED else 0.0)
    good = [share for share in shares if share]
    return round(min(good, default=0.0) * len(good) / max(len(shares), 1), 4)


# --- Fitting and measuring ------------------------------------------------------------------------------------------


def fit(some: Sequence[Outcome]) -> dict[str, Any]:
    """Logistic regression with an L2 penalty."""
    rows = np.array([one.features for one in some])
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    inputs = torch.tensor(standing(rows, mean, spread))
    right = torch.tensor([float(one.right) for one in some], dtype=torch.float64)
    weights = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weights + bias, right, reduction="sum")
        value = each + PENALTY * (weights**2).sum()
        value.backward()
        return value

    search.step(loss)
    kept = {"mean": mean, "spread": spread, "weights": weights.detach().numpy()}
    return {
        "features": list(ANSWER_FEATURES),
        **{name: np.round(value, 5).tolist() for name, value in kept.items()},
        "bias": round(float(bias.detach()), 5),
    }


def calibration(chances: Floats, right: Floats) -> dict[str, float]:
    """Expected calibration error over ten equal bins (Naeini et al. 2015) and the Brier score."""
    places = np.minimum((chances * BINS).astype(int), BINS - 1)
    gaps = [
        (places == place).sum() * abs(chances[places == place].mean() - right[places == place].mean())
        for place in range(BINS)
        if (places == place).any()
    ]
    return {
        "ECE": round(float(sum(gaps) / len(right)), 4),
        "Brier": round(float(((chances - right) ** 2).mean()), 4),
    }


def confidence() -> dict[str, dict[str, float]]:
    """Rows of the table: the shipped confidence beside the one before, on odd questions of each set and of all."""
    kept = json.loads(TARGET.read_text(encoding="utf-8"))
    model = read_confidence(kept, sha256(json.dumps(kept)))
    found = [one for name in sets() for one in outcomes(name)]
    odd = [one for one in found if one.half == 1]
    usual = float(np.mean([one.right for one in found if one.half == 0]))
    rows: dict[str, dict[str, float]] = {}
    for name in ("all", *sets()):
        some = [one for one in odd if name in ("all", one.set)]
        right = np.array([float(one.right) for one in some])
        ours = np.array([model.chance(one.features) * one.held for one in some])
        ways = {"ours": ours, "before": np.array([one.before for one in some])}
        ways |= {"always the mean of even ones": np.full(len(some), usual)}
        counts = {"answers": len(some), "right": round(float(right.mean()), 4)}
        rows |= {f"{name}, {way}": counts | calibration(chances, right) for way, chances in ways.items()}
    return rows


def sets() -> list[str]:
    """The sets that lie beside the checkout."""
    return [*(["documents"] if DOCUMENTS.is_dir() else []), *(name for name in MULTIHOP if available(name))]


def main() -> None:
    """Fit on the even questions and write the weights."""
    torch.set_num_threads(1)
    found = [one for name in sets() for one in outcomes(name) if one.half == 0]
    counts = {name: sum(one.set == name for one in found) for name in sets()}
    training = {
        "method": "logistic regression, L2",
        "penalty": PENALTY,
        "half": "questions with even numbers",
        "answers": counts,
        "right": round(float(np.mean([one.right for one in found])), 4),
    }
    TARGET.write_text(json.dumps({"version": 1, "training": training} | fit(found), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)


if __name__ == "__main__":
    main()
