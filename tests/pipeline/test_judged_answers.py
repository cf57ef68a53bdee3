"""A judge behind the port, on loopback: it decides what no rule decides, and no answer fails for want of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model_server import DONE, FakeModelServer, Reply, Step, finish, token
from fast_parts import InlineParser, scratch
from handbook import DOCUMENTS, fill

from api.assembly import Workspace
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER, Evidence, Generation, Passage, Question, SentenceScore, Support
from kernel.settings import Settings
from pipeline.grounding import Checks, ground

QUOTE = "An employee may take 16 weeks of parental leave."
OPEN = "Parents at the firm stay at home for a while. [c1]"
PASSAGE = Passage(
    *("chk_1", "doc_1", None, 1, "s", "Rules", "file:///x", (), QUOTE, 0, len(QUOTE), 1, 1.0),
    sentences=(SentenceScore(0, len(QUOTE), 0.5),),
)
EVIDENCE = Evidence(1, (PASSAGE,))
Serve = Callable[..., FakeModelServer]


def verdict(label: str, score: float) -> Step:
    text = json.dumps({"label": label, "score": score})
    return lambda reply: reply.stream(token(text), finish(), DONE)


def hangs(reply: Reply) -> None:
    reply.hang()


def judging(server: FakeModelServer, **flags: Any) -> Checks:
    settings = Settings.load(judge_base_url=server.url, judge_model="small", judge_deadline_seconds=0.5, **flags)
    return replace(Checks(), judge=Workspace(settings).judge)


def support(said: str, checks: Checks) -> Support:
    return ground(Generation(f"{said} {QUOTE} [c1]"), EVIDENCE, checks).sentences[0].support


@pytest.fixture(scope="module")
def home(models: Path) -> Iterator[Path]:
    with scratch() as root:
        fill(root / "docs", dict(DOCUMENTS))
        with Workspace(Settings.load(home=root / "home", models=models, threads=1)) as made:
            made.indexer.ingest(InlineParser(), [root / "docs"], "handbook")
        yield root / "home"


def test_it_decides_what_no_rule_decides(serve: Serve) -> None:
    server = serve(verdict("supported", 0.9), verdict("contradicted", 0.1))
    assert support(OPEN, judging(server)) == Support("supported", 0.9, "used")
    assert support(OPEN, judging(server)) == Support("contradicted", 0.1, "used")
    asked = json.loads(server.seen[0].body["messages"][1]["content"])
    assert asked == {"sentence": OPEN.removesuffix(" [c1]"), "quotes": [QUOTE]}


@pytest.mark.parametrize("said", ["An employee may take 12 weeks of parental leave. [c1]", f"{QUOTE} [c1]"])
def test_it_is_not_asked_where_a_rule_is_certain(serve: Serve, said: str) -> None:
    server = serve(verdict("supported", 1.0))
    assert support(said, judging(server)) == support(said, Checks())
    assert not server.seen


@pytest.mark.parametrize(
    "step",
    [
        hangs,
        lambda reply: reply.body(500, "text/plain", b"no"),
        lambda reply: reply.stream(token("Yes, it does."), finish(), DONE),
        verdict("supported", 0.2),
    ],
)
def test_its_failure_leaves_our_own_verdict(serve: Serve, step: Step) -> None:
    found = support(OPEN, judging(serve(*[step] * 4)))
    assert (found.judge or "").startswith("failed: ")
    assert replace(found, judge=None) == support(OPEN, Checks())


def test_an_answer_records_what_it_was_checked_with(home: Path, models: Path, serve: Serve) -> None:
    """Extractive answers are plain quotes: the judge is pinned, but never asked."""
    flags = {"judge_base_url": serve().url, "judge_model": "small"}
    with Workspace(Settings.load(home=home, models=models, threads=1, **flags)) as made:
        body = made.answering.ask(Question("How many weeks of parental leave may an employee take?"))
        run = made.answers.get(body["id"], LOCAL_OWNER).run
    assert body["status"] == "answered"
    assert {sentence["support"]["score"] for sentence in body["sentences"]} == {1.0}
    assert not any("judge" in sentence["support"] for sentence in body["sentences"])
    assert run["checks"]["judge"]["model"] == "small"
    assert set(run["checks"]) == {"claims", "confidence", "supported", "judge"}


def test_half_configured_is_refused(home: Path, models: Path) -> None:
    with (
        Workspace(Settings.load(home=home, models=models, judge_base_url="http://127.0.0.1:9")) as made,
        pytest.raises(InvalidInput, match="judge_model"),
    ):
        _ = made.answering
