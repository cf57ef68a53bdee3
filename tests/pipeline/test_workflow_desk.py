"""Workflows as people look at them, out as files and in again, and made from what was asked once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from fast_parts import FastWorkspace, fast_workspace, scratch
from hypothesis import given
from hypothesis import strategies as st
from prompt_parts import ingest, prompt_text, release, saying, with_model, workspace_at
from workflow_texts import ADMIN, APP, EDITOR, FINDING, REVIEWER, workflow_text

from api.flows import Flows
from kernel.errors import InvalidInput, NotFound, PreconditionFailed
from kernel.records import Question
from kernel.storage.prompt_runs import PromptRuns
from kernel.storage.workflows import Workflows
from pipeline.prompts.exchange import Incoming
from pipeline.prompts.runs import PromptRunner, RunRequest
from pipeline.workflows.desk import Wanted, WorkflowDesk
from pipeline.workflows.drafts import new_draft
from pipeline.workflows.exchange import brought_in, draft_of, exported
from pipeline.workflows.gates import Gates
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.sections import sections_of


@pytest.fixture
def made() -> Iterator[FastWorkspace]:
    with scratch() as home, fast_workspace(home) as workspace:
        yield workspace


@pytest.fixture
def library(made: FastWorkspace) -> WorkflowLibrary:
    return WorkflowLibrary(Workflows(made.database), lambda: Gates(0, 0, owner=False), shipped=dict)


@pytest.fixture
def desk(library: WorkflowLibrary) -> WorkflowDesk:
    return WorkflowDesk(library)


def names(found: list[dict[str, object]]) -> list[object]:
    return [one["name"] for one in found]


def test_listings_by_words_tag_owner_state_and_date(library: WorkflowLibrary, desk: WorkflowDesk) -> None:
    library.save(workflow_text("ticket-triage", title="Sorts tickets", tags=["support"], owner="lead"), EDITOR.id, "")
    library.save(workflow_text("weekly", description="Figures of the week", review_by="2020-01-01"), EDITOR.id, "")
    library.release("weekly", 1, ADMIN)
    library.save(workflow_text("weekly", review_by="2999-01-01"), EDITOR.id, "")
    assert names(desk.items()) == ["ticket-triage", "weekly"]
    for wanted, found in (
        (Wanted(words="tick sort"), ["ticket-triage"]),
        (Wanted(words="triage retrieve"), ["ticket-triage"]),
        (Wanted(words="sort week"), []),
        (Wanted(tag="support"), ["ticket-triage"]),
        (Wanted(owner="lead"), ["ticket-triage"]),
        (Wanted(state="live"), ["weekly"]),
        (Wanted(state="draft"), ["ticket-triage", "weekly"]),
    ):
        assert names(desk.items(wanted)) == found
    assert names(desk.overdue()) == ["weekly"], "the live version counts"
    assert desk.item("weekly")["states"] == {"draft": [2], "live": [1]}
    assert [(one["name"], one["version"]) for one in desk.cards()] == [("weekly", 1)]
    assert "text" not in desk.card("weekly")
    with pytest.raises(NotFound):
        desk.card("ticket-triage")
    library.release("weekly", 2, ADMIN)
    assert desk.overdue() == []


def test_a_difference_names_members_and_steps(library: WorkflowLibrary, desk: WorkflowDesk) -> None:
    second = FINDING | {"id": "more", "with": {"question": "Else?"}}
    one = library.save(workflow_text(steps=[FINDING, second]), EDITOR.id, "")
    two = library.save(workflow_text(stakes="high", steps=[FINDING, second | {"timeout": "5m"}]), EDITOR.id, "")
    found = desk.difference(one, two)
    assert [(part["section"], part["change"]) for part in found["sections"]] == [
        ("stakes", "changed"),
        ("steps.more", "changed"),
    ]
    assert found["sections"][0]["lines"] == ["- stakes: low", "+ stakes: high"]
    assert "+   timeout: 5m" in found["sections"][1]["lines"]
    assert desk.difference(one, one)["same"]


@given(st.dictionaries(st.sampled_from(["title", "tags", "stakes"]), st.sampled_from(["low", "x: y", "# no", "a\nb"])))
def test_the_pieces_of_a_file_are_the_whole_file(members: dict[str, str]) -> None:
    text = f"# on top\n{yaml.safe_dump({'name': 'weekly', **members, 'steps': [FINDING, FINDING | {'id': 'other'}]})}"
    pieces = sections_of(text)
    assert "\n".join(pieces.values()).split() == text.split()
    assert pieces["head"] == "# on top"
    assert {"steps.find", "steps.other"} <= pieces.keys()


def test_history_tells_what_by_whom_and_why(library: WorkflowLibrary, desk: WorkflowDesk) -> None:
    library.save(workflow_text(), EDITOR.id, "begin")
    library.submit("weekly", 1, EDITOR, "please")
    library.approve("weekly", 1, REVIEWER, "fine")
    rows = desk.with_words(desk.history("weekly"))
    assert [(row["kind"], row["by"], row["comment"]) for row in rows] == [
        ("approved", "key_reviewer", "fine"),
        ("submitted", "key_editor", "please"),
        ("saved", "key_editor", "begin"),
    ]


def test_out_as_files_and_in_again(library: WorkflowLibrary) -> None:
    library.save(workflow_text(), EDITOR.id, "begin")
    library.save(workflow_text("daily"), EDITOR.id, "")
    items = exported(library)["items"]
    texts = [Incoming(one["text"], one["name"]) for one in items]
    report = brought_in(library, [*texts, Incoming("version: 4\n" + workflow_text("other"), "other")], ADMIN.id)
    assert names(report["unchanged"]) == ["daily", "weekly"]
    assert report["added"] == [{"name": "other", "version": 1, "place": "other"}]
    assert names(brought_in(library, [Incoming("steps: 1", "bad")], ADMIN.id)["failed"][0:0]) == []
    assert spec_of(library.find("other")).version is None
    copy = library.save(draft_of(library.find("weekly").text, "copy"), EDITOR.id, "")
    assert copy.name == "copy"


def test_a_new_draft_can_be_saved(made: FastWorkspace) -> None:
    library = Flows(made).library
    assert library.save(new_draft("first-one"), EDITOR.id, "").version == 1
    assert library.draft(new_draft("first-one", title="A: #title"))[0].name == "first-one"
    with pytest.raises(InvalidInput, match="no workflow can be made of this name"):
        new_draft("Not A Name")


def test_what_was_asked_once_becomes_a_draft(made: FastWorkspace, tmp_path: Path) -> None:
    ingest(made, tmp_path / "docs", one="# Registers\n\nAlpha Team keeps the register in Lisbon.\n")
    answer = made.answering.ask(Question("Where does Alpha Team keep the register?", APP))
    flows = Flows(made)
    draft = flows.workflow_promoter.promote(answer["id"], "register", APP)
    assert draft.text.startswith(f"# From the answer {answer['id']}.\n")
    spec = spec_of(draft)
    assert spec.example == {"question": "Where does Alpha Team keep the register?"}
    assert [step.kind for step in spec.steps] == ["retrieve", "ask", "deliver"]
    with pytest.raises(PreconditionFailed):
        flows.workflow_promoter.promote(answer["id"], "register", APP)
    with pytest.raises(NotFound):
        flows.workflow_promoter.promote(answer["id"], "other", EDITOR)


def test_a_run_of_a_prompt_becomes_a_draft(tmp_path: Path) -> None:
    with closing(saying("Short.")) as server, workspace_at(tmp_path, **with_model(server)) as made:
        release(made, prompt_text("shorten"))
        runner = PromptRunner(made.prompts, lambda: made.generator, made.policies, PromptRuns(made.database))
        run = runner.run(RunRequest("shorten", {"text": "long words"}, APP))
        draft = Flows(made).workflow_promoter.promote(run["id"], "shorten-it", APP)
        spec = spec_of(draft)
        assert spec.example == {"text": "long words"}
        assert spec.steps[0].with_ == {"name": "shorten", "inputs": {"text": "{{ input.text }}"}}


def test_a_prompt_is_told_which_workflows_use_it(made: FastWorkspace) -> None:
    release(made, prompt_text("shorten"))
    flows = Flows(made)
    steps = [
        {"id": "write", "kind": "prompt", "with": {"name": "shorten@1", "inputs": {"text": "{{ input.question }}"}}}
    ]
    asks = [{"id": "answer", "kind": "ask", "with": {"question": "{{ input.question }}"}}]
    flows.library.save(workflow_text("cuts", steps=steps), EDITOR.id, "")
    flows.library.save(workflow_text("asks", steps=asks), EDITOR.id, "")

    def used(name: str) -> list[tuple[str, str, int, str]]:
        found = made.prompt_uses.used_by(name, ADMIN, (flows.dependents,))
        return [(one.kind, one.name, one.version, one.detail) for one in found if one.name in ("cuts", "asks")]

    assert used("shorten") == [("workflow", "cuts", 1, "step write of draft version 1")]
    assert used("grounded-answer") == [("workflow", "asks", 0, "step answer of draft version 1")]
