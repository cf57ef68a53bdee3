"""The background thread that does accepted work, one job at a time, and notes how far it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.assembly import Workspace
from api.metrics import Metrics
from api.views import report_json
from kernel.errors import VouchError
from kernel.records import JobInfo

INGEST = "ingest"
POLL_SECONDS = 2.0
"""How often the queue is looked at for jobs that another process accepted."""
PROGRESS_SECONDS = 0.5
SWEEP_SECONDS = 30.0
"""How often reviews are looked through for deadlines that passed."""

_log = logging.getLogger("vouch.jobs")


class StoppingError(Exception):
    """The server stops: the job in hand goes back into the queue."""


class JobRunner:
    """Takes jobs of a workspace in the order in which they were accepted. A job outlives the runner: what was
    interrupted is done again by the next one, which finds what is staged already."""

    def __init__(self, workspace: Workspace, metrics: Metrics) -> None:
        self._workspace = workspace
        self._metrics = metrics
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._swept = float("-inf")
        self._thread = threading.Thread(target=self._loop, name="vouch-jobs", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether jobs are being taken."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Put back what a dead process left unfinished, and begin."""
        self._workspace.jobs.requeue_interrupted()
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Stop at the next safe point; waits at most `seconds` for it."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def ingest(self, source: str, paths: list[str]) -> JobInfo:
        """Accept the work of bringing a source up to date with the files at `paths`."""
        job = self._workspace.jobs.accept(INGEST, {"source": source, "paths": paths})
        self._wake.set()
        return job

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._workspace.jobs.claim()
                if job is not None:
                    self._do(job)
                    continue
                self._sweep()
            except Exception:  # noqa: BLE001  the edge of a worker
                _log.exception("the queue of jobs cannot be worked on; trying again")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _sweep(self) -> None:
        """Write down the expiry of reviews whose deadline passed, now and then."""
        moment = time.monotonic()
        if moment - self._swept >= SWEEP_SECONDS:
            self._swept = moment
            self._workspace.reviews.expire()

    def _do(self, job: JobInfo) -> None:
        jobs = self._workspace.jobs
        try:
            result = self._ingest(job)
        except StoppingError:
            jobs.requeue_interrupted()
            return
        except VouchError as error:
            jobs.fail(job.id, str(error))
            self._metrics.job(INGEST, "failed")
        except Exception:  # noqa: BLE001  the edge of a worker
            _log.exception("job %s failed", job.id)
            jobs.fail(job.id, f"The job failed for a reason in the server; its log tells more under {job.id}.")
            self._metrics.job(INGEST, "failed")
        else:
            jobs.finish(job.id, result)
            self._metrics.job(INGEST, "done")

    def _ingest(self, job: JobInfo) -> dict[str, Any]:
        if job.kind != INGEST:
            raise VouchError(f"this version of the server does not know jobs of kind {job.kind!r}")
        paths = [Path(path) for path in job.input["paths"]]
        note = _Progress(self._workspace, job.id, self._stopping)
        with self._workspace.parser_pool() as parser:
            reports = self._workspace.indexer.ingest(parser, paths, job.input["source"], note)
        return report_json(reports[0])


class _Progress:
    """Writes how far a job is, not too often, and ends the job where the server stops."""

    def __init__(self, workspace: Workspace, job_id: str, stopping: threading.Event) -> None:
        self._workspace = workspace
        self._job_id = job_id
        self._stopping = stopping
        self._written = float("-inf")

    def __call__(self, step: str, done: int, total: int) -> None:
        if self._stopping.is_set():
            raise StoppingError
        moment = time.monotonic()
        if moment - self._written >= PROGRESS_SECONDS:
            self._written = moment
            progress: Mapping[str, Any] = {"step": step, "done": done, "total": total}
            self._workspace.jobs.progress(self._job_id, progress)
