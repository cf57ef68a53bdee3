"""What is shown of the library agrees with what is in force; drafts and copies can be saved as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import get_args

import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidInput, VouchError
from kernel.records import Principal, Role
from pipeline.prompts.anatomy import Kind, read_prompt, section_texts
from pipeline.prompts.desk import Wanted
from pipeline.prompts.exchange import Incoming, brought_in, draft_of, exported, new_draft
from pipeline.prompts.library import shipped_prompts
from pipeline.prompts.state import PRODUCTION
from pipeline.prompts.views import checked

ANN, BOB = Principal("key_ann", Role.EDITOR), Principal("key_bob", Role.REVIEWER)
ADMIN = Principal("key_admin", Role.ADMIN, None)
VERSIONS = 3
NAMES = (f"p{number}" for number in count())
STEPS = st.tuples(
    st.sampled_from(
        ["save", "submit", "approve", "reject", "test", "way", "label", "stage", "rollback", "retire", "whole"]
    ),
    st.integers(1, VERSIONS),
)


@pytest.fixture(scope="module")
def made() -> Iterator[FastWorkspace]:
    with scratch() as home, fast_workspace(home) as workspace:
        yield workspace


def act(made: FastWorkspace, name: str, step: str, number: int) -> VouchError | None:
    """One step of a prompt's life; why it was refused, where it does not fit."""
    library = made.prompts
    model = library._gates().model
    done: dict[str, Callable[[], object]] = {
        "save": lambda: library.save(new_draft(name) + "\n" * (VERSIONS + number), ANN.id, ""),
        "submit": lambda: library.submit(name, number, ANN),
        "approve": lambda: library.approve(name, number, BOB),
        "reject": lambda: library.reject(name, number, BOB, "no"),
        "test": lambda: library.tested(name, number, ANN, {"model": model, "passed": number != VERSIONS}, {}),
        "way": lambda: [act(made, name, one, number) for one in ("submit", "approve", "test")],
        "label": lambda: library.label(name, number, PRODUCTION, ADMIN),
        "stage": lambda: library.label(name, number, "staging", ADMIN),
        "rollback": lambda: library.rollback(name, ADMIN),
        "retire": lambda: library.retire(name, number, ADMIN, undo=number == VERSIONS),
        "whole": lambda: library.retire(name, 0, ADMIN, undo=number > 1),
    }
    try:
        done[step]()
    except VouchError as error:
        return error
    return None


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEPS, min_size=2, max_size=12))
def test_a_listing_agrees_with_each_version_and_says_what_is_missing(
    made: FastWorkspace, steps: list[tuple[str, int]]
) -> None:
    name, library, desk = next(NAMES), made.prompts, made.prompt_desk
    for number in range(VERSIONS):
        library.save(new_draft(name) + "\n" * number, ANN.id, "", expected=number)
    for step, number in steps:
        act(made, name, step, number)
    item, versions = desk.item(name), desk.versions(name)
    newest = versions[0]["version"]
    whole = item["state"] == "retired" and item["states"] == {"retired": [newest]}
    for one in versions:
        state = library.state_of(library.find(f"{name}@{one['version']}"))
        assert one["state"] == state
        shown = [state for state, numbers in item["states"].items() if one["version"] in numbers]
        hidden = one["version"] != newest and (state == "draft" or whole)
        assert shown == ([] if hidden else [state])
        if item["labels"].get(PRODUCTION) != one["version"]:
            refused = act(made, name, "label", one["version"])
            assert (refused is None) == (one["standing"]["missing"] == [])
            assert all(clause in str(refused) for clause in one["standing"]["missing"])
            if refused is None:
                return
    live = item["labels"].get(PRODUCTION) if not whole else None
    assert [card["version"] for card in desk.cards() if card["name"] == name] == ([live] if live else [])


def test_who_only_asks_is_not_told_of_drafts(made: FastWorkspace) -> None:
    """Neither by a listing of one state: a live prompt with a version in review is live, and no more."""
    name = next(iter(shipped_prompts()))
    shipped = made.prompts.labels(name)[PRODUCTION]
    number = made.prompts.save(draft_of(made.prompts.find(name).template, name) + "\n", ANN.id, "").version
    made.prompts.submit(name, number, ANN)
    desk = made.prompt_desk
    assert name in [one["name"] for one in desk.items(Wanted(state="in_review"))]
    assert name not in [one["name"] for one in desk.cards(Wanted(state="in_review"))]
    assert [one["version"] for one in desk.cards(Wanted(state="live")) if one["name"] == name] == [shipped]


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("grounded", [False, True])
def test_a_new_draft_can_be_saved_as_it_is(kind: str, grounded: bool) -> None:
    found = checked(new_draft("mine", kind, grounded=grounded))
    assert (found["name"], found["anatomy"]["kind"]) == ("mine", kind)
    assert found["anatomy"]["context"] == ("retrieved" if grounded else "inputs")
    assert len(found["anatomy"]["cases"]) == 1


@pytest.mark.parametrize(("name", "kind"), [("Mine", "task"), ("a b", "task"), ("a\nb: c", "task"), ("a", "sonnet")])
def test_no_draft_of_a_name_or_kind_that_can_be_none(name: str, kind: str) -> None:
    with pytest.raises(InvalidInput):
        new_draft(name, kind)


@pytest.mark.parametrize("name", sorted(shipped_prompts()))
def test_a_copy_differs_by_name_and_number_alone(name: str) -> None:
    text = shipped_prompts()[name].template
    copy = draft_of(text, "mine")
    one, other = read_prompt(text), read_prompt(copy)
    assert other.header == one.header.model_copy(update={"name": "mine", "version": None})
    assert list(section_texts(copy))[1:] == list(section_texts(text))[1:]
    checked(copy)


def test_what_the_program_brings_is_not_brought_in_again(made: FastWorkspace) -> None:
    items = exported(made.prompts)["items"]
    shipped = [Incoming(one["text"], one["name"]) for one in items if one["name"] in shipped_prompts()]
    report = brought_in(made.prompts, shipped, "key_ann")
    assert (report["added"], report["failed"]) == ([], [])
    assert len(report["unchanged"]) == len(shipped_prompts())
