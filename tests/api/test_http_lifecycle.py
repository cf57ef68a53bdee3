"""Jobs across restarts, readiness, failures that nobody foresaw, and the small rules beneath the HTTP API."""

from __future__ import annotations

import base64
import logging
import threading
import time
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from http_site import served
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from api.app import create_app
from api.assembly import Workspace
from api.auth import GuardedRoute
from api.idempotency import KeyedLocks
from api.jobs import JobRunner
from api.metrics import Metrics
from api.negotiation import best_type
from api.paging import decode_cursor, encode_cursor
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER, JobInfo, Role


def ended(workspace: Workspace, job_id: str) -> JobInfo:
    for _ in range(3000):
        job = workspace.jobs.get(job_id)
        if job.state in ("done", "failed"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job does not end: {job}")


def notes(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"n{number}.md").write_text(f"# Note {number}\n\nThis note has the number {number}.\n")
    return folder


def test_a_restart_finishes_what_was_queued_and_what_was_running(workspace: Workspace, tmp_path: Path) -> None:
    first = workspace.jobs.accept("ingest", {"source": "one", "paths": [str(notes(tmp_path / "one", 2))]})
    second = workspace.jobs.accept("ingest", {"source": "two", "paths": [str(notes(tmp_path / "two", 3))]})
    claimed = workspace.jobs.claim()
    assert claimed is not None
    assert claimed.id == first.id
    with served(create_app(workspace)):
        assert [ended(workspace, job.id).state for job in (first, second)] == ["done", "done"]
    assert ended(workspace, second.id).result["added"] == 3
    assert workspace.snapshots.live().snapshot == 2


def test_stopping_puts_the_job_in_hand_back_and_shows_nothing_of_it(workspace: Workspace, tmp_path: Path) -> None:
    folder = notes(tmp_path / "many", 150)
    runner = JobRunner(workspace, Metrics())
    runner.start()
    job = runner.ingest("many", [str(folder)])
    while workspace.jobs.get(job.id).state == "queued":
        time.sleep(0.002)
    runner.stop()
    assert not runner.alive
    assert workspace.jobs.get(job.id).state == "queued"
    assert workspace.snapshots.live().snapshot == 0
    again = JobRunner(workspace, Metrics())
    again.start()
    assert ended(workspace, job.id).result["added"] == 150
    again.stop()
    assert len(workspace.catalog.documents(1, LOCAL_OWNER, limit=200)) == 150


def test_a_job_that_fails_says_why_and_the_next_one_runs(workspace: Workspace, tmp_path: Path) -> None:
    metrics = Metrics()
    runner = JobRunner(workspace, metrics)
    runner.start()
    gone = runner.ingest("gone", [str(tmp_path / "gone")])
    odd = workspace.jobs.accept("baking", {})
    bad = workspace.jobs.accept("ingest", {})
    good = runner.ingest("good", [str(notes(tmp_path / "good", 1))])
    assert ended(workspace, good.id).state == "done"
    runner.stop()
    assert workspace.jobs.get(gone.id).error == f"{tmp_path / 'gone'} does not exist"
    assert "baking" in str(workspace.jobs.get(odd.id).error)
    assert workspace.jobs.get(bad.id).error == (
        f"The job failed for a reason in the server; its log tells more under {bad.id}."
    )
    assert 'vouch_jobs_total{kind="ingest",state="failed"} 3.0' in metrics.text().decode()


def test_a_server_that_cannot_work_says_what_is_wrong(workspace: Workspace) -> None:
    app = create_app(workspace)
    _, key = workspace.keys.create(Role.ADMIN, None)
    headers = {"Authorization": f"Bearer {key}"}
    with served(app) as url, httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        app.state.services.runner.stop()
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["jobs"] == "jobs are not being worked on"
        with workspace.database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE publication RENAME TO lost")
        ready = client.get("/readyz")
        assert ready.json()["checks"]["database"] == "the database cannot be read"
        response = client.get("/v1/snapshots")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:vouch:problem:unavailable"
        assert response.headers["retry-after"]
        assert "publication" not in response.text
        assert client.get("/livez").status_code == 200


def test_an_unforeseen_failure_tells_its_caller_nothing_and_the_log_everything(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(workspace)

    @app.get("/boom")
    def boom() -> JSONResponse:
        raise RuntimeError("password=hunter2")

    with served(app) as url, httpx.Client(base_url=url, trust_env=False) as client, caplog.at_level(logging.ERROR):
        response = client.get("/boom")
        assert 'route="/boom",status="500"' in client.get("/metrics").text
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:vouch:problem:internal"
    assert "hunter2" not in response.text
    assert response.headers["request-id"] in caplog.text
    assert "hunter2" in caplog.text


def test_a_route_without_a_role_cannot_be_made() -> None:
    router = APIRouter(prefix="/v1", route_class=GuardedRoute)
    with pytest.raises(ValueError, match="which role"):
        router.add_api_route("/open", lambda: None)


def test_locks_of_one_key_exclude_and_others_do_not() -> None:
    locks = KeyedLocks()
    inside, entered = threading.Event(), threading.Event()

    def second() -> None:
        with locks.hold(("p", "k")):
            entered.set()

    with locks.hold(("p", "k")):
        thread = threading.Thread(target=second)
        thread.start()
        with locks.hold(("p", "other")):
            inside.set()
        assert inside.is_set()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()
    assert len(locks) == 0


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ([], "a/x"),
        (["*/*"], "a/x"),
        (["a/y"], "a/y"),
        (["A/Y; q=0.2", "a/x;q=0.1"], "a/y"),
        (["a/*;q=0.5, b/z"], "b/z"),
        (["a/*, a/x;q=0"], "a/y"),
        (["c/c"], None),
        (["*/*;q=0"], None),
        (["a/x;q=rubbish"], None),
    ],
)
def test_the_most_specific_range_decides_a_media_type(accept: list[str], best: str | None) -> None:
    assert best_type(accept, ("a/x", "a/y", "b/z")) == best


@given(st.integers(0, 2**62), st.text(max_size=50).filter(lambda text: text.isprintable()))
def test_cursors_come_back_as_they_were(number: int, name: str) -> None:
    assert decode_cursor("kind", encode_cursor("kind", number, name), 0, "") == [number, name]
    with pytest.raises(InvalidInput):
        decode_cursor("other", encode_cursor("kind", number, name), 0, "")


@pytest.mark.parametrize(
    "data",
    [b'["kind",1,"\\ud800"]', b'["kind",1,"\\u0000"]', b'["kind",true,"a"]', b"[" * 2900, b'["kind",-1,"a"]', b"\xff"],
)
def test_cursors_that_were_made_up_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_cursor("kind", base64.urlsafe_b64encode(data).decode(), 0, "")


@given(st.text(max_size=80))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decode_cursor("kind", text, 0, "")
