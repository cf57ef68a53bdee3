"""How complete the record is, how the rules were kept, and how long an audit of an answer takes."""

from __future__ import annotations

import contextlib
import html
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from statistics import median
from typing import Any

from kernel import merkle
from kernel.errors import VouchError
from kernel.records import LOCAL_OWNER
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.audit import AuditRecords
from kernel.storage.ledger import Ledger, commitment
from kernel.storage.rows import now
from pipeline.oversight.bundles import Prover, write_bundle
from pipeline.oversight.lineage import LineageReader
from pipeline.oversight.offline import check_bundle

SAMPLE = 20
"""Answers that an audit is timed on."""
DECIDED = ("approved", "edited", "rejected")
Json = dict[str, Any]
Replay = Callable[[str], object]


class Reporter:
    """Counts over the record of a period or a source."""

    def __init__(
        self,
        answers: Answers,
        ledger: Ledger,
        records: AuditRecords,
        lineage: LineageReader,
        prover: Prover,
        replay: Replay | None = None,
    ) -> None:
        self._answers = answers
        self._ledger = ledger
        self._records = records
        self._lineage = lineage
        self._prover = prover
        self._replay = replay

    def report(
        self, since: str | None = None, until: str | None = None, source: str | None = None, *, timed: bool = False
    ) -> Json:
        """The report. `timed` adds how long it takes to audit a sample of the answers: that differs each time."""
        numbers = self._records.answer_numbers(since, until, source)
        return {
            "scope": {"since": since, "until": until, "source": source},
            "ledger": {"entries": self._ledger.size(), "key": str(self._ledger.key) if self._ledger.size() else None},
            "completeness": self._completeness(numbers),
            "adherence": self._adherence(numbers),
            "retention": self._retention(numbers),
        } | ({"time_to_audit": self._times(numbers)} if timed else {})

    def _completeness(self, numbers: Sequence[int]) -> Json:
        found: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for record in self._answers.records(numbers):
            found["valid"] += self._holds(record)
            statuses[str(record.body["status"])] += 1
            if record.erased:
                continue
            found["cited"] += bool(record.body["citations"])
            found["said"] += record.body["status"] in ("answered", "partial")
            labels.update(sentence["support"]["label"] for sentence in record.body["sentences"])
        return {
            "answers": len(numbers),
            "with_valid_entry": found["valid"],
            "by_status": dict(sorted(statuses.items())),
            "that_say_something": found["said"],
            "with_citations": found["cited"],
            "sentences_by_support": dict(sorted(labels.items())),
        }

    def _holds(self, record: AnswerRecord) -> bool:
        """Whether the answer's leaf has its hash, and commits to the record that is stored."""
        leaf, stored = self._ledger.leaf(record.number), self._ledger.payload(record.number)
        if merkle.leaf_hash(leaf.text.encode()).hex() != leaf.sha256:
            return False
        return stored is None or commitment(*stored) == json.loads(leaf.text)["commitment"]

    def _adherence(self, numbers: Sequence[int]) -> Json:
        verdicts: Counter[str] = Counter()
        under = 0
        for record in self._answers.records(numbers):
            under += bool(record.body.get("policy", {}).get("sha256"))
            for one in record.run.get("verdicts", record.body.get("policy", {}).get("verdicts", ())):
                verdicts[f"{one.get('rule', '?')}: {one.get('verdict', '?')}"] += 1
        return {
            "answers_under_a_policy": under,
            "verdicts": dict(sorted(verdicts.items())),
            "reviews": self._reviews(numbers),
        }

    def _reviews(self, numbers: Sequence[int]) -> Json:
        moment = now()
        found: Counter[str] = Counter()
        askers = self._records.askers(numbers)
        for review in self._records.reviews(numbers):
            ended = review["decided_at"] if review["state"] in DECIDED else None
            found["all"] += 1
            found[f"state {review['state']}"] += 1
            found["decided_in_time"] += ended is not None and ended <= review["deadline"]
            found["decided_late"] += ended is not None and ended > review["deadline"]
            found["expired_or_overdue"] += ended is None and review["deadline"] < moment
            deciders = {event["actor"] for event in review["events"] if event["kind"] in DECIDED}
            found["decided_by_the_asker"] += askers.get(review["answer_number"], "") in deciders - {""}
            approvers = _approvers(review["events"])
            found["too_few_approvals"] += (
                review["state"] in ("approved", "edited") and len(approvers) < review["approvals"]
            )
        names = (
            "all",
            "decided_in_time",
            "decided_late",
            "expired_or_overdue",
            "decided_by_the_asker",
            "too_few_approvals",
        )
        states = {name.removeprefix("state "): count for name, count in found.items() if name.startswith("state ")}
        return {name: found[name] for name in names} | {"by_state": dict(sorted(states.items()))}

    def _retention(self, numbers: Sequence[int]) -> Json:
        holds, erased = self._records.holds(), self._records.erased()
        facts = list(self._records.answer_facts(numbers[:1]))
        return {
            "holds_in_force": sum(one["released"] is None for one in holds),
            "holds_released": sum(one["released"] is not None for one in holds),
            "erasures": len(self._records.erasures()),
            "answers_erased_or_expired": len(erased.keys() & set(numbers)),
            "oldest_answer": facts[0]["created_at"] if facts else None,
        }

    def _times(self, numbers: Sequence[int]) -> Json:
        """Milliseconds that it takes to prove, trace and (where that is possible) replay one answer."""
        step = max(1, len(numbers) // SAMPLE)
        spent: dict[str, list[float]] = {"proof": [], "lineage": [], "replay": []}
        for record in self._answers.records(list(numbers)[::step][:SAMPLE]):
            if record.erased:
                continue
            spent["proof"].append(_timed(partial(self._prove, record.id)))
            spent["lineage"].append(_timed(partial(self._lineage.lineage, record.id, LOCAL_OWNER)))
            if self._replay is not None:
                spent["replay"].append(_timed(partial(self._replay, record.id)))
        shown = {name: _spread(values) for name, values in spent.items() if values}
        return {"answers": len(spent["proof"]), "milliseconds": shown}

    def _prove(self, answer_id: str) -> None:
        check_bundle(write_bundle(self._prover.bundle(answer_id, LOCAL_OWNER)), self._ledger.key)


def _approvers(events: Sequence[Mapping[str, Any]]) -> set[str]:
    """Who approved the text that was released in the end. One whose name was erased was none of the others."""
    found: set[str] = set()
    for event in sorted(events, key=lambda one: int(one["leaf"])):
        who = event["actor"] or f"erased {event['leaf']}"
        if event["kind"] == "edited":
            found = {who}
        elif event["kind"] == "approved":
            found.add(who)
    return found


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    with contextlib.suppress(VouchError, KeyError):
        call()
    return (time.perf_counter() - begin) * 1000


def _spread(values: Sequence[float]) -> Json:
    ordered = sorted(values)
    return {"p50": round(median(ordered), 2), "p95": round(ordered[ceil(0.95 * len(ordered)) - 1], 2)}


TITLES = {
    "completeness": "Completeness of the record",
    "adherence": "Adherence to policy",
    "retention": "Holds, erasures, retention",
    "time_to_audit": "Time to audit one answer",
}


def report_lines(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The report as sections of names and values, for people."""
    scope = ", ".join(f"{name} {value}" for name, value in report["scope"].items() if value) or "everything recorded"
    sections = [("Scope", [("answers", scope), ("ledger entries", str(report["ledger"]["entries"]))])]
    sections += [(title, _flat(report[name])) for name, title in TITLES.items() if name in report]
    return sections


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += _flat(value, f"{words}, ") if value else [(words, "none")]
        else:
            lines.append((words, "-" if value is None else str(value)))
    return lines


def report_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# Audit report", ""]
    for title, rows in report_lines(report):
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows] + [""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def report_html(report: Mapping[str, Any]) -> str:
    """The report as one page that loads nothing."""
    body = ["<h1>Audit report</h1>"]
    for title, rows in report_lines(report):
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        body.append(f"<h2>{html.escape(title)}</h2><table>{cells}</table>")
    style = "body{font-family:sans-serif;max-width:60rem;margin:2rem auto}th{text-align:left;font-weight:normal}"
    style += "td,th{padding:.2rem 1rem .2rem 0;border-bottom:1px solid #ddd}"
    head = f'<meta charset="utf-8"><title>Audit report</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'
