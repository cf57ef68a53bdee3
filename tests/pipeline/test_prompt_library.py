"""The library: what callers get follows from the journal, and nothing goes live without what its gates ask for."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, VouchError
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.versioned import Event
from pipeline.prompts.gates import Gates
from pipeline.prompts.library import DEFAULT, Asker, PromptLibrary, shipped_prompt
from pipeline.prompts.state import LibraryState

ANN, BOB = Principal("key_ann", Role.EDITOR), Principal("key_bob", Role.REVIEWER)
ADMIN = Principal("key_admin", Role.ADMIN, None)
APP = Principal("key_app", Role.APP)
CASES = "\n\n# tests\n```yaml\n- name: one\n  question: Who?\n  expect: [{answers: true}]\n```\n"


def text(role: str = "You answer.", name: str = DEFAULT, tests: str = CASES) -> str:
    shipped = shipped_prompt().template.replace("version: 1\n", "").replace(f"name: {DEFAULT}", f"name: {name}")
    return shipped.replace("# role\n", f"# role\n{role} ", 1).rstrip() + tests


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.md").write_text("# Register\n\nAlpha Team keeps the register in Lisbon.\n")
        workspace.indexer.ingest(InlineParser(), [folder], "docs")
        yield workspace


@pytest.fixture
def library(made: FastWorkspace) -> PromptLibrary:
    return made.prompts


def asker(principal: Principal = APP, model: str = "extractive/x") -> Asker:
    return Asker(principal, None, model)


def approved(library: PromptLibrary, role: str, name: str = DEFAULT) -> int:
    """A version that passed every gate."""
    version = library.save(text(role, name), ANN.id, "why").version
    model = library._gates().model
    library.submit(name, version, ANN)
    library.approve(name, version, BOB)
    library.tested(name, version, ANN, {"model": model, "passed": True, "cases": 1, "failed": 0}, {})
    return version


def test_a_change_of_a_prompt_reaches_answers_by_its_label_and_goes_back(made: FastWorkspace) -> None:
    """From draft to live and back; each answer says which version it was made with."""
    library, question = made.prompts, Question("Who keeps the register?", APP)
    first = made.answering.ask(question)["prompt"]
    assert (first["name"], first["version"], first["label"]) == (DEFAULT, 1, "production")
    number = approved(library, "You are terse.")
    assert made.answering.ask(question)["prompt"]["version"] == 1
    library.label(DEFAULT, number, "production", ADMIN)
    second = made.answering.ask(question)
    assert second["prompt"]["version"] == number
    assert "You are terse." in made.answers.get(second["id"], LOCAL_OWNER).run["messages"][0]["content"]
    assert made.replayer.replay(second["id"], LOCAL_OWNER)["identical"]
    library.rollback(DEFAULT, ADMIN, reason="worse")
    assert made.answering.ask(question)["prompt"]["version"] == 1
    assert made.replayer.replay(second["id"], LOCAL_OWNER)["identical"]
    with pytest.raises(Conflict, match="nothing to go back to"):
        library.rollback(DEFAULT, ADMIN)
    assert list(made.verifier.faults()) == []


def test_nothing_goes_live_without_its_gates(library: PromptLibrary) -> None:
    number = library.save(text("You are terse."), ANN.id, "").version
    for step, missing in (
        (lambda: None, "0 of 1 approvals"),
        (lambda: library.submit(DEFAULT, number, ANN), "0 of 1 approvals"),
        (lambda: library.approve(DEFAULT, number, BOB), "tests were not run"),
        (lambda: _test(library, number, passed=False), "tests failed"),
    ):
        step()
        with pytest.raises(Conflict, match=missing):
            library.label(DEFAULT, number, "production", ADMIN)
    _test(library, number, passed=True)
    library.label(DEFAULT, number, "production", ADMIN)
    assert library.state_of(library.find(f"{DEFAULT}@{number}")) == "live"
    untested = library.save(text("You are wordy.", tests=""), ANN.id, "").version
    library.submit(DEFAULT, untested, ANN)
    library.approve(DEFAULT, untested, BOB)
    with pytest.raises(Conflict, match="no test cases"):
        library.label(DEFAULT, untested, "production", ADMIN)


def _test(library: PromptLibrary, number: int, *, passed: bool) -> None:
    data = {"model": library._gates().model, "passed": passed, "cases": 1, "failed": 0 if passed else 1}
    library.tested(DEFAULT, number, ANN, data, {})


def test_four_eyes(library: PromptLibrary) -> None:
    """Neither who wrote a version nor who submitted it approves it, and one person counts once."""
    number = library.save(text("You are terse."), ANN.id, "").version
    with pytest.raises(Conflict, match="submit it first"):
        library.approve(DEFAULT, number, BOB)
    library.submit(DEFAULT, number, ADMIN)
    for same in (ANN, ADMIN):
        with pytest.raises(Forbidden):
            library.approve(DEFAULT, number, same)
    library.approve(DEFAULT, number, BOB)
    with pytest.raises(Conflict, match="approved this version already"):
        library.approve(DEFAULT, number, BOB)
    library.reject(DEFAULT, number, BOB, "on second thoughts")
    assert library.state_of(library.find(f"{DEFAULT}@{number}")) == "draft"


def test_saving_twice_from_the_same_version_loses_nothing(library: PromptLibrary) -> None:
    first = library.save(text("One."), ANN.id, "", expected=1)
    with pytest.raises(Conflict, match="at version 2 now"):
        library.save(text("Two."), BOB.id, "", expected=1)
    second = library.save(text("Two."), BOB.id, "", expected=first.version)
    assert [one.version for one in library.versions(DEFAULT)] == [3, 2, 1]
    with pytest.raises(Conflict, match="version 3"):
        library.save(second.template, ANN.id, "")


def test_rules_choose_by_who_asks(library: PromptLibrary) -> None:
    number = approved(library, "You are terse.")
    library.label(DEFAULT, number, "small", ADMIN)
    library.set_rules(DEFAULT, [{"when": {"models": ["openai/qwen*"]}, "label": "small"}], ADMIN)
    assert library.choose(DEFAULT, asker(model="openai/qwen-1.5b")).version.version == number
    assert library.choose(DEFAULT, asker()).version.version == 1
    assert library.choose(f"{DEFAULT}@small", asker()).version.version == number
    draft = library.save(text("Unseen."), ANN.id, "").version
    with pytest.raises(Conflict, match="cannot go live"):
        library.label(DEFAULT, draft, "small", ADMIN)
    with pytest.raises(Conflict, match="without naming it"):
        library.unlabel(DEFAULT, "small", ADMIN)
    for wrong in ({"when": {}, "label": "small"}, {"when": {"moon": ["full"]}, "label": "small"}, {"label": "small"}):
        with pytest.raises(InvalidInput, match="rule 1"):
            library.set_rules(DEFAULT, [wrong], ADMIN)


def test_drafts_are_not_for_apps(library: PromptLibrary) -> None:
    number = library.save(text("Unseen."), ANN.id, "").version
    with pytest.raises(NotFound, match=f"^no prompt {DEFAULT}@{number}; see: vouch prompts list$"):
        library.choose(f"{DEFAULT}@{number}", asker())
    with pytest.raises(NotFound, match=f"^no prompt {DEFAULT}@{number + 1}; see: vouch prompts list$"):
        library.choose(f"{DEFAULT}@{number + 1}", asker())
    assert library.choose(f"{DEFAULT}@{number}", asker(ANN)).version.version == number
    fresh = library.save(text("New.", "fresh"), ANN.id, "", expected=0)
    assert fresh.version == 1
    with pytest.raises(NotFound, match="no label production"):
        library.choose("fresh", asker(ANN))
    for name in ("fresh", "fresh@staging", "nowhere"):
        with pytest.raises(NotFound, match=f"^no prompt {name}; see: vouch prompts list$"):
            library.choose(name, asker())


def test_a_long_journal_is_read_in_proportion_to_its_length() -> None:
    """100,000 moves, in far less than a copy of all of them for each would take; and a fold leaves its past alone."""
    rows = [
        Event(n, "p", n % 7 + 1, "labelled", "staging" if n % 3 else "production", {"before": n % 5}, "a", "t")
        for n in range(100_000)
    ]
    begin = time.process_time()
    first = LibraryState().after(rows[:-2])
    assert time.process_time() - begin < 5
    copied = copy.deepcopy(first)
    assert first.after(rows[-2:]) == LibraryState().after(rows)
    assert first == copied


def test_a_retired_prompt_answers_nothing(library: PromptLibrary) -> None:
    library.retire(DEFAULT, 0, ADMIN, "no longer ours")
    with pytest.raises(NotFound, match="retired"):
        library.choose(None, asker())
    library.retire(DEFAULT, 0, ADMIN, undo=True)
    assert library.choose(None, asker()).version.version == 1
    with pytest.raises(Conflict, match="label production is on"):
        library.retire(DEFAULT, 1, ADMIN)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["save", "submit", "approve", "reject", "label", "stage", "back", "retire", "test"]),
        st.integers(1, 5),
        st.sampled_from([ANN, BOB, ADMIN]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=25, derandomize=True, database=None)
@given(STEPS)
def test_whatever_is_done_what_is_live_passed_its_gates(steps: list[tuple[str, int, Principal]]) -> None:
    """And the state read bit by bit is that of reading the journal whole, which the ledger vouches for."""
    with scratch() as home, fast_workspace(home) as made:
        library, other = made.prompts, PromptLibrary(made.prompts._store, Gates)
        for step, number, actor in steps:
            try:
                _do(library, step, number, actor)
            except VouchError:
                continue
            other.state()
        whole = LibraryState().after(made.prompts._store.events())
        assert library.state() == other.state() == whole
        known, live = whole.of(DEFAULT), library.labels(DEFAULT)["production"]
        assert live == 1 or (known.was_live(live) and library._version(DEFAULT, live).author != "vouch")
        for move in known.moves:
            if move.label == "production" and not move.rollback and move.version != 1:
                before = LibraryState().after(one for one in made.prompts._store.events() if one.leaf < move.leaf)
                standing, version = before.of(DEFAULT).standing(move.version), library._version(DEFAULT, move.version)
                ready = standing.approved and any(one.passed for one in standing.tests.values())
                assert ready or before.of(DEFAULT).was_live(move.version)
                assert version.author not in standing.approvers
        assert list(made.verifier.faults()) == []


def _do(library: PromptLibrary, step: str, number: int, actor: Principal) -> None:
    acts = {
        "save": lambda: library.save(text(f"Variant {number}."), actor.id, ""),
        "submit": lambda: library.submit(DEFAULT, number, actor),
        "approve": lambda: library.approve(DEFAULT, number, actor),
        "reject": lambda: library.reject(DEFAULT, number, actor, "no"),
        "label": lambda: library.label(DEFAULT, number, "production", actor),
        "stage": lambda: library.label(DEFAULT, number, "staging", actor),
        "back": lambda: library.rollback(DEFAULT, actor),
        "retire": lambda: library.retire(DEFAULT, number, actor),
        "test": lambda: _test(library, number, passed=number % 2 == 0),
    }
    acts[step]()


def test_a_draft_that_a_label_passed_over_never_counts_as_live(library: PromptLibrary) -> None:
    """A free label may be on a draft. That rules choose the label later lets no draft live, and none come back."""
    draft = library.save(text("Not looked at."), ANN.id, "").version
    good = approved(library, "Looked at.")
    library.label(DEFAULT, draft, "beta", ADMIN)
    with pytest.raises(Conflict, match="0 of 1 approvals"):
        library.set_rules(DEFAULT, [{"when": {"roles": ["app"]}, "label": "beta"}], ADMIN)
    library.label(DEFAULT, good, "beta", ADMIN)
    library.set_rules(DEFAULT, [{"when": {"roles": ["app"]}, "label": "beta"}], ADMIN)
    for move in (
        lambda: library.label(DEFAULT, draft, "production", ADMIN),
        lambda: library.rollback(DEFAULT, ADMIN, "beta"),
    ):
        with pytest.raises(Conflict, match="0 of 1 approvals"):
            move()
    assert library.choose(None, asker()).version.version == good
    library.set_rules(DEFAULT, [], ADMIN)
    library.reject(DEFAULT, good, BOB, "it was live, and may be again")
    library.label(DEFAULT, good, "production", ADMIN)


def test_a_gate_that_closes_meanwhile_is_closed(made: FastWorkspace) -> None:
    """The policy is read where the label is moved: one that was put in force a moment before counts."""
    made.policies.release(
        made.policies.add("format: 1\nname: a\nprompts: {approvals: 0, tests: false}\n", "x", "").number, "x"
    )
    strict = made.policies.add("format: 1\nname: b\nprompts: {approvals: 1, tests: false}\n", "x", "").number
    library, store = made.prompts, made.prompts._store
    number = library.save(text("You are terse."), ANN.id, "").version
    write = store.write

    def after_another(*given: object) -> object:
        made.policies.release(strict, "x")
        return write(*given)  # type: ignore[arg-type]

    store.write = after_another  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict, match="0 of 1 approvals"):
        library.label(DEFAULT, number, "production", ADMIN)
