"""Long work that was accepted. A job outlives the process that accepted it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from kernel.errors import NotFound
from kernel.ids import random_id
from kernel.records import JobInfo
from kernel.storage.database import Database
from kernel.storage.rows import dumps, now
from kernel.storage.schema import job


class Jobs:
    """Jobs in the order they were accepted: queued -> running -> done or failed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, kind: str, job_input: Mapping[str, Any]) -> JobInfo:
        """Store a new job, durably: from here on it will be done."""
        moment = now()
        values = {
            "id": random_id("job"),
            "kind": kind,
            "state": "queued",
            "input": dumps(job_input),
            "progress": "{}",
            "created_at": moment,
            "updated_at": moment,
        }
        with self._database.write() as connection:
            connection.execute(job.insert(), values)
        return self.get(str(values["id"]))

    def claim(self) -> JobInfo | None:
        """Take the oldest queued job and mark it running; None where nothing waits."""
        with self._database.read() as connection:
            if connection.execute(select(job.c.id).where(job.c.state == "queued").limit(1)).first() is None:
                return None
        with self._database.write() as connection:
            query = select(job.c.id).where(job.c.state == "queued").order_by(job.c.created_at, job.c.id).limit(1)
            found = connection.execute(query).scalar()
            if found is None:
                return None
            connection.execute(update(job).where(job.c.id == found).values(state="running", updated_at=now()))
        return self.get(found)

    def requeue_interrupted(self) -> int:
        """Put jobs that a dead process left running back in the queue; how many there were."""
        with self._database.write() as connection:
            done = connection.execute(
                update(job).where(job.c.state == "running").values(state="queued", updated_at=now())
            )
            return int(done.rowcount)

    def progress(self, job_id: str, progress: Mapping[str, Any]) -> None:
        """Note how far a job is."""
        self._set(job_id, {"progress": dumps(progress)})

    def finish(self, job_id: str, result: Mapping[str, Any]) -> None:
        """Mark a job done, with its result."""
        self._set(job_id, {"state": "done", "result": dumps(result)})

    def fail(self, job_id: str, error: str) -> None:
        """Mark a job failed, with a sentence that says why."""
        self._set(job_id, {"state": "failed", "error": error})

    def get(self, job_id: str) -> JobInfo:
        """One job. Raises NotFound where there is none of that id."""
        with self._database.read() as connection:
            row = connection.execute(select(job).where(job.c.id == job_id)).first()
        if row is None:
            raise NotFound(f"no job {job_id}")
        return _info(row)

    def items(self, *, limit: int, before: str | None = None) -> list[JobInfo]:
        """Jobs, newest first, with ids before `before`."""
        query = select(job).order_by(job.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(job.c.id < before)
        with self._database.read() as connection:
            return [_info(row) for row in connection.execute(query)]

    def _set(self, job_id: str, values: dict[str, Any]) -> None:
        with self._database.write() as connection:
            connection.execute(update(job).where(job.c.id == job_id).values(**values, updated_at=now()))


def _info(row: Any) -> JobInfo:
    return JobInfo(
        id=row.id,
        kind=row.kind,
        state=row.state,
        input=json.loads(row.input),
        progress=json.loads(row.progress),
        result=json.loads(row.result) if row.result else None,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
