"""txtai: `hybrid=True`, and the same with its semantic graph, asked by `search(..., graph=True)`.

Documented defaults: `Embeddings(path=…, hybrid=True)` (BM25 and vectors, equal weights) and `graph={}` (edges between
similar passages). A graph search gives the subgraph of the best passages; they are taken by its `centrality()`, as
txtai's own guide to graph search shows them. Two settings are not the default: vectors are searched exactly (its
default is approximate from 5,000 passages on, which would cost it recall), and `maxlength=True` takes the model's own
window, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from txtai import Embeddings

from bench.peers.protocol import Corpus, serve


class Txtai:
    """`hybrid` or `graph`."""

    def __init__(self, system: str, model: Path) -> None:
        self._graph = system == "graph"
        self._own: dict[str, Any] = {"path": str(model), "maxlength": True}
        self._encoder = Embeddings(dict(self._own))
        self._encoder.batchtransform(["warm"])

    def encode(self, texts: Sequence[str]) -> Any:
        return self._encoder.batchtransform(list(texts), "data")

    def index(self, corpus: Corpus) -> None:
        settings: dict[str, Any] = {"hybrid": True, "faiss": {"components": "IDMap,Flat"}}
        settings |= self._own if corpus.vectors is None else {"method": "external", "transform": self._known(corpus)}
        if self._graph:
            settings["graph"] = {}
        self._embeddings = Embeddings(settings)
        self._embeddings.index(zip(corpus.ids, corpus.texts, [None] * len(corpus.ids), strict=True))

    def _known(self, corpus: Corpus) -> Any:
        """txtai's own encoder as an external function, but for passages whose vectors are given."""
        rows = {text: row for row, text in enumerate(corpus.texts)}

        def transform(wanted: Sequence[str]) -> Any:
            if all(text in rows for text in wanted):
                return corpus.vectors[[rows[text] for text in wanted]]
            return np.asarray(self._encoder.batchtransform(list(wanted)))

        return transform

    def ask(self, question: str, k: int) -> list[str]:
        if not self._graph:
            return [one for one, _ in self._embeddings.search(question, k)]
        graph = self._embeddings.search(question, k, graph=True)
        return [graph.attribute(node, "id") for node in graph.centrality()][:k]

    def save(self, folder: Path) -> bool:
        self._embeddings.config.pop("transform", None)  # a function of this file, which is no part of the index
        self._embeddings.save(str(folder))
        return True


if __name__ == "__main__":
    serve(Txtai)
