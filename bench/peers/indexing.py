"""How fast each system indexes with its own encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import SETS, available, write_corpus
from bench.peers.driver import FLOOR, INGEST, OURS, Failed, Name, Process, corpus_of, say
from bench.peers.protocol import read_corpus
from bench.peers.vectors import shared_vectors
from bench.peers.venvs import HOMES, model_folder

SAME_MODEL = 64
"""Passages of which each system's own vectors are compared with the shared ones."""


def index_speed(sample: int, peers: Sequence[Name], kept: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Passages a second of each system with its own encoder, on the same passages; ours before and after the peers.

    Figures go to `kept` by the system's key; after each system it yields those that failed, with why.
    """
    corpus = _sample_corpus(sample)
    texts = read_corpus(corpus)[1]
    shared = np.load(shared_vectors(corpus), allow_pickle=False)[:SAME_MODEL]
    speeds: dict[str, list[float]] = {}
    for name in (OURS, FLOOR, *peers, OURS, FLOOR):
        say(f"index: {name.key}, {len(texts)} passages")
        try:
            with Process(INGEST if name is OURS else name, model_folder()) as system:
                done = system.send({"do": "index", "corpus": str(corpus), "vectors": None})
                cosine = _agreement(system, texts[:SAME_MODEL], shared)
        except Failed as error:
            say(f"{error}: left out")
            yield {name.key: str(error)}
            continue
        speeds.setdefault(name.key, []).append(done["passages"] / done["seconds"])
        kept[name.key] = {"passages_per_second": float(np.mean(speeds[name.key])), "least_cosine": cosine}
        yield {}


def _sample_corpus(sample: int) -> Path:
    """The first passages of a shuffled corpus, the same whatever else is measured."""
    from_set = next(name for name in SETS if available(name))
    lines = write_corpus(from_set, corpus_of(from_set)).read_text(encoding="utf-8").splitlines(keepends=True)
    target = corpus_of("index-sample")
    target.write_text("".join(lines[:sample]), encoding="utf-8")
    return target


def _agreement(system: Process, texts: Sequence[str], shared: Any) -> float:
    """The least cosine between the system's own vectors of some passages and the shared ones."""
    target = HOMES / "own-vectors.npy"
    system.send({"do": "encode", "texts": list(texts), "to": str(target)})
    own = np.load(target, allow_pickle=False)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    least = float((own * shared[: len(own)]).sum(axis=1).min())
    if least < 0.9999:
        say(f"{system.name.key}: its vectors are not those of the same model, cosine {least:.5f}")
    return round(least, 6)
