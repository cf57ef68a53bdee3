"""Versions of workflows, and the journal of all that was done with them; what libraries share is in `versioned`.

Labels (`pilot`, `live`), states and whether triggers rest follow from the journal (`pipeline/workflows/state.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from kernel.records import WorkflowVersion
from kernel.storage import versioned
from kernel.storage.database import Database
from kernel.storage.schema import workflow_event, workflow_version
from kernel.storage.versioned import (
    APPROVED,
    COMMENTED,
    LABELLED,
    REJECTED,
    RETIRED,
    SUBMITTED,
    UNLABELLED,
    Books,
    Event,
    Happening,
    Versioned,
)

PAUSED, RESUMED = "paused", "resumed"
"""The triggers of a workflow rest, or work again."""
KINDS = (SUBMITTED, APPROVED, REJECTED, COMMENTED, LABELLED, UNLABELLED, RETIRED, PAUSED, RESUMED)


def workflow_record(row: Any) -> WorkflowVersion:
    """A version from its row."""
    return WorkflowVersion(row.name, row.version, row.sha256, row.text, row.author, row.message, row.created_at)


BOOKS = Books("workflow", workflow_version, workflow_event, "text", workflow_record, KINDS)


class Workflows(Versioned[WorkflowVersion]):
    """Stored workflows by name and number or by hash, and their journal."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, BOOKS)


def append_events(database: Database, connection: Connection, actor: str, wanted: Sequence[Happening]) -> list[Event]:
    """Write rows of the journal in the writing transaction of `connection`."""
    return versioned.append_events(database, connection, BOOKS, actor, wanted)


def keep_workflow(database: Database, connection: Connection, workflow: WorkflowVersion) -> None:
    """Store a version that came with the program where it is not yet: runs that pin it must find its text."""
    versioned.keep_version(database, connection, BOOKS, workflow)


def read_events(connection: Connection, after: int) -> list[Event]:
    """The journal in order, from after an entry on, as a transaction sees it."""
    return versioned.read_events(connection, BOOKS, after)
