"""Runs whose steps reach outside: a weekly review from a database to file, web hook and mail, killed at every write."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace
from outside_parts import Answer, MailServer, WebServer, as_json
from workflow_parts import Bench

from api.flow_kinds import guards_of, outside_kinds
from api.flows import Flows
from kernel.settings import Settings
from kernel.storage.deliveries import Deliveries
from kernel.storage.ledger import Ledger
from pipeline.workflows.journal import RunState

MONDAY = datetime(2026, 3, 2)  # noqa: DTZ001 - a day
TOKEN = "Bearer 0123456789abcdef"
QUICK = {"retry": {"attempts": 4, "wait": "1ms", "factor": 1.0}}


@pytest.fixture
def web() -> Iterator[WebServer]:
    one = WebServer(lambda heard: as_json({"told": heard.headers.get("authorization", "")}))
    yield one
    one.close()


@pytest.fixture
def post() -> Iterator[MailServer]:
    one = MailServer()
    yield one
    one.close()


@pytest.fixture
def made(tmp_path: Path, web: WebServer, post: MailServer) -> Iterator[FastWorkspace]:
    """A workspace that may reach a database, one web server and one mail server."""
    path = tmp_path / "sales.db"
    with sqlite3.connect(path) as sales:
        sales.execute("CREATE TABLE sale (region TEXT, amount REAL, day TEXT)")
        for week in range(5):
            day = (MONDAY - timedelta(weeks=week)).date().isoformat()
            rows = [("north", 100.0, day), ("south", 50.0 if week else 40.0, day)]
            sales.executemany("INSERT INTO sale VALUES (?, ?, ?)", rows)
    sales.close()
    settings = Settings.load(
        home=tmp_path / "home",
        workflow_http_allow=[web.host],
        workflow_secrets={"crm": {"value": TOKEN, "hosts": [web.host]}, "hook": {"value": "shared secret"}},
        workflow_sql={"sales": f"sqlite:///{path}"},
        workflow_smtp_url=f"smtp://127.0.0.1:{post.port}",
        workflow_mail_from="vouch@example.org",
        workflow_mail_allow=["@example.org"],
        workflow_breaker_failures=100,
    )
    with FastWorkspace(settings) as workspace:
        yield workspace


@pytest.fixture
def bench(made: FastWorkspace) -> Bench:
    one = Bench(made.database)
    one.kinds.update({kind.name: kind for kind in outside_kinds(made, guards_of(made))})
    return one


def weekly(web: WebServer) -> dict[str, Any]:
    """Sales of the week beside the four before, and what fell is told to everybody."""
    told = "{{ steps.brief.output }}"
    steps = [
        {"id": "read", "kind": "sql", "with": {"database": "sales", "query": "SELECT * FROM sale"}},
        {
            "id": "drops",
            "kind": "compare",
            "needs": ["read"],
            "with": {"rows": "{{ steps.read.output.rows }}", "value": "amount", "date": "day", "by": ["region"]},
        },
        {
            "id": "brief",
            "kind": "transform",
            "needs": ["drops"],
            "with": {"value": "{{ steps.drops.output.flagged[0].group.region }} fell"},
        },
        {
            "id": "ticket",
            "kind": "http",
            "needs": ["brief"],
            "with": {"method": "POST", "url": web.url, "secrets": {"Authorization": "crm"}, "json": {"text": told}},
        },
        {"id": "file", "kind": "deliver", "needs": ["brief"], "with": {"to": "file", "path": "brief.md", "text": told}},
        {
            "id": "hook",
            "kind": "deliver",
            "needs": ["brief"],
            "with": {"to": "webhook", "url": f"{web.url}/hook", "secret": "hook", "json": {"brief": told}},
        },
        {
            "id": "mail",
            "kind": "deliver",
            "needs": ["brief"],
            "with": {"to": "mail", "recipients": ["kim@example.org"], "subject": told, "text": told},
        },
    ]
    return {"stakes": "low", "steps": [step | QUICK for step in steps]}


def outputs(bench: Bench, run_id: str) -> dict[str, Any]:
    state = RunState().after(bench.runs.events(run_id))
    return {name: step.output if step.status == "done" else step.error for name, step in state.steps.items()}


def test_a_weekly_review_goes_from_database_to_file_hook_and_mail(
    bench: Bench, made: FastWorkspace, web: WebServer, post: MailServer
) -> None:
    run = bench.drain(bench.start(weekly(web)).id)
    said = outputs(bench, run.id)
    assert run.status == "done", said
    assert said["brief"] == "south fell"
    assert [one["percent"] for one in said["drops"]["groups"]] == [0.0, -20.0]
    assert said["ticket"]["body"] == {"told": "***"}
    assert (made.settings.delivery_folder / "brief.md").read_text() == "south fell"
    assert [one.path for one in web.heard] == ["/", "/hook"]
    assert len(post.mails) == 1
    assert [(one.sink, one.done is not None) for one in Deliveries(made.database).of_run(run.id)] == [
        ("file", True),
        ("webhook", True),
        ("mail", True),
    ]
    assert [*made.verifier.faults()] == []
    stored = "".join(f"{leaf.text}{payload}" for leaf, _, payload in Ledger(made.database).rows())
    assert "south fell" in stored
    assert TOKEN.rpartition(" ")[2] not in stored, "a secret is never recorded"
    assert "shared secret" not in stored


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))])
def test_killed_at_any_write_the_file_is_delivered_once_and_the_rest_with_one_key(
    bench: Bench, made: FastWorkspace, web: WebServer, post: MailServer, seed: int
) -> None:
    chance = random.Random(seed)
    bench.runs.dies = lambda: chance.random() < 0.2
    run = bench.drain(bench.start(weekly(web)).id)
    assert run.status == "done", outputs(bench, run.id)
    found = {path.name: path.read_text() for path in made.settings.delivery_folder.iterdir()}
    assert found == {"brief.md": "south fell"}
    tickets = [one for one in web.heard if one.path == "/"]
    assert len({one.headers["idempotency-key"] for one in tickets}) == 1
    assert len([one for one in web.heard if one.path == "/hook"]) == 1, "what is recorded as done is not sent again"
    assert len(post.mails) == 1
    assert [*made.verifier.faults()] == []


def test_a_server_that_says_when_to_come_back_is_not_asked_before(
    bench: Bench, web: WebServer, made: FastWorkspace
) -> None:
    web.reply = lambda _: Answer(429, b"", {"Retry-After": "120"})
    step = {"id": "ask", "kind": "http", "with": {"url": web.url}} | QUICK
    run = bench.start({"stakes": "low", "steps": [step]})
    before = datetime.fromisoformat(run.created_at)
    bench.runner.advance(run.id, run.turn)
    waiting = bench.runs.get(run.id)
    assert waiting.wake_at is not None
    assert datetime.fromisoformat(waiting.wake_at) - before > timedelta(seconds=119)
    assert len(web.heard) == 1


def test_every_kind_is_in_the_reference(made: FastWorkspace) -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "workflows-steps.md"
    assert {name for name in Flows(made).kinds if f"`{name}`" not in page.read_text(encoding="utf-8")} == set()


def test_what_the_settings_do_not_name_cannot_be_reached(bench: Bench, tmp_path: Path, web: WebServer) -> None:
    cases: list[Callable[[], dict[str, Any]]] = [
        lambda: {"kind": "http", "with": {"url": "http://127.0.0.1:9/"}},
        lambda: {"kind": "sql", "with": {"database": "other", "query": "SELECT 1 AS one"}},
        lambda: {"kind": "sql", "with": {"database": "sales", "query": "DELETE FROM sale"}},
        lambda: {"kind": "deliver", "with": {"to": "file", "path": "../out.md", "text": "x"}},
        lambda: {
            "kind": "deliver",
            "with": {"to": "mail", "recipients": ["kim@evil.test"], "subject": "x", "text": "x"},
        },
    ]
    for case in cases:
        run = bench.drain(bench.start({"stakes": "low", "steps": [{"id": "out"} | case() | QUICK]}).id)
        assert (run.status, outputs(bench, run.id)["out"]["slug"]) == ("failed", "invalid-input")
    assert web.heard == []
