"""Scores of a cross-encoder behind the rerank API that many model servers share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, Field, RootModel, StrictInt

from kernel.providers.model_server import ModelServer
from kernel.providers.openai_stream import FailedTry, read_json
from kernel.providers.openai_wire import Deadline

Dialect = Literal["documents", "texts"]

Score = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class HttpReranker:
    """Asks `POST base_url/rerank` how well each text answers a question.

    Servers differ in two ways. The request carries `documents` with the model's name (Cohere, Jina, vLLM,
    llama.cpp, Infinity) or, as `dialect`, `texts` (text-embeddings-inference, which serves one model). The reply is
    `{"results": [{"index", "relevance_score"}]}` or a bare `[{"index", "score"}]`: either is taken from any server.
    Deadline, tries and an injected `client` are those of ModelServer. Safe to share between threads.
    Raises InvalidInput where the URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        dialect: Dialect = "documents",
        api_key: str | None = None,
        deadline_seconds: float = 5.0,
        retries: int = 1,
        client: httpx.Client | None = None,
    ) -> None:
        self._server = ModelServer(
            base_url,
            "/rerank",
            named="reranker",
            api_key=api_key,
            deadline_seconds=deadline_seconds,
            retries=retries,
            client=client,
        )
        self._model = model
        self._dialect = dialect

    def __repr__(self) -> str:
        return f"HttpReranker({self._server.shown!r}, {self._model!r})"

    @property
    def model(self) -> str:
        """The model's name as given: what a record pins."""
        return self._model

    def close(self) -> None:
        """Closes its connections. An injected client stays open: it belongs to whoever made it."""
        self._server.close()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """A finite score of each text, `[len(texts)]`, higher is better; scales differ from model to model.

        Raises Unavailable, with what happened, where the server did not score every text by the deadline.
        """
        if not texts:
            return np.zeros(0)

        def read(response: httpx.Response, deadline: Deadline) -> NDArray[np.float64]:
            return _in_order(read_json(_Reply, response, deadline).scored, len(texts))

        return self._server.post(self._body(question, texts), "application/json", read)

    def _body(self, question: str, texts: Sequence[str]) -> bytes:
        body: dict[str, Any] = {"query": question}
        if self._dialect == "texts":
            body |= {"texts": list(texts), "truncate": True}
        else:
            body |= {"model": self._model, "documents": list(texts), "top_n": len(texts)}
        return json.dumps(body).encode()


class _Scored(BaseModel):
    index: StrictInt
    score: Annotated[Score, Field(validation_alias=AliasChoices("relevance_score", "score"))]


class _Results(BaseModel):
    results: list[_Scored]


class _Reply(RootModel[_Results | list[_Scored]]):
    @property
    def scored(self) -> list[_Scored]:
        return self.root if isinstance(self.root, list) else self.root.results


def _in_order(scored: Sequence[_Scored], count: int) -> NDArray[np.float64]:
    """The scores in the order of the texts. Raises FailedTry unless each text has exactly one."""
    if len(scored) != count:
        raise FailedTry(f"sent {len(scored)} scores for {count} texts")
    scores = np.full(count, np.nan)
    for one in scored:
        if not 0 <= one.index < count:
            raise FailedTry(f"scored text {one.index} of {count}")
        scores[one.index] = one.score
    if np.isnan(scores).any():
        raise FailedTry("scored a text twice and another not at all")
    return scores
