"""Passage vectors that all systems share: encoding every corpus in every system would take hours and change nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from bench.homes import HOME
from bench.peers.protocol import read_corpus
from bench.peers.venvs import HOMES
from kernel.ids import sha256
from kernel.providers.embedder import OnnxEmbedder, ensure_model
from kernel.settings import Settings

BATCH = 512


def shared_vectors(corpus: Path) -> Path:
    """The file with the vectors `[passages, dimension]` of a corpus in its order, made by our encoder if not there.

    Its name carries a hash of the corpus and of the model, so that vectors of another corpus are never taken for it.
    """
    settings = Settings.load(home=HOME)
    ensure_model(settings.model_folder)
    embedder = OnnxEmbedder(settings.model_folder, settings.threads)
    digest = sha256(corpus.read_bytes() + embedder.model.encode())[:16]
    target = HOMES / "vectors" / f"{corpus.stem}-{digest}.npy"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_suffix(".tmp.npy")
        np.save(staging, _encode(embedder, read_corpus(corpus)[1], corpus.stem), allow_pickle=False)
        staging.rename(target)
    return target


def _encode(embedder: OnnxEmbedder, texts: list[str], name: str) -> np.ndarray:
    parts, last = [], time.monotonic()
    for start in range(0, len(texts), BATCH):
        parts.append(embedder.embed(texts[start : start + BATCH]))
        if time.monotonic() - last > 20:
            last = time.monotonic()
            print(f"  {name}: {start + BATCH}/{len(texts)} passages encoded for all", file=sys.stderr)
    return np.concatenate(parts)
