"""How tasks are shown: what they ask, the evidence behind it, what differs, and what will happen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kernel.errors import InvalidInput
from kernel.ids import canonical_json
from kernel.records import Principal
from kernel.storage.task_journal import DECISIONS, ENDS, MARKED, OPENED, UNMARKED, Standing, Task, TaskEvent
from pipeline.oversight.differences import text_diff
from pipeline.workflows.asking import effects_json
from pipeline.workflows.steps.base import Json

Evidence = Callable[[str, Principal], Mapping[str, Any] | None]
"""The body of an answer as somebody may see it; None where there is none."""
MOST_ANSWERS = 20
"""Answers that a task shows the evidence of."""
_ANSWER = re.compile(r"ans_[0-9a-v]{30}")
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,39}")
_OF_A_CITATION = ("id", "document_id", "chunk_id", "title", "uri", "quote", "notices")
_SAID = ("comment", "assignee", "role", "values", "seen", "effects", "moment")


def task_json(found: Task) -> Json:
    """A task as listings show it."""
    names = ("id", "sort", "run_id", "workflow", "step", "state", "role", "assignee", "payload_sha256")
    shown = {name: getattr(found, name) for name in names}
    return shown | {
        "about": found.content.get("about", ""),
        "deadline": found.deadline,
        "decided_at": found.decided_at,
        "created_at": found.created_at,
    }


def task_detail(
    found: Task, stands: Standing, events: Sequence[TaskEvent], actor: Principal, evidence: Evidence
) -> Json:
    """All that is needed to decide on a task."""
    content = found.content
    last = next((one for one in reversed(events) if one.kind in ENDS), None)
    decision = last.payload if last is not None and last.kind in DECISIONS else {}
    answers = list(_evidence(content, actor, evidence))
    return task_json(found) | {
        "stakes": content.get("stakes", ""),
        "starter": found.starter,
        "for": {"people": sorted(stands.people), "roles": sorted(stands.roles)},
        "shown": content.get("shown", {}),
        "form": content.get("form", {}),
        "values": content.get("values", {}),
        "effects": effects_json(decision.get("will", content.get("effects", {}))),
        "differences": differences(content, decision.get("values")),
        "evidence": [{name: value for name, value in one.items() if name != "verdicts"} for one in answers],
        "verdicts": [verdict | {"answer_id": one["answer_id"]} for one in answers for verdict in one["verdicts"]],
        "labels": labels_of(events),
        "next_at": found.next_at,
        "erased": not content,
        "events": [event_json(event) for event in events],
    }


def differences(content: Mapping[str, Any], values: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """By name, what differs, a sentence or line at a time: of what is shown against what it is to be compared with, and
    of the values that were decided on against the draft.
    """
    shown, draft = content.get("shown", {}), content.get("values", {})
    found = {}
    for name, former in content.get("against", {}).items():
        now = draft.get(name, shown.get(name))
        found[name] = text_diff(as_text(former), as_text(now))
    for name, value in (values or {}).items():
        if name in draft and draft[name] != value:
            found[f"{name} (edited)"] = text_diff(as_text(draft[name]), as_text(value))
    return {name: lines for name, lines in found.items() if lines}


def as_text(value: Any) -> str:
    """A value as people compare it: texts as they are, all else as JSON, a member a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {canonical_json([one]).decode()[1:-1]}" for name, one in sorted(value.items()))
    if isinstance(value, list):
        return "\n".join(canonical_json([one]).decode()[1:-1] for one in value)
    return canonical_json([value]).decode()[1:-1]


def labels_of(events: Sequence[TaskEvent]) -> list[str]:
    """The labels that a task has after these steps."""
    held: dict[str, None] = {}
    for event in events:
        if event.kind == MARKED and event.label:
            held[event.label] = None
        elif event.kind == UNMARKED:
            held.pop(event.label, None)
    return sorted(held)


def label_of(label: str) -> str:
    """A label as it is kept. Raises InvalidInput for what is none."""
    if not _LABEL.fullmatch(label):
        raise InvalidInput(f"a label is lower-case letters, digits and hyphens, at most 40: not {label[:80]!r}")
    return label


def event_json(event: TaskEvent) -> Json:
    """A step of a task, with what was said; what its opening says is the task itself."""
    said = {name: event.payload[name] for name in _SAID if event.payload.get(name) and event.kind != OPENED}
    label = {"label": event.label} if event.label else {}
    head = {"index": event.leaf, "kind": event.kind, "actor": event.actor, "created_at": event.created_at}
    return head | label | said


def _evidence(content: Mapping[str, Any], actor: Principal, evidence: Evidence) -> Iterator[Json]:
    """The answers that a task names in what it shows: how sure they are, what they cite, what the policy said."""
    text = canonical_json([content.get("shown", {}), content.get("values", {}), content.get("effects", {})]).decode()
    for answer_id in list(dict.fromkeys(_ANSWER.findall(text)))[:MOST_ANSWERS]:
        body = evidence(answer_id, actor)
        if body is None:
            continue
        yield {
            "answer_id": answer_id,
            "status": body["status"],
            "question": body.get("question", ""),
            "answer": body.get("answer", ""),
            "confidence": body.get("confidence"),
            "citations": [{name: one.get(name) for name in _OF_A_CITATION} for one in body.get("citations", ())],
            "verdicts": [dict(one) for one in body.get("policy", {}).get("verdicts", ())],
        }
