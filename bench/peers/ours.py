"""Our side of the benchmark, spoken to as the peers are: `search`, `ingest`, and `floor`, below which no search can be.

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
    """The program itself over a workspace that holds the corpus."""

    def __init__(self, _: str, __: Path) -> None:
        self._workspace: Workspace | None = None

    def encode(self, texts: Sequence[str]) -> Any:
        return _embedder().embed(texts)

    def index(self, corpus: Corpus) -> None:
        """Open the workspace anew, so that nothing is remembered of questions asked before."""
        if self._workspace is not None:
            self._workspace.close()
        self._workspace = Workspace(Settings.load(home=HOME, workspace=corpus.workspace))
        self._workspace.warm()

    def ask(self, question: str, k: int) -> list[str]:
        assert self._workspace is not None
        found = self._workspace.searcher.search(question, self._workspace.snapshots.live(), LOCAL_OWNER, k)
        return [passage.external_id or "" for passage in found.passages]

    def save(self, folder: Path) -> bool:
        """The workspace as it lies on disk: the index, and the database with all text and where it came from."""
        assert self._workspace is not None
        shutil.copytree(self._workspace.settings.workspace_folder, folder, dirs_exist_ok=True)
        return True


class Ingest(Ours):
    """The program that takes a corpus in, into a fresh home; like the peers' its encoder is loaded before."""

    def __init__(self, system: str, model: Path) -> None:
        super().__init__(system, model)
        self._loaded = _embedder()

    def index(self, corpus: Corpus) -> None:
        fresh = HOME / "index-speed"
        shutil.rmtree(fresh, ignore_errors=True)
        self._workspace = Workspace(Settings.load(home=fresh))
        self._workspace.embedder = self._loaded
        with self._workspace.parser_pool() as pool:
            self._workspace.indexer.ingest(pool, [corpus.path])
        self._workspace.warm()


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


def _embedder() -> OnnxEmbedder:
    settings = Settings.load(home=HOME)
    ensure_model(settings.model_folder)
    embedder = OnnxEmbedder(settings.model_folder, settings.threads)
    embedder.embed(["warm"])
    return embedder


def _make(system: str, model: Path) -> System:
    made: dict[str, type[System]] = {"search": Ours, "ingest": Ingest, "floor": Floor}
    return made[system](system, model)


if __name__ == "__main__":
    serve(_make)
