"""A question's journey: nothing is returned before its record is stored, and the record says what it stood on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import InlineParser
from handbook import DOCUMENTS, fill, handbook

from api.assembly import Workspace
from ingest.formats import NAMES, RECORDS, SUFFIXES
from ingest.parse import SUPPORTED, media_type, package_metadata
from kernel.errors import GenerationFailed, InvalidInput, NotFound
from kernel.ids import sha256
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, Generation, ModelInfo, Principal, Question, Role
from kernel.settings import Settings
from kernel.storage.answers import Answers
from pipeline.answering import Answering, AnsweringSettings
from pipeline.prompts.library import shipped_prompt

LIMITS = AnsweringSettings(10, 1500, 200, 40, "auto")
QUESTION = "How many weeks of parental leave may an employee take?"


class Model:
    """A model server's stand-in: says what it is told to say, or fails."""

    info = ModelInfo("toy", "echo", {"temperature": 0.0})

    def __init__(self, reply: str | GenerationFailed) -> None:
        self.reply = reply
        self.asked: list[GenerationRequest] = []

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        if isinstance(self.reply, GenerationFailed):
            raise self.reply
        return Generation(self.reply, prompt_tokens=7, completion_tokens=3, cost=0.5)


class FullDisk(Answers):
    """A store that has no room for another record."""

    def record(self, *_: Any, **__: Any) -> tuple[int, str]:
        raise OSError("no space left on device")


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models) as made:
        yield made


def answering(site: Workspace, model: Model, answers: Answers | None = None) -> Answering:
    return Answering(site.snapshots, site.searcher, model, answers or site.answers, LIMITS)


def stored(site: Workspace) -> int:
    return len(site.answers.items(LOCAL_OWNER, limit=1000))


def test_what_is_returned_is_what_is_stored(site: Workspace) -> None:
    body = site.answering.ask(Question(QUESTION))
    record = site.answers.get(body["id"], LOCAL_OWNER)
    assert record.body["ledger"] == body["ledger"]
    changes = ("timings_ms", "ledger")
    assert {k: v for k, v in record.body.items() if k not in changes} == json.loads(
        json.dumps({k: v for k, v in body.items() if k not in changes})
    )


def test_a_record_that_fails_gives_no_answer(site: Workspace) -> None:
    before = stored(site)
    with pytest.raises(OSError, match="no space"):
        answering(site, Model("X. [c1]"), FullDisk(site.database)).ask(Question(QUESTION))
    assert stored(site) == before


def test_a_process_that_dies_while_recording_gives_no_answer(models: Path) -> None:
    """Killed inside the recording transaction: the pipe stays empty, and so does the store."""
    with handbook(models) as made:
        receive, send = os.pipe()

        class Dies(Answers):
            def record(self, *arguments: Any, **named: Any) -> tuple[int, str]:
                with self._database.write():
                    os.kill(os.getpid(), signal.SIGKILL)
                raise AssertionError

        child = os.fork()
        if child == 0:  # pragma: no cover  a workspace of its own: threads do not come along
            fresh = Workspace(made.settings)
            body = answering(fresh, Model("X. [c1]"), Dies(fresh.database)).ask(Question(QUESTION))
            os.write(send, body["id"].encode())
            os._exit(0)
        os.close(send)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert os.read(receive, 100) == b""
        os.close(receive)
        assert stored(made) == 0


def test_the_run_says_what_the_answer_stood_on(site: Workspace) -> None:
    model = Model("An employee may take 16 weeks of parental leave. [c1]")
    asker = Principal("key_one", Role.APP, frozenset({"b", "a"}))
    body = answering(site, model).ask(Question(QUESTION, asker, top_k=3, prompt="grounded-answer@production"))
    run = site.answers.get(body["id"], asker).run
    (request,) = model.asked
    assert run["principal"] == {"id": "key_one", "role": "app", "groups": ["a", "b"]}
    assert run["settings"] == {
        "top_k": 3,
        "context_tokens": 1500,
        "max_question_chars": 200,
        "candidates": 40,
        "search": "auto",
    }
    assert run["method"] == json.loads(json.dumps(site.searcher.method))
    assert run["reply"] == model.reply
    assert [message["content"] for message in run["messages"]] == [one.content for one in request.messages]
    context = [(item["chunk_id"], item["text_sha256"], item["start"], item["end"]) for item in run["context"]]
    assert context == [(p.chunk_id, sha256(p.text), p.start, p.end) for p in request.evidence.passages]
    assert len(context) <= 3
    assert {chunk_id for chunk_id, _ in run["candidates"]} >= {item[0] for item in context}
    assert body["prompt"]["sha256"] == shipped_prompt().sha256
    assert body["model"] == {"provider": "toy", "name": "echo", "parameters": {"temperature": 0.0}}
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5}
    assert body["status"] == "answered"


def test_a_model_that_fails_leaves_a_record(site: Workspace) -> None:
    before = stored(site)
    body = answering(site, Model(GenerationFailed("the model server is away"))).ask(Question(QUESTION))
    assert (body["status"], body["reason"], body["answer"]) == ("failed", "the model server is away", "")
    assert stored(site) == before + 1
    record = site.answers.get(body["id"], LOCAL_OWNER)
    assert record.body["status"] == "failed"
    assert record.run["context"]
    assert record.run["reply"] == ""


def test_a_model_that_errs_otherwise_leaves_nothing(site: Workspace) -> None:
    class Broken(Model):
        def generate(self, request: GenerationRequest) -> Generation:
            raise RuntimeError("bug")

    before = stored(site)
    with pytest.raises(RuntimeError):
        answering(site, Broken("")).ask(Question(QUESTION))
    assert stored(site) == before


@pytest.mark.parametrize(
    "question",
    [
        Question(" \n"),
        Question("x" * 201),
        Question("nul \0 inside"),
        Question("half a \ud800 pair"),
        Question("x", top_k=0),
        Question("x", top_k=101),
    ],
)
def test_questions_that_are_refused(site: Workspace, question: Question) -> None:
    before = stored(site)
    for ask in (answering(site, Model("")).ask, answering(site, Model("")).retrieve):
        with pytest.raises(InvalidInput):
            ask(question)
    assert stored(site) == before


@pytest.mark.parametrize("as_of", [999, 2**40])
def test_a_snapshot_that_there_is_not(site: Workspace, as_of: int) -> None:
    before = stored(site)
    for ask in (site.answering.ask, site.answering.retrieve):
        with pytest.raises(NotFound):
            ask(Question(QUESTION, as_of=as_of))
    assert stored(site) == before


def test_an_unknown_prompt(site: Workspace) -> None:
    with pytest.raises(NotFound):
        site.answering.ask(Question(QUESTION, prompt="nosuch"))


def test_before_there_was_anything(site: Workspace) -> None:
    """Snapshot 0 is empty: an abstention that does not say whether documents exist elsewhere; no model is asked."""
    model = Model("X. [c1]")
    body = answering(site, model).ask(Question(QUESTION, as_of=0))
    assert (body["status"], body["retrieval"]["used"], model.asked) == ("abstained", 0, [])


def test_as_of_an_older_snapshot(models: Path, tmp_path: Path) -> None:
    fill(tmp_path / "docs", DOCUMENTS)
    with Workspace(Settings.load(home=tmp_path / "home", models=models, threads=1)) as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        first = made.snapshots.live().snapshot
        fill(tmp_path / "docs", {"leave.md": DOCUMENTS["leave.md"].replace("16 weeks", "20 weeks")})
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        then = made.answering.ask(Question(QUESTION, as_of=first))
        now = made.answering.ask(Question(QUESTION))
    assert "16 weeks" in then["answer"]
    assert "20 weeks" in now["answer"]
    assert (then["retrieval"]["snapshot"], then["retrieval"]["as_of"]) == (first, first)
    assert now["retrieval"]["as_of"] is None
    assert then["citations"][0]["revision"] < now["citations"][0]["revision"]


def test_formats_that_are_taken_are_formats_that_are_parsed() -> None:
    """The list that needs no parser loaded is the parsers' own."""
    assert SUFFIXES == SUPPORTED
    assert RECORDS <= SUFFIXES
    assert {media_type(name, b"Metadata-Version: 2.1\nName: toy\n") for name in NAMES} == {package_metadata.MEDIA_TYPE}
