"""Drafts made of answers, of suggestions, and drafts tried beside what is live."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import FastWorkspace
from prompt_parts import ADMIN, APP, EDITOR, REVIEWER, ingest, prompt_text, release, saying, with_model, workspace_at

from kernel.errors import Conflict, GenerationFailed, InvalidInput, NotFound
from kernel.records import Principal, Question, Role
from kernel.storage.access import Withdrawals
from kernel.storage.erasure import ErasureRequest
from pipeline.prompts.anatomy import read_prompt
from pipeline.prompts.improve import by_rules
from pipeline.prompts.library import DEFAULT
from pipeline.prompts.playground import Trial
from pipeline.prompts.promote import key_facts

QUESTION = "The canteen opens at what hour on Fridays?"
PAGE = "# Canteen\n\nThe canteen opens at 11:30 on Fridays. Marta Lindqvist runs the canteen.\n"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with workspace_at(tmp_path) as workspace:
        ingest(workspace, tmp_path / "pages", canteen=PAGE)
        yield workspace


def test_an_answer_becomes_a_draft_with_a_case(made: FastWorkspace) -> None:
    answer = made.answering.ask(Question(QUESTION, EDITOR))
    assert answer["status"] == "answered"
    draft = made.promoter.promote(answer["id"], "canteen-hours", EDITOR)
    assert (draft.version.name, draft.version.version, draft.pinned) == ("canteen-hours", 1, "passages")
    anatomy = read_prompt(draft.version.template)
    (case,) = anatomy.cases
    assert (case["question"], case["context"][0]["title"]) == (QUESTION, "Canteen")
    assert "The canteen opens at 11:30" in case["context"][0]["text"]
    assert {"answers": True} in case["expect"]
    assert {"contains": "11:30"} in case["expect"]
    assert anatomy.header.tags == ["promoted"]
    assert made.prompts.state_of(made.prompts.find("canteen-hours")) == "draft"
    with pytest.raises(Conflict):
        made.promoter.promote(answer["id"], "canteen-hours", EDITOR)
    with pytest.raises(NotFound):
        made.promoter.promote(answer["id"], "mine", APP)


def test_an_abstention_and_restricted_documents(made: FastWorkspace, tmp_path: Path) -> None:
    none = made.answering.ask(Question("Which bridge did Amara Okonjo design?", EDITOR))
    if none["status"] == "abstained":
        made.promoter.promote(none["id"], "no-bridge", EDITOR)
        assert read_prompt(made.prompts.find("no-bridge").template).cases[0]["expect"] == [{"abstains": True}]
    source = made.catalog.source_id("pages", f"{tmp_path / 'pages'}/")
    (row,) = made.catalog.document_rows(source, ["canteen.md"]).values()
    made.catalog.set_groups({row: ("staff",)})
    staff = Principal("key_staff", Role.EDITOR, frozenset({"staff"}))
    answer = made.answering.ask(Question(QUESTION, staff))
    draft = made.promoter.promote(answer["id"], "for-staff", staff)
    assert draft.pinned == "snapshot"
    assert "11:30" not in draft.version.template
    assert read_prompt(draft.version.template).cases[0]["snapshot"] == answer["retrieval"]["snapshot"]


def test_an_erasure_says_that_a_draft_holds_a_copy(made: FastWorkspace) -> None:
    answer = made.answering.ask(Question(QUESTION, EDITOR))
    made.promoter.promote(answer["id"], "canteen-hours", EDITOR)
    document = answer["citations"][0]["document_id"]
    plan = made.erasures.plan(ErasureRequest(documents=(document,)))
    assert plan.kept["text of prompts"] == 1


def test_key_facts_are_numbers_and_names_that_the_question_lacks() -> None:
    answer = "Marta Lindqvist runs the canteen from 11:30 [c1]. It costs 4,50 euros [c2]."
    assert key_facts(answer, "Who runs the canteen?")[:2] == ["Marta Lindqvist", "11:30"]
    assert key_facts(answer, "Does Marta Lindqvist?")[0] == "11:30"
    assert key_facts("It is large [c12].", "Is it?") == []


def test_rules_suggest_and_fix(made: FastWorkspace) -> None:
    text = prompt_text(
        "mine", question="{{question}}", constraints="Please be appropriate and try to be short.", edge_cases="None."
    )
    made.prompts.save(text, EDITOR.id, "first")
    found = made.improver.improve("mine", EDITOR)
    codes = {(one["section"], one["code"], one["fixed"]) for one in found["findings"]}
    assert codes >= {
        ("constraints", "hedged", True),
        ("constraints", "vague", False),
        ("edge cases", "empty", True),
        ("output format", "cites", True),
        ("tests", "abstains", True),
        ("front matter", "owner", False),
    }
    assert (found["by"], found["draft"]["version"]) == ("rules", 2)
    draft = made.prompts.find("mine@2")
    assert draft.message == "Suggestions by rules for version 1"
    anatomy = read_prompt(draft.template)
    assert anatomy.sections["constraints"] == "Be appropriate and be short."
    assert len(anatomy.cases) == 2
    assert (found["tests"]["before"]["cases"], found["tests"]["after"]["cases"]) == (1, 2)
    assert found["tests"]["after"]["model"] == "extractive/sentence-selection-1"
    assert [one.kind for one in made.prompts.events("mine")] == []  # the tests of a suggestion are not recorded
    again, same = by_rules(draft.template)
    assert not [one for one in again if one.fixed]
    assert same == draft.template
    assert made.improver.improve("mine", EDITOR)["draft"] is None


def test_the_shipped_default_gets_a_draft_of_its_own(made: FastWorkspace) -> None:
    found = made.improver.improve(DEFAULT, EDITOR)
    assert found["draft"]["version"] == 2
    assert made.prompts.labels(DEFAULT)["production"] == 1


def test_a_model_suggests_by_the_library_s_own_prompt(tmp_path: Path) -> None:
    better = {"notes": ["It is plainer."], "sections": {"role": "You shorten one text for a newsletter."}}
    wrong = {"notes": [], "sections": {"role": "You shorten {{everything}}."}}
    server = saying(json.dumps(better), json.dumps(wrong))
    with workspace_at(tmp_path, **with_model(server)) as made:
        made.prompts.save(prompt_text("mine"), EDITOR.id, "first")
        found = made.improver.improve("mine", EDITOR)
        assert (found["by"], found["notes"], found["draft"]["version"]) == ("model", ["It is plainer."], 2)
        assert [one["section"] for one in found["prompt_diff"]] == ["role"]
        assert made.prompt_runner.stored.get(found["run"], EDITOR).body["prompt"]["name"] == "prompt-improvement"
        assert "name: mine" in server.seen[0].body["messages"][-1]["content"]
        with pytest.raises(GenerationFailed, match=r"no suggestion was made .*output format"):
            made.improver.improve("mine", EDITOR)
        assert len(made.prompts.versions("mine")) == 2
    server.close()


def test_a_draft_is_tried_beside_what_is_live(made: FastWorkspace) -> None:
    live = release(made, prompt_text("mine", question="{{question}}"))
    text = prompt_text("mine", question="Briefly: {{question}}", role="Another role.")
    size = made.ledger.size()
    found = made.playground.compare(Trial(EDITOR, text, question=QUESTION))
    assert (found["against"]["prompt"]["version"], found["draft"]["prompt"]["label"]) == (live.version, "draft")
    assert found["same"]  # sentences are picked without a model, whatever the prompt says
    assert found["draft"]["passages"] == found["against"]["passages"] != []
    assert {one["section"] for one in found["prompt_diff"]} == {"role", "question"}
    assert made.ledger.size() == size
    stored = made.playground.compare(Trial(EDITOR, reference="mine@1", against=DEFAULT, question=QUESTION))
    assert stored["against"]["prompt"]["name"] == DEFAULT
    for wrong in (
        Trial(EDITOR, text),
        Trial(EDITOR),
        Trial(EDITOR, text, "mine@1", question=QUESTION),
        Trial(EDITOR, prompt_text("mine"), question=QUESTION),
    ):
        with pytest.raises(InvalidInput):
            made.playground.compare(wrong)
    with pytest.raises(NotFound):
        made.playground.compare(Trial(EDITOR, prompt_text("other", question="{{question}}"), question=QUESTION))


def test_drafts_of_a_task_are_tried_with_a_model(tmp_path: Path) -> None:
    server = saying("Short.", "Shorter.")
    with workspace_at(tmp_path, **with_model(server)) as made:
        release(made, prompt_text("mine"))
        text = prompt_text("mine", task="Cut: {{text}}")
        found = made.playground.compare(Trial(EDITOR, text, inputs={"text": "many words"}))
        assert (found["draft"]["output"], found["against"]["output"], found["same"]) == ("Short.", "Shorter.", False)
        assert made.prompt_runner.stored.items(ADMIN, limit=9) == []
    server.close()


def test_what_a_policy_holds_back_is_not_shown_in_the_playground(made: FastWorkspace) -> None:
    held = "format: 1\nname: held\nthresholds: {review_below: 1.0}\n"
    made.policies.release(made.policies.add(held, ADMIN.id, "held").number, ADMIN.id)
    text = prompt_text(DEFAULT, question="{{question}}")
    found = made.playground.compare(Trial(EDITOR, text, question=QUESTION))
    assert (found["draft"]["status"], found["draft"]["answer"], found["draft"]["citations"]) == (
        "pending_review",
        "",
        [],
    )
    assert made.playground.compare(Trial(REVIEWER, text, question=QUESTION))["draft"]["answer"]


@pytest.mark.parametrize("how", ["restricted", "withdrawn"])
def test_what_not_everybody_may_see_any_more_is_not_copied(made: FastWorkspace, tmp_path: Path, how: str) -> None:
    """Who may see a document is asked when its text would be copied, not when the answer was made."""
    answer = made.answering.ask(Question(QUESTION, EDITOR))
    source = made.catalog.source_id("pages", f"{tmp_path / 'pages'}/")
    (row,) = made.catalog.document_rows(source, ["canteen.md"]).values()
    if how == "restricted":
        made.catalog.set_groups({row: ("staff",)})
    else:
        Withdrawals(made.database).withdraw([answer["citations"][0]["document_id"]], {"by": "key_admin"})
    draft = made.promoter.promote(answer["id"], "canteen-hours", ADMIN)
    assert draft.pinned == "snapshot"
    assert "11:30" not in draft.version.template


def test_an_erasure_says_that_a_draft_holds_what_was_asked(made: FastWorkspace) -> None:
    """A question that became a test case stays in the immutable text: whoever erases the answer is told."""
    answer = made.answering.ask(Question(QUESTION, EDITOR))
    made.promoter.promote(answer["id"], "canteen-hours", EDITOR)
    made.improver.improve("canteen-hours", ADMIN)  # its draft keeps the case, and says where that is from
    for request in (ErasureRequest(answers=(answer["id"],)), ErasureRequest(principals=(EDITOR.id,))):
        assert made.erasures.plan(request).kept["text of prompts"] == 2
    gone = made.erasures.erase(ErasureRequest(answers=(answer["id"],)), "asked for", "key_admin")
    assert gone.certificate["kept"]["text of prompts"] == 2
