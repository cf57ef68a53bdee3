"""LlamaIndex: `VectorStoreIndex` over `FaissVectorStore` alone, and `QueryFusionRetriever` over it and `BM25Retriever`.

The default store goes through all vectors one by one in Python; its documented FAISS store is taken instead, with an
inner-product index (over unit vectors the same order as the L2 one of the guide, but a higher score is then the better
one, which fusion takes for granted). Fusion as in its guide to hybrid search, `mode="reciprocal_rerank"` with
`use_async=True`, but with `num_queries=1`: no questions are made up, as that takes an LLM. The BM25 retriever is its
own package over bm25s with the English stemmer. `similarity_top_k` is what is asked for. Encoder:
`HuggingFaceEmbedding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.faiss import FaissVectorStore

from bench.peers.protocol import Corpus, serve

K = 10


class LlamaIndex:
    """`dense` or `fusion`."""

    def __init__(self, system: str, model: Path) -> None:
        self._fusion = system == "fusion"
        self._encoder = HuggingFaceEmbedding(model_name=str(model), device="cpu")
        self._width = len(self._encoder.get_query_embedding("warm"))

    def encode(self, texts: Sequence[str]) -> Any:
        return self._encoder.get_text_embedding_batch(list(texts))

    def index(self, corpus: Corpus) -> None:
        nodes = [TextNode(id_=one, text=text) for one, text in zip(corpus.ids, corpus.texts, strict=True)]
        if corpus.vectors is not None:
            for node, vector in zip(nodes, corpus.vectors.tolist(), strict=True):
                node.embedding = vector
        store = FaissVectorStore(faiss_index=faiss.IndexFlatIP(self._width))
        context = StorageContext.from_defaults(vector_store=store)
        self._index = VectorStoreIndex(nodes, embed_model=self._encoder, storage_context=context)
        self._words: Any = None
        self._retriever: Any = self._index.as_retriever(similarity_top_k=K)
        if self._fusion:
            self._words = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=K)
            self._retriever = QueryFusionRetriever(
                [self._retriever, self._words],
                llm=MockLLM(),
                mode="reciprocal_rerank",
                similarity_top_k=K,
                num_queries=1,
                use_async=True,
            )

    def ask(self, question: str, k: int) -> list[str]:
        return [found.node.node_id for found in self._retriever.retrieve(question)[:k]]

    def save(self, folder: Path) -> bool:
        self._index.storage_context.persist(str(folder))
        if self._words is not None:
            self._words.persist(str(folder / "bm25"))
        return True


if __name__ == "__main__":
    serve(LlamaIndex)
