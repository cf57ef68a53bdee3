"""The library of workflows: which version is live, and every way to save, review, pilot, release and take back one.

A version is a draft; a pilot, which its owner and reviewers run and watch; live, which anybody and its triggers run; or
retired. It goes live by what it has shown: green runs of exactly this text, the approval of another person, an owner,
and, where an agent decides in it, a green checklist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import Principal, Role, WorkflowVersion
from kernel.storage.versioned import COMMENTED, LABELLED, RETIRED, UNLABELLED, Happening
from kernel.storage.workflows import PAUSED, RESUMED, Workflows
from pipeline.histories import PROGRAM
from pipeline.standing import ask_review, give_approval, send_back
from pipeline.versioned_library import VersionedLibrary
from pipeline.workflows.gates import Gates, Proofs, check_gates, missing_now
from pipeline.workflows.lines import Fault
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.spec import Workflow
from pipeline.workflows.state import LIVE, PILOT, RETIRED_STATE, LibraryState, WorkflowState

RESERVED = frozenset({"check", "export", "import", "new", "overdue", "promote", "triggers", "estimate", "runs"})
"""Names that no workflow may have: they are addresses of the library itself."""
LABELS = (PILOT, LIVE)
LONGEST_MESSAGE = 4096
KEPT = 1024
"""Texts whose reading is kept."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,46}")

Check = Callable[[Workflow], Sequence[Fault]]
"""What a workflow might do better. Raises InvalidInput for one that cannot run: what its file alone does not show."""


class WorkflowLibrary(VersionedLibrary[WorkflowVersion, LibraryState]):
    """Workflows of a workspace: those that came with the program, and those that were saved. Safe between threads."""

    def __init__(
        self,
        store: Workflows,
        gates: Callable[[], Gates] = Gates,
        proofs: Proofs | None = None,
        check: Check = lambda _: (),
        shipped: Callable[[], Mapping[str, WorkflowVersion]] | None = None,
    ) -> None:
        super().__init__(store, LibraryState(), "workflow", shipped or shipped_workflows, lambda one: one.text)
        self._gates = gates
        self._proofs = proofs or Proofs()
        self._check = check

    # --- Reading --------------------------------------------------------------------------------------------------

    @property
    def gates(self) -> Gates:
        """What the policy in force asks of a version before it goes live."""
        return self._gates()

    def find(self, reference: str) -> WorkflowVersion:
        """The version of `NAME`, `NAME@LABEL` or `NAME@NUMBER`. A name alone is the live version, or the newest where
        none is live. Raises NotFound.
        """
        name, label = split_reference(reference)
        if label.isdecimal():
            return self._version(name, int(label))
        known = self.state().of(name)
        number = self.pointed(name, known, label or LIVE)
        if number is not None:
            return self._version(name, number)
        newest = self.versions(name)[0]
        if not label:
            return newest
        labels = ", ".join(sorted(self.labels(name, known))) or "none"
        raise NotFound(f"workflow {name} has no label {label}; it has: {labels}")

    def by_sha256(self, digest: str) -> WorkflowVersion:
        """The version of a hash, such as one that a run pinned. Raises NotFound."""
        shipped = next((one for one in self._shipped().values() if one.sha256 == digest), None)
        return shipped if shipped is not None else self._store.by_sha256(digest)

    def choose(self, reference: str, principal: Principal) -> WorkflowVersion:
        """The version that somebody starts: of a name alone the live one; by a label or number also the pilot, for its
        owner, its author, reviewers and admins. Raises NotFound, and Forbidden for a version that may not be run.
        """
        name, label = split_reference(reference)
        known = self.state().of(name)
        version = None
        if known.retired:
            raise NotFound(f"workflow {name} is retired")
        if label or self.pointed(name, known) is not None:
            version = self.find(reference)
        if version is not None and self.state_of(version, known) == LIVE:
            return version
        if principal.role == Role.APP:
            raise NotFound(f"no workflow {reference}")
        if version is None:
            self.versions(name)
            raise NotFound(f"workflow {name} has no live version; {name}@{PILOT} is its pilot, where it has one")
        state = self.state_of(version, known)
        if state != PILOT:
            raise Forbidden(f"version {version.version} of workflow {name} is {state}: only a pilot or live one runs")
        people = (version.author, spec_of(version).owner)
        if principal.role not in (Role.REVIEWER, Role.ADMIN) and principal.id not in people:
            raise Forbidden(f"version {version.version} of workflow {name} is a pilot: its owner and reviewers run it")
        return version

    def live(self) -> list[WorkflowVersion]:
        """The live version of every workflow that has one, by name."""
        state = self.state()
        found = []
        for name in sorted({*self._shipped(), *state.workflows}):
            known = state.of(name)
            number = self.pointed(name, known)
            if number is not None and known.state_of(number) != RETIRED_STATE:
                found.append(self._version(name, number))
        return found

    def state_of(self, version: WorkflowVersion, known: WorkflowState | None = None) -> str:
        """draft, in_review, approved, pilot, live or retired."""
        known = known or self.state().of(version.name)
        if not known.retired and self.pointed(version.name, known) == version.version:
            return LIVE
        return known.state_of(version.version)

    def labels(self, name: str, known: WorkflowState | None = None) -> dict[str, int]:
        """Every label of a workflow and the number of the version that it is on."""
        known = known or self.state().of(name)
        first = self.pointed(name, known)
        return dict(known.labels) | ({LIVE: first} if first else {})

    def switched_on(self, name: str, known: WorkflowState | None = None) -> bool:
        """Whether somebody put a workflow live: one that only came with the program starts nothing by itself."""
        return any(move.label == LIVE for move in (known or self.state().of(name)).moves)

    def pointed(self, name: str, known: WorkflowState, label: str = LIVE) -> int | None:
        """The number of the version that a label is on in some state; None where it is nowhere. `live` of a workflow
        that came with the program is on its text until it moves.
        """
        moved = any(move.label == label for move in known.moves)
        if moved or label != LIVE or name not in self._shipped():
            return known.labels.get(label)
        return self._shipped_number(name)

    def missing(self, version: WorkflowVersion, known: WorkflowState | None = None) -> list[str]:
        """What a version lacks to go live, each as a clause that says what to do."""
        known = known or self.state().of(version.name)
        if self.state_of(version, known) == LIVE:
            return []
        return missing_now(version, spec_of(version), known, self._gates(), self._proofs)

    def green_runs(self, version: WorkflowVersion) -> tuple[int, int]:
        """How many green unattended runs a version has, and how many it needs."""
        return self._proofs.green_runs(version.sha256), self._gates().runs_needed(spec_of(version))

    def check_live(self, version: WorkflowVersion, known: WorkflowState) -> None:
        """Raises Conflict that says what a version lacks to go live in a state."""
        check_gates(version, spec_of(version), known, self._gates(), self._proofs)

    def kept(self, name: str, version: WorkflowVersion) -> tuple[WorkflowVersion, ...]:
        """What must be stored before `live` moves to a version."""
        return self._with_shipped(name, version, moves_first=True)

    # --- Changing -------------------------------------------------------------------------------------------------

    def draft(self, text: str) -> tuple[WorkflowVersion, Sequence[Fault]]:
        """A text that can be saved, as version 0 of its workflow, and what it might do better. Raises InvalidInput that
        names its fault.
        """
        text = text.replace("\r\n", "\n")
        workflow = read_workflow(text)
        if workflow.version is not None:
            raise InvalidInput("leave out `version`: the store numbers versions")
        if workflow.name in RESERVED:
            raise InvalidInput(f"no workflow can be called {workflow.name}: choose another name")
        return WorkflowVersion(workflow.name, 0, sha256(text), text), self._check(workflow)

    def save(self, text: str, author: str, message: str, expected: int | None = None) -> WorkflowVersion:
        """Store a text as the next version of the workflow that it names, a draft.

        `expected` is the version that the change was made from (0: a new workflow). Raises InvalidInput that names what
        is wrong with the text, PreconditionFailed where somebody else saved meanwhile, Conflict where this text is a
        version already.
        """
        draft, _ = self.draft(text)
        if len(message) > LONGEST_MESSAGE:
            raise InvalidInput("the message is too long: say in a sentence what changed")
        return self._store.add(draft.name, draft.text, author, message, expected, self.newest_number(draft.name))

    def submit(self, name: str, number: int, actor: Principal, comment: str = "") -> None:
        """Ask for a version's review. Raises Conflict where it was asked for or given already."""
        version, approvals = self._version(name, number), self._gates().approvals
        self._write(
            actor.id,
            lambda state: [ask_review("workflow", version, state.of(name).standing(number), approvals, comment)],
            (version,),
        )

    def approve(self, name: str, number: int, actor: Principal, comment: str = "") -> None:
        """Approve a version in review. Raises Forbidden for its author and for who submitted it, Conflict where it is
        not in review or was approved by the same person.
        """
        version = self._version(name, number)
        self._write(
            actor.id,
            lambda state: [give_approval("workflow", version, state.of(name).standing(number), actor, comment)],
            (version,),
        )

    def reject(self, name: str, number: int, actor: Principal, reason: str) -> None:
        """Send a version in review back to its author. Raises Conflict where it is not in review."""
        version = self._version(name, number)
        self._write(
            actor.id,
            lambda state: [send_back("workflow", version, state.of(name).standing(number), reason)],
            (version,),
        )

    def comment(self, name: str, number: int, actor: Principal, comment: str) -> None:
        """Say something about a version; 0: about the workflow as a whole. Raises NotFound."""
        self.versions(name)
        keep = (self._version(name, number),) if number else ()
        self._write(actor.id, lambda _: [Happening(name, number, COMMENTED, "", {}, {"comment": comment})], keep)

    def pilot(self, name: str, number: int, actor: Principal, comment: str = "") -> None:
        """Let its owner and reviewers run a version. Raises Conflict where it is live or a pilot already, is retired,
        or has no owner where the policy asks for one.
        """
        version = self._version(name, number)

        def decide(state: LibraryState) -> Sequence[Happening]:
            known = state.of(name)
            now = self.state_of(version, known)
            if now in (LIVE, PILOT, RETIRED_STATE):
                raise Conflict(f"version {number} of workflow {name} is {now} already")
            if self._gates().owner and not spec_of(version).owner:
                raise Conflict(f"version {number} of workflow {name} names no owner: who watches its runs?")
            return [_labelled(version, PILOT, known.labels.get(PILOT, 0), comment)]

        self._write(actor.id, decide, (version,))

    def end_pilot(self, name: str, actor: Principal, reason: str = "") -> None:
        """Nobody runs the pilot any more. Raises Conflict where there is none."""
        self.versions(name)

        def decide(state: LibraryState) -> Sequence[Happening]:
            number = state.of(name).labels.get(PILOT)
            if number is None:
                raise Conflict(f"workflow {name} has no pilot")
            return [Happening(name, 0, UNLABELLED, PILOT, {"before": number}, {"comment": reason})]

        self._write(actor.id, decide)

    def release(self, name: str, number: int, actor: Principal, comment: str = "") -> None:
        """Put a version live, from the next run and trigger on. Raises Conflict that says what it lacks."""
        version = self._version(name, number)

        def decide(state: LibraryState) -> Sequence[Happening]:
            known = state.of(name)
            if self.state_of(version, known) == LIVE:
                raise Conflict(f"version {number} of workflow {name} is live already")
            self.check_live(version, known)
            return moved_live(version, known, self.pointed(name, known) or 0, comment)

        self._write(actor.id, decide, self.kept(name, version))

    def rollback(self, name: str, actor: Principal, reason: str = "") -> WorkflowVersion:
        """Put `live` back on the version before, at once and without a new approval; that version. Runs under way go on
        with what they pinned. Raises Conflict where there is none before, or it is retired.
        """
        self.versions(name)
        moves = self.state().of(name).moves
        number = self.state().of(name).before(LIVE)
        if number is None:
            raise Conflict(f"workflow {name} has no live version before this one: there is nothing to go back to")
        version = self._version(name, number)

        def decide(state: LibraryState) -> Sequence[Happening]:
            known = state.of(name)
            if known.moves != moves:
                raise Conflict(f"workflow {name} was moved meanwhile: look again")
            if known.retired or known.standing(number).retired:
                raise Conflict(f"version {number} of workflow {name}, which was before, is retired")
            data = {"sha256": version.sha256, "before": known.labels.get(LIVE, 0), "rollback": True}
            return [Happening(name, number, LABELLED, LIVE, data, {"comment": reason})]

        self._write(actor.id, decide, (version,))
        return version

    def retire(self, name: str, number: int, actor: Principal, reason: str = "", *, undo: bool = False) -> None:
        """Take a version out of use for good, or (number 0) the whole workflow, which then neither runs nor is
        triggered; `undo` brings it back. Raises Conflict for a version that is live or a pilot, or where nothing
        changes.
        """
        keep = (self._version(name, number),) if number else ()
        self.versions(name)

        def decide(state: LibraryState) -> Sequence[Happening]:
            known = state.of(name)
            what = f"version {number} of workflow {name}" if number else f"workflow {name}"
            on = [label for label, at in self.labels(name, known).items() if at == number]
            if number and on and not undo:
                raise Conflict(f"{what} is {on[0]}: put another version there first, or retire the whole workflow")
            if (known.standing(number).retired if number else known.retired) != undo:
                raise Conflict(f"{what} is {'not retired' if undo else 'retired already'}")
            return [Happening(name, number, RETIRED, "", {"retired": not undo}, {"comment": reason})]

        self._write(actor.id, decide, keep)

    def pause(self, name: str, actor: Principal, reason: str = "", *, resume: bool = False) -> None:
        """Let the triggers of a workflow rest: nothing but people starts it; `resume` ends that. Changes of documents
        meanwhile start it once it is over; what a clock, an event or another run would have started is left out.

        Raises Conflict where nothing changes.
        """
        self.versions(name)

        def decide(state: LibraryState) -> Sequence[Happening]:
            if state.of(name).paused != resume:
                raise Conflict(f"the triggers of workflow {name} {'do not rest' if resume else 'rest already'}")
            return [Happening(name, 0, RESUMED if resume else PAUSED, "", {}, {"comment": reason})]

        self._write(actor.id, decide)


def moved_live(
    version: WorkflowVersion, known: WorkflowState, before: int, comment: str, release: int | None = None
) -> list[Happening]:
    """The rows that put a version live: it is no pilot any more. `release`: the number of a set that does it."""
    found = [_labelled(version, LIVE, before, comment, release)]
    if known.labels.get(PILOT) == version.version:
        found.append(Happening(version.name, 0, UNLABELLED, PILOT, {"before": version.version}))
    return found


def _labelled(version: WorkflowVersion, label: str, before: int, comment: str, release: int | None = None) -> Happening:
    data = {"sha256": version.sha256, "before": before} | ({} if release is None else {"release": release})
    return Happening(version.name, version.version, LABELLED, label, data, {"comment": comment})


def split_reference(reference: str) -> tuple[str, str]:
    """Name and label (or number, or nothing) of a reference. Raises NotFound for a name that can be none."""
    name, _, label = reference.partition("@")
    if not _NAME.fullmatch(name):
        raise NotFound(f"no workflow {name}")
    return name, label


def spec_of(version: WorkflowVersion) -> Workflow:
    """What a version's text says; kept, since versions never change."""
    return _spec(version.text)


@lru_cache(maxsize=KEPT)
def _spec(text: str) -> Workflow:
    return read_workflow(text)


@cache
def shipped_workflows() -> Mapping[str, WorkflowVersion]:
    """The workflows that come with this version of the program, by name."""
    return workflows_in(Path(__file__).parent / "shipped")


def workflows_in(folder: Path) -> Mapping[str, WorkflowVersion]:
    """The workflows of a folder's files, each with a number of its own. Raises InvalidInput for a file that is none."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        workflow = read_workflow(text)
        if workflow.name != path.stem or workflow.version is None:
            raise InvalidInput(f"{path.name} must be named after its workflow and have a version")
        found[workflow.name] = WorkflowVersion(workflow.name, workflow.version, sha256(text), text, PROGRAM)
    return found
