"""What the store promises of deliveries, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kernel.errors import Conflict, NotFound
from kernel.ids import sha256
from kernel.storage.database import Database
from kernel.storage.deliveries import (
    BEGUN,
    DONE,
    Deliveries,
    Delivery,
    delivered,
    delivery_entries,
    forget_deliveries,
)
from kernel.storage.erasure_rows import remove_payloads
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults

KEY = "run_a:send:0"
WHERE = {"recipients": ["kim@example.org"]}


@pytest.fixture
def deliveries(database: Database) -> Deliveries:
    return Deliveries(database)


def begin(deliveries: Deliveries, key: str = KEY, content: str = "text", token: str = "") -> Delivery:
    return deliveries.begin(key, "mail", once=False, sha256=sha256(content), where=WHERE, token=token)


def test_a_delivery_begins_once_and_ends_once(deliveries: Deliveries, database: Database) -> None:
    assert deliveries.find(KEY) is None
    first, again = begin(deliveries, token="one"), begin(deliveries, token="two")
    assert first == again == deliveries.find(KEY)
    done = deliveries.finish(KEY, {"accepted": 1})
    assert deliveries.finish(KEY, {"accepted": 2}) == done == begin(deliveries)
    assert (done.receipt, done.where, done.token, done.once) == ({"accepted": 1}, WHERE, "one", False)
    leaves = Ledger(database).leaves(1, 9)
    assert [(leaf.kind, leaf.number) for leaf in leaves] == [(BEGUN, done.begun), (DONE, done.done)]
    assert "example.org" not in "".join(leaf.text for leaf in leaves), "no person is named openly"
    assert [*store_faults(database, Ledger(database))] == []


def test_a_key_stands_for_one_content(deliveries: Deliveries) -> None:
    begin(deliveries)
    with pytest.raises(Conflict, match="other content or to another sink"):
        begin(deliveries, content="other")
    with pytest.raises(Conflict):
        deliveries.begin(KEY, "file", once=True, sha256=sha256("text"), where={})
    with pytest.raises(NotFound):
        deliveries.finish("run_b:send:0", {})


def test_the_deliveries_of_a_run_are_its_own(deliveries: Deliveries) -> None:
    keys = ["run_a:send:1", "run_a:file:0", "run_ab:send:0", "run%:send:0", "runxa:send:0"]
    for key in keys:
        begin(deliveries, key)
    assert [one.key for one in deliveries.of_run("run_a")] == keys[:2]
    assert [one.key for one in deliveries.of_run("run%")] == ["run%:send:0"]


def test_many_that_begin_at_once_are_one(connect: Callable[[], Database], deliveries: Deliveries) -> None:
    found: list[object] = []

    def work(one: Deliveries, token: str) -> None:
        found.append(begin(one, token=token))

    threads = [threading.Thread(target=work, args=(Deliveries(connect()), str(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert set(map(str, found)) == {str(deliveries.find(KEY))}


def test_what_a_run_delivered_can_be_erased(deliveries: Deliveries, database: Database) -> None:
    first = begin(deliveries)
    for key in (KEY, "run_b:send:0"):
        begin(deliveries, key)
        deliveries.finish(key, {"refused": ["kim@example.org"]})
    with database.write() as connection:
        entries = delivery_entries(connection, [first.begun])
        assert len(entries) == 2
        assert delivered(connection, entries) == 1
        assert forget_deliveries(connection, entries) == 1
        remove_payloads(connection, sorted(entries))
    gone = deliveries.find(KEY)
    assert gone is not None
    assert (gone.sha256, gone.where, gone.receipt, gone.token) == ("", {}, {}, "")
    assert gone.done is not None
    kept = deliveries.find("run_b:send:0")
    assert kept is not None
    assert kept.where == WHERE
