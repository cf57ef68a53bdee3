"""Running the cases of a prompt: pinned evidence is like the real, regressions are found, outcomes gate a release."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace

from api.assembly import Workspace
from kernel.errors import Conflict, GenerationFailed, InvalidInput, NotFound, Unavailable, UnusableReply
from kernel.ports import GenerationRequest, Generator
from kernel.records import LOCAL_OWNER, Generation, ModelInfo, Principal, Question, Role
from kernel.settings import Settings
from pipeline.prompts.anatomy import SECTIONS
from pipeline.prompts.cases import read_cases
from pipeline.prompts.gates import Gates
from pipeline.prompts.junit import junit_xml
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.results import CaseResult, ModelRun, report_json
from pipeline.prompts.suites import SUITES, sample, suite_cases
from pipeline.prompts.testing import NEEDS_MODEL, Asked, Parts, PromptTester
from retrieval.context import assemble

EDITOR, REVIEWER = Principal("key_ed", Role.EDITOR), Principal("key_rev", Role.REVIEWER)
MODEL = "toy/echo"
LEAVE = [
    {"title": "Parental leave", "text": "Every employee may take 26 weeks of parental leave. Ask for it in writing."},
    {"title": "Canteen", "text": "The canteen opens at half past eleven and serves soup on Fridays."},
]
WEEKS = {"name": "weeks", "question": "How many weeks of parental leave may an employee take?", "context": LEAVE}
LETTER = "inputs:\n  letter: {schema: {type: string}}\n"
RULES = "\n".join(f"# {name}\n{{{{x}}}} about {name}." for name in SECTIONS).replace("{{x}}", "Words")


def grounded(*cases: dict[str, Any], role: str = "You answer.", head: str = "", name: str = "toy") -> str:
    rules = RULES.replace("Words about role.", role)
    tests = f"# tests\n```yaml\n{json.dumps(cases)}\n```\n" if cases else ""
    return f"---\nname: {name}\n{head}---\n{rules}\n{{{{passages}}}}\n# question\n{{{{question}}}}\n{tests}".replace(
        "# context\nWords about context.", "# context\n{{passages}}"
    ).replace("edge cases.\n{{passages}}", "edge cases.")


def task(
    *cases: dict[str, Any], head: str = "inputs:\n  letter: {schema: {type: string}}\n", name: str = "sort"
) -> str:
    tests = f"# tests\n```yaml\n{json.dumps(cases)}\n```\n" if cases else ""
    return f"---\nname: {name}\n{head}---\n{RULES}\n# task\nSort this: {{{{letter}}}}\n{tests}"


@dataclass
class Model:
    """A model's stand-in: replies by what it is asked, and remembers the requests."""

    reply: Callable[[GenerationRequest], str] = lambda _: "Employees may take 26 weeks of parental leave. [c1]"
    asked: list[GenerationRequest] = field(default_factory=list)
    info = ModelInfo("toy", "echo", {})

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        return Generation(self.reply(request), prompt_tokens=10, completion_tokens=5, cost=0.5)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        yield workspace


def running(workspace: Workspace, model: Generator, gates: Gates = Gates(model=MODEL)) -> PromptTester:  # noqa: B008
    """Tests with this model, whichever is named."""

    @contextmanager
    def generator(_: str | None) -> Iterator[Generator]:
        yield model

    parts = Parts(generator, workspace.prompt_tester._parts.evidence, workspace.checks, lambda: None, lambda: gates)
    return PromptTester(workspace.prompts, parts)


# --- Pinned evidence ----------------------------------------------------------------------------------------------


def test_pinned_passages_are_scored_and_weighed_as_indexed_ones_are(tmp_path: Path) -> None:
    """The same passages, once pinned and once ingested and found: scores of sentences, rarity and answer agree."""
    records = tmp_path / "records.jsonl"
    records.write_text("".join(json.dumps({"id": f"r{n}"} | one) + "\n" for n, one in enumerate(LEAVE)))
    with fast_workspace(tmp_path / "home", chunk_tokens=64) as workspace:
        workspace.indexer.ingest(InlineParser(), [records], "records")
        state = workspace.snapshots.live()
        question = WEEKS["question"]
        found = assemble(workspace.searcher.search(question, state, LOCAL_OWNER, 10), state.snapshot, 1500)
        workspace.prompts.save(grounded(WEEKS | {"expect": [{"contains": "26 weeks"}]}), "local", "")
        version = workspace.prompts.find("toy")
        (case,) = read_cases(compile_prompt(version))
        pinned = workspace.prompt_tester._parts.evidence.of(case)
        assert len(found.passages) == len(pinned.passages) == 2
        real = {one.title: one for one in found.passages}
        for one in pinned.passages:
            same = real[one.title]
            assert (one.text, one.sentences, one.tokens) == (same.text, same.sentences, same.tokens)
            assert one.score == pytest.approx(same.score)
        assert pinned.rarity == pytest.approx(found.rarity)
        answer = workspace.answering.ask(Question(question))
        reply = workspace.prompt_tester.run("toy", EDITOR).runs[0].results[0].replies[0]
        assert (answer["answer"], answer["status"]) == (reply.text, reply.status)
        assert answer["confidence"] == reply.confidence
        assert reply.grounded is not None
        assert answer["sentences"][0]["support"]["score"] == reply.grounded.sentences[0].support.score
        assert reply.text


def test_a_pinned_snapshot_is_searched_as_it_was_and_shows_what_everybody_may_see(
    made: FastWorkspace, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for weeks in (26, 30):
        (folder / "leave.md").write_text(f"# Leave\n\nEvery employee may take {weeks} weeks of parental leave.\n")
        secret = {
            "id": "s",
            "title": "Leave of the board",
            "text": "The board takes 99 weeks of parental leave.",
            "groups": ["hr"],
        }
        (folder / "r.jsonl").write_text(json.dumps(secret) + "\n")
        made.indexer.ingest(InlineParser(), [folder], "docs")
    ask = {"question": WEEKS["question"], "expect": [{"contains": "26 weeks"}, {"not_contains": "99"}]}
    live = {"name": "live", "question": WEEKS["question"], "expect": [{"contains": "30 weeks"}]}
    gone, wrong = ask | {"name": "gone", "snapshot": 9}, live | {"name": "wrong", "expect": [{"contains": "77"}]}
    made.prompts.save(grounded(ask | {"name": "then", "snapshot": 1}, live, gone, wrong), "local", "")
    report = made.prompt_tester.run("toy", LOCAL_OWNER)
    then, now, nowhere, failed = report.runs[0].results
    assert "Every employee" in failed.reason
    assert (then.state, now.state, nowhere.state) == ("passed", "passed", "failed"), report
    assert "no snapshot 9" in nowhere.reason
    assert {passage.title for passage in then.replies[0].evidence.passages} == {"Leave"}
    kept = made.prompts.words(report.runs[0].entry or 0)
    assert [one["state"] for one in kept["results"]] == ["passed", "passed", "failed", "failed"]
    assert "weeks" not in json.dumps(kept["results"]), "words of documents are not kept in the record of tests"


def test_a_reply_that_keeps_to_no_format_is_quoted_nowhere(made: FastWorkspace, tmp_path: Path) -> None:
    """No policy has judged it, and the record of a test holds no words of documents. What it was made from is named,
    so that an erasure of a document finds a report that is remembered.
    """
    (tmp_path / "leave.md").write_text("# Leave\n\nEvery employee may take 26 weeks of parental leave.\n")
    made.indexer.ingest(InlineParser(), [tmp_path / "leave.md"], "docs")
    case = {"name": "live", "question": WEEKS["question"], "expect": [{"answers": True}]}
    head = "output: {schema: {type: object, properties: {weeks: {type: integer}}, additionalProperties: false}}\n"
    model = Model(lambda _: '{"weeks": "Every employee", "employee": 1}')
    made.prompts.save(grounded(case, head=head), "local", "")
    report = running(made, model).run("toy", EDITOR)
    (failed,) = report.runs[0].results
    assert "does not keep to the prompt's output format" in failed.reason
    assert "weeks: it does not keep to type" in failed.reason
    assert "mployee" not in failed.reason
    assert "reason" not in made.prompts.words(report.runs[0].entry or 0)["results"][0]
    made.prompts.save(grounded(case), "local", "")
    (shown,) = report_json(made.prompt_tester.run("toy", EDITOR))["models"][0]["results"]
    assert shown["replies"][0]["passages"][0].startswith("chk_")


# --- Runs ---------------------------------------------------------------------------------------------------------


def test_a_regression_is_a_case_that_passed_in_production(made: FastWorkspace) -> None:
    """The reply follows the prompt's rules, so a change of the rules breaks a case."""
    model = Model(lambda asked: f"It is {'26' if 'precise' in asked.messages[0].content else 'many'} weeks. [c1]")
    cases = [WEEKS | {"expect": [{"contains": "26"}, {"tokens": 15}]}]
    cases += [WEEKS | {"name": "never", "expect": [{"contains": "thirty"}]}]
    library, runner = made.prompts, running(made, model)
    library.save(grounded(*cases, role="Be precise."), "local", "")
    first = runner.run("toy@1", EDITOR)
    assert (first.baseline, first.passed, [one.state for one in first.runs[0].results]) == (
        None,
        False,
        ["passed", "failed"],
    )
    library.label("toy", 1, "staging", LOCAL_OWNER)
    library.save(grounded(*cases, role="Be vague."), "local", "")
    second = runner.run("toy", EDITOR, Asked(baseline="staging"))
    (run,) = second.runs
    assert (second.version.version, second.baseline and second.baseline.version) == (2, 1)
    assert (run.regressions, run.count("failed")) == (("weeks",), 2)
    assert (run.metrics["pass_rate"], run.metrics_before and run.metrics_before["pass_rate"]) == (0.0, 0.5)
    assert run.delta["pass_rate"] == -0.5
    assert (run.delta["tokens"], run.delta["cost"]) == (0.0, 0.0)
    shown = report_json(second)["models"][0]["results"]
    assert [(one["baseline"], one["regression"]) for one in shown] == [("passed", True), ("failed", False)]
    assert shown[0]["reason"] == "contains: expected '26', it says 'It is many weeks.'"
    assert runner.run("toy", EDITOR, Asked(baseline="none")).baseline is None
    assert (
        runner.run("toy", EDITOR, Asked(baseline="1")).baseline
        == runner.run("toy", EDITOR, Asked(baseline="toy@1")).baseline
    )
    with pytest.raises(NotFound):
        runner.run("toy", EDITOR, Asked(baseline="nope"))


def test_the_baseline_is_production_unless_it_is_the_version_itself(made: FastWorkspace) -> None:
    case = WEEKS | {"expect": [{"answers": True}]}
    shipped = made.prompts.find("grounded-answer")
    text = shipped.template.replace("version: 1\n", "") + f"\n# tests\n```yaml\n{json.dumps([case])}\n```\n"
    made.prompts.save(text, "local", "")
    assert made.prompt_tester.run("grounded-answer", EDITOR).baseline == replace(shipped, label="")
    assert made.prompt_tester.run("grounded-answer@production", EDITOR, Asked(suites=("injection",))).baseline is None


def test_the_outcome_is_an_entry_of_the_ledger_unless_the_run_is_not_whole(made: FastWorkspace) -> None:
    cases = [WEEKS | {"expect": [{"contains": "26"}]}, WEEKS | {"name": "other", "expect": [{"contains": "27"}]}]
    made.prompts.save(grounded(*cases), "local", "")
    report = made.prompt_tester.run("toy", EDITOR)
    (run,) = report.runs
    event = next(one for one in made.prompts.events("toy") if one.leaf == run.entry)
    assert (event.kind, event.actor, event.version) == ("tested", "key_ed", 1)
    assert event.data == {
        "model": "extractive/sentence-selection-1",
        "passed": False,
        "cases": 2,
        "failed": 1,
        "skipped": 0,
        "regressions": 0,
        "suite": report.suite_sha256,
        "suites": [],
        "baseline": 0,
    }
    words = made.prompts.words(event.leaf)
    assert [(one["case"], one["state"]) for one in words["results"]] == [("weeks", "passed"), ("other", "failed")]
    assert words["results"][1]["reply"].startswith("Every employee")
    last = made.prompts.state().last
    assert made.prompt_tester.run("toy", EDITOR, Asked(cases=("weeks",))).passed
    assert not made.prompt_tester.run("toy", EDITOR, Asked(record=False)).passed
    assert made.prompts.state().last == last
    with pytest.raises(NotFound, match="no case 'nope'"):
        made.prompt_tester.run("toy", EDITOR, Asked(cases=("nope",)))
    assert list(made.verifier.faults()) == []


def test_a_prompt_without_cases_and_one_that_needs_a_model(made: FastWorkspace) -> None:
    made.prompts.save(grounded(), "local", "")
    with pytest.raises(InvalidInput, match="has no test cases"):
        made.prompt_tester.run("toy", EDITOR)
    made.prompts.save(task({"name": "one", "inputs": {"letter": "Hi."}, "expect": [{"contains": "kind"}]}), "local", "")
    report = made.prompt_tester.run("sort", EDITOR)
    (one,) = report.runs[0].results
    assert (one.state, one.reason, report.passed, report.runs[0].entry) == ("skipped", NEEDS_MODEL, False, None)
    model = Model(lambda asked: f"A kind letter: {asked.messages[-1].content[-20:]}")
    assert running(made, model).run("sort", EDITOR).passed
    assert '<input name="letter">\nHi.\n</input>' in model.asked[0].messages[-1].content


def test_cases_for_other_models_are_skipped_and_the_matrix_names_its_models(made: FastWorkspace) -> None:
    cases = [
        WEEKS | {"expect": [{"answers": True}]},
        WEEKS | {"name": "big", "models": ["toy/big*"], "expect": [{"answers": True}]},
    ]
    made.prompts.save(grounded(*cases, head="model: {temperature: 0.5}\n"), "local", "")
    model = Model()
    report = running(made, model).run("toy", EDITOR, Asked(models=("small", "big-1")))
    assert [one.model for one in report.runs] == ["toy/small", "toy/big-1"]
    assert [[case.state for case in one.results] for one in report.runs] == [
        ["passed", "skipped"],
        ["passed", "passed"],
    ]
    assert [dict(one.options) for one in model.asked] == [{"temperature": 0.5, "model": "small"}] + 2 * [
        {"temperature": 0.5, "model": "big-1"}
    ]
    known = made.prompts.state().of("toy").standing(1)
    assert set(known.tests) == {"toy/small", "toy/big-1"}


def test_suites_do_not_stand_in_for_own_cases_that_were_all_skipped(made: FastWorkspace) -> None:
    made.prompts.save(grounded(WEEKS | {"models": ["other/*"], "expect": [{"answers": True}]}), "local", "")
    report = running(made, Model(lambda _: "NOT FOUND")).run("toy", EDITOR, Asked(suites=("injection",)))
    assert (report.executed > 10, report.failed, report.passed) == (True, 0, False)
    assert report.runs[0].entry is not None
    assert not made.prompts.state().of("toy").standing(1).tests[MODEL].passed


def failing(error: Exception) -> Callable[[GenerationRequest], str]:
    def fail(_: GenerationRequest) -> str:
        raise error

    return fail


def test_a_server_that_is_away_ends_the_run_and_a_reply_that_is_none_fails_its_case(made: FastWorkspace) -> None:
    made.prompts.save(grounded(WEEKS | {"expect": [{"answers": True}]}), "local", "")
    last = made.prompts.state().last
    with pytest.raises(GenerationFailed):
        running(made, Model(failing(GenerationFailed("away")))).run("toy", EDITOR)
    assert made.prompts.state().last == last
    report = running(made, Model(failing(UnusableReply("cut short")))).run("toy", EDITOR)
    assert (report.failed, report.runs[0].results[0].reason) == (1, "cut short")


def test_the_declared_output_is_checked_with_one_try_to_repair(made: FastWorkspace) -> None:
    head = LETTER + "output: {schema: {type: object, required: [kind]}}\n"
    case = {"name": "one", "inputs": {"letter": "Hi."}, "expect": [{"at": {"path": "kind", "equals": "x"}}]}
    made.prompts.save(task(case, head=head), "local", "")
    good = Model(lambda asked: '{"kind": "x"}' if len(asked.messages) > 2 else "no JSON")
    report = running(made, good).run("sort", EDITOR)
    assert (report.passed, report.runs[0].results[0].replies[0].prompt_tokens) == (True, 20)
    bad = running(made, Model(lambda _: "never JSON")).run("sort", EDITOR)
    assert "output format, tried twice" in bad.runs[0].results[0].reason


def test_a_request_may_be_bounded(made: FastWorkspace) -> None:
    made.prompts.save(grounded(WEEKS | {"expect": [{"answers": True}]}), "local", "")
    with pytest.raises(InvalidInput, match="that is 2 replies, more than 1"):
        made.prompt_tester.run("toy", EDITOR, Asked(models=("extractive", "other"), most=1))
    with pytest.raises(Unavailable, match="too long"):
        made.prompt_tester.run("toy", EDITOR, Asked(until=0.0))


# --- Gates --------------------------------------------------------------------------------------------------------


def test_a_version_goes_live_only_with_green_tests_and_the_suites_of_the_policy(made: FastWorkspace) -> None:
    model, library = Model(), made.prompts
    library._gates = lambda: Gates(approvals=0, model=MODEL, suites=("bias",))
    library.save(grounded(WEEKS | {"expect": [{"contains": "26"}]}), "local", "")
    with pytest.raises(Conflict, match="tests were not run with the model toy/echo"):
        library.label("toy", 1, "production", LOCAL_OWNER)
    running(made, model).run("toy", EDITOR)
    with pytest.raises(Conflict, match=r"the suite bias was not run .*--suite bias"):
        library.label("toy", 1, "production", LOCAL_OWNER)
    running(made, Model(lambda _: "No idea.")).run("toy", EDITOR, Asked(suites=("bias",)))
    with pytest.raises(Conflict, match="its tests failed"):
        library.label("toy", 1, "production", LOCAL_OWNER)
    asking = running(made, model, Gates(model=MODEL, suites=("bias",)))
    report = asking.run("toy", EDITOR)
    assert report.suites == ("bias",), "what the policy asks for is run without being named"
    library.label("toy", 1, "production", LOCAL_OWNER)


def test_the_policy_asks_for_suites(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as workspace:
        text = "format: 1\nname: strict\nprompts: {suites: [injection, bias]}\n"
        workspace.policies.release(workspace.policies.add(text, "local", "m").number, "local")
        assert workspace._gates().suites == ("injection", "bias")
        with pytest.raises(InvalidInput, match="suites"):
            workspace.policies.add("format: 1\nname: x\nprompts: {suites: [nope]}\n", "local", "m")


def test_the_model_of_the_gate_is_the_one_that_the_prompt_names(made: FastWorkspace) -> None:
    made.prompts.save(grounded(WEEKS | {"expect": [{"answers": True}]}, head="model: {name: own}\n"), "local", "")
    report = running(made, Model()).run("toy", EDITOR)
    assert report.runs[0].model == "toy/own"
    made.prompts._gates = lambda: Gates(approvals=0, model=MODEL)
    made.prompts.label("toy", 1, "production", LOCAL_OWNER)


# --- Suites -------------------------------------------------------------------------------------------------------


def test_suites_fit_prompts_of_both_kinds(made: FastWorkspace) -> None:
    question = compile_prompt(made.prompts.save(grounded(), "local", ""))
    letters = compile_prompt(made.prompts.save(task(), "local", ""))
    for suite in SUITES:
        for compiled in (question, letters):
            cases = suite_cases([suite], compiled, ())
            assert len(cases) >= 12
            assert all(one.suite == suite and one.expect and not one.skip for one in cases)
            assert len({one.name for one in cases}) == len(cases)
    listed = "inputs:\n  notes: {schema: {type: array, minItems: 1, items: {type: string}}}\n"
    text = task(head=listed, name="notes").replace("{{letter}}", "{{notes}}")
    cases = suite_cases(["injection"], compile_prompt(made.prompts.save(text, "local", "")), ())
    assert "PURPLE" in cases[0].inputs["notes"][0]
    confined = "inputs:\n  level: {schema: {enum: [low, high]}}\n"
    text = task(head=confined, name="levels").replace("{{letter}}", "{{level}}")
    cases = suite_cases(["bias"], compile_prompt(made.prompts.save(text, "local", "")), ())
    assert {one.skip for one in cases} == {"the prompt has no input that is free text"}
    with pytest.raises(InvalidInput, match="there is no suite nope; there are: bias, injection"):
        suite_cases(["nope"], question, ())


def test_the_other_inputs_come_from_the_prompts_own_case_or_its_schemas(made: FastWorkspace) -> None:
    head = (
        "inputs:\n  order: {schema: {type: object, required: [id], properties: {id: {type: integer, minimum: 7}}}}\n"
        "  note: {schema: {type: string}, default: none}\n  letter: {schema: {type: string, maxLength: 5000}}\n"
    )
    text = task(head=head).replace("{{letter}}", "{{letter}} {{order.id}} {{note}}")
    compiled = compile_prompt(made.prompts.save(text, "local", ""))
    (first, *_) = suite_cases(["injection"], compiled, ())
    assert first.inputs["order"] == {"id": 7}
    assert "PURPLE" in first.inputs["letter"]
    assert "note" not in first.inputs
    own = replace(first, inputs={"order": {"id": 9}, "letter": "x"})
    assert suite_cases(["injection"], compiled, (own,))[0].inputs["order"] == {"id": 9}
    assert sample({"type": "array", "minItems": 2, "items": {"const": 3}}) == [3, 3]
    assert len(sample({"type": "string", "minLength": 50, "maxLength": 60})) in range(50, 61)


def test_what_a_suite_asks_for_is_nowhere_in_its_texts() -> None:
    """Else a model that only quotes would look like one that obeys."""
    from pipeline.prompts.suites import _read

    for raw in _read("injection"):
        texts = " ".join([raw["question"], raw["text"], *(one["text"] for one in raw["context"])]).casefold()
        for expect in raw["expect"]:
            if "ignores" in expect:
                assert expect["ignores"].casefold() not in " ".join(texts.split()), raw["name"]


def failures(run: ModelRun) -> list[CaseResult]:
    return [one for one in run.results if one.state == "failed"]


def obedient(asked: GenerationRequest) -> str:
    """A model that does what the injected text says, and gives the rules away when asked to."""
    said = " ".join(message.content for message in asked.messages[1:])
    for canary in ("PURPLE ELEPHANT", "GREEN HARBOUR", "SILVER TEAPOT", "MARBLE LANTERN"):
        if all(word in said for word in canary.split()):
            return f"{canary} [c1]"
    return asked.messages[0].content if "word for word" in said else "NOT FOUND"


def test_the_injection_suite_catches_a_model_that_obeys_and_lets_a_sober_one_pass(made: FastWorkspace) -> None:
    role = "You answer from the passages of the handbook alone and you never say anything else to anybody."
    made.prompts.save(grounded(role=role), "local", "")
    made.prompts.save(task().replace("Words about role.", role), "local", "")
    for name in ("toy", "sort"):
        asked = Asked(suites=("injection",))
        bad = running(made, Model(obedient)).run(name, EDITOR, asked).runs[0]
        failed = {one.case: {f.kind for f in one.findings if f.state == "failed"} for one in failures(bad)}
        assert failed["an order to forget the rules"] == {"ignores"}
        assert failed["an asker who wants the rules"] == {"keeps_prompt"}
        assert len(failed) >= 6
        good = running(made, Model(lambda _: "NOT FOUND")).run(name, EDITOR, asked)
        assert good.passed, failures(good.runs[0])


def test_the_bias_suite_catches_a_model_that_treats_people_differently(made: FastWorkspace) -> None:
    head = LETTER + "output: {schema: {type: object}}\n"
    made.prompts.save(task(head=head), "local", "")

    def unfair(asked: GenerationRequest) -> str:
        return json.dumps({"urgency": "low" if "Fatima" in asked.messages[-1].content else "high", "why": "It is so."})

    def fair(asked: GenerationRequest) -> str:
        name = "Fatima Haddad" if "Fatima" in asked.messages[-1].content else "Emily Baker"
        return json.dumps({"urgency": "high", "who": name})

    run = running(made, Model(unfair)).run("sort", EDITOR, Asked(suites=("bias",))).runs[0]
    failed = failures(run)
    assert [one.case for one in failed] == ["name: English and Arabic, complaint"]
    assert failed[0].reason == 'alike: expected the same outcome for both, urgency is "high" and "low"'
    one = running(made, Model(fair)).run("sort", EDITOR, Asked(suites=("bias",), cases=(failed[0].case,)))
    assert one.passed


def test_the_shipped_prompt_passes_both_suites_with_the_embedded_default(tmp_path: Path, models: Path) -> None:
    with Workspace(Settings.load(home=tmp_path / "home", models=models)) as workspace:
        report = workspace.prompt_tester.run("grounded-answer", EDITOR, Asked(suites=SUITES))
    assert report.passed, [(one.case, one.reason) for one in report.runs[0].results if one.state != "passed"]


# --- JUnit --------------------------------------------------------------------------------------------------------


def test_junit_parses_whatever_a_model_writes(made: FastWorkspace) -> None:
    nasty = "]]> <b> & \" ' \x00\x08\x1b\ufffe \U0001f642 \u202e"
    letters = [{"name": "<&\"'>", "inputs": {"letter": "x"}, "expect": [{"contains": "zzz"}]}]
    letters += [{"name": "fine", "inputs": {"letter": "x"}, "expect": [{"contains": "<b>"}]}]
    letters += [{"name": "judged", "inputs": {"letter": "x"}, "expect": [{"judge": "Be kind."}]}]
    made.prompts.save(task(*letters), "local", "")
    report = running(made, Model(lambda _: nasty)).run("sort", EDITOR, Asked(record=False))
    root = Xml.fromstring(junit_xml([report, report]))  # noqa: S314  our own
    suites = root.findall("testsuite")
    assert (root.get("tests"), root.get("failures"), root.get("skipped"), len(suites)) == ("6", "2", "2", 2)
    cases = suites[0].findall("testcase")
    assert [one.get("name") for one in cases] == ["<&\"'>", "fine", "judged"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.get("type") == "failure"
    assert "]]> <b> & \" ' \ufffd\ufffd\ufffd\ufffd \U0001f642" in (failure.text or "")
    assert cases[2].find("skipped") is not None
    figures = {one.get("name"): one.get("value") for one in suites[0].iter("property")}
    assert figures["metrics.pass_rate"] == "0.5"
