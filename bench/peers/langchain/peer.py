"""LangChain: `FAISS` alone, and `EnsembleRetriever` of BM25 and FAISS with equal weights, as its guides have them.

Documented defaults: `FAISS.from_documents` (exact, L2 over unit vectors), `BM25Retriever` (rank-bm25's BM25Okapi over
words split at spaces), reciprocal rank fusion with c = 60; `k` is set to what is asked for. Encoder:
`HuggingFaceEmbeddings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import BM25Retriever
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_huggingface import HuggingFaceEmbeddings

from bench.peers.protocol import Corpus, serve

K = 10


class Known(Embeddings):
    """LangChain's own encoder, but for passages whose vectors are given."""

    def __init__(self, own: Embeddings, vectors: Any) -> None:
        self._own = own
        self._vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The given vectors, in the order of the corpus."""
        assert len(texts) == len(self._vectors)
        return self._vectors.tolist()

    def embed_query(self, text: str) -> list[float]:
        """A question's vector, from the encoder."""
        return self._own.embed_query(text)


class LangChain:
    """`dense` or `ensemble`."""

    def __init__(self, system: str, model: Path) -> None:
        self._ensemble = system == "ensemble"
        self._encoder = HuggingFaceEmbeddings(model_name=str(model), model_kwargs={"device": "cpu"})
        self._encoder.embed_query("warm")

    def encode(self, texts: Sequence[str]) -> Any:
        return self._encoder.embed_documents(list(texts))

    def index(self, corpus: Corpus) -> None:
        encoder = self._encoder if corpus.vectors is None else Known(self._encoder, corpus.vectors)
        documents = [
            Document(page_content=text, metadata={"id": one})
            for one, text in zip(corpus.ids, corpus.texts, strict=True)
        ]
        self._store = FAISS.from_documents(documents, encoder)
        self._retriever: Any = self._store.as_retriever(search_kwargs={"k": K})
        if self._ensemble:
            words = BM25Retriever.from_documents(documents, k=K)
            self._retriever = EnsembleRetriever(retrievers=[words, self._retriever], weights=[0.5, 0.5])

    def ask(self, question: str, k: int) -> list[str]:
        return [document.metadata["id"] for document in self._retriever.invoke(question)[:k]]

    def save(self, folder: Path) -> bool:
        self._store.save_local(str(folder))  # BM25Retriever has no such function: it is made anew at every start
        return True


if __name__ == "__main__":
    serve(LangChain)
