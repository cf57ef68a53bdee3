"""Versions of prompts, and the journal of all that was done with them; what libraries share is in `versioned`.

Labels, states, rules and experiments follow from the journal (`pipeline/prompts/state.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from kernel.records import PromptVersion
from kernel.storage import versioned
from kernel.storage.database import Database
from kernel.storage.schema import prompt_event, prompt_version
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

TESTED, RULES, EXPERIMENT = "tested", "rules", "experiment"
KINDS = (SUBMITTED, APPROVED, REJECTED, COMMENTED, TESTED, LABELLED, UNLABELLED, RETIRED, RULES, EXPERIMENT)


def prompt_record(row: Any, label: str = "") -> PromptVersion:
    """A version from its row."""
    return PromptVersion(
        row.name, row.version, row.sha256, label, row.template, row.author, row.message, row.created_at
    )


BOOKS = Books("prompt", prompt_version, prompt_event, "template", prompt_record, KINDS)


class Prompts(Versioned[PromptVersion]):
    """Stored prompts by name and number or by hash, and their journal."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, BOOKS)


def append_events(database: Database, connection: Connection, actor: str, wanted: Sequence[Happening]) -> list[Event]:
    """Write rows of the journal in the writing transaction of `connection`."""
    return versioned.append_events(database, connection, BOOKS, actor, wanted)


def keep_prompt(database: Database, connection: Connection, prompt: PromptVersion) -> None:
    """Store a version that came with the program where it is not yet: its text must outlive the program."""
    versioned.keep_version(database, connection, BOOKS, prompt)


def read_events(connection: Connection, after: int) -> list[Event]:
    """The journal in order, from after an entry on, as a transaction sees it."""
    return versioned.read_events(connection, BOOKS, after)
