"""Workflows on the real engine and both databases, with worker processes that are killed at random moments.

What is counted: no effect is lost; a step that was recorded as done is never done again; one that was under way when
its worker was killed may be; what is delivered with a key arrives exactly once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from engine_parts import Worker, until
from plant_parts import BOSS, OTHER, STARTER, Plant, PlantSite
from sqlalchemy import text

from kernel.errors import Conflict
from kernel.storage.database import Database
from kernel.storage.runs import ENDS, NewEvent, RunEvent
from pipeline.workflows.engine import Engine
from pipeline.workflows.tickets import Timetable

SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 21))]
LONG = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 21)]


@pytest.fixture
def site(database: Database, database_url: str, key_file: Path, tmp_path: Path) -> PlantSite:
    name = database.schema.removeprefix("vouch_")
    return PlantSite(database_url, tmp_path, workspace=name, key_file=str(key_file))


@pytest.fixture
def plant(site: PlantSite) -> Iterator[Plant]:
    """The plant in this process, which is no worker."""
    with site.client() as engine:
        made = Plant(site, engine)
        yield made
        made.close()


class Crew:
    """Worker processes that die and are replaced."""

    def __init__(self, site: PlantSite, chance: random.Random, size: int = 2) -> None:
        self._site, self._chance = site, chance
        self.killed = 0
        self.workers: list[Worker] = [site.worker() for _ in range(size)]

    def kill_one(self) -> None:
        victim = self.workers.pop(self._chance.randrange(len(self.workers)))
        time.sleep(self._chance.uniform(0, 0.15))
        victim.kill()
        self.killed += 1
        self.workers.append(self._site.worker())

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()


def finished(plant: Plant, runs: list[str]) -> bool:
    return all(plant.runs.get(run).status in ENDS for run in runs)


def check_steps(plant: Plant, runs: list[str], killed: int) -> None:
    """What holds of every run: each recorded step was done, none was tried once it was recorded, and what was tried
    twice at the same attempt was under way in a worker that was killed.
    """
    lines = plant.site.lines()
    tries = Counter((line["key"], line["attempt"]) for line in lines if line["what"] == "try")
    last_try = {line["key"]: line["at"] for line in lines if line["what"] == "try"}
    did = {line["key"] for line in lines if line["what"] == "did"}
    for run in runs:
        for event in plant.runs.events(run):
            place = "" if event.item is None else event.item
            tail = ":undo" if event.kind == "undone" else ""
            key = f"{run}:{event.step}:{place}{tail}"
            if event.kind in ("done", "undone") and key in last_try:
                assert key in did
                assert last_try[key] <= datetime.fromisoformat(event.created_at).timestamp()
    assert sum(count - 1 for count in tries.values()) <= killed * plant.site.threads


def check_undone(plant: Plant, run: str) -> None:
    """All that was done and can be taken back was, once, in the reverse order."""
    journal = plant.journal(run)
    done = [(step, item) for kind, step, item in journal if kind == "done"]
    back = [(step, item) for kind, step, item in journal if kind == "undone"]
    loops = {step for step, item in done if item is not None}
    can = {"one", "two", "three", "draft"}
    assert back == [one for one in done if one[0] in can and (one[0] not in loops or one[1] is not None)][::-1]


def delivered(plant: Plant) -> list[str]:
    """What lies in the folder, drafts too."""
    folder = plant.site.folder / "out"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_whenever_every_run_ends_as_it_should(plant: Plant, seed: int) -> None:
    """Loops, retries now and later, people who approve, reject and come too late, a cancellation, a run within a run,
    and taking back, while workers are killed.
    """
    chance = random.Random(seed)
    wanted = ["chain"] * 3 + ["saga"] * 2 + ["person"] * 3 + ["late"] + ["parent"] * 2
    chance.shuffle(wanted)
    with Crew(plant.site, chance) as crew:
        runs: dict[str, str] = {}
        for name in wanted:
            runs[plant.start(name)] = name
            time.sleep(chance.uniform(0, 0.05))
            if chance.random() < 0.25:
                crew.kill_one()
        asked = [run for run, name in runs.items() if name == "person"]
        until(lambda: all(plant.open_tasks(run) for run in asked))
        approved, rejected, cancelled = chance.sample(asked, 3)
        acts = [
            lambda: plant.approve(plant.open_tasks(approved)[0]),
            lambda: plant.people.reject(plant.open_tasks(rejected)[0], "no", OTHER),
            lambda: plant.desk.cancel(cancelled, STARTER, "not needed"),
            crew.kill_one,
            crew.kill_one,
        ]
        chance.shuffle(acts)
        for act in acts:
            act()
        children = lambda: [child.id for run in runs for child in plant.runs.children(run)]  # noqa: E731
        until(lambda: finished(plant, [*runs, *children()]))
        until(lambda: not plant.engine.holders() and not plant.open_tasks())
    everything = [*runs, *children()]
    check_steps(plant, everything, crew.killed)
    ends = {run: plant.runs.get(run).status for run in everything}
    good = {run for run in everything if runs.get(run, "chain") in ("chain", "parent")} | {approved}
    assert {run for run, status in ends.items() if status == "done"} == good
    assert ends[cancelled] == "cancelled"
    for run in set(everything) - good:
        check_undone(plant, run)
    slugs = {runs[run]: plant.runs.events(run)[-1].data.get("slug") for run in set(runs) - good - {cancelled, rejected}}
    assert slugs == {"saga": "broken", "late": "expired"}
    assert plant.runs.events(rejected)[-1].data["slug"] == "rejected"
    assert [len(plant.runs.children(run)) for run, name in runs.items() if name == "parent"] == [1, 1]
    files = [run for run in everything if run == approved or plant.runs.get(run).workflow == "chain"]
    assert delivered(plant) == sorted(f"{run}.txt" for run in files)


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_resume_and_fork_keep_what_was_done(plant: Plant, seed: int) -> None:
    chance = random.Random(seed)
    with Crew(plant.site, chance) as crew:
        run = plant.start("saga")
        crew.kill_one()
        until(lambda: finished(plant, [run]))
        check_undone(plant, run)
        (plant.site.folder / "mended").touch()
        plant.desk.resume(run, STARTER)
        crew.kill_one()
        until(lambda: finished(plant, [run]))
        fork = plant.desk.fork(run, "three", STARTER).id
        crew.kill_one()
        until(lambda: finished(plant, [fork]))
    check_steps(plant, [fork], crew.killed)
    assert {plant.runs.get(one).status for one in (run, fork)} == {"done"}
    tried = {line["step"] for line in plant.site.lines() if line["run"] == fork}
    assert tried == {"three", "boom", "end"}
    assert [kind for kind, step, _ in plant.journal(run) if step == "boom"] == ["failed", "stopped", "done"]


@pytest.mark.parametrize("seed", LONG)
def test_decisions_outlive_everything_and_so_do_runs_without_their_engine(plant: Plant, seed: int) -> None:
    """All workers die, people decide while none is up, and the engine's database is lost."""
    chance = random.Random(seed)
    with plant.site.worker() as first:
        runs = {plant.start(name): name for name in ("person", "person", "chain", "late", "saga")}
        asked = [run for run, name in runs.items() if name == "person"]
        until(lambda: all(plant.open_tasks(run) for run in asked))
        time.sleep(chance.uniform(0, 1.0))
        first.kill()
    plant.approve(plant.open_tasks(asked[0])[0])
    plant.people.reject(plant.open_tasks(asked[1])[0], "no", OTHER)
    plant.engine.close()
    _lose(plant)
    with plant.site.worker():
        until(lambda: finished(plant, [*runs]))
    ends = Counter((runs[run], plant.runs.get(run).status) for run in runs)
    failed = dict.fromkeys([("person", "failed"), ("late", "failed"), ("saga", "failed")], 1)
    assert ends == {("person", "done"): 1, ("chain", "done"): 1, **failed}
    check_steps(plant, [*runs], 1)
    assert len(delivered(plant)) == 2


def _lose(plant: Plant) -> None:
    database = plant.site.database()
    if database.schema is not None:
        with database.engine.begin() as connection:
            connection.execute(text(f'DROP SCHEMA "{database.schema}" CASCADE'))
    database.close()
    for path in plant.site.folder.glob("engine.db*"):
        path.unlink()


class Died(BaseException):
    """The process was killed here."""


@pytest.mark.parametrize("sort", ["review", "check"])
def test_a_decision_is_found_though_whoever_asked_died_before_writing_so(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    run = plant.start("person" if sort == "review" else "asking")
    write = plant.runs.write

    def mortal(run_id: str, epoch: int, events: Sequence[NewEvent], seen: int) -> list[RunEvent]:
        if any(event.kind == "waits" for event in events):
            raise Died
        return write(run_id, epoch, events, seen)

    with monkeypatch.context() as patch:
        patch.setattr(plant.runs, "write", mortal)
        with pytest.raises(Died):
            plant.runner.advance(run, 0)
    plant.approve(plant.open_tasks(run)[0])
    plant.runner.advance(run, 0)
    assert plant.runs.get(run).status == "done"


def test_a_run_goes_on_with_the_versions_that_it_was_started_with(plant: Plant) -> None:
    """Also where it starts a run of its own only after something else was released."""
    with plant.site.worker(seconds=1.0) as first:
        runs = [plant.start("parent"), plant.start("person")]
        until(plant.open_tasks)
        first.kill()
    plant.approve(plant.open_tasks()[0])
    newer = plant.site.worker(release=2)
    with newer:
        until(lambda: finished(plant, runs))
    child = plant.runs.children(runs[0])[0]
    assert [plant.output(run)["release"] for run in (*runs, child.id)] == [1, 1, 1]
    assert child.version == 1


@pytest.mark.parametrize("seed", LONG)
def test_a_worker_that_was_only_slow_cannot_write_any_more(plant: Plant, seed: int) -> None:
    """It stands still at a random moment, on another machine, until others have finished its runs; then it goes on."""
    chance = random.Random(seed)
    with plant.site.worker(place="elsewhere", silent=60.0, pace=10.0) as slow:
        runs = [plant.start(name) for name in ("chain", "chain", "saga", "parent")]
        time.sleep(chance.uniform(0.1, 1.5))
        slow.pause(lambda: _writes(plant))
        with plant.site.worker(silent=1.0):
            until(lambda: finished(plant, runs))
            slow.go_on()
            time.sleep(0.5)
            until(lambda: not plant.engine.holders())
    children = [child.id for run in runs for child in plant.runs.children(run)]
    for one in [*runs, *children]:
        journal = plant.journal(one)
        assert [row for row, count in Counter(journal).items() if count > 1 and row[0] in ("done", "undone")] == []
        assert journal[-1][0] == "finished"
    assert [plant.runs.get(run).status for run in runs] == ["done", "done", "failed", "done"]
    check_undone(plant, runs[2])
    assert len(delivered(plant)) == 3


def _writes(plant: Plant) -> None:
    with plant.database.write():
        plant.engine.holders()


def test_a_run_that_was_erased_ends_and_does_nothing_more(plant: Plant) -> None:
    with plant.site.worker():
        run = plant.start("person")
        until(lambda: plant.open_tasks(run))
    number = plant.runs.get(run).number
    with plant.database.write() as connection:
        connection.execute(text("DELETE FROM ledger_payload WHERE number = :number"), {"number": number})
    with plant.site.worker():
        with suppress(Conflict):  # it is under way, or ended already
            woken = plant.runs.interrupt(run, NewEvent("decided"), STARTER.id)
            if woken is not None:
                plant.submit(woken, 0.0)
        until(lambda: finished(plant, [run]))
    assert plant.runs.get(run).erased
    assert plant.runs.events(run)[-1].data["slug"] == "erased"
    assert delivered(plant) == []
    plant.engine.forget(run)
    database = plant.site.database()
    with database.engine.begin() as connection:
        where = f'"{database.schema}".' if database.schema else ""
        for table in ("workflow_status", "workflow_input", "workflow_output"):
            query = text(f"SELECT count(*) FROM {where}{table} WHERE workflow_uuid LIKE :run")  # noqa: S608
            assert connection.execute(query, {"run": f"%{run}%"}).scalar() == 0
    database.close()


def test_a_cancelled_run_does_not_go_on_and_cannot_be_cancelled_twice(plant: Plant) -> None:
    with plant.site.worker():
        run = plant.start("chain")
        until(lambda: ("done", "first", None) in plant.journal(run))
        plant.desk.cancel(run, STARTER)
        until(lambda: finished(plant, [run]))
        with pytest.raises(Conflict):
            plant.desk.cancel(run, BOSS)
        time.sleep(0.3)
    assert plant.runs.get(run).status == "cancelled"
    assert delivered(plant) == []
    plant.engine.cancel(run)
    plant.engine.forget(run)
    assert plant.engine.known([run]) == set()


@pytest.mark.slow
def test_what_is_asked_twice_is_started_once_and_cron_starts_a_run_a_moment(plant: Plant) -> None:
    with plant.site.worker(), plant.site.worker():
        twice = {plant.start("often", dedup="one") for _ in range(2)}
        plant.engine.timetables([Timetable("often", "* * * * * *", "Europe/Berlin")])
        cron = lambda: [run for run in plant.runs.items(limit=50) if run.trigger == "cron"]  # noqa: E731
        until(lambda: len(cron()) >= 3)
        plant.engine.timetables([])
        until(lambda: finished(plant, [run.id for run in cron()]))
    assert len(twice) == 1
    tries = Counter(line["run"] for line in plant.site.lines() if line["what"] == "try")
    assert set(tries.values()) == {1}
    assert set(tries) == {run.id for run in plant.runs.items(limit=50)}


@pytest.mark.slow
def test_two_hundred_runs_wait_without_a_thread_or_a_turn(plant: Plant) -> None:
    with plant.site.client() as _:
        database = plant.site.database()
        engine = Engine(database, worker="here", threads=4)
        here = Plant(replace(plant.site, seconds=0.0), engine)
        engine.launch(here.runner.advance, here.fire, {"default": 100})
        try:
            before = threading.active_count()
            runs = [plant.start("person") for _ in range(200)]
            until(lambda: len(plant.open_tasks()) == 200)
            until(lambda: not engine.holders())
            assert engine.known(runs) - _timed(plant, runs) == set()
            until(lambda: threading.active_count() <= before)
        finally:
            engine.close()
            here.close()
            database.close()


def _timed(plant: Plant, runs: list[str]) -> set[str]:
    """Runs that are to be woken at some moment: those have a turn that is delayed."""
    return {run for run in runs if plant.runs.get(run).wake_at is not None}


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_leaves_its_runs_to_others_at_once(plant: Plant) -> None:
    with plant.site.worker() as first:
        run = plant.start("chain")
        until(lambda: ("done", "first", None) in plant.journal(run))
        begin = time.monotonic()
        first.stop()
        assert time.monotonic() - begin < 3.0
    assert plant.runs.get(run).status not in ENDS
    assert plant.engine.known([run]) == {run}
    with plant.site.worker():
        until(lambda: finished(plant, [run]))
    check_steps(plant, [run], 0)
