"""Our side of the benchmark, spoken to as the peers are: `search`, and `floor`, below which no search can be.

`search` is what the program does with a question, in process: the state that is live, then `Searcher.search`. The floor
encodes the question on the same ONNX Runtime and searches the vectors exactly with FAISS, and does nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from api.assembly import Workspace
from bench.homes import HOME
from bench.peers.protocol import Corpus, System, serve
from kernel.providers.embedder import OnnxEmbedder, ensure_model
from kernel.records import LOCAL_OWNER
from kernel.settings import Settings


class Ours:
    """The program itself over a workspace; indexing a corpus without one ingests it into a fresh home."""

    def __init__(self, _: str, __: Path) -> None:
        self._workspace: Workspace | None = None

    def encode(self, texts: Sequence[str]) -> Any:
        with Workspace(Settings.load(home=HOME)) as workspace:
            return workspace.embedder.embed(texts)

    def index(self, corpus: Corpus) -> None:
        """Open the workspace anew, so that nothing is remembered of questions asked before."""
        if self._workspace is not None:
            self._workspace.close()
        self._workspace = opened = Workspace(_settings(corpus))
        if corpus.workspace is None:
            opened.embedder.embed(["warm"])
            with opened.parser_pool() as pool:
                opened.indexer.ingest(pool, [corpus.path])
        opened.warm()

    def ask(self, question: str, k: int) -> list[str]:
        assert self._workspace is not None
        found = self._workspace.searcher.search(question, self._workspace.snapshots.live(), LOCAL_OWNER, k)
        return [passage.external_id or "" for passage in found.passages]

    def save(self, folder: Path) -> bool:
        """The workspace as it lies on disk: the index, and the database with all text and where it came from."""
        assert self._workspace is not None
        shutil.copytree(self._workspace.settings.workspace_folder, folder, dirs_exist_ok=True)
        return True


class Floor:
    """The least that a search by meaning can be."""

    def __init__(self, _: str, __: Path) -> None:
        self._embedder = _embedder()

    def encode(self, texts: Sequence[str]) -> Any:
        return self._embedder.embed(texts)

    def index(self, corpus: Corpus) -> None:
        self._embedder = _embedder()  # a new one remembers no question
        vectors = self._embedder.embed(corpus.texts) if corpus.vectors is None else corpus.vectors
        self._ids = corpus.ids
        self._flat = faiss.IndexFlatIP(vectors.shape[1])
        self._flat.add(np.ascontiguousarray(vectors))

    def ask(self, question: str, k: int) -> list[str]:
        _, places = self._flat.search(self._embedder.embed([question]), k)
        return [self._ids[place] for place in places[0].tolist()]

    def save(self, folder: Path) -> bool:
        faiss.write_index(self._flat, str(folder / "flat.faiss"))
        return True


def _settings(corpus: Corpus) -> Settings:
    if corpus.workspace is not None:
        return Settings.load(home=HOME, workspace=corpus.workspace)
    fresh = HOME / "index-speed"
    shutil.rmtree(fresh, ignore_errors=True)
    return Settings.load(home=fresh, models=Settings.load(home=HOME).model_folder.parent)


def _embedder() -> OnnxEmbedder:
    settings = Settings.load(home=HOME)
    ensure_model(settings.model_folder)
    embedder = OnnxEmbedder(settings.model_folder, settings.threads)
    embedder.embed(["warm"])
    return embedder


def _make(system: str, model: Path) -> System:
    return Ours(system, model) if system == "search" else Floor(system, model)


if __name__ == "__main__":
    serve(_make)
