"""What workflows, their triggers and the secrets of events need of the store, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fast_parts import stored_revision

from kernel.errors import Conflict, NotFound, Unauthenticated
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, Principal, Role, WorkflowVersion
from kernel.storage.catalog import Catalog
from kernel.storage.database import Database
from kernel.storage.erasure_rows import remove_people
from kernel.storage.keys import Keys
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults
from kernel.storage.rows import now
from kernel.storage.snapshots import Snapshots
from kernel.storage.triggers import GRACE, DocumentChanges, EventSecrets
from kernel.storage.versioned import LABELLED, Event, Happening
from kernel.storage.workflows import PAUSED, Workflows, keep_workflow

NOBODY = Principal("workflow:weekly", Role.APP)
WEEKLY = ("weekly", "documents handbook 1")
STAFF = Principal("workflow:weekly", Role.APP, frozenset({"staff"}))


@pytest.fixture
def workflows(database: Database) -> Workflows:
    return Workflows(database)


def test_versions_and_the_journal_are_entries_of_the_ledger(
    workflows: Workflows, database: Database, ledger: Ledger
) -> None:
    first = workflows.add("weekly", "one", "key_a", "begin", 0)
    with pytest.raises(Conflict, match="workflow weekly is at version 1 now"):
        workflows.add("weekly", "two", "key_b", "", 0)
    with pytest.raises(Conflict, match="version 1 of workflow weekly already"):
        workflows.add("other", "one", "key_b", "", 0)
    shipped = WorkflowVersion("daily", 1, sha256("shipped"), "shipped", "vouch")
    made = workflows.write("key_b", lambda _: [Happening("weekly", 0, PAUSED, "", {}, {"comment": "why"})], (shipped,))
    assert workflows.by_sha256(first.sha256) == first
    assert workflows.get("daily", 1).text == "shipped"
    assert (made[0].actor, workflows.words(made[0].leaf)["comment"]) == ("key_b", "why")
    kinds = [leaf.kind for leaf in ledger.leaves(0, 99)]
    assert kinds == ["ledger.opened", "workflow.saved", "workflow.first_used", "workflow.paused"]
    assert all("key_" not in leaf.text for leaf in ledger.leaves(0, 99))
    assert list(store_faults(database, ledger)) == []
    with database.write() as connection:
        keep_workflow(database, connection, shipped)
    with pytest.raises(NotFound):
        workflows.by_sha256("0" * 64)


def test_of_writers_at_once_each_sees_the_ones_before(connect: Callable[[], Database], database: Database) -> None:
    Workflows(database).add("weekly", "one", "key_a", "", 0)
    outcomes: list[str] = []

    def write(number: int) -> None:
        def decide(read: Callable[[int], Sequence[Event]]) -> Sequence[Happening]:
            if read(-1):
                raise Conflict("somebody was first")
            return [Happening("weekly", 1, LABELLED, "live", {"before": 0})]

        try:
            Workflows(connect()).write(f"key_{number}", decide)
            outcomes.append("moved")
        except Conflict:
            outcomes.append("late")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["late"] * 4 + ["moved"]


def test_a_secret_is_stored_nowhere_rotated_and_ended(database: Database, ledger: Ledger, keys: Keys) -> None:
    secrets, moment = EventSecrets(database), datetime.now(UTC)
    assert secrets.valid("ticket.new", moment) == []
    first, one = secrets.make("ticket.new", "key_a")
    second, other = secrets.make("ticket.new", "key_a")
    assert (first.number, second.number, one == other) == (1, 2, False)
    assert secrets.make("ticket.old", "key_a")[1] not in (one, other)
    assert secrets.valid("ticket.new", moment) == [other, one]
    assert secrets.valid("ticket.new", moment + GRACE + timedelta(minutes=1)) == [other]
    assert secrets.end("ticket.new", "key_a").state == "ended"
    assert secrets.valid("ticket.new", moment) == []
    with pytest.raises(NotFound):
        secrets.end("ticket.new", "key_a")
    _, third = secrets.make("ticket.new", "key_a")
    assert secrets.valid("ticket.new", moment) == [third]
    assert [(item.name, item.number, item.state) for item in secrets.items()] == [
        ("ticket.new", 3, "made"),
        ("ticket.old", 1, "made"),
    ]
    assert list(store_faults(database, ledger)) == []
    stored = "".join(leaf.text + str((ledger.payload(leaf.number) or ("", ""))[1]) for leaf in ledger.leaves(0, 99))
    assert all(secret not in stored for secret in (one, other, third))
    key, _ = keys.create(Role.ADMIN)
    with database.write() as connection:
        remove_people(connection, [key.id], now())
    with pytest.raises(Unauthenticated):
        secrets.make("ticket.new", key.id)


def test_changes_are_those_that_a_principal_sees_and_that_started_nothing_yet(
    database: Database, catalog: Catalog, snapshots: Snapshots
) -> None:
    changes, begin = DocumentChanges(database), ""
    source = catalog.source_id("handbook", "/handbook/")
    other = catalog.source_id("notes", "/notes/")

    def publish(source_id: int, path: str, text: str, groups: tuple[str, ...] | None = None) -> int:
        rows = catalog.stage(source_id, "recipe", [replace(stored_revision(path, text), groups=groups)])
        return snapshots.publish("test", rows, [])

    assert changes.since("handbook", NOBODY, begin, WEEKLY) is None
    publish(source, "a.md", "One. Two.")
    second = publish(source, "b.md", "Three. Four.")
    publish(other, "c.md", "Five.")
    found = changes.since("handbook", NOBODY, begin, WEEKLY)
    assert found is not None
    assert (found.snapshot, found.count, len(found.documents)) == (second, 2, 2)
    assert changes.since("handbook", NOBODY, found.at, WEEKLY) is None
    changes.mark(WEEKLY, found.snapshot)
    assert changes.since("handbook", NOBODY, begin, WEEKLY) is None
    assert changes.since("handbook", NOBODY, begin, ("daily", "1")) is not None
    hidden = publish(source, "d.md", "Six. Seven.", ("staff",))
    assert changes.since("handbook", NOBODY, begin, WEEKLY) is None
    seen = changes.since("handbook", STAFF, begin, WEEKLY)
    assert seen is not None
    assert (seen.snapshot, seen.count) == (hidden, 1)
    assert changes.since("handbook", LOCAL_OWNER, begin, WEEKLY) is not None
    changes.mark(WEEKLY, 1)
    assert changes.since("handbook", STAFF, begin, WEEKLY) == seen
