"""Whatever people do with what a run asks, in whatever order: it ends once, nobody decides on their own, the effect is
exactly what the decision recorded and happens at most once, and the record verifies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch
from hypothesis import given
from hypothesis import strategies as st
from task_parts import STEPS, Site

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionRequired, Unauthenticated
from kernel.ids import canonical_json, sha256
from kernel.records import Principal, Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.runs import NewEvent
from kernel.storage.task_journal import ENDS, OPEN, standing

REFUSED = (Conflict, Forbidden, InvalidInput, NotFound, PreconditionRequired, Unauthenticated)
ROLES = (Role.REVIEWER, Role.REVIEWER, Role.REVIEWER, Role.ADMIN, Role.APP)
ACTS = ("show", "approve", "approve", "edit", "stale", "reject", "assign", "delegate", "escalate", "mark", "comment")
OTHERS = ("sweep", "late", "turn", "turn", "cancel", "resume", "erase", "again")
STEP = st.tuples(st.sampled_from((*ACTS, *OTHERS)), st.integers(0, 4), st.integers(0, 4))


class Office:
    """People 0 to 4, of whom 0 started the run, and 1 wrote the workflow; and the run."""

    def __init__(self, made: FastWorkspace) -> None:
        self.made, self.site = made, Site(made)
        self.people: list[Principal] = [made.keys.authenticate(made.keys.create(role, None)[1]) for role in ROLES]
        self.desk = self.site.office.desk
        self.desk._rules._authors = lambda _spec: [self.people[1].id]
        self.run_id = self.site.start(STEPS, self.people[0])
        self.site.drain(self.run_id)
        self.erased: set[str] = set()

    @property
    def tasks(self) -> list[str]:
        return [one.id for one in self.site.office.tasks.items(limit=99, run_id=self.run_id)]

    def do(self, act: str, who: int, other: int) -> None:
        """Take one step, if it makes sense now."""
        if not self.tasks:
            return
        ref, actor, key = self.tasks[0], self.people[who], self.people[other].id
        seen = self.site.office.seen(ref)
        acts: dict[str, Any] = {
            "show": lambda: self.desk.show(ref, actor),
            "approve": lambda: self.desk.approve(ref, actor, seen),
            "edit": lambda: self.desk.approve(ref, actor, seen, {"reply": f"Dear Ann, {other}"}),
            "stale": lambda: self.desk.approve(ref, actor, sha256(seen)),
            "reject": lambda: self.desk.reject(ref, "no", actor),
            "assign": lambda: self.desk.assign(ref, key, actor),
            "delegate": lambda: self.desk.delegate(ref, key, actor),
            "escalate": lambda: self.desk.escalate(ref, actor, key if other else ""),
            "mark": lambda: self.desk.mark(ref, f"label-{other % 2}", actor, off=other > 2),
            "comment": lambda: self.desk.comment(ref, "hm", actor),
            "sweep": self.site.office.watch.sweep,
            "late": lambda: self.site.office.watch.sweep("2100-01-01T00:00:00.000000+00:00") if who == 0 else None,
            "turn": lambda: self.site.drain(self.run_id),
            "cancel": lambda: self.made.runs.interrupt(self.run_id, NewEvent("cancelled"), key) if who == 0 else None,
            "resume": lambda: self.made.runs.reopen(self.run_id, NewEvent("resumed"), key),
            "again": lambda: self.site.drain(self.run_id),
            "erase": lambda: self.erase(who) if other == 0 else None,
        }
        with suppress(*REFUSED):
            acts[act]()

    def erase(self, who: int) -> None:
        """Erase one of them."""
        person = self.people[who].id
        self.made.eraser.erase(ErasureRequest((), (person,)), "asked for it", "local")
        self.erased.add(person)

    def check(self) -> None:
        """What must hold whatever was done."""
        assert list(self.made.verifier.faults()) == []
        tasks, sent = self.site.office.tasks, f"{self.run_id}:send:"
        for ref in self.tasks:
            found, stands, events = tasks.whole(ref)
            ends = [event for event in events if event.kind in ENDS]
            assert len(ends) == (found.state != OPEN)
            assert standing(found.role, found.deadline, found.content, events) == stands
            for event in ends:
                assert event.kind == "expired" or event.actor not in (self.people[0].id, self.people[1].id)
        assert self.site.bench.echo.calls[sent] <= 1
        approved = [ref for ref in self.tasks if tasks.get(ref).state == "approved"]
        assert self.site.bench.echo.calls[sent] <= len(approved)
        self._check_effect(approved)

    def _check_effect(self, approved: list[str]) -> None:
        """What was done is what the decision says, as far as neither was erased."""
        for event in self.made.runs.events(self.run_id):
            if event.kind == "done" and event.step == "send" and event.words:
                hashes = [
                    one.payload["effects"]["send"]
                    for ref in approved
                    for one in self.site.office.tasks.events(ref)
                    if one.kind == "approved" and one.payload
                ]
                assert not hashes or sha256(canonical_json(event.words["with"])) in hashes


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(st.lists(STEP, min_size=4, max_size=24))
def test_whatever_people_do(steps: list[tuple[str, int, int]]) -> None:
    with scratch() as home, fast_workspace(home) as made:
        office = Office(made)
        for step in steps:
            office.do(*step)
        office.site.drain(office.run_id)
        office.check()
