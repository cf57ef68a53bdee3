"""What jobs promise, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel.errors import NotFound
from kernel.storage.database import Database
from kernel.storage.jobs import Jobs


def test_a_job_goes_from_queued_to_done(jobs: Jobs) -> None:
    accepted = jobs.accept("ingest", {"paths": ["ä", "b"]})
    assert (accepted.kind, accepted.state, accepted.input) == ("ingest", "queued", {"paths": ["ä", "b"]})
    claimed = jobs.claim()
    assert claimed is not None
    assert (claimed.id, claimed.state) == (accepted.id, "running")
    jobs.progress(accepted.id, {"done": 1})
    assert jobs.get(accepted.id).progress == {"done": 1}
    jobs.finish(accepted.id, {"snapshot": 1})
    done = jobs.get(accepted.id)
    assert (done.state, done.result, done.error) == ("done", {"snapshot": 1}, None)
    assert done.updated_at >= done.created_at


def test_a_failed_job_says_why(jobs: Jobs) -> None:
    accepted = jobs.accept("ingest", {})
    jobs.claim()
    jobs.fail(accepted.id, "the folder is gone")
    assert (jobs.get(accepted.id).state, jobs.get(accepted.id).error) == ("failed", "the folder is gone")
    assert jobs.claim() is None


def test_jobs_are_claimed_oldest_first_and_listed_newest_first(jobs: Jobs) -> None:
    ids = [jobs.accept("ingest", {"n": n}).id for n in range(5)]
    assert sorted(item.id for item in jobs.items(limit=10)) == sorted(ids)
    first, second = jobs.items(limit=2)
    assert first.id > second.id
    rest = jobs.items(limit=10, before=second.id)
    assert {first.id, second.id} | {item.id for item in rest} == set(ids)
    claimed = [jobs.claim() for _ in ids]
    assert [job.input["n"] for job in claimed if job is not None] == [0, 1, 2, 3, 4]


def test_no_job_is_claimed_twice(connect: Callable[[], Database], jobs: Jobs) -> None:
    ids = [jobs.accept("ingest", {"n": n}).id for n in range(24)]
    workers = [Jobs(connect()) for _ in range(8)]

    def work(worker: Jobs) -> list[str]:
        taken = []
        while (job := worker.claim()) is not None:
            taken.append(job.id)
        return taken

    with ThreadPoolExecutor(len(workers)) as pool:
        claimed = [job_id for taken in pool.map(work, workers) for job_id in taken]
    assert sorted(claimed) == sorted(ids)


def test_what_a_dead_process_left_running_is_queued_again(jobs: Jobs) -> None:
    first, second, third = (jobs.accept("ingest", {"n": n}).id for n in range(3))
    jobs.claim()
    jobs.claim()
    jobs.finish(first, {})
    assert jobs.requeue_interrupted() == 1
    assert [jobs.get(job_id).state for job_id in (first, second, third)] == ["done", "queued", "queued"]
    again = jobs.claim()
    assert again is not None
    assert again.id == second


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    with pytest.raises(NotFound, match="job_none"):
        jobs.get("job_none")
