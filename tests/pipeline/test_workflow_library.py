"""The life of workflows: saved, piloted, reviewed by another person, live by what they have shown, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch
from workflow_texts import ADMIN, APP, EDITOR, FINDING, REVIEWER, workflow_text

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from kernel.records import Principal, Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.workflows import Workflows
from pipeline.workflows.chooser import Item
from pipeline.workflows.gates import Gates, Proofs
from pipeline.workflows.library import WorkflowLibrary, workflows_in
from pipeline.workflows.spec import Workflow
from pipeline.workflows.state import LibraryState

AGENT = {"id": "look", "kind": "agent", "with": {"goal": "Find out."}}


class Shown:
    """What versions have shown, as a test says it."""

    def __init__(self) -> None:
        self.green: dict[str, int] = {}
        self.items = [Item("budget", green=False, why="it has none")]
        self.gates = Gates()

    def autonomy(self, workflow: Workflow) -> Sequence[Item]:
        return self.items if any(step.kind == "agent" for step in workflow.steps) else ()


@pytest.fixture
def made() -> Iterator[FastWorkspace]:
    with scratch() as home, fast_workspace(home) as workspace:
        yield workspace


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def library(made: FastWorkspace, shown: Shown) -> WorkflowLibrary:
    proofs = Proofs(lambda digest: shown.green.get(digest, 0), shown.autonomy)
    return WorkflowLibrary(Workflows(made.database), lambda: shown.gates, proofs, shipped=dict)


def approved(library: WorkflowLibrary, shown: Shown, text: str) -> int:
    """A version that has everything that it needs to go live."""
    version = library.save(text, EDITOR.id, "a change")
    library.submit(version.name, version.version, EDITOR)
    library.approve(version.name, version.version, REVIEWER)
    shown.green[version.sha256] = 2
    return version.version


def test_a_version_goes_live_only_with_all_that_it_needs(library: WorkflowLibrary, shown: Shown) -> None:
    version = library.save(workflow_text(), EDITOR.id, "first", 0)
    assert library.state_of(version) == "draft"
    assert library.missing(version) == [
        "it has 0 of 1 approvals (submit it for review)",
        "it has 0 of 2 green unattended runs (vouch workflows pilot, then let it run)",
    ]
    with pytest.raises(Conflict, match="cannot go live: it has 0 of 1 approvals"):
        library.release("weekly", 1, ADMIN)
    library.pilot("weekly", 1, REVIEWER)
    assert (library.state_of(version), library.labels("weekly")) == ("pilot", {"pilot": 1})
    library.submit("weekly", 1, EDITOR, "please")
    for person in (EDITOR, Principal(version.author, Role.ADMIN, None)):
        with pytest.raises(Forbidden, match="another person must"):
            library.approve("weekly", 1, person)
    library.approve("weekly", 1, REVIEWER)
    shown.green[version.sha256] = 1
    with pytest.raises(Conflict, match="1 of 2 green"):
        library.release("weekly", 1, ADMIN)
    shown.green[version.sha256] = 2
    library.release("weekly", 1, ADMIN, "go")
    assert (library.state_of(version), library.labels("weekly")) == ("live", {"live": 1})
    assert library.missing(version) == []
    with pytest.raises(Conflict, match="live already"):
        library.release("weekly", 1, ADMIN)


def test_another_version_has_shown_nothing_yet(library: WorkflowLibrary, shown: Shown) -> None:
    library.release("weekly", approved(library, shown, workflow_text()), ADMIN)
    second = library.save(workflow_text(title="Another"), EDITOR.id, "", 1)
    with pytest.raises(Conflict, match=r"0 of 1 approvals.*0 of 2 green"):
        library.release("weekly", second.version, ADMIN)
    shown.gates = Gates(approvals=0, pilot_runs=0, owner=False)
    library.release("weekly", second.version, ADMIN)


def test_the_policy_may_ask_for_more_runs_than_the_file(library: WorkflowLibrary, shown: Shown) -> None:
    number = approved(library, shown, workflow_text())
    shown.gates = Gates(pilot_runs=5)
    assert library.missing(library.find(f"weekly@{number}")) == [
        "it has 2 of 5 green unattended runs (vouch workflows pilot, then let it run)"
    ]


def test_nobody_pilots_or_releases_what_has_no_owner(library: WorkflowLibrary, shown: Shown) -> None:
    number = approved(library, shown, workflow_text(owner=None))
    for act in (library.pilot, library.release):
        with pytest.raises(Conflict, match="names no owner"):
            act("weekly", number, ADMIN)


def test_an_agent_needs_a_green_checklist(library: WorkflowLibrary, shown: Shown) -> None:
    number = approved(library, shown, workflow_text(steps=[FINDING, AGENT]))
    with pytest.raises(Conflict, match=r"agent is not ready to act: budget \(it has none\)"):
        library.release("weekly", number, ADMIN)
    shown.items = [Item("budget", green=True, why="20 steps")]
    library.release("weekly", number, ADMIN)


def test_who_runs_which_version(library: WorkflowLibrary, shown: Shown) -> None:
    owner = Principal("key_owner", Role.EDITOR)
    library.save(workflow_text(), EDITOR.id, "")
    with pytest.raises(NotFound, match="no live version"):
        library.choose("weekly", REVIEWER)
    with pytest.raises(Forbidden, match="is draft: only a pilot or live one runs"):
        library.choose("weekly@1", ADMIN)
    library.pilot("weekly", 1, ADMIN)
    for person in (owner, EDITOR, REVIEWER, ADMIN):
        assert library.choose("weekly@pilot", person).version == 1
    with pytest.raises(Forbidden, match="its owner and reviewers"):
        library.choose("weekly@1", Principal("key_other", Role.EDITOR))
    for reference in ("weekly", "weekly@1", "weekly@9", "weekly@pilot"):
        with pytest.raises(NotFound):
            library.choose(reference, APP)
    library.release("weekly", approved(library, shown, workflow_text(title="Better")), ADMIN)
    assert library.choose("weekly", APP).version == library.choose("weekly@live", APP).version == 2
    library.end_pilot("weekly", ADMIN)
    with pytest.raises(Conflict, match="has no pilot"):
        library.end_pilot("weekly", ADMIN)
    library.retire("weekly", 0, ADMIN, "done with")
    with pytest.raises(NotFound, match="retired"):
        library.choose("weekly", ADMIN)
    assert library.live() == []
    library.retire("weekly", 0, ADMIN, undo=True)
    assert [one.version for one in library.live()] == [2]


def test_back_in_one_call_and_further_back(library: WorkflowLibrary, shown: Shown) -> None:
    for title in ("One", "Two", "Three"):
        library.release("weekly", approved(library, shown, workflow_text(title=title)), ADMIN)
    shown.green.clear()
    assert library.rollback("weekly", ADMIN, "it sent too much").version == 2
    assert library.rollback("weekly", ADMIN).version == 1
    with pytest.raises(Conflict, match="nothing to go back to"):
        library.rollback("weekly", ADMIN)
    moves = library.state().of("weekly").moves
    assert [(move.version, move.rollback) for move in moves] == [
        (1, False),
        (2, False),
        (3, False),
        (2, True),
        (1, True),
    ]
    library.release("weekly", 3, ADMIN)
    with pytest.raises(Conflict, match="put another version there first"):
        library.retire("weekly", 3, ADMIN)
    library.retire("weekly", 1, ADMIN)
    with pytest.raises(Conflict, match="retired"):
        library.rollback("weekly", ADMIN)


def test_edits_do_not_overwrite_each_other_and_texts_are_checked(library: WorkflowLibrary) -> None:
    library.save(workflow_text(), EDITOR.id, "", 0)
    with pytest.raises(PreconditionFailed):
        library.save(workflow_text(title="Mine"), EDITOR.id, "", 0)
    with pytest.raises(Conflict, match="already"):
        library.save(workflow_text(), EDITOR.id, "", 1)
    with pytest.raises(InvalidInput, match="store numbers versions"):
        library.save(workflow_text(version=3), EDITOR.id, "")
    with pytest.raises(InvalidInput, match="can be called"):
        library.save(workflow_text("export"), EDITOR.id, "")
    with pytest.raises(InvalidInput):
        library.save("name: weekly\nsteps: []\n", EDITOR.id, "")
    with pytest.raises(NotFound, match="no label staging"):
        library.find("weekly@staging")
    library.submit("weekly", 1, EDITOR)
    library.reject("weekly", 1, REVIEWER, "too much")
    assert library.state_of(library.find("weekly")) == "draft"


def test_what_came_with_the_program_is_live_until_it_is_moved(
    made: FastWorkspace, shown: Shown, tmp_path: Path
) -> None:
    (tmp_path / "weekly.yaml").write_text(workflow_text(version=1))
    proofs = Proofs(lambda digest: shown.green.get(digest, 0), shown.autonomy)
    library = WorkflowLibrary(
        Workflows(made.database), lambda: shown.gates, proofs, shipped=lambda: workflows_in(tmp_path)
    )
    assert [one.version for one in library.live()] == [1]
    assert library.choose("weekly", APP).author == "vouch"
    number = approved(library, shown, workflow_text(title="Ours"))
    library.release("weekly", number, ADMIN)
    assert (number, library.labels("weekly")) == (2, {"live": 2})
    assert library.rollback("weekly", ADMIN).version == 1
    (tmp_path / "weekly.yaml").write_text(workflow_text(version=1, title="Later program"))
    assert library.find("weekly@1").text == workflow_text(version=1)


def test_the_state_of_any_moment_follows_from_the_journal(library: WorkflowLibrary, shown: Shown) -> None:
    library.release("weekly", approved(library, shown, workflow_text()), ADMIN)
    library.pause("weekly", ADMIN, "holidays")
    with pytest.raises(Conflict, match="rest already"):
        library.pause("weekly", ADMIN)
    events = library.events("weekly")
    states = [LibraryState().after(events[:length]).of("weekly") for length in range(len(events) + 1)]
    assert [state.state_of(1) for state in states] == ["draft", "in_review", "approved", "live", "live"]
    assert [state.paused for state in states][-2:] == [False, True]
    assert states[-1] == library.state().of("weekly")
    erased = [replace(event, actor="") for event in events]
    assert LibraryState().after(erased).of("weekly").standing(1).approved
    library.pause("weekly", ADMIN, resume=True)
    assert not library.state().of("weekly").paused


def test_a_person_is_erased_and_what_they_did_still_counts(made: FastWorkspace, library: WorkflowLibrary) -> None:
    key, _ = made.keys.create(Role.REVIEWER, None, "somebody")
    person = Principal(key.id, Role.REVIEWER, None)
    library.save(workflow_text(), EDITOR.id, "begin")
    library.submit("weekly", 1, EDITOR)
    library.approve("weekly", 1, person, "from somebody")
    made.eraser.erase(ErasureRequest((), (key.id,)), "a request", "local")
    assert [(one.kind, one.actor) for one in library.events("weekly")] == [("submitted", EDITOR.id), ("approved", "")]
    assert library.words(library.events("weekly")[-1].leaf) == {}
    again = WorkflowLibrary(Workflows(made.database), shipped=dict)
    assert again.state().of("weekly").standing(1).approved
    assert key.id not in again.state().of("weekly").standing(1).approvers
    assert list(made.verifier.faults()) == []
