"""HttpReranker against a server on loopback: a score of every text, or one sentence that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from fake_model_server import FakeModelServer, Reply, Step

from kernel.errors import InvalidInput, Unavailable
from kernel.ports import Reranker
from kernel.providers.reranker import HttpReranker

KEY = "sk-very-secret-1234567890"
TEXTS = ["Paris", "London", "Rome ü"]
Serve = Callable[..., FakeModelServer]
Make = Callable[..., HttpReranker]


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:

        def build(url: str, **options: object) -> HttpReranker:
            reranker = HttpReranker(url, "cross", **{"api_key": KEY, **options})  # type: ignore[arg-type]
            stack.callback(reranker.close)
            return reranker

        yield build


def replied(value: object, status: int = 200, kind: str = "application/json") -> Step:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda reply: reply.body(status, kind, data)


def results(*pairs: tuple[object, object]) -> dict[str, object]:
    return {"model": "x", "usage": {}, "results": [{"index": i, "relevance_score": s} for i, s in pairs]}


def hangs(reply: Reply) -> None:
    reply.hang()


def drips(reply: Reply) -> None:
    reply.head(200, "application/json")
    for _ in range(30):
        reply.chunk(b" ")
        reply.pause(0.05)


def failure(reranker: HttpReranker) -> str:
    with pytest.raises(Unavailable) as caught:
        reranker.score("Capital?", TEXTS)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_scores_come_in_the_order_of_the_texts(serve: Serve, make: Make) -> None:
    server = serve(replied(results((2, 0.5), (0, 7), (1, -3.25))))
    port: Reranker = make(server.url + "/")
    assert port.score("Capital? ü", TEXTS).tolist() == [7.0, -3.25, 0.5]
    (seen,) = server.seen
    assert seen.path == "/v1/rerank"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.body == {"model": "cross", "query": "Capital? ü", "documents": TEXTS, "top_n": 3}
    assert port.model == "cross"


def test_the_dialect_of_text_embeddings_inference(serve: Serve, make: Make) -> None:
    ranks = [{"index": 1, "score": 0.9, "text": None}, {"index": 0, "score": 1}, {"index": 2, "score": 1e-9}]
    server = serve(replied(ranks))
    assert make(server.url, dialect="texts").score("Capital?", TEXTS).tolist() == [1.0, 0.9, 1e-9]
    assert server.seen[0].body == {"query": "Capital?", "texts": TEXTS, "truncate": True}


def test_no_texts_need_no_server(serve: Serve, make: Make) -> None:
    server = serve(replied(results()))
    assert make(server.url).score("Capital?", []).shape == (0,)
    assert server.seen == []


WRONG = {
    "too few": (replied(results((0, 1.0), (1, 2.0))), "2 scores for 3 texts"),
    "too many": (replied(results((0, 1.0), (1, 2.0), (2, 3.0), (0, 1.0))), "4 scores for 3 texts"),
    "none": (replied({"results": []}), "0 scores for 3 texts"),
    "twice": (replied(results((0, 1.0), (1, 2.0), (1, 3.0))), "scored a text twice"),
    "index past the end": (replied(results((0, 1.0), (1, 2.0), (3, 3.0))), "scored text 3 of 3"),
    "negative index": (replied(results((0, 1.0), (1, 2.0), (-1, 3.0))), "scored text -1 of 3"),
    "index in words": (replied(results((0, 1.0), (1, 2.0), ("2", 3.0))), "unknown shape"),
    "huge index": (replied(results((0, 1.0), (1, 2.0), (10**30, 3.0))), ""),
    "nan": (replied(b'[{"index":0,"score":NaN},{"index":1,"score":1},{"index":2,"score":1}]'), "unknown shape"),
    "infinite": (replied(b'[{"index":0,"score":1e999},{"index":1,"score":1},{"index":2,"score":1}]'), "unknown shape"),
    "null": (replied(results((0, None), (1, 2.0), (2, 3.0))), "unknown shape"),
    "score in words": (replied(results((0, "1.0"), (1, 2.0), (2, 3.0))), "unknown shape"),
    "another shape": (replied({"data": [1, 2, 3]}), "unknown shape"),
    "no JSON": (replied(b"{nonsense"), "not JSON"),
    "deep": (replied(b"[" * 100_000), "reply"),
    "cut": (lambda reply: (reply.head(200, "application/json"), reply.chunk(b'{"results": ['))[0], "connection off"),
    "html": (replied(b"<p>log in</p>", kind="text/html"), "sent text/html"),
    "400": (replied({"error": "no such model"}, 400), "answered 400: no such model (1 try)"),
    "401": (replied({"error": KEY}, 401), "API key (401)"),
    "500": (replied({"error": {"message": f"out of memory {KEY}"}}, 500), "answered 500: out of memory *** (2 tries)"),
    "reset": (lambda reply: reply.reset(), "broke the connection off"),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_named(serve: Serve, make: Make, name: str) -> None:
    step, words = WRONG[name]
    server = serve(step)
    sentence = failure(make(server.url))
    assert words in sentence
    assert sentence.startswith(f"the reranker at {server.url} ")


@pytest.mark.parametrize("step", [hangs, drips], ids=["hangs", "drips"])
def test_the_deadline_holds(serve: Serve, make: Make, step: Step) -> None:
    assert "within 0.3 s" in failure(make(serve(step).url, deadline_seconds=0.3))


def test_a_failure_that_passes_is_tried_once_more(serve: Serve, make: Make) -> None:
    server = serve(replied({}, 503), replied(results((0, 1.0), (1, 2.0), (2, 3.0))))
    assert np.array_equal(make(server.url).score("Capital?", TEXTS), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("url", ["", "reranker.example", "http://a/v1?k=1"])
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="reranker"):
        HttpReranker(url, "cross")
