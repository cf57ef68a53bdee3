"""Optional steps of a search against servers on loopback: what they change and are told, and that none is needed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model_server import DONE, FakeModelServer, Reply, Step, finish, token
from fast_parts import InlineParser, scratch
from handbook import DOCUMENTS, far_apart, fill

from api.app import create_app
from api.assembly import Workspace
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.settings import Settings
from retrieval.search import Found

QUESTION = "How many weeks of parental leave may an employee take?"
STAFF = Principal("key_staff", Role.APP)
SECRET = "Quetzalcoatl is paid 91000 euros a year during parental leave."
Serve = Callable[..., FakeModelServer]


@pytest.fixture(scope="module")
def home(models: Path) -> Iterator[Path]:
    """A home with the handbook, two far documents and one that only the board sees; workspaces are opened on it."""
    hidden = {"id": "pay", "title": "Leave of Quetzalcoatl", "text": SECRET, "groups": ["board"]}
    with scratch() as root:
        fill(root / "docs", {**DOCUMENTS, **far_apart(), "hidden.jsonl": json.dumps(hidden)})
        with Workspace(Settings.load(home=root / "home", models=models, threads=1)) as made:
            made.indexer.ingest(InlineParser(), [root / "docs"], "handbook")
        yield root / "home"


@contextmanager
def opened(home: Path, models: Path, **flags: Any) -> Iterator[Workspace]:
    with Workspace(Settings.load(home=home, models=models, threads=1, **flags)) as made:
        yield made


@contextmanager
def reranking(home: Path, models: Path, server: FakeModelServer, **flags: Any) -> Iterator[Workspace]:
    flags = {"reranker_base_url": server.url, "reranker_model": "cross", "reranker_passages": 6, **flags}
    with opened(home, models, **flags) as made:
        yield made


@contextmanager
def decomposing(home: Path, models: Path, server: FakeModelServer, **flags: Any) -> Iterator[Workspace]:
    flags = {"decompose": "model", "openai_base_url": server.url, "openai_model": "small", **flags}
    with opened(home, models, **flags) as made:
        yield made


def search(made: Workspace, question: str = QUESTION, who: Principal = LOCAL_OWNER) -> Found:
    return made.searcher.search(question, made.snapshots.live(), who, 10, explain=True)


def chunks(found: Found) -> list[str]:
    return [passage.chunk_id for passage in found.passages]


def backwards(reply: Reply) -> None:
    """The last passage is the best one."""
    scores = [{"index": i, "relevance_score": i / 8} for i in range(len(reply.request.body["documents"]))]
    reply.body(200, "application/json", json.dumps({"results": scores}).encode())


def equal(reply: Reply) -> None:
    scores = [{"index": i, "score": 0.5} for i in range(len(reply.request.body["documents"]))]
    reply.body(200, "application/json", json.dumps(scores).encode())


def said(value: object, status: int = 200) -> Step:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda reply: reply.body(status, "application/json", data)


def hangs(reply: Reply) -> None:
    reply.hang()


def parts(*questions: str) -> Step:
    text = json.dumps({"questions": questions})
    return lambda reply: reply.stream(token(text), finish(), DONE)


# --- Off ----------------------------------------------------------------------------------------------------


def test_off_asks_nobody(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection of any kind; not in results, records or method either."""

    def refuse(*_: object) -> None:
        raise AssertionError("something connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    settings = {"openai_base_url": "http://127.0.0.1:9/v1", "openai_model": "m", "reranker_model": "cross"}
    with opened(home, models, **settings) as made:
        found = search(made)
        body = made.answering.ask(Question(QUESTION))
        run = made.answers.get(body["id"], LOCAL_OWNER).run
        assert not {"reranker", "decomposer"} & set(made.searcher.method)
    assert (found.reranker, found.decomposer) == (None, None)
    assert not {"rerank", "decompose"} & set(found.timings_ms)
    assert "reranker" not in found.passages[0].signals
    assert not {"reranker", "decomposer"} & (set(body["retrieval"]) | set(run) | set(run["method"]))


@pytest.mark.parametrize(
    "flags",
    [{"reranker_base_url": "http://127.0.0.1:9"}, {"decompose": "model"}, {"decompose": "model", "openai_model": "m"}],
)
def test_half_configured_is_refused(home: Path, models: Path, flags: dict[str, str]) -> None:
    with opened(home, models, **flags) as made, pytest.raises(InvalidInput, match="need"):
        _ = made.searcher


# --- The reranker -------------------------------------------------------------------------------------------


def test_the_order_follows_the_scores(home: Path, models: Path, serve: Serve) -> None:
    server = serve(backwards)
    with opened(home, models) as made:
        own = search(made)
    with reranking(home, models, server) as made:
        found = search(made)
        assert made.searcher.method["reranker"] == {"model": "cross", "passages": 6}
    assert chunks(found) == chunks(own)[:6][::-1] + chunks(own)[6:]
    assert found.reranker is not None
    assert (found.reranker.model, found.reranker.state) == ("cross", "used")
    assert found.reranker.scores == tuple((chunk, i / 8) for i, chunk in enumerate(chunks(own)[:6]))
    assert [passage.signals.get("reranker") for passage in found.passages[4:7]] == [1 / 8, 0.0, None]
    own_score = {passage.chunk_id: passage.score for passage in own.passages}
    assert {passage.chunk_id: passage.score for passage in found.passages} == own_score
    assert sorted(found.candidates) == sorted(own.candidates)
    assert "rerank" in found.timings_ms
    (seen,) = server.seen
    assert seen.body["query"] == QUESTION
    assert seen.body["documents"][0] == f"{own.passages[0].title}\n{own.passages[0].text}"


def test_equal_scores_keep_our_order(home: Path, models: Path, serve: Serve) -> None:
    with opened(home, models) as made:
        own = search(made)
    with reranking(home, models, serve(equal)) as made:
        assert chunks(search(made)) == chunks(own)


FAILING: dict[str, Step] = {
    "500": said({"error": "oom"}, 500),
    "late": hangs,
    "cut": lambda reply: reply.reset(),
    "malformed": said(b'{"results": [{"index": 0'),
    "wrong count": said({"results": [{"index": 0, "relevance_score": 1.0}]}),
    "NaN": said(b"[%s]" % b",".join(b'{"index":%d,"score":NaN}' % i for i in range(6))),
    "out of range": said([{"index": i + 1, "score": 1.0} for i in range(6)]),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_reranker_that_fails_never_fails_a_question(home: Path, models: Path, serve: Serve, name: str) -> None:
    with opened(home, models) as made:
        own = search(made)
    with reranking(home, models, serve(FAILING[name]), reranker_deadline_seconds=0.3) as made:
        found = search(made)
        body = made.answering.ask(Question(QUESTION))
        run = made.answers.get(body["id"], LOCAL_OWNER).run
    assert found.passages == own.passages
    assert found.candidates == own.candidates
    assert found.reranker is not None
    assert found.reranker.state.startswith("failed: the reranker at http://127.0.0.1:")
    assert found.reranker.scores == ()
    assert body["status"] == "answered"
    assert body["retrieval"]["reranker"]["state"].startswith("failed: ")
    assert run["reranker"] == {"model": "cross", "state": body["retrieval"]["reranker"]["state"], "scores": []}


def test_no_server_at_all(home: Path, models: Path) -> None:
    with opened(home, models, reranker_base_url="http://127.0.0.1:9", reranker_model="cross") as made:
        found = search(made)
    assert found.reranker is not None
    assert "could not be reached" in found.reranker.state
    assert found.passages


def test_a_record_holds_what_reordering_again_needs(home: Path, models: Path, serve: Serve) -> None:
    with reranking(home, models, serve(backwards), reranker_passages=3) as made:
        body = made.answering.ask(Question(QUESTION))
        record = made.answers.get(body["id"], LOCAL_OWNER)
    assert body["retrieval"]["reranker"] == {"model": "cross", "state": "used"}
    assert "rerank" in body["timings_ms"]
    ranked = sorted(record.run["reranker"]["scores"], key=lambda pair: -pair[1])
    assert [chunk for chunk, _ in ranked] == [chunk for chunk, _ in record.run["candidates"]][:3]
    assert record.run["method"]["reranker"] == {"model": "cross", "passages": 3}


def test_only_what_the_asker_may_see_is_sent(home: Path, models: Path, serve: Serve) -> None:
    server, model = serve(backwards), serve(parts("What is Quetzalcoatl paid?", "Who takes parental leave?"))
    helped = {"decompose": "model", "openai_base_url": model.url, "openai_model": "small"}
    with reranking(home, models, server, reranker_passages=200, **helped) as made:
        for who in (STAFF, LOCAL_OWNER):
            search(made, "What is Quetzalcoatl paid during parental leave?", who)
    staff, owner = (json.dumps(seen.body["documents"]) for seen in server.seen)
    assert SECRET in owner
    assert "91000" not in staff
    assert "Quetzalcoatl" not in staff
    assert "91000" not in json.dumps([seen.body for seen in model.seen])


def test_the_metrics_count_both_outcomes(home: Path, models: Path, serve: Serve) -> None:
    server = serve(backwards, said({}, 400))
    with reranking(home, models, server) as made:
        app = create_app(made)
        metrics = app.state.services.metrics
        for _ in range(3):
            metrics.answer(made.answering.ask(Question(QUESTION)))
    lines = metrics.text().decode().splitlines()
    assert 'vouch_helpers_total{helper="reranker",outcome="used"} 1.0' in lines
    assert 'vouch_helpers_total{helper="reranker",outcome="failed"} 2.0' in lines


# --- Sub-questions ------------------------------------------------------------------------------------------

FAR = "What does the toolkit for small teams allow?"
PART = "Which terms has the router Starling?"


def test_what_sub_questions_lead_to_is_considered(home: Path, models: Path, serve: Serve) -> None:
    server = serve(parts(PART))
    with opened(home, models, candidates=10) as made:
        own = search(made, FAR)
        alone = search(made, PART)
    with decomposing(home, models, server, candidates=10) as made:
        found = search(made, FAR)
        assert made.searcher.method["decomposer"] == {
            "model": "small",
            "prompt": made.helpers.decomposer.prompt,  # type: ignore[union-attr]
        }
    before, after = ({chunk for chunk, _ in one.candidates} for one in (own, found))
    assert after == before | {chunk for chunk, _ in alone.candidates[:10]}
    assert after > before
    assert found.decomposer is not None
    assert (found.decomposer.state, found.decomposer.parts) == ("used", (PART,))
    assert "decompose" in found.timings_ms
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body["messages"][1]["content"] == FAR


@pytest.mark.parametrize(
    "step",
    [said({"error": "oom"}, 500), hangs, lambda reply: reply.stream(token("1. Who?"), finish(), DONE), parts(*"abcd")],
    ids=["500", "late", "prose", "too many"],
)
def test_a_decomposer_that_fails_never_fails_a_question(home: Path, models: Path, serve: Serve, step: Step) -> None:
    with opened(home, models) as made:
        own = search(made)
    with decomposing(home, models, serve(step), decompose_deadline_seconds=0.3) as made:
        found = search(made)
        body = made.answering.ask(Question(QUESTION))
        run = made.answers.get(body["id"], LOCAL_OWNER).run
    assert (found.passages, found.candidates) == (own.passages, own.candidates)
    assert found.decomposer is not None
    assert found.decomposer.state.startswith("failed: the model")
    assert body["status"] == "answered"
    assert run["decomposer"]["state"].startswith("failed: ")
    assert run["decomposer"]["prompt"].startswith("sub-questions@1 ")


def test_no_sub_questions_change_nothing(home: Path, models: Path, serve: Serve) -> None:
    with opened(home, models) as made:
        own = search(made)
    with decomposing(home, models, serve(parts())) as made:
        found = search(made)
    assert (found.passages, found.candidates) == (own.passages, own.candidates)
    assert found.decomposer == replace(found.decomposer, state="used", parts=())  # type: ignore[type-var]
