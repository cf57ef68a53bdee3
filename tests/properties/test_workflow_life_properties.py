"""Whatever people do with a workflow in whatever order: nothing goes live without what it must have shown."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from fast_parts import fast_workspace, scratch
from hypothesis import given
from hypothesis import strategies as st
from workflow_texts import workflow_text

from kernel.errors import VouchError
from kernel.records import Principal, Role
from kernel.storage.versioned import APPROVED, LABELLED, REJECTED, SUBMITTED, Event
from kernel.storage.workflows import Workflows
from pipeline.workflows.gates import Proofs
from pipeline.workflows.library import WorkflowLibrary
from pipeline.workflows.state import LIVE, LibraryState

PEOPLE = [Principal(f"key_{name}", Role.ADMIN, None) for name in "abc"]
VERSIONS = 3
ACTS = ("submit", "approve", "reject", "pilot", "release", "rollback", "retire", "restore", "run", "ready", "ready")
Act = tuple[str, int, int]
_ACT = st.tuples(st.sampled_from(ACTS), st.integers(1, VERSIONS), st.integers(0, len(PEOPLE) - 1))


@dataclass
class Witness:
    """What somebody who only reads the journal says of each version."""

    submitter: dict[int, str] = field(default_factory=dict)
    approvers: dict[int, set[str]] = field(default_factory=dict)
    lived: set[int] = field(default_factory=set)

    def sees(self, event: Event, author: str, green: int) -> None:
        number = event.version
        if event.kind == SUBMITTED:
            self.submitter[number], self.approvers[number] = event.actor, set()
        elif event.kind == APPROVED:
            assert event.actor not in (author, self.submitter[number])
            self.approvers[number].add(event.actor)
        elif event.kind == REJECTED:
            self.approvers[number] = set()
        elif event.kind == LABELLED and event.label == LIVE:
            if number not in self.lived:
                assert self.approvers.get(number)
                assert green >= 2
                assert not event.data.get("rollback")
            self.lived.add(number)


@given(st.lists(_ACT, max_size=40))
def test_nothing_goes_live_without_what_it_must_have_shown(acts: list[Act]) -> None:
    with scratch() as home, fast_workspace(home) as made:
        green: dict[str, int] = {}
        store = Workflows(made.database)
        library = WorkflowLibrary(store, proofs=Proofs(lambda digest: green.get(digest, 0)), shipped=dict)
        authors = [PEOPLE[number % len(PEOPLE)] for number in range(VERSIONS)]
        saved = [library.save(workflow_text(title=f"T{n}"), who.id, "") for n, who in enumerate(authors)]
        witness, seen = Witness(), -1
        for kind, number, person in acts:
            with suppress(VouchError):
                act(library, green, (kind, number, person))
            for event in store.events(seen):
                version = saved[event.version - 1] if event.version else saved[0]
                witness.sees(event, version.author, green.get(version.sha256, 0))
                seen = event.leaf
            state = library.state()
            assert state == LibraryState().after(store.events())
            live = state.of("weekly").labels.get(LIVE)
            assert live is None or live in witness.lived
            shown = [] if live is None or state.of("weekly").retired else [live]
            assert [one.version for one in library.live()] == shown
        assert not list(made.verifier.faults())


def act(library: WorkflowLibrary, green: dict[str, int], wanted: Act) -> None:
    kind, number, person = wanted
    who = PEOPLE[person]
    if kind == "run":
        digest = library.find(f"weekly@{number}").sha256
        green[digest] = green.get(digest, 0) + 1
    elif kind == "ready":
        for step in ("submit", "approve", "run", "run"):
            with suppress(VouchError):
                act(library, green, (step, number, person if step == "submit" else (number + person) % len(PEOPLE)))
    elif kind == "reject":
        library.reject("weekly", number, who, "no")
    elif kind == "rollback":
        library.rollback("weekly", who)
    elif kind in ("retire", "restore"):
        library.retire("weekly", number if person else 0, who, undo=kind == "restore")
    else:
        getattr(library, kind)("weekly", number, who)
