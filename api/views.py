"""Records as JSON values, the same at every door: command line, HTTP and tools show each thing in one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from kernel.errors import InvalidInput
from kernel.records import (
    DocumentInfo,
    Fault,
    IngestReport,
    JobInfo,
    KeyInfo,
    Passage,
    PolicyVersion,
    Principal,
    SnapshotInfo,
    SourceInfo,
)
from kernel.storage.answers import AnswerRecord
from kernel.storage.erasure import ErasureInfo
from kernel.storage.feedback import Opinion
from kernel.storage.holds import HoldInfo
from kernel.storage.impact import Of, Scope
from kernel.storage.ledger import Leaf
from kernel.storage.occurrences import Occurrence
from kernel.storage.releases import Release
from kernel.storage.retention import Retention, RetentionRules
from pipeline.answering import DocumentFate, Retrieved, helpers_json, step_json
from pipeline.oversight.backup import BackupInfo
from pipeline.prompts.releases import Moved
from retrieval.reasons import meaning_of
from retrieval.why_not import Behind, Judged

Json = dict[str, Any]


def leaf_json(leaf: Leaf) -> Json:
    """An entry of the ledger; `leaf` is the text that its hash is over."""
    return {
        "number": leaf.number,
        "kind": leaf.kind,
        "subject": leaf.subject,
        "created_at": leaf.created_at,
        "facts": dict(leaf.facts),
        "sha256": leaf.sha256,
        "leaf": leaf.text,
    }


def hold_json(info: HoldInfo) -> Json:
    """A legal hold; `reason` is null where it was erased."""
    return asdict(info)


def erasure_json(info: ErasureInfo) -> Json:
    """An erasure or expiry with its certificate: what was searched and removed, never what it was."""
    return {
        "id": info.id,
        "kind": info.kind,
        "state": "done" if info.done else "running",
        "entry": info.leaf,
        "created_at": info.created_at,
        "certificate": dict(info.certificate),
    }


def occurrence_json(found: Occurrence) -> Json:
    """Where a text occurs, and the option of `vouch erase` that takes it out (null: none does)."""
    return asdict(found)


def retention_json(rules: RetentionRules, retention: Retention) -> Json:
    """The rules of retention, what is kept, and what would expire now."""
    due = retention.due(rules)
    return {
        "answers_days": rules.answers_days,
        "kept": retention.kept(),
        "before": due.before,
        "due": len(due.answers),
        "held": due.held,
    }


def backup_json(made: BackupInfo) -> Json:
    """A backup that was made or restored; `lost` counts entries that are known to be newer than it."""
    return asdict(made) | {"path": str(made.path), "key_file": str(made.key_file)}


def passage_json(passage: Passage, explain: bool = False) -> Json:
    """A passage as a retrieval shows it; with `explain`, each signal's value and what it adds to the score."""
    shown: Json = {
        "chunk_id": passage.chunk_id,
        "document_id": passage.document_id,
        "external_id": passage.external_id,
        "revision": passage.revision,
        "source": passage.source,
        "title": passage.title,
        "uri": passage.uri,
        "heading": list(passage.heading),
        "text": passage.text,
        "start": passage.start,
        "end": passage.end,
        "page": passage.page,
        "score": passage.score,
        "path": [step_json(step) for step in passage.path],
        "notices": [asdict(notice) for notice in passage.notices],
        "duplicate_of": passage.duplicate_of,
    }
    why = {"signals": dict(passage.signals), "contributions": dict(passage.contributions)}
    return shown | (why if explain else {})


def retrieved_json(retrieved: Retrieved, explain: bool = False, why_not: DocumentFate | None = None) -> Json:
    """What a retrieval found: passages best first, the snapshot they are from, and milliseconds a stage; where that was
    asked, also what became of one document."""
    shown: Json = {
        "results": [passage_json(passage, explain) for passage in retrieved.passages],
        "snapshot": retrieved.snapshot,
        "timings_ms": dict(retrieved.timings_ms),
    }
    shown |= helpers_json(retrieved)
    return shown | ({"why_not": why_not_json(why_not)} if why_not is not None else {})


def why_not_json(fate: DocumentFate) -> Json:
    """What became of a document for a question; `passage` of null: it has none."""
    why, passage = fate.found.why, fate.found.passage
    return {
        "document_id": fate.document.id,
        "title": fate.document.title,
        "verdict": why.verdict.value,
        "reasons": list(fate.reasons),
        "rank": why.rank,
        "would_rank": why.best.would_rank if why.best else None,
        "candidates": why.candidates,
        "shown": why.shown,
        "passage": _judged_json(why.best, passage) if why.best and passage else None,
        "behind": _behind_json(why.best.behind, fate.found.ahead) if why.best else None,
        "notices": [asdict(notice) for notice in passage.notices] if passage else [],
    }


def _judged_json(best: Judged, passage: Passage) -> Json:
    place = ("chunk_id", "revision", "uri", "start", "end", "page", "text")
    return {name: getattr(passage, name) for name in place} | {
        "heading": list(passage.heading),
        "candidate": best.found,
        "signals": [asdict(signal) for signal in best.signals],
        "words": {
            "held": [asdict(word) for word in best.held],
            "lacked": [asdict(word) for word in best.lacked],
            "unknown": list(best.unknown),
        },
        "entities": {"held": list(best.entities_held), "lacked": list(best.entities_lacked)},
        "path": [step_json(step) for step in best.path],
    }


def _behind_json(behind: Behind | None, ahead: Passage | None) -> Json | None:
    if behind is None or ahead is None:
        return None
    return {
        "rank": behind.rank,
        "chunk_id": ahead.chunk_id,
        "document_id": ahead.document_id,
        "title": ahead.title,
        "features": [asdict(feature) | {"meaning": meaning_of(feature.name)} for feature in behind.features],
    }


def answer_summary_json(record: AnswerRecord) -> Json:
    """An answer as a listing shows it; `index` is its place in the ledger."""
    body = record.body
    return {
        "id": record.id,
        "created_at": body["created_at"],
        "status": body["status"],
        "question": body["question"],
        "answer": body["answer"],
        "confidence": body["confidence"],
        "citations": len(body["citations"]),
        "snapshot": body["retrieval"]["snapshot"],
        "index": body["ledger"]["index"],
    }


def stale_json(body: Mapping[str, Any], marks: Sequence[Json] | None) -> Json:
    """An answer as it is read: what was recorded, and where it is stale since when, of which documents, and why."""
    return dict(body) | ({"stale": [dict(mark) for mark in marks]} if marks else {})


def opinion_json(opinion: Opinion) -> Json:
    """What somebody said of an answer."""
    return {
        "answer_id": opinion.answer_id,
        "score": opinion.score,
        "comment": opinion.comment,
        "labels": list(opinion.labels),
        "by": opinion.actor,
        "ledger_index": opinion.leaf,
        "created_at": opinion.created_at,
    }


def feedback_json(opinions: Sequence[Opinion], reader: Principal) -> Json:
    """What was said of an answer, as a member of it: nothing where nobody did. Others' words are for who oversees."""
    if not opinions:
        return {}
    shown = [opinion_json(one) for one in opinions if reader.role.oversees or one.actor == reader.id]
    mean = sum(one.score for one in opinions) / len(opinions)
    return {"feedback": {"mean": round(mean, 6), "count": len(opinions), "opinions": shown}}


def impact_scope(given: Mapping[str, str | None]) -> Scope:
    """The one thing that is named, by kind. Raises InvalidInput for none or several."""
    named = [(kind, name) for kind, name in given.items() if name]
    if len(named) != 1:
        raise InvalidInput(f"name one of {', '.join(Of)}")
    kind, name = named[0]
    return Scope(Of(kind), name)


def report_json(report: IngestReport) -> Json:
    """What one ingest did; `failures` are objects of a path and a reason."""
    failures = [{"path": path, "reason": reason} for path, reason in report.failures]
    return asdict(report) | {"failures": failures}


def document_json(document: DocumentInfo) -> Json:
    """A document of a listing; `groups` of null may be seen by everyone."""
    return asdict(document) | {"groups": _list(document.groups)}


def source_json(source: SourceInfo) -> Json:
    """A source and how many documents of it are live."""
    return asdict(source)


def snapshot_json(snapshot: SnapshotInfo) -> Json:
    """A snapshot, and whether it is the live one."""
    return asdict(snapshot)


def job_json(job: JobInfo) -> Json:
    """A job and how far it is."""
    return asdict(job)


def key_json(key: KeyInfo, secret: str | None = None) -> Json:
    """A key as it may be listed; `secret`, known only when the key is made, is shown as `key`."""
    shown: Json = {
        "id": key.id,
        "name": key.name,
        "role": key.role.value,
        "groups": _list(key.groups),
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "revoked_at": _moment(key.revoked_at),
    }
    return shown | ({"key": secret} if secret is not None else {})


def policy_json(policy: PolicyVersion, in_force: str) -> Json:
    """A version of the policy; `in_force` is the hash of the one that holds. One never stored has no moment."""
    return {
        "version": policy.number,
        "sha256": policy.sha256,
        "in_force": policy.sha256 == in_force,
        "author": policy.author,
        "message": policy.message,
        "created_at": policy.created_at or None,
    }


def policy_text_json(policy: PolicyVersion, in_force: str) -> Json:
    """A version of the policy with its text."""
    return policy_json(policy, in_force) | {"text": policy.text}


def fault_json(fault: Fault) -> Json:
    """Something that a verification found wrong."""
    return asdict(fault)


def page_json(items: Sequence[Json], next_cursor: str | None = None) -> Json:
    """One page of a listing; `next_cursor` of null is the last one."""
    return {"items": list(items), "next_cursor": next_cursor}


def _list(groups: tuple[str, ...] | None) -> list[str] | None:
    return None if groups is None else list(groups)


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="microseconds") if moment else None


def release_json(release: Release, in_force: int | None) -> Json:
    """A set of pinned versions."""
    return asdict(release) | {"manifest": dict(release.manifest), "in_force": release.number == in_force}


def moved_json(moved: Moved) -> Json:
    """A move to a release, or back: what it changed, and what it left."""
    return {
        "release": moved.move.release,
        "index": moved.move.leaf,
        "changed": {name: list(pair) for name, pair in moved.changed.items()},
        "workflows": {name: list(pair) for name, pair in moved.workflows.items()},
        "left": list(moved.left),
        "created_at": moved.move.created_at,
    }
