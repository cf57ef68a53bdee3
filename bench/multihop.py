"""Recall and nDCG of retrieval on the multi-hop sets and SciFact: one configuration for all, and each signal alone."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from api.assembly import Workspace
from bench.data import Item, questions
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates, search_words
from retrieval.features import FIRST
from retrieval.question import Asked
from retrieval.ranker import Ranking, shipped_ranker

SIGNALS = ("dense", "lexical", "walk")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over questions, as shares; `half` says which questions: those trained on, or the others."""

    name: str
    questions: int
    recall2: float
    recall5: float
    recall10: float
    ndcg10: float
    milliseconds: float = 0.0


def run(workspace: Workspace, name: str) -> list[Scores]:
    """Scores of the whole system, on all questions and on the half it was not trained on, and of its signals."""
    state = workspace.snapshots.live()
    view, dense = workspace.library.view(state, LOCAL_OWNER)
    names = external_ids(workspace, state.snapshot)
    ranker = shipped_ranker()
    rows: dict[str, list[list[str]]] = {"all": [], **{signal: [] for signal in SIGNALS}}
    times: list[float] = []
    asked_all = questions(name)
    for asked in asked_all:
        vector = workspace.embedder.embed([asked.question])[0]
        begin = time.perf_counter()
        wording = search_words(view, asked.question, workspace.settings.candidates)
        understood = Asked(asked.question, vector, wording.entities)
        candidates = find_candidates(view, dense, understood, wording, workspace.settings.candidates)
        ranking = ranker.rank(view, understood, candidates)
        times.append((time.perf_counter() - begin) * 1000)
        documents = view.index.document_id
        rows["all"].append([names[int(documents[place])] for place in ranking.places[:10]])
        for signal in SIGNALS:
            rows[signal].append([names[int(documents[place])] for place in _alone(ranking, signal)])
    held = [number for number in range(len(asked_all)) if number % 2]
    return [
        scores_of("all questions", asked_all, rows["all"], float(np.median(times))),
        scores_of("held-out half", [asked_all[i] for i in held], [rows["all"][i] for i in held]),
        *(scores_of(f"{signal} alone", asked_all, rows[signal]) for signal in SIGNALS),
    ]


def external_ids(workspace: Workspace, snapshot: int) -> dict[int, str]:
    """The record's own id of each document row."""
    return workspace.catalog.external_ids(snapshot)


def _alone(ranking: Ranking, signal: str) -> list[int]:
    column = ranking.features[:, FIRST.index(signal)]
    places: list[int] = ranking.places[np.argsort(-column, kind="stable")][:10].tolist()
    return places


def scores_of(name: str, asked: Sequence[Item], found: Sequence[Sequence[str]], milliseconds: float = 0.0) -> Scores:
    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 4)

    pairs = list(zip(asked, found, strict=True))
    return Scores(
        name,
        len(pairs),
        *(mean([recall(ids, one.supporting, k) for one, ids in pairs]) for k in (2, 5, 10)),
        ndcg10=mean([ndcg(ids, one.supporting) for one, ids in pairs]),
        milliseconds=round(milliseconds, 2),
    )


def recall(found: Sequence[T], right: Set[T], k: int) -> float:
    """The share of what is right among the first `k` found."""
    return len(set(found[:k]) & right) / len(right)


def ndcg(found: Sequence[T], right: Set[T]) -> float:
    """nDCG of the first ten found; of what is found twice the first place counts."""
    first = {one: rank for rank, one in reversed(list(enumerate(found[:10])))}
    gains = [1 / np.log2(rank + 2) for one, rank in first.items() if one in right]
    best = [1 / np.log2(rank + 2) for rank in range(min(10, len(right)))]
    return float(sum(gains) / sum(best))
