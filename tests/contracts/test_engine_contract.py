"""The engine on both databases, with real worker processes: what is submitted is made, whatever dies meanwhile."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from engine_parts import Site, until
from sqlalchemy import MetaData, select

from kernel.errors import InvalidInput, Unavailable
from kernel.storage.engine_database import EngineDatabase
from pipeline.workflows.engine import Engine
from pipeline.workflows.presence import Presence
from pipeline.workflows.tickets import LetGo, Ticket, Timetable

ONCE_A_SECOND = "* * * * * *"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Site:
    return Site(database_url, tmp_path)


@contextmanager
def launched(
    site: Site,
    advance: Callable[[str, int], None],
    fire: Callable[[str, datetime], None] = lambda name, moment: None,
    threads: int = 2,
) -> Iterator[Engine]:
    """A worker in this process."""
    database = site.database()
    engine = Engine(database, worker=f"here-{time.monotonic_ns()}", threads=threads)
    engine.launch(advance, fire, dict(site.queues))
    try:
        yield engine
    finally:
        engine.close(seconds=1.0)
        database.close()


def rows_that_name(database: EngineDatabase, text: str) -> list[str]:
    """The tables that hold the text anywhere."""
    found = MetaData(schema=database.schema)
    found.reflect(database.engine)
    with database.engine.begin() as connection:
        return [
            table.name
            for table in found.sorted_tables
            for row in connection.execute(select(table))
            if any(text in str(value) for value in row)
        ]


def test_a_turn_is_made_once_however_often_it_is_submitted(site: Site) -> None:
    made: list[str] = []
    with site.client() as client:
        client.submit(Ticket("before", 1))
    with launched(site, lambda run, turn: made.append(f"{run}:{turn}")) as engine:
        for _ in range(3):
            engine.submit(Ticket("a", 1))
        until(lambda: len(made) == 2)
        engine.submit(Ticket("a", 1))
        engine.submit(Ticket("a", 2))
        until(lambda: len(made) == 3)
        time.sleep(0.2)
        assert sorted(made) == ["a:1", "a:2", "before:1"]
        engine.submit(Ticket("a", 1), again=True)
        until(lambda: len(made) == 4)
    assert made[-1] == "a:1"


def test_a_queue_may_be_opened_while_a_worker_works(site: Site) -> None:
    made: list[str] = []
    with site.client() as client:
        client.open_queues({"late": 1})
        client.submit(Ticket("a", 1, queue="late"))
    with launched(site, lambda run, turn: made.append(run)) as engine:
        time.sleep(0.3)
        assert made == []
        for _ in range(2):
            engine.open_queues({"late": 1, "default": 5})
        until(lambda: made == ["a"])
        engine.submit(Ticket("b", 1))
        until(lambda: made == ["a", "b"])


def test_a_turn_that_failed_is_made_again_when_it_is_submitted_again(
    site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its reason goes to the log, and not into the engine's database."""
    tries: list[int] = []

    def advance(run_id: str, turn: int) -> None:
        tries.append(turn)
        if len(tries) == 1:
            raise ValueError("Ms Miller's salary")

    with caplog.at_level(logging.WARNING, "vouch.engine"), launched(site, advance) as engine:
        engine.submit(Ticket("a", 1))
        until(lambda: tries and not engine.known(["a"]))
        assert rows_that_name(engine._database, "Miller") == []
        engine.submit(Ticket("a", 1))
        until(lambda: len(tries) == 2 and not engine.known(["a"]))
    assert "the turn a:1 failed" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_the_first_goes_first(site: Site) -> None:
    order: list[str] = []
    gate = threading.Event()

    def advance(run_id: str, turn: int) -> None:
        if run_id == "gate":
            gate.wait(10)
        order.append(run_id)

    with launched(site, advance, threads=1) as engine:
        engine.submit(Ticket("gate", 1))
        until(engine.holders)
        for name, priority in [("last", 9), ("third", 5), ("first", 1), ("second", 1), ("fourth", 5)]:
            engine.submit(Ticket(name, 1, priority=priority))
            time.sleep(1.1 if name in ("third", "first") else 0.0)
        gate.set()
        until(lambda: len(order) == 6)
    assert order == ["gate", "first", "second", "third", "fourth", "last"]


def test_a_queue_keeps_to_its_limit_over_two_workers(site: Site) -> None:
    limits = (("default", 100), ("narrow", 2))
    slow = site.worker(seconds=0.08, queues=limits), site.worker(seconds=0.08, queues=limits)
    with site.client() as client, slow[0] as one, slow[1] as other:
        for number in range(20):
            client.submit(Ticket(f"n{number}", 1, queue="narrow"))
            client.submit(Ticket(f"d{number}", 1))
        until(lambda: len(site.ended()) == 40)
    lines = site.lines()
    now: set[str] = set()
    most = 0
    for line in lines:
        if line["turn"].startswith("n"):
            now = now | {line["turn"]} if line["what"] == "begin" else now - {line["turn"]}
            most = max(most, len(now))
    assert most == 2
    assert {line["worker"] for line in lines} == {one.id, other.id}
    for worker in (one.id, other.id):
        now = set()
        for line in lines:
            if line["worker"] == worker:
                now = now | {line["turn"]} if line["what"] == "begin" else now - {line["turn"]}
                assert len(now) <= site.threads


@pytest.mark.slow
def test_a_delay_outlives_whoever_asked_for_it(site: Site) -> None:
    with site.worker() as worker, site.client() as client:
        asked = time.time()
        client.submit(Ticket("later", 1, delay_seconds=2.0))
        client.submit(Ticket("soon", 1))
        until(lambda: site.ended() == ["soon:1"])
        worker.kill()
    with site.worker():
        until(lambda: "later:1" in site.ended())
    begun = next(line["at"] for line in site.lines() if line["turn"] == "later:1")
    assert 2.0 <= begun - asked < 30.0


@pytest.mark.slow
def test_cron_fires_once_over_two_workers(site: Site) -> None:
    with site.client() as client, site.worker(), site.worker():
        client.timetables(
            [Timetable("often", ONCE_A_SECOND, "Europe/Berlin"), Timetable("rarely", "0 0 29 2 *", "UTC")]
        )
        until(lambda: len(site.lines()) >= 4)
        client.timetables([])
        time.sleep(2.5)
        fired = Counter(line["moment"] for line in site.lines())
        time.sleep(1.2)
        assert Counter(line["moment"] for line in site.lines()) == fired
    assert set(fired.values()) == {1}
    moments = sorted(datetime.fromisoformat(moment) for moment in fired)
    assert {later - sooner for sooner, later in pairwise(moments)} == {timedelta(seconds=1)}
    assert all(moment.microsecond == 0 and moment.tzinfo is not None for moment in moments)


@pytest.mark.slow
def test_what_was_due_while_nobody_was_up_is_made_up_for_once(site: Site) -> None:
    """Even where a worker did not hear that another one fired it."""
    fired: list[tuple[str, datetime]] = []
    due = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    wanted = [Timetable(name, f"{due.minute} * * * *", "UTC") for name in ("old", "new")]
    with site.client() as client:
        client.timetables(wanted[:1])
        database = site.database()
        database.keep_timetables([], "")
        again = partial(database.keep_timetables, [("old", wanted[0].cron, "UTC")])
        again((due - timedelta(hours=3)).isoformat(timespec="microseconds"))
    for _ in range(2):
        with launched(site, lambda run, turn: None, lambda name, moment: fired.append((name, moment))) as engine:
            engine.timetables(wanted)
            until(lambda: fired)
            engine.fire_due()
            database.keep_timetables([], "")
            again((due - timedelta(minutes=1)).isoformat(timespec="microseconds"))
            engine.fire_due()
            time.sleep(1.5)
    assert fired == [("old", due)]
    database.close()


@pytest.mark.slow
def test_a_time_that_could_not_be_fired_is_fired_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[datetime] = []
    monkeypatch.setattr("pipeline.workflows.engine.FIRE_SECONDS", 0.1)

    def fire(name: str, moment: datetime) -> None:
        tries.append(moment)
        if len(tries) < 3:
            raise Unavailable("the store is away")

    year = datetime.now(UTC).year
    with launched(site, lambda run, turn: None, fire) as engine:
        engine._database.keep_timetables([("yearly", "0 0 1 1 *", "UTC")], f"{year - 1}-06-01T00:00:00.000000+00:00")
        until(lambda: len(tries) == 3)
        time.sleep(0.3)
    assert tries == [datetime(year, 1, 1, tzinfo=UTC)] * 3


def test_time_zones_and_their_summers_are_kept() -> None:
    """09:00 in Berlin is 08:00 UTC in winter and 07:00 in summer; a minute is not skipped, hours are caught up once."""
    daily = Timetable("daily", "0 9 * * *", "Europe/Berlin")
    for day, hour in [(datetime(2026, 3, 28, 12, tzinfo=UTC), 8), (datetime(2026, 3, 29, 12, tzinfo=UTC), 7)]:
        [due] = daily.due(day - timedelta(days=3), day)
        assert due.astimezone(UTC) == day.replace(hour=hour)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    seconds = Timetable("seconds", ONCE_A_SECOND, "UTC")
    assert seconds.due(noon, noon + timedelta(seconds=3)) == [noon + timedelta(seconds=n) for n in (1, 2)]
    assert seconds.due(noon, noon) == []


def test_a_timetable_that_cannot_be_kept_changes_nothing(site: Site) -> None:
    with site.client() as client:
        client.timetables([Timetable("good", "0 9 * * 1", "Europe/Berlin")])
        for cron, zone in [
            ("every monday", "UTC"),
            ("0 0 30 2 *", "UTC"),
            ("0 9 * * 1", "Europe/Berlon"),
            ("0 9 * * 1", "../passwd"),
        ]:
            with pytest.raises(InvalidInput):
                client.timetables([Timetable("bad", cron, zone)])
        assert [name for name, *_ in client._database.timetables()] == ["good"]


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 21))])
def test_no_turn_is_lost_when_workers_are_killed(site: Site, seed: int) -> None:
    """And none is made twice but those that a killed worker had under way."""
    chance = random.Random(seed)
    wanted = {f"r{number}:1" for number in range(60)}
    killed: set[str] = set()
    workers = [site.worker() for _ in range(2)]
    try:
        with site.client() as client:
            for number in range(60):
                client.submit(Ticket(f"r{number}", 1, delay_seconds=chance.choice([0, 0, 0, 1])))
                if number % 20 == 10:
                    victim = workers.pop(chance.randrange(2))
                    time.sleep(chance.uniform(0, 0.1))
                    victim.kill()
                    killed.add(victim.id)
                    workers.append(site.worker())
            until(lambda: set(site.ended()) == wanted)
            until(lambda: not client.holders())
    finally:
        for worker in workers:
            worker.stop()
    begun = Counter(line["turn"] for line in site.lines() if line["what"] == "begin")
    of_the_dead = Counter(line["turn"] for line in site.lines() if line["what"] == "begin" and line["worker"] in killed)
    assert {turn for turn, count in begun.items() if count > 1 + of_the_dead[turn]} == set()
    assert sum(begun.values()) - len(wanted) <= len(killed) * site.threads


@pytest.mark.parametrize("same_machine", [True, False])
def test_the_turns_of_a_dead_worker_go_on_elsewhere(site: Site, *, same_machine: bool) -> None:
    with site.client() as client, site.worker(seconds=60) as first:
        client.submit(Ticket("a", 1))
        until(lambda: client.holders() == {first.id})
        with site.worker(place="workers" if same_machine else "elsewhere", silent=2.0):
            time.sleep(0.5)
            first.kill()
            killed = time.time()
            until(lambda: site.ended() == ["a:1"], 10.0)
            assert (time.time() - killed < 1.5) is same_machine


@pytest.mark.slow
def test_a_worker_that_was_only_slow_loses_its_turns_and_works_on(site: Site) -> None:
    with site.client() as client, site.worker(seconds=1.0, threads=1) as slow:
        client.submit(Ticket("a", 1))
        until(lambda: client.holders() == {slow.id})
        slow.pause(client.holders)
        with site.worker(place="elsewhere", silent=1.0):
            until(lambda: site.ended() == ["a:1"])
        slow.go_on()
        client.submit(Ticket("b", 1))
        until(lambda: "b:1" in site.ended())
        until(lambda: not client.holders())


def test_an_old_turn_does_not_stand_for_the_next_one(site: Site) -> None:
    with site.client() as client:
        client.submit(Ticket("a", 1, delay_seconds=3600.0))
        assert client.known(["a:1", "a:2", "b:1"]) == {"a:1"}


def test_a_worker_that_has_ended_its_own_turns_gives_them_back(site: Site) -> None:
    """One that is told to end lets go of the turns that would take longer."""
    begun = threading.Event()

    def advance(run_id: str, turn: int) -> None:
        begun.set()
        until(lambda: engine.closing)
        raise LetGo

    with launched(site, advance) as engine:
        engine.submit(Ticket("a", 1))
        assert begun.wait(10)
    with site.client() as client:
        assert (client.known(["a", "b"]), client.holders()) == ({"a"}, set())
    made: list[str] = []
    with launched(site, lambda run, turn: made.append(run)):
        until(lambda: made == ["a"])


def test_cancelled_turns_are_not_made_and_forgotten_runs_leave_nothing(site: Site) -> None:
    with site.client() as client, site.worker():
        for run in ("alpha", "alpha2", "beta"):
            client.submit(Ticket(run, 1))
            client.submit(Ticket(run, 2, delay_seconds=1.5))
        until(lambda: len(site.ended()) == 3 and not client.holders())
        client.cancel("alpha")
        client.forget("beta")
        assert client.known(["alpha", "alpha2", "beta"]) == {"alpha2"}
        until(lambda: "alpha2:2" in site.ended())
        time.sleep(0.5)
        assert sorted(site.ended()) == ["alpha2:1", "alpha2:2", "alpha:1", "beta:1"]
        assert rows_that_name(client._database, "alpha:")
        assert rows_that_name(client._database, "beta") == []
        client.submit(Ticket("alpha", 2))
        until(lambda: "alpha:2" in site.ended())


@pytest.mark.slow
def test_runs_that_wait_cost_nothing(site: Site) -> None:
    made: list[str] = []
    with launched(site, lambda run, turn: made.append(run)) as engine:
        engine.submit(Ticket("first", 1))
        until(lambda: made and not engine.holders())
        before = threading.active_count()
        for number in range(200):
            engine.submit(Ticket(f"w{number}", 1))
        until(lambda: len(made) == 201)
        until(lambda: not engine.holders())
        assert engine.known([f"w{number}" for number in range(200)]) == set()
        until(lambda: threading.active_count() <= before)


def test_one_process_works_for_several_workspaces(site: Site, tmp_path: Path) -> None:
    other = Site(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other")
    made: list[str] = []
    with (
        launched(site, lambda run, turn: made.append(f"here {run}")) as here,
        launched(other, lambda run, turn: made.append(f"there {run}")) as there,
    ):
        here.submit(Ticket("a", 1))
        there.submit(Ticket("a", 1))
        until(lambda: sorted(made) == ["here a", "there a"])


def test_a_database_that_is_away_is_told_in_words(tmp_path: Path) -> None:
    database = EngineDatabase("postgresql://nobody@/none?host=/nowhere", tmp_path / "engine.db")
    with pytest.raises(Unavailable, match="the workflow engine's database cannot be reached"):
        Engine(database, worker="a").submit(Ticket("a", 1))
    database.close()


def test_who_lives_shows_by_a_lock(tmp_path: Path) -> None:
    one, two, far = Presence(tmp_path / "w"), Presence(tmp_path / "w"), Presence(tmp_path / "far")
    assert one.id != two.id
    assert one.ended([one.id, two.id, far.id, "else-1"]) == set()
    two.close()
    assert one.ended([one.id, two.id, far.id]) == {two.id}
    assert one.neighbours() == set()
    one.close()
    far.close()
