"""Steps that keep the documents in order: `ingest` reads sources again, `evaluate` asks golden questions of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kernel.errors import InvalidInput
from kernel.records import AnswerStatus, IngestReport, Passage, Question
from pipeline.answering import Answering
from pipeline.indexing import Progress
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.asking import COUNT, NUMBER, TEXT, Text
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed
from pipeline.workflows.steps.pinned import Snapshot, as_of, whole

PROGRESS_SECONDS = 5.0
"""So often, at most, how far an ingest is goes into the journal."""
COUNTS = ("added", "changed", "unchanged", "removed", "failed", "chunks")
SHOWN_FAILURES = 50

ReadAgain = Callable[[str, Progress], IngestReport]
"""Reads a source again from where it lies. Raises NotFound for an unknown source, InvalidInput where it is gone."""


class IngestWith(Strict):
    """Sources by name, or all that there are. Where each lies is not for a workflow to say."""

    sources: Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(min_length=1)] | Literal["all"]


class Ingest(Plain):
    """`ingest`: reads sources again and publishes what changed. Doing it twice is doing it once: what is unchanged is
    left alone. Later steps of the run see what is new where they name the live snapshot.
    """

    name: ClassVar[str] = "ingest"
    With: ClassVar[type[Strict]] = IngestWith

    def __init__(self, read_again: ReadAgain, sources: Callable[[], Sequence[str]]) -> None:
        self._read_again = read_again
        self._sources = sources

    def output(self, _step: Step) -> Mapping[str, Any]:
        """A report of each source that was read; `differences` counts documents added, changed or removed."""
        failure, gone = whole({"path": TEXT, "reason": TEXT}), whole({"source": TEXT, "reason": TEXT})
        report = {"source": TEXT} | dict.fromkeys(COUNTS, COUNT) | {"failures": {"type": "array", "items": failure}}
        listed = {"type": "array", "items": whole(report)}
        totals: dict[str, Mapping[str, Any]] = dict.fromkeys(("differences", "failed"), COUNT)
        totals["missing"] = {"type": "array", "items": gone}
        return whole({"sources": listed, "snapshot": {"type": ["integer", "null"]}} | totals)

    def run(self, given: IngestWith, call: Call) -> Done:
        """Raises NotFound for a named source that is unknown, InvalidInput for one whose place is gone (of `all`, such
        are `missing`), and StepFailed when the step's time is over.
        """
        names = list(self._sources()) if given.sources == "all" else list(given.sources)
        reports, missing = [], []
        for name in names:
            try:
                reports.append(self._read_again(name, _Noting(name, call)))
            except InvalidInput as error:
                if given.sources != "all":
                    raise
                missing.append({"source": name, "reason": str(error)})
        shown = [_report(one) for one in reports]
        differences = sum(one.added + one.changed + one.removed for one in reports)
        snapshot = reports[-1].snapshot if reports else None
        failed = sum(one.failed for one in reports)
        totals = {"snapshot": snapshot, "differences": differences, "failed": failed, "missing": missing}
        return Done({"sources": shown} | totals)


class _Noting:
    """Notes how far a source is, not too often, and stops where the step's time is over."""

    def __init__(self, source: str, call: Call) -> None:
        self._source = source
        self._call = call
        self._noted = time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        if self._call.left() <= 0:
            raise StepFailed("the step's time is over; what was read is kept", slug="timeout", retryable=True)
        moment = time.monotonic()
        if moment - self._noted >= PROGRESS_SECONDS:
            self._noted = moment
            self._call.note("progress", {"source": self._source, "doing": step, "done": done, "total": total})


def _report(one: IngestReport) -> dict[str, Any]:
    failures = [{"path": path, "reason": reason} for path, reason in one.failures[:SHOWN_FAILURES]]
    return {"source": one.source} | {name: getattr(one, name) for name in COUNTS} | {"failures": failures}


class Golden(Strict):
    """A question, and the documents of which one must be found for it (ids, own ids, titles, ends of addresses); none
    where an answer must not be given.
    """

    question: Text
    documents: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=50)]


class EvaluateWith(Strict):
    """Golden questions, asked of the live snapshot by default, since that is what callers get from now on."""

    questions: Annotated[list[Golden], Field(max_length=500)]
    k: Annotated[int, Field(ge=1, le=100)] = 5
    answers: bool = True
    snapshot: Snapshot = "live"


class Evaluate(Plain):
    """`evaluate`: how often a right document is among the first `k` passages, and how often an answer is given or left
    out as it should be. These answers are made as any other, for the run's principal, and not recorded.
    """

    name: ClassVar[str] = "evaluate"
    With: ClassVar[type[Strict]] = EvaluateWith

    def __init__(self, answering: Callable[[], Answering]) -> None:
        self._answering = answering

    def output(self, _step: Step) -> Mapping[str, Any]:
        """Shares from 0 to 1, null where nothing was asked of the sort; each miss with what was found instead."""
        share = {"type": ["number", "null"]}
        found = whole({"document_id": TEXT, "title": TEXT})
        miss = whole({"question": TEXT, "wanted": {"type": "array"}, "found": {"type": "array", "items": found}})
        wrong = whole({"question": TEXT, "wanted": TEXT, "status": TEXT})
        listed = {"misses": {"type": "array", "items": miss}, "wrong": {"type": "array", "items": wrong}}
        return whole({"questions": COUNT, "k": COUNT, "hit": share, "decided": share, "seconds": NUMBER} | listed)

    def run(self, given: EvaluateWith, call: Call) -> Done:
        """Raises StepFailed when the step's time is over."""
        begin, answering = time.monotonic(), self._answering()
        misses: list[dict[str, Any]] = []
        wrong: list[dict[str, Any]] = []
        for one in given.questions:
            if call.left() <= 0:
                raise StepFailed("the step's time is over: ask fewer questions", slug="timeout")
            question = Question(one.question, call.principal, given.k, as_of(call, given.snapshot))
            passages = answering.retrieve(question).passages if one.documents else ()
            if one.documents and not any(_is_one(passage, one.documents) for passage in passages):
                found = {passage.document_id: passage.title for passage in passages}
                shown = [{"document_id": name, "title": title} for name, title in found.items()]
                misses.append({"question": one.question, "wanted": list(one.documents), "found": shown})
            if given.answers:
                wrong += _misjudged(answering, one, question)
        return Done(_summed(given, misses, wrong) | {"seconds": round(time.monotonic() - begin, 3)})


def _misjudged(answering: Answering, one: Golden, question: Question) -> list[dict[str, Any]]:
    status = answering.compose(answering.pin(question)).grounded.status
    wanted = "answered" if one.documents else "abstained"
    right = (status == AnswerStatus.ABSTAINED) == (not one.documents) and status != AnswerStatus.FAILED
    return [] if right else [{"question": one.question, "wanted": wanted, "status": status.value}]


def _summed(
    given: EvaluateWith, misses: Sequence[Mapping[str, Any]], wrong: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    asked = sum(1 for one in given.questions if one.documents)
    hit = round(1 - len(misses) / asked, 4) if asked else None
    decided = round(1 - len(wrong) / len(given.questions), 4) if given.answers and given.questions else None
    return {
        "questions": len(given.questions),
        "k": given.k,
        "hit": hit,
        "decided": decided,
        "misses": list(misses),
        "wrong": list(wrong),
    }


def _is_one(passage: Passage, wanted: Sequence[str]) -> bool:
    known = (passage.document_id, passage.external_id, passage.title)
    return any(name in known or passage.uri.endswith((f"/{name}", f"#{name}")) for name in wanted)
