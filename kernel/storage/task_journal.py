"""What a task is, and what follows from its journal: pure, so that verification can derive it again.

A task is something that a run of a workflow asks of a person: to review what it is about to do, or to answer a
question. Its opening and every step after it are entries of the ledger. Entries say ids, hashes and states openly; who,
and every text, is their payload, which may be erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel.ids import canonical_json, sha256

REVIEW, QUESTION = "review", "question"
SORTS = (REVIEW, QUESTION)
OPEN, APPROVED, REJECTED, ANSWERED = "open", "approved", "rejected", "answered"
EXPIRED, CANCELLED = "expired", "cancelled"
STATES = (OPEN, APPROVED, REJECTED, ANSWERED, EXPIRED, CANCELLED)
DECISIONS = (APPROVED, REJECTED, ANSWERED)
"""What people decide. They, an expiry and a cancellation each end a task, in the state of the same name."""
ENDS = (*DECISIONS, EXPIRED, CANCELLED)
OPENED, VIEWED, COMMENTED, MARKED, UNMARKED = "opened", "viewed", "commented", "marked", "unmarked"
ASSIGNED, DELEGATED, REMINDED, ESCALATED = "assigned", "delegated", "reminded", "escalated"
ANY_TIME = (COMMENTED, MARKED, UNMARKED)
"""What may be done with a task that is decided, too."""
ROLES = ("app", "editor", "reviewer", "admin")
"""What `escalate_to` may name besides a person."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that is to be opened. `key` is the same however often that is tried, so that it is opened once.

    `starter` started the run, and may not decide on a review. `role` and `person` may; one of them may be empty.
    `holders` is the role that one must hold to be delegated to. `values` is the draft that `form` (a JSON Schema) is
    of; `effects` is, by step, what it will be given once this is approved as it stands. Moments are ISO 8601, in UTC.
    """

    sort: str
    run_id: str
    workflow: str
    spec: str
    step: str
    key: str
    starter: str
    deadline: str
    about: str
    role: str = ""
    person: str = ""
    holders: str = "reviewer"
    shown: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)
    remind: Sequence[str] = ()
    escalate_at: str = ""
    escalate_to: str = ""
    delegate: bool = True
    stakes: str = ""


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A step of a task. `payload` is empty, and `actor` too, where they were erased."""

    leaf: int
    kind: str
    actor: str
    label: str
    payload: Mapping[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands at a moment: `state` is that of the moment, also where the deadline passed unwritten.

    `content` is the payload of its opening: what is shown, the form, what will happen; empty where it was erased.
    """

    id: str
    leaf: int
    sort: str
    run_id: str
    workflow: str
    spec: str
    step: str
    key: str
    role: str
    starter: str
    assignee: str | None
    state: str
    payload_sha256: str
    deadline: str
    next_at: str | None
    decided_at: str | None
    created_at: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from a journal: `roles` and `people` may decide, `next_at` is when something is to be done next."""

    state: str
    decided_at: str | None
    assignee: str | None
    roles: frozenset[str]
    people: frozenset[str]
    next_at: str | None
    next_kind: str | None


def standing(role: str, deadline: str, content: Mapping[str, Any], events: Iterable[TaskEvent]) -> Standing:
    """Fold a journal. `role` and `deadline` are those of the opening, `content` its payload, {} where it is gone."""
    roles, people, assignee = {role} - {""}, {str(content.get("person") or "")} - {""}, content.get("person") or None
    state, decided_at, told, escalated = OPEN, None, "", False
    for event in events:
        if state != OPEN:
            break
        if event.kind in ENDS:
            state, decided_at = event.kind, event.created_at
        elif event.kind == REMINDED:
            told = str(event.payload.get("moment", ""))
        elif event.kind in (ASSIGNED, DELEGATED, ESCALATED):
            escalated |= event.kind == ESCALATED
            assignee = event.payload.get("assignee") or (None if event.kind != ESCALATED else assignee)
            people |= {str(event.payload.get("assignee") or "")} - {""}
            roles |= {str(event.payload.get("role") or "")} - {""}
    next_at, next_kind = _next(deadline, content, told, escalated) if state == OPEN else (None, None)
    return Standing(state, decided_at, assignee, frozenset(roles), frozenset(people), next_at, next_kind)


def _next(deadline: str, content: Mapping[str, Any], told: str, escalated: bool) -> tuple[str, str]:
    moments = [(deadline, EXPIRED)]
    moments += [(moment, REMINDED) for moment in content.get("remind", ()) if told < moment < deadline]
    if content.get("escalate_at") and not escalated:
        moments.append((str(content["escalate_at"]), ESCALATED))
    return min(moments)


def reminder_at(content: Mapping[str, Any], moment: str) -> str:
    """The last of the reminders whose time has come: one that is given late stands for those before it."""
    return str(max((one for one in content.get("remind", ()) if one <= moment), default=""))


def what_sha256(shown: Mapping[str, Any], values: Mapping[str, Any], effects: Mapping[str, Any]) -> str:
    """What a decision is bound to: SHA-256 over what is shown, the values of the form, and what each effect will be
    given.
    """
    return sha256(canonical_json({"shown": dict(shown), "values": dict(values), "effects": dict(effects)}))


def effect_sha256(given: Mapping[str, Any]) -> str:
    """What is approved of one effect: SHA-256 over its filled-in `with`, as canonical JSON."""
    return sha256(canonical_json(given))


def content_of(new: NewTask) -> dict[str, Any]:
    """The payload of a task's opening, but for who opened it."""
    names = ("about", "person", "holders", "shown", "form", "values", "effects", "against", "escalate_at", "stakes")
    return {name: getattr(new, name) for name in names} | {
        "starter": new.starter,
        "escalate_to": new.escalate_to,
        "remind": sorted(new.remind),
        "delegate": new.delegate,
    }


def opened_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the entry of a task's opening says openly."""
    kept = ("sort", "run_id", "workflow", "spec", "step", "key", "role", "payload_sha256", "deadline")
    return {name: row[name] for name in kept} | {"state": OPEN}
