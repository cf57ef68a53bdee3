"""The stored library on both databases: versions that never change, a journal that is written whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from kernel.errors import Conflict, NotFound, Unauthenticated
from kernel.ids import sha256
from kernel.records import Principal, PromptVersion, Role
from kernel.storage.database import Database
from kernel.storage.erasure_rows import remove_people
from kernel.storage.favourites import Favourites
from kernel.storage.keys import Keys
from kernel.storage.ledger import Ledger
from kernel.storage.prompts import Prompts, keep_prompt
from kernel.storage.rows import now
from kernel.storage.versioned import COMMENTED, LABELLED, Event, Happening


@pytest.fixture
def prompts(database: Database) -> Prompts:
    return Prompts(database)


def labelled(name: str, version: int, before: int = 0) -> Happening:
    return Happening(name, version, LABELLED, "production", {"before": before}, {"comment": "go"})


def test_versions_are_numbered_and_stay(prompts: Prompts, ledger: Ledger) -> None:
    first = prompts.add("mine", "one", "key_a", "begin", 0)
    second = prompts.add("mine", "two", "key_b", "more", 1)
    assert [(one.version, one.template, one.author) for one in prompts.versions("mine")] == [
        (2, "two", "key_b"),
        (1, "one", "key_a"),
    ]
    assert prompts.get("mine", 1).sha256 == first.sha256 == sha256("one")
    assert prompts.heads() == [("mine", 2, second.sha256), ("mine", 1, first.sha256)]
    assert prompts.texts([first.sha256, "none"]) == {first.sha256: "one"}
    leaf = ledger.leaves(0, 9, "prompt.saved")[0]
    assert (leaf.subject, "key_a" in leaf.text) == ("mine@1", False)
    with pytest.raises(NotFound):
        prompts.get("mine", 3)


def test_a_save_that_has_not_seen_the_newest_version_changes_nothing(prompts: Prompts, ledger: Ledger) -> None:
    prompts.add("mine", "one", "key_a", "", 0)
    size = ledger.size()
    for text, expected in (("two", 0), ("two", 7), ("one", 1)):
        with pytest.raises(Conflict):
            prompts.add("mine", text, "key_b", "", expected)
    assert (len(prompts.versions("mine")), ledger.size()) == (1, size)


def test_of_many_saves_at_once_each_is_kept_or_reported(connect: Callable[[], Database], database: Database) -> None:
    Prompts(database).add("mine", "one", "key_a", "", 0)
    outcomes: list[str] = []

    def save(number: int) -> None:
        try:
            Prompts(connect()).add("mine", f"text {number}", f"key_{number}", "", 1)
            outcomes.append("saved")
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["conflict"] * 7 + ["saved"]
    assert len(Prompts(database).versions("mine")) == 2


def test_the_journal_is_written_whole_or_not_at_all(prompts: Prompts, ledger: Ledger) -> None:
    prompts.add("mine", "one", "key_a", "", 0)
    before = (prompts.last_event(), ledger.size())

    def fails(read: Callable[[int], Sequence[Event]]) -> Sequence[Happening]:
        assert list(read(-1)) == []
        return [labelled("mine", 1), Happening("mine", 1, COMMENTED, "x" * 3, {"bad": object()})]

    with pytest.raises(ValueError, match="unsupported type"):
        prompts.write("key_a", fails)
    assert (prompts.last_event(), ledger.size()) == before
    made = prompts.write("key_a", lambda _: [labelled("mine", 1), labelled("mine", 1, 1)])
    assert [one.leaf for one in made] == [one.leaf for one in prompts.events()]
    assert prompts.last_event() == made[-1].leaf
    assert prompts.events(made[0].leaf) == made[1:]
    assert prompts.words(made[0].leaf) == {"by": "key_a", "comment": "go"}
    leaf = ledger.leaf(made[0].leaf)
    assert (leaf.kind, leaf.subject, leaf.facts["data"]) == ("prompt.labelled", "mine@1", {"before": 0})


def test_a_writer_sees_what_was_written_before_it(connect: Callable[[], Database], database: Database) -> None:
    prompts = Prompts(database)
    prompts.add("mine", "one", "key_a", "", 0)
    seen: list[int] = []

    def write() -> None:
        def decide(read: Callable[[int], Sequence[Event]]) -> Sequence[Happening]:
            seen.append(len(read(-1)))
            return [labelled("mine", 1, len(read(-1)))]

        Prompts(connect()).write("key_a", decide)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(seen) == list(range(6))
    assert [one.data["before"] for one in prompts.events()] == list(range(6))


def test_a_version_that_came_with_the_program_keeps_its_number(database: Database, prompts: Prompts) -> None:
    shipped = PromptVersion("mine", 1, sha256("shipped"), "", "shipped", "vouch")
    prompts.add("mine", "ours", "key_a", "", 1, shipped=1)
    with database.write() as connection:
        keep_prompt(database, connection, shipped)
        keep_prompt(database, connection, shipped)
    assert [(one.version, one.template) for one in prompts.versions("mine")] == [(2, "ours"), (1, "shipped")]
    with pytest.raises(Conflict), database.write() as connection:
        keep_prompt(database, connection, PromptVersion("mine", 2, sha256("other"), "", "other", "vouch"))


def test_an_erased_person_writes_no_more(database: Database, prompts: Prompts, keys: Keys) -> None:
    key, _ = keys.create(Role.EDITOR)
    person = Principal(key.id, Role.EDITOR)
    prompts.add("mine", "one", key.id, "", 0)
    Favourites(database).mark(person, "mine")
    assert Favourites(database).of(person) == ["mine"]
    with database.write() as connection:
        remove_people(connection, [key.id], now())
    for act in (
        lambda: prompts.add("mine", "two", key.id, "", 1),
        lambda: prompts.write(key.id, lambda _: [labelled("mine", 1)]),
        lambda: Favourites(database).mark(person, "mine"),
    ):
        with pytest.raises(Unauthenticated):
            act()
