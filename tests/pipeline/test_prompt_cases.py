"""Cases of prompts: what is wrong with one is named when its version is saved; words are exchanged whole, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fast_parts import fast_workspace
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvalidInput
from kernel.ids import sha256
from kernel.records import PromptVersion
from pipeline.prompts.anatomy import SECTIONS
from pipeline.prompts.cases import WANTED, Case, exchanger, neutral, read_cases
from pipeline.prompts.rendering import Compiled, compile_prompt

RULES = "\n".join(f"# {name}\nAbout {name}." for name in SECTIONS)
INPUT = (
    "inputs:\n  letter: {schema: {type: string}}\n  level: {schema: {enum: [low, high]}, mark: plain, default: low}\n"
)
PASSAGES = [{"title": "Leave", "text": "Every employee has 28 days of leave."}]
GOOD: dict[str, Any] = {"name": "one", "question": "How many days?", "context": PASSAGES, "expect": [{"answers": True}]}
TASK: dict[str, Any] = {"name": "one", "inputs": {"letter": "Dear all."}, "expect": [{"contains": "all"}]}


def prompt_text(*cases: dict[str, Any], ask: str = "question", name: str = "toy") -> str:
    """A prompt with these cases (JSON is YAML, too)."""
    body = "{{question}}" if ask == "question" else "{{letter}} {{level}}"
    head = f"---\nname: {name}\n{INPUT if ask == 'task' else ''}---\n{RULES}\n# {ask}\n{body}\n"
    return head + (f"# tests\n```yaml\n{json.dumps(cases)}\n```\n" if cases else "")


def compiled(text: str) -> Compiled:
    return compile_prompt(PromptVersion("toy", 1, sha256(text), "", text))


def cases_of(*cases: dict[str, Any], ask: str = "question") -> tuple[Case, ...]:
    return read_cases(compiled(prompt_text(*cases, ask=ask)))


def expecting(*expect: dict[str, Any]) -> dict[str, Any]:
    return GOOD | {"expect": list(expect)}


def test_a_case_as_it_is_meant() -> None:
    (case,) = cases_of(GOOD | {"models": ["openai/*"], "expect": [{"forbids": ["a", "b"]}, {"cites": [1]}]})
    assert [(one.kind, one.wanted) for one in case.expect] == [("not_contains", ["a", "b"]), ("cites", [1])]
    assert (case.models, case.searches) == (("openai/*",), False)
    assert cases_of(GOOD | {"context": None, "snapshot": 3})[0].searches
    assert cases_of(TASK, ask="task")[0].inputs == {"letter": "Dear all."}
    assert cases_of() == ()


WRONG: list[tuple[dict[str, Any], str]] = [
    (GOOD | {"questoin": "x"}, "case 'one': questoin: Extra inputs"),
    ({"question": "Who?", "expect": [{"answers": True}]}, "case 1: name: Field required"),
    (GOOD | {"question": None}, "case 'one', question: Field required"),
    (GOOD | {"snapshot": 1}, "case 'one', snapshot: pin either"),
    (GOOD | {"context": [{"title": "x"}]}, "case 'one': context.0.text: Field required"),
    (GOOD | {"inputs": {"nope": 1}}, "case 'one', inputs: prompt toy has no input 'nope'"),
    (GOOD | {"expect": []}, "case 'one': expect: List should have at least 1"),
    (expecting({"contain": "x"}), r"case 'one', expect\[0\]: there is no kind 'contain'"),
    (expecting({"contains": "x", "cites": True}), r"case 'one', expect\[0\]: one kind each"),
    (
        expecting({"contains": "x"}, {"contains": 5}),
        r"case 'one', expect\[1\].contains: Input should be",
    ),
    (expecting({"cites": [2]}), r"case 'one', expect\[0\].cites: there is no passage 2"),
    (expecting({"cites": False}), r"case 'one', expect\[0\].cites"),
    (expecting({"supported": 1.5}), r"case 'one', expect\[0\].supported: Input should be less than"),
    (expecting({"matches": "(a"}), r"case 'one', expect\[0\].matches: a pattern that cannot be used"),
    (expecting({"matches": "(?=a)"}), r"case 'one', expect\[0\].matches: a pattern that cannot be used"),
    (expecting({"similar": {"to": "x"}}), r"case 'one', expect\[0\].similar: at_least: Field required"),
    (expecting({"number": {"within": 1}}), r"case 'one', expect\[0\].number: say either equals"),
    (expecting({"number": {"at_least": 1, "within": 1}}), r"case 'one', expect\[0\].number: within goes with equals"),
    (expecting({"at": {"path": "a..b", "equals": 1}}), r"case 'one', expect\[0\].at: path: "),
    (expecting({"at": {"path": "a"}}), r"case 'one', expect\[0\].at: say what it must be"),
    (expecting({"json": {"type": "nonsense"}}), r"case 'one', expect\[0\].json: not a JSON Schema"),
    (expecting({"json": {"$ref": "http://x"}}), r"case 'one', expect\[0\].json: a schema may only refer to itself"),
    (expecting({"alike": 0.9}), "case 'one', swap: `swap` and the expectation `alike` go together"),
    (expecting({"alike": 0.9}) | {"swap": {"Ann": "Bob"}}, "case 'one', swap: none of these words"),
]


@pytest.mark.parametrize(("case", "what"), WRONG)
def test_a_fault_names_the_case_and_its_member(case: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        cases_of(case)


def test_faults_of_cases_of_a_task() -> None:
    for case, what in (
        (TASK | {"question": "Who?"}, "case 'one', question: this prompt has a section 'task'"),
        (TASK | {"inputs": {}}, "case 'one', inputs: prompt toy needs the input 'letter'"),
        (TASK | {"inputs": {"letter": 5}}, "case 'one', inputs: the input 'letter'"),
        (TASK | {"expect": [{"abstains": True}]}, r"case 'one', expect\[0\].abstains: only prompts with"),
    ):
        with pytest.raises(InvalidInput, match=what):
            cases_of(case, ask="task")


def test_two_cases_of_one_name_and_values_that_json_lacks() -> None:
    with pytest.raises(InvalidInput, match="case 'one': there are two cases"):
        cases_of(GOOD, GOOD)
    text = prompt_text(TASK, ask="task").replace('"Dear all."', "2026-01-01")
    with pytest.raises(InvalidInput, match=r"case 'one': a value that JSON does not have .*quotes"):
        read_cases(compiled(text))


def test_saving_a_version_reads_its_cases(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as workspace:
        with pytest.raises(InvalidInput, match=r"case 'one', expect\[0\]: there is no kind 'nope'"):
            workspace.prompts.save(prompt_text(expecting({"nope": 1})), "local", "")
        assert workspace.prompts.save(prompt_text(GOOD), "local", "").version == 1


def test_every_kind_is_judged_by_a_function() -> None:
    from pipeline.prompts.assertions import CHECKS

    assert CHECKS.keys() == WANTED.keys()


WORDS = st.sampled_from(["Ann", "Bob", "she", "he", "Annex", "Ann-Marie", "x", "28", "59", ".", " ", "\n", "é", "_"])
SWAP = {"Ann": "Bob", "she": "he", "28": "59"}


@given(st.lists(WORDS, max_size=12))
def test_exchanging_twice_changes_nothing_and_marks_hide_the_exchange(pieces: list[str]) -> None:
    text = "".join(pieces)
    change, mark = exchanger(SWAP), neutral(SWAP)
    assert change(change(text)) == text
    assert mark(change(text)) == mark(text)


@given(st.lists(st.sampled_from(["Ann", "Bob", "she", "he", "other", "28", "59"]), max_size=10))
def test_words_are_exchanged_one_by_one(words: list[str]) -> None:
    """Against the plain definition: each word alone, by a table."""
    table = {**SWAP, **{there: here for here, there in SWAP.items()}}
    assert exchanger(SWAP)(" ".join(words)) == " ".join(table.get(word, word) for word in words)


def test_only_whole_words_are_exchanged_and_one_mark_stands_for_a_chain() -> None:
    assert (
        exchanger({"he": "she", "Maria": "Martin"})("Maria said he saw the Mariah") == "Martin said she saw the Mariah"
    )
    mark = neutral({"her": "his", "hers": "his", "their": "his"})
    assert len({mark(word) for word in ("her", "his", "hers", "their")}) == 1
