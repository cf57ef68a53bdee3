"""Recall, nDCG, latency, memory and size of all systems on one set, ours and the floor measured beside each peer."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench.data import Item, questions
from bench.homes import open_set
from bench.multihop import scores_of
from bench.peers.driver import FLOOR, OURS, Failed, Name, Process, corpus_of, say
from bench.peers.vectors import shared_vectors
from bench.peers.venvs import HOMES, model_folder

SEED = 20261120
K = 10
BLOCK = 20
WARM = 10
MEASURES = ("recall2", "recall5", "recall10", "ndcg10")


@dataclass(frozen=True, slots=True)
class Timing:
    """How many questions of a set are asked (None: all) and timed, and whether peers encode all passages themselves."""

    asked: int | None
    timed: int
    full_index: bool


@dataclass(slots=True)
class Timed:
    """What a system answered: the ids found for each question (by its number), and the time of the timed ones."""

    found: dict[int, list[str]] = field(default_factory=dict)
    ms: list[float] = field(default_factory=list)
    rss_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """One set: its questions, the numbers of those asked and of those timed, the corpus for peers, and ours and the
    floor, which stand by."""

    timing: Timing
    questions: Sequence[Item]
    asked: Sequence[int]
    timed: Sequence[int]
    theirs: Mapping[str, Any]
    standing: Mapping[str, tuple[Process, Mapping[str, Any]]]
    own: Mapping[str, Timed]

    def round(self, peer: Name) -> dict[str, Any]:
        """What a peer does on this set, and the medians of ours and of the floor beside it."""
        begun = {key: len(result.ms) for key, result in self.own.items()}
        result = Timed()
        with Process(peer, model_folder()) as process:
            done = process.send({"do": "index"} | dict(self.theirs))
            self.alternate({peer.key: process}, {peer.key: result})
            row = self.finished(process, result)
        for key, mine in self.own.items():
            row[f"{key}_p50_beside"] = _percentile(mine.ms[begun[key] :], 50)
        if self.timing.full_index:
            row["full_index_passages_per_second"] = done["passages"] / done["seconds"]
        return row

    def alternate(self, more: Mapping[str, Process], theirs: Mapping[str, Timed]) -> None:
        """Time ours and the floor, opened anew, and `more` systems: a block of questions of each in turn."""
        for process, corpus in self.standing.values():
            process.send({"do": "index"} | dict(corpus))
        systems = {key: process for key, (process, _) in self.standing.items()} | dict(more)
        results = dict(self.own) | dict(theirs)
        others = [number for number in self.asked if number not in set(self.timed)][:WARM]
        for process in systems.values():
            self.ask(process, others or self.timed[:WARM])
        memory: dict[str, float] = {}
        for start in range(0, len(self.timed), BLOCK):
            block = self.timed[start : start + BLOCK]
            for key, process in systems.items():
                memory[key] = self.ask(process, block, results[key])["rss_mb"]
        for key, megabytes in memory.items():
            results[key].rss_mb = results[key].rss_mb or megabytes  # the first round's: later ones hold what was before

    def ask(self, process: Process, numbers: Sequence[int], result: Timed | None = None) -> dict[str, Any]:
        """Ask questions by number; `result` gets what was found, and the times."""
        texts = [self.questions[number].question for number in numbers]
        answer = process.send({"do": "ask", "questions": texts, "k": K})
        if result is not None:
            result.found.update(zip(numbers, answer["found"], strict=True))
            result.ms += answer["ms"]
        return answer

    def finished(self, process: Process, result: Timed) -> dict[str, Any]:
        """A system's row, after asking for recall what was not timed."""
        left = [number for number in self.asked if number not in result.found]
        found = result.found | dict(zip(left, self.ask(process, left)["found"], strict=True))
        return {
            **self.scores(found, self.asked, ""),
            **self.scores(found, [number for number in self.asked if number % 2], "held_"),
            "questions": len(self.asked),
            **{f"p{share}": _percentile(result.ms, share) for share in (50, 95, 99)},
            "timed": len(result.ms),
            "rss_mb": result.rss_mb,
            "mb": _size(process),
        }

    def scores(self, found: Mapping[int, list[str]], numbers: Sequence[int], half: str) -> dict[str, float]:
        """Recall and nDCG over some of the questions; `half` goes before their names."""
        ids = [found[number] for number in numbers]
        scores = asdict(scores_of("", [self.questions[number] for number in numbers], ids))
        return {f"{half}{measure}": scores[measure] for measure in MEASURES}


def search(timing: Timing, name: str, peers: Sequence[Name], kept: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Recall over all questions and latency over a sample of them, of ours, the floor and each peer on one set.

    Rows go to `kept` by the system's key; after each system it yields those that failed, with why.
    """
    say(f"{name}: bringing our workspace and the shared vectors up to date")
    with open_set(name)[0] as workspace:
        ours = {"corpus": str(corpus_of(name)), "workspace": workspace.settings.workspace}
    shared = {"corpus": str(corpus_of(name)), "vectors": str(shared_vectors(corpus_of(name)))}
    with Process(OURS, model_folder()) as us, Process(FLOOR, model_folder()) as floor:
        ground = _ground(timing, name, shared, {OURS.key: (us, ours), FLOOR.key: (floor, shared)})
        for peer in peers:
            say(f"{name}: {peer.key}")
            kept.pop(peer.key, None)
            try:
                kept[peer.key] = ground.round(peer)
                yield {}
            except Failed as error:
                say(f"{error}: left out")
                yield {peer.key: str(error)}
        if not ground.own[OURS.key].ms:
            ground.alternate({}, {})
        kept.update({key: ground.finished(process, ground.own[key]) for key, (process, _) in ground.standing.items()})
    yield {}


def _ground(
    timing: Timing, name: str, shared: dict[str, Any], standing: Mapping[str, tuple[Process, Mapping[str, Any]]]
) -> Ground:
    asked = questions(name)
    order = random.Random(SEED).sample(range(len(asked)), len(asked))
    numbers = sorted(order[: timing.asked])
    theirs = shared | ({"vectors": None} if timing.full_index else {})
    own = {key: Timed() for key in standing}
    return Ground(timing, asked, numbers, sorted(order[: min(timing.timed, len(numbers))]), theirs, standing, own)


def _size(process: Process) -> float | None:
    folder = HOMES / "saved"
    shutil.rmtree(folder, ignore_errors=True)
    size: float | None = process.send({"do": "save", "folder": str(folder)})["mb"]
    shutil.rmtree(folder, ignore_errors=True)
    return size


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 2)
