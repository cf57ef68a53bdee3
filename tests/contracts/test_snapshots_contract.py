"""What publishing, rolling back and naming snapshots promise, on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from stored_samples import RECIPE, revision

from kernel.errors import InvalidInput, NotFound
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus
from kernel.storage.database import Database
from kernel.storage.snapshots import Snapshots


@pytest.fixture
def stored(catalog: Catalog) -> list[int]:
    """Ids of five revisions of five documents."""
    source = catalog.source_id("handbook", "/")
    return catalog.stage(source, RECIPE, [revision(f"{n}") for n in range(5)])


def seen(snapshots: Snapshots, number: int) -> set[int]:
    found = snapshots.visible_revisions(number, LOCAL_OWNER)
    assert found == sorted(set(found))
    return set(found)


def test_a_workspace_begins_with_the_empty_snapshot(snapshots: Snapshots) -> None:
    live = snapshots.live()
    assert (live.snapshot, live.last_chunk, live.access_version) == (0, 0, 0)
    assert (snapshots.items(), seen(snapshots, 0), snapshots.last_chunk(0)) == ([], set(), 0)


def test_every_snapshot_keeps_what_it_showed(snapshots: Snapshots, stored: list[int]) -> None:
    a, b, c, d, _ = stored
    states = [({a, b}, set()), ({c}, {a}), ({d}, {b}), (set(), {c, d}), ({a}, set())]
    expected: list[set[int]] = []
    for number, (births, deaths) in enumerate(states, start=1):
        assert snapshots.publish(f"step {number}", births, deaths) == number
        expected.append(((expected[-1] if expected else set()) | births) - deaths)
        assert [seen(snapshots, past) for past in range(1, number + 1)] == expected
    assert [(item.number, item.parent, item.documents) for item in snapshots.items()] == [
        (5, 4, 1), (4, 3, 0), (3, 2, 2), (2, 1, 2), (1, 0, 2),
    ]  # fmt: skip
    assert [item.number for item in snapshots.items() if item.live] == [5]


def test_publishing_nothing_makes_no_snapshot(snapshots: Snapshots, stored: list[int]) -> None:
    assert snapshots.publish("nothing", [], []) == 0
    first = snapshots.publish("first", stored[:2], [])
    assert snapshots.publish("again", [], []) == first
    assert len(snapshots.items()) == 1


def test_publishing_what_is_visible_or_withdrawing_what_is_not_changes_nothing(
    snapshots: Snapshots, stored: list[int]
) -> None:
    first = snapshots.publish("first", stored[:2], [])
    assert snapshots.publish("the same", stored[:2], [stored[4]]) == first
    assert seen(snapshots, first) == set(stored[:2])


def test_after_a_rollback_publishing_builds_on_what_was_rolled_back_to(snapshots: Snapshots, stored: list[int]) -> None:
    a, b, c, d, _ = stored
    first = snapshots.publish("first", [a, b], [])
    second = snapshots.publish("second", [c], [a])
    snapshots.rollback(first)
    assert snapshots.live().snapshot == first
    third = snapshots.publish("third", [d], [b])
    assert [seen(snapshots, number) for number in (first, second, third)] == [{a, b}, {b, c}, {a, d}]
    assert next(item.parent for item in snapshots.items() if item.number == third) == first
    snapshots.rollback(second)
    fourth = snapshots.publish("fourth", [d], [])
    assert seen(snapshots, fourth) == {b, c, d}
    assert [seen(snapshots, number) for number in (first, second, third)] == [{a, b}, {b, c}, {a, d}]


def test_a_rollback_to_the_empty_snapshot_and_forward_again(snapshots: Snapshots, stored: list[int]) -> None:
    first = snapshots.publish("first", stored[:2], [])
    snapshots.rollback(0)
    assert (snapshots.live().snapshot, snapshots.live().last_chunk) == (0, 0)
    assert snapshots.publish("nothing", [], []) == 0
    second = snapshots.publish("second", [stored[2]], [])
    assert (seen(snapshots, second), seen(snapshots, first)) == ({stored[2]}, set(stored[:2]))
    snapshots.rollback(first)
    assert snapshots.publish("back", [], []) == first


def test_rolling_back_to_what_never_was_is_refused(snapshots: Snapshots) -> None:
    with pytest.raises(NotFound, match="no snapshot 7"):
        snapshots.rollback(7)
    with pytest.raises(NotFound):
        snapshots.rollback(10**30)


def test_a_snapshot_reaches_as_far_as_the_chunks_it_was_made_over(
    catalog: Catalog, snapshots: Snapshots, corpus: Corpus, stored: list[int]
) -> None:
    first = snapshots.publish("first", stored, [])
    reach = snapshots.last_chunk(first)
    assert reach == max(row.chunk_id for row in corpus.index_rows(0))
    more = catalog.stage(catalog.source_id("handbook", "/"), RECIPE, [revision("more")])
    assert snapshots.last_chunk(first) == reach
    second = snapshots.publish("second", more, [])
    assert snapshots.last_chunk(second) == snapshots.live().last_chunk > reach
    snapshots.rollback(first)
    assert snapshots.live().last_chunk == reach


def test_a_snapshot_is_named_by_number_or_by_a_moment(snapshots: Snapshots, stored: list[int]) -> None:
    before = datetime.now(UTC)
    time.sleep(0.002)
    first = snapshots.publish("first", stored[:1], [])
    between = datetime.now(UTC)
    time.sleep(0.002)
    second = snapshots.publish("second", stored[1:2], [])
    then = datetime.now(UTC)
    time.sleep(0.002)
    snapshots.rollback(first)
    assert [snapshots.resolve(str(number)) for number in (0, first, second)] == [0, first, second]
    moments = [before, between, then, datetime.now(UTC)]
    assert [snapshots.resolve(moment.isoformat()) for moment in moments] == [0, first, second, first]
    assert snapshots.resolve(between.replace(tzinfo=None).isoformat()) == first
    assert [snapshots.resolve(item.created_at) for item in snapshots.items()] == [second, first]


@pytest.mark.parametrize("name", ["7", "99999999999999999999999999"])
def test_an_unknown_number_is_not_found(snapshots: Snapshots, name: str) -> None:
    with pytest.raises(NotFound, match=f"no snapshot {name}"):
        snapshots.resolve(name)


@pytest.mark.parametrize("name", ["", "yesterday", "-1", "1.5", "0001-01-01T00:00:00+23:59"])
def test_what_is_neither_number_nor_moment_is_refused(snapshots: Snapshots, name: str) -> None:
    with pytest.raises(InvalidInput, match="as_of"):
        snapshots.resolve(name)


def test_access_is_part_of_what_is_visible(catalog: Catalog, snapshots: Snapshots, stored: list[int]) -> None:
    number = snapshots.publish("first", stored, [])
    rows = catalog.document_rows(catalog.source_id("handbook", "/"), ["0", "1"])
    catalog.set_groups({rows["0"]: ("staff",), rows["1"]: ("board", "staff")})
    board = Principal("key", Role.APP, frozenset({"board"}))
    assert snapshots.visible_revisions(number, board) == stored[1:]
    assert snapshots.visible_revisions(number, Principal("key", Role.APP)) == stored[2:]


def test_concurrent_publishers_lose_nothing(
    connect: Callable[[], Database], snapshots: Snapshots, stored: list[int]
) -> None:
    publishers = [Snapshots(connect()) for _ in stored]
    with ThreadPoolExecutor(len(stored)) as pool:
        numbers = list(pool.map(lambda one, r: one.publish(f"{r}", [r], []), publishers, stored))
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    assert [len(seen(snapshots, number)) for number in range(6)] == [0, 1, 2, 3, 4, 5]


def test_two_ingests_of_one_document_leave_one_revision_visible(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    old, mine, theirs = (
        catalog.stage(source, RECIPE, [revision("a", text)])[0] for text in ("Old.", "Mine.", "Theirs.")
    )
    snapshots.publish("first", [old], [])
    snapshots.publish("theirs", [theirs], [old])
    last = snapshots.publish("mine", [mine], [old])
    assert seen(snapshots, last) == {mine}
