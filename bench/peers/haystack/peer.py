"""Haystack: the pipeline of its guide to hybrid retrieval, without the cross-encoder at its end.

`InMemoryDocumentStore` with its defaults (BM25L), `InMemoryBM25Retriever` and `InMemoryEmbeddingRetriever` side by
side, and `DocumentJoiner` by reciprocal rank fusion; `top_k` is what is asked for. Encoder:
`SentenceTransformersTextEmbedder`, which since version 3 comes as a package of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)

from bench.peers.protocol import Corpus, serve

K = 10


class Haystack:
    """`hybrid` alone."""

    def __init__(self, system: str, model: Path) -> None:
        assert system == "hybrid"
        self._passages = SentenceTransformersDocumentEmbedder(model=str(model), progress_bar=False)
        self._passages.warm_up()
        self._questions = SentenceTransformersTextEmbedder(model=str(model), progress_bar=False)
        self._store = InMemoryDocumentStore()
        self._pipeline = self._connected()

    def encode(self, texts: Sequence[str]) -> Any:
        found = self._passages.run([Document(content=text) for text in texts])["documents"]
        return [document.embedding for document in found]

    def index(self, corpus: Corpus) -> None:
        documents = [Document(id=one, content=text) for one, text in zip(corpus.ids, corpus.texts, strict=True)]
        if corpus.vectors is None:
            documents = self._passages.run(documents)["documents"]
        else:
            rows = zip(corpus.ids, corpus.texts, corpus.vectors.tolist(), strict=True)
            documents = [Document(id=one, content=text, embedding=vector) for one, text, vector in rows]
        self._store.write_documents(documents, DuplicatePolicy.OVERWRITE)

    def _connected(self) -> Pipeline:
        pipeline = Pipeline()
        pipeline.add_component("embedder", self._questions)
        pipeline.add_component("meaning", InMemoryEmbeddingRetriever(self._store, top_k=K))
        pipeline.add_component("words", InMemoryBM25Retriever(self._store, top_k=K))
        pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=K))
        pipeline.connect("embedder.embedding", "meaning.query_embedding")
        pipeline.connect("words", "joiner")
        pipeline.connect("meaning", "joiner")
        pipeline.warm_up()
        return pipeline

    def ask(self, question: str, k: int) -> list[str]:
        found = self._pipeline.run({"embedder": {"text": question}, "words": {"query": question}})
        return [document.id for document in found["joiner"]["documents"][:k]]

    def save(self, folder: Path) -> bool:
        self._store.save_to_disk(str(folder / "store.json"))
        return True


if __name__ == "__main__":
    serve(Haystack)
