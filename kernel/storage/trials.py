"""What was answered in the arms of an experiment, read in order: once, and from there on only what is new."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from kernel.storage.database import Database
from kernel.storage.rows import stream
from kernel.storage.schema import answer, feedback, ledger_payload, prompt_run


@dataclass(frozen=True, slots=True)
class Trial:
    """An answer, or the run of a prompt that needs no documents, in an arm. `record` is its payload: empty where that
    was erased. `number` is its entry in the ledger.
    """

    number: int
    arm: str
    status: str
    confidence: float | None
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """What somebody said of an answer of an arm. `actor` is empty where that was erased."""

    leaf: int
    answer: int
    arm: str
    actor: str
    score: float


class Trials:
    """Reads what happened in experiments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, experiment: str, number: int = -1) -> Iterator[Trial]:
        """Answers and runs of an experiment after an entry, in order."""
        yield from heapq.merge(self._answers(experiment, number), self._runs(experiment, number), key=_number)

    def scores(self, experiment: str, leaf: int = -1) -> Iterator[Score]:
        """Feedback on answers of an experiment after an entry, in order: everything that was said, not only the last
        word of each.
        """
        columns = (feedback.c.leaf, feedback.c.answer_number, answer.c.arm, feedback.c.actor, feedback.c.score)
        query = select(*columns).join(answer, answer.c.number == feedback.c.answer_number)
        query = query.where(answer.c.experiment == experiment, feedback.c.leaf > leaf).order_by(feedback.c.leaf)
        for row in stream(self._database, query, 500):
            yield Score(row.leaf, row.answer_number, row.arm, row.actor, row.score)

    def _answers(self, experiment: str, number: int) -> Iterator[Trial]:
        columns = (answer.c.number, answer.c.arm, answer.c.status, answer.c.confidence, ledger_payload.c.payload)
        query = select(*columns).outerjoin(ledger_payload, ledger_payload.c.number == answer.c.number)
        query = query.where(answer.c.experiment == experiment, answer.c.number > number).order_by(answer.c.number)
        for row in stream(self._database, query, 100):
            yield Trial(row.number, row.arm, row.status, row.confidence, _record(row.payload))

    def _runs(self, experiment: str, number: int) -> Iterator[Trial]:
        columns = (prompt_run.c.number, prompt_run.c.arm, prompt_run.c.status, ledger_payload.c.payload)
        query = select(*columns).outerjoin(ledger_payload, ledger_payload.c.number == prompt_run.c.number)
        query = query.where(prompt_run.c.experiment == experiment, prompt_run.c.number > number)
        for row in stream(self._database, query.order_by(prompt_run.c.number), 100):
            yield Trial(row.number, row.arm, row.status, None, _record(row.payload))


def _number(trial: Trial) -> int:
    return trial.number


def _record(payload: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(payload) if payload else {}
    return found
