"""Steps over documents: what they find, whose rules they keep, and what they are pinned to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace
from prompt_parts import ADMIN, APP, EDITOR, prompt_text, release, saying, with_model, workspace_at
from workflow_parts import PEOPLE
from workflow_site import Site, step

from kernel.errors import IntegrityFailure, InvalidInput, NotFound
from kernel.records import LOCAL_OWNER, Choice, Principal, Question, Role
from kernel.settings import Settings
from pipeline.prompts.json_schema import schema_faults
from pipeline.prompts.runs import RunRequest
from pipeline.workflows.spec import Step, Workflow

PAGES = {
    "harbour": "The harbour office opens at 07:30. The harbour office is led by Ana Berg.",
    "contract-a": "The notice period of this agreement is 30 days. The fee is EUR 12,000 per year. "
    "The agreement begins on 1 March 2026. Assignment is not permitted.",
    "contract-b": "The notice period of this agreement is 90 days. The fee is EUR 50,000 per year.",
}
NOTICE = "What is the notice period of this agreement?"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A workspace with the toy embedder and a few pages."""
    with fast_workspace(tmp_path / "home") as made:
        yield filled(made, tmp_path)


def filled(made: FastWorkspace, folder: Path) -> Site:
    """The pages as a source."""
    found = Site(made)
    pages = folder / "pages"
    pages.mkdir()
    for name, text in PAGES.items():
        (pages / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    found.ingest(pages, "pages")
    return found


def schema_of(site: Site, kind: str, /, **given: Any) -> dict[str, Any]:
    """What a kind says that it puts out."""
    return dict(site.kinds[kind].output(Step.model_validate({"id": "x", "kind": kind, "with": given})))


def test_what_a_kind_puts_out_is_what_it_says_that_it_does(site: Site) -> None:
    fields = {"notice": {"question": NOTICE, "type": "duration"}, "law": {"question": "Which law?", "type": "text"}}
    labels = {"port": {"description": "harbour ships"}, "law": {"description": "agreement notice fee"}}
    golden = [{"question": "When does the harbour office open?", "documents": ["harbour.md"]}]
    steps = [
        step("retrieve", "retrieve", question=NOTICE, top_k=3),
        step("ask", "ask", question=NOTICE),
        step("classify", "classify", text="the fee of the agreement", labels=labels),
        step("extract", "extract", fields=fields, document="contract-a.md"),
        step("documents", "documents", name="contract-*"),
        step("neighbours", "graph", query="neighbours", entity="Ana Berg"),
        step("naming", "graph", query="documents", entity="Ana Berg"),
        step("ingest", "ingest", sources=["pages"]),
        step("evaluate", "evaluate", questions=golden, k=3),
    ]
    made = site.done({"steps": steps})
    for one in steps:
        assert schema_faults(made[one["id"]], schema_of(site, one["kind"], **one["with"])) == [], one["id"]
    assert made["neighbours"]["entity"]["name"] == "ana berg"
    assert [one["title"] for one in made["naming"]["items"]] == ["harbour"]
    assert made["classify"]["label"] == "law"
    assert made["ingest"]["differences"] == 0
    assert made["evaluate"]["hit"] == 1.0


def test_a_run_sees_the_documents_of_its_start_and_a_live_step_those_of_now(site: Site) -> None:
    steps = [
        step("before", "documents", name="late*"),
        step("wait", "echo", "before", wait="somebody"),
        step("pinned", "documents", "wait", name="late*"),
        step("live", "documents", "wait", name="late*", snapshot="live"),
        step("changed", "documents", "wait", changed_since="{{ run.snapshot }}", snapshot="live", text=4),
        step("asked", "ask", "wait", question=NOTICE),
    ]
    run = site.go(site.start({"steps": steps}).id)
    assert run.status == "waiting"
    (site.folders["pages"] / "late.md").write_text("# late\n\nThe late page.\n")
    (site.folders["pages"] / "harbour.md").write_text("# harbour\n\nThe harbour office is closed.\n")
    site.ingest(site.folders["pages"], "pages")
    PEOPLE["somebody"] = "go on"
    assert site.nudge(run).status == "done"
    made = {name: one.output for name, one in site.state(run).steps.items()}
    assert made["pinned"]["documents"] == []
    assert made["asked"]["retrieval"]["snapshot"] == run.said["pins"]["snapshot"]
    assert [one["path"] for one in made["live"]["documents"]] == ["late.md"]
    changed = {one["path"]: (one["change"], one["text"], one["cut"]) for one in made["changed"]["documents"]}
    assert changed == {"late.md": ("added", "# la", True), "harbour.md": ("changed", "# ha", True)}


def test_an_answer_is_recorded_once_a_key_and_replays_with_the_documents_it_was_kept_to(site: Site) -> None:
    within = frozenset(one.id for one in site.workspace.catalog.named("contract-b.md", 1, LOCAL_OWNER, 2))
    question = Question(NOTICE, within=within, key="run:step:")
    first = site.workspace.answering.ask(question)
    again = site.workspace.answering.ask(question)
    assert first["id"] == again["id"]
    assert first["ledger"] == again["ledger"]
    assert {one["document_id"] for one in first["citations"]} == set(within)
    assert "90 days" in first["answer"]
    assert site.workspace.replayer.replay(first["id"], LOCAL_OWNER)["identical"]
    other = site.workspace.answering.ask(Question("When does the harbour office open?", key="run:step:"))
    assert other["id"] != first["id"]


def test_documents_that_the_principal_may_not_see_are_in_no_step(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "all.jsonl").write_text(
        '{"id": "s-1", "title": "secret", "text": "The notice period of Ana Berg is 7 days.", "groups": ["board"]}\n'
    )
    site.ingest(secret, "secret")
    steps = [
        step("found", "retrieve", question="notice period of Ana Berg", top_k=50),
        step("listed", "documents"),
        step("named", "graph", query="documents", entity="Ana Berg"),
    ]
    outsider = Principal("key_out", Role.APP, frozenset())
    for who, sees in ((LOCAL_OWNER, True), (outsider, False), (Principal("b", Role.APP, frozenset({"board"})), True)):
        made = site.done({"steps": steps}, who=who)
        assert ("s-1" in {one["external_id"] for one in made["found"]["results"]}) is sees
        assert ("s-1" in {one["external_id"] for one in made["listed"]["documents"]}) is sees
        assert ("secret" in {one["title"] for one in made["named"]["items"]}) is sees
    taken = step("taken", "extract", fields={"notice": {"question": NOTICE, "type": "duration"}}, document="s-1")
    assert site.failed({"steps": [taken]}, who=outsider)["slug"] == "not-found"


def test_fields_are_typed_cited_and_from_the_named_document_alone(site: Site) -> None:
    fields = {
        "notice": {"question": NOTICE, "type": "duration", "required": True},
        "fee": {"question": "What is the fee per year?", "type": "money"},
        "begins": {"question": "When does the agreement begin?", "type": "date"},
        "assign": {"question": "Is assignment permitted?", "type": "boolean"},
    }
    made = site.done({"steps": [step("x", "extract", fields=fields, document="contract-a.md")]})["x"]
    values = {name: one["value"] for name, one in made["fields"].items()}
    assert values == {
        "notice": {"value": 30, "unit": "days", "days": 30.0},
        "fee": {"amount": 12000, "currency": "EUR"},
        "begins": "2026-03-01",
        "assign": False,
    }
    text = site.workspace.catalog.text(made["document"]["id"], 1)
    for one in made["fields"].values():
        cited = one["citation"]
        assert cited["quote"] == text[cited["start"] : cited["end"]]
        assert cited["document_id"] == made["document"]["id"]
        assert site.workspace.answers.get(one["answer"], LOCAL_OWNER)
    bare = site.done({"steps": [step("x", "extract", fields=fields, text=PAGES["contract-b"] + " It is renewed.")]})[
        "x"
    ]
    assert bare["fields"]["notice"]["value"]["days"] == 90.0
    cited = bare["fields"]["notice"]["citation"]
    assert (PAGES["contract-b"] + " It is renewed.")[cited["start"] : cited["end"]] == cited["quote"]
    assert "begins" in bare["missing"]
    assert bare["fields"]["begins"]["value"] is None
    lacking = {"law": {"question": "Which law governs Zanzibar?", "type": "text", "required": True}}
    failed = site.failed({"steps": [step("x", "extract", fields=lacking, document="contract-a.md")]})
    assert failed["slug"] == "missing"
    assert failed["output"]["missing"] == ["law"]


def test_an_abstention_is_an_answer_that_checks_judge(site: Site) -> None:
    asked = step("asked", "ask", question="Who won the chess cup of Zanzibar?")
    assert site.done({"steps": [asked]})["asked"]["status"] == "abstained"
    evidence = [{"name": "stands on documents", "evidence": {"supported": 1.0, "citations": 1}}]
    assert site.failed({"steps": [asked | {"checks": evidence}]})["slug"] == "check"


@pytest.mark.parametrize("approved", [True, False])
def test_an_answer_that_the_policy_holds_back_is_waited_for(site: Site, approved: bool) -> None:
    held = "format: 1\nname: held\noutput:\n  - {rule: all, always: true, then: review, deadline_hours: 2}\n"
    policies = site.workspace.policies
    policies.release(policies.add(held, ADMIN.id, "held").number, ADMIN.id)
    run = site.go(site.start({"steps": [step("asked", "ask", question=NOTICE)]}, who=APP).id)
    assert run.status == "waiting"
    review = site.workspace.review_desk.items(ADMIN, limit=5)[0]
    assert site.nudge(run).status == "waiting"
    if approved:
        site.workspace.review_desk.approve(review["id"], ADMIN)
    else:
        site.workspace.review_desk.reject(review["id"], "no", ADMIN)
    answer = site.outputs(site.nudge(run))["asked"]
    assert (answer["status"] == "abstained") is not approved
    assert bool(answer["answer"]) is approved
    assert len(site.workspace.answers.items(LOCAL_OWNER, limit=5)) == 1


def test_labels_fall_back_in_the_declared_way(site: Site) -> None:
    labels = {
        "port": {"description": "harbour office opens", "examples": ["when does the harbour open"]},
        "law": {"description": "agreement notice fee"},
    }
    least = {"score": 0.9, "margin": 0.01}
    triage = {"name": "ticket-triage", "inputs": {"ticket": "a fee"}, "label": "queue"}
    made = site.done(
        {
            "steps": [
                step("sure", "classify", text="harbour office opens", labels=labels),
                step("unsure", "classify", text="bananas", labels=labels, at_least=least, otherwise="other"),
                step("fallen", "classify", text="agreement notice fee", labels=labels, prompt=triage),
            ]
        }
    )
    assert made["sure"]["label"] == "port"
    assert made["sure"]["scores"]["port"] > made["sure"]["scores"]["law"]
    assert made["unsure"]["label"] == "other"
    assert made["fallen"]["label"] == "law"
    assert "needs a model" in made["fallen"]["why"]
    refused = step("x", "classify", text="bananas", labels=labels, at_least=least)
    assert site.failed({"steps": [refused]})["slug"] == "unsure"
    must = step("x", "classify", text="x", labels=labels, prompt={**triage, "fallback": "fail"})
    assert site.failed({"steps": [must]})["slug"] == "no-model"


def test_golden_questions_name_what_was_missed_and_what_should_not_have_been_answered(site: Site) -> None:
    golden = [
        {"question": NOTICE, "documents": ["contract-a.md", "contract-b.md"]},
        {"question": NOTICE, "documents": ["harbour.md"]},
        {"question": "Who won the chess cup of Zanzibar?", "documents": []},
        {"question": f"{NOTICE} ", "documents": []},
    ]
    made = site.done({"steps": [step("x", "evaluate", questions=golden, k=1)]})["x"]
    assert made["hit"] == 0.5
    assert made["decided"] == 0.75
    (miss,), (wrong,) = made["misses"], made["wrong"]
    assert miss["wanted"] == ["harbour.md"]
    assert miss["found"][0]["title"].startswith("contract")
    assert wrong["wanted"] == "abstained"
    assert wrong["question"] == f"{NOTICE} "
    before = len(site.workspace.answers.items(LOCAL_OWNER, limit=10))
    assert before == 0


def test_a_path_is_looked_for_between_two_names(site: Site) -> None:
    (site.folders["pages"] / "tie.md").write_text("# tie\n\nAna Berg met Tom Reed. Tom Reed met Eva Lind.\n")
    site.ingest(site.folders["pages"], "pages")
    ends = {"query": "path", "entity": "Ana Berg"}
    made = site.done(
        {
            "steps": [
                step("there", "graph", **ends, to="Eva Lind"),
                step("nowhere", "graph", **ends, to="Nobody At All"),
                step("unknown", "graph", query="neighbours", entity="Nobody At All"),
            ]
        }
    )
    assert made["there"]["items"][0]["entity"]["name"] == "ana berg"
    assert made["there"]["items"][-1]["entity"]["name"] == "eva lind"
    assert made["nowhere"] == {"entity": made["there"]["entity"], "items": []}
    assert made["unknown"] == {"entity": None, "items": []}
    assert (
        site.failed({"steps": [step("x", "graph", query="neighbours", entity="a", to="b")]})["slug"] == "invalid-input"
    )


def test_a_prompt_runs_at_the_version_of_the_runs_start(tmp_path: Path) -> None:
    with closing(saying('{"word": "one"}')) as server, workspace_at(tmp_path, **with_model(server)) as made:
        site = filled(made, tmp_path)
        schema = "output: {schema: {type: object, properties: {word: {type: string}}, required: [word]}}\n"
        first = release(made, prompt_text("shorten", header=schema))
        told = step("told", "prompt", "wait", name="shorten", inputs={"text": "long words"})
        assert schema_of(site, "prompt", name="shorten")["properties"]["json"]["required"] == ["word"]
        run = site.go(site.start({"steps": [step("wait", "echo", wait="prompt"), told]}).id)
        second = release(made, prompt_text("shorten", header=schema, task="Shorten otherwise: {{text}}"))
        made.prompts.retire("shorten", 0, EDITOR)
        PEOPLE["prompt"] = 1
        assert site.nudge(run).status == "done"
        output = site.state(run).of("told").output
        assert output["json"] == {"word": "one"}
        assert output["prompt"]["sha256"] == first.sha256 != second.sha256
        refs = site.state(run).of("told").data["refs"]
        assert made.prompt_runner.stored.get(refs["prompt_runs"][0], LOCAL_OWNER).id == output["id"]
        again = RunRequest("shorten", {"text": "long"}, LOCAL_OWNER, chosen=Choice(1, first.sha256), key="k")
        one, same = made.prompt_runner.run(again), made.prompt_runner.run(again)
        assert (one["id"], one["ledger"]) == (same["id"], same["ledger"])
        assert made.prompt_runner.run(replace(again, inputs={"text": "other"}))["id"] != one["id"]
        with pytest.raises(IntegrityFailure):
            made.prompt_runner.run(replace(again, chosen=Choice(1, second.sha256)))
        with pytest.raises(NotFound):
            schema_of(site, "prompt", name="nobody-wrote-this")
        with pytest.raises(InvalidInput):
            schema_of(site, "prompt", name="grounded-answer")
        with pytest.raises(InvalidInput):
            schema_of(site, "ask", prompt="shorten")


def test_another_model_than_the_runs_is_refused(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as made:
        site = filled(made, tmp_path)
        run = site.start({"steps": [step("x", "ask", question=NOTICE)]})
        assert run.said["pins"]["model"] == made.answering.model
    with closing(saying("At eleven. [c1]")) as server:
        settings = Settings.load(home=tmp_path / "home", chunk_tokens=48, **with_model(server))
        with FastWorkspace(settings) as other:
            later = Site(other)
            later.know(site.known["test"].spec)
            later.go(run.id)
            error = later.state(run).of("x").error
            assert error is not None
            assert error["slug"] == "model"
            assert "extractive/" in error["message"]


def test_a_workflow_within_a_workflow_waits_without_a_turn_and_ends_as_it_does(site: Site) -> None:
    child = {"name": "child", "steps": [step("a", "echo", value="{{ input.word }}")], "inputs": {"type": "object"}}
    site.know(Workflow.model_validate(child | {"output": {"word": "{{ steps.a.output }}"}}))
    outer = {"steps": [step("sub", "workflow", name="child", input={"word": "hello"})]}
    run = site.start(outer)
    site.runner.advance(run.id, 0)
    (inner,) = site.runs.children(run.id)
    assert site.runs.get(run.id).status == "waiting"
    assert site.runs.get(run.id).wake_at is None
    site.go(inner.id)
    assert site.go(run.id).status == "done"
    assert site.state(run).of("sub").output == {"run": inner.id, "output": {"word": "hello"}}
    broken = child | {"name": "broken", "steps": [step("a", "echo", fail=9, retryable=False)]}
    site.know(Workflow.model_validate(broken))
    failed = site.failed({"steps": [step("sub", "workflow", name="broken")]})
    assert failed["slug"] == "child"
    assert "at step a" in failed["message"]


def test_a_child_that_ends_while_its_parent_lets_go_is_not_missed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    child = {"name": "quick", "steps": [step("a", "echo", value=1)], "inputs": {"type": "object"}}
    site.know(Workflow.model_validate(child))
    run = site.start({"steps": [step("sub", "workflow", name="quick")]})
    release_as_it_is = site.runs.release

    def child_first(run_id: str, epoch: int, seen: int, wake_at: str | None) -> Any:
        if run_id == run.id:
            for one in site.runs.children(run.id):
                if one.status == "queued":
                    site.runner.advance(one.id, one.turn)
        return release_as_it_is(run_id, epoch, seen, wake_at)

    monkeypatch.setattr(site.runs, "release", child_first)
    site.runner.advance(run.id, 0)
    assert site.runs.get(run.id).status == "done"
