"""What circuit breakers and rate limits promise, on both databases, over several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from breaker_child import RULE, TARGET
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel.errors import GenerationFailed, InvalidInput, Unavailable, UnusableReply
from kernel.ports import GenerationRequest
from kernel.records import Evidence, Generation, ModelInfo
from kernel.storage.breakers import CLOSED, OPENED, BreakerRule, Breakers, State
from kernel.storage.database import Database
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults
from pipeline.workflows.breakers import FRESH_SECONDS, GuardedGenerator, Guards, NotNow, RateRule

CHILD = Path(__file__).with_name("breaker_child.py")
SIMPLE = BreakerRule(failures=3, window=60.0, cool_down=30.0, longest=100.0, probe=20.0)


class Clock:
    """Time that a test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Target:
    """Something outside that is up or down, and counts who reached for it."""

    def __init__(self, guards: Guards, clock: Clock, name: str = TARGET) -> None:
        self.guards, self.clock, self.name = guards, clock, name
        self.calls, self.up = 0, True

    def call(self) -> str:
        """What came of a call: ok, down, or held."""
        try:
            with self.guards.guarded(self.name):
                self._reached()
        except NotNow:
            return "held"
        except Unavailable:
            return "down"
        return "ok"

    def _reached(self) -> None:
        self.calls += 1
        if not self.up:
            raise Unavailable("it is down")

    def after(self, seconds: float) -> str:
        self.clock.now += seconds
        return self.call()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target(database: Database, clock: Clock) -> Target:
    return Target(Guards(Breakers(database), SIMPLE, clock=clock, sleep=clock.sleep), clock)


def entries(database: Database) -> list[tuple[str, int]]:
    """Kind and count of probes of each entry of a breaker."""
    return [(leaf.kind, leaf.facts["probes"]) for leaf in Ledger(database).leaves(0, 99) if "breaker" in leaf.kind]


def test_it_opens_lets_one_probe_through_and_closes(database: Database, target: Target) -> None:
    target.up = False
    assert [target.call() for _ in range(5)] == ["down", "down", "down", "held", "held"]
    assert target.calls == 3
    assert target.after(29) == "held"
    assert target.after(1.5) == "down", "the probe"
    assert target.after(31) == "held", "the cool-down doubles"
    assert target.after(30) == "down"
    target.up = True
    assert target.after(99) == "held"
    assert target.after(2) == "ok", "no cool-down is longer than the longest"
    assert target.call() == "ok"
    assert entries(database) == [(OPENED, 0), (OPENED, 1), (OPENED, 2), (CLOSED, 2)]
    ledger = Ledger(database)
    assert [json.loads(payload or "")["target"] for leaf, _, payload in ledger.rows() if leaf.kind == CLOSED] == [
        TARGET
    ]
    assert [*store_faults(database, ledger)] == []


def test_failures_count_in_a_row_and_within_the_window(target: Target) -> None:
    for up in (False, False, True, False, False):
        target.up = up
        target.call()
    assert target.call() == "down", "the third in a row opens it, and is itself let through"
    assert target.call() == "held"


def test_failures_that_lie_far_apart_open_nothing(database: Database, target: Target) -> None:
    target.up = False
    assert [target.after(61) for _ in range(6)] == ["down"] * 6
    assert entries(database) == []


def test_while_a_probe_is_under_way_all_others_are_held(database: Database, target: Target, clock: Clock) -> None:
    target.up = False
    for _ in range(3):
        target.call()
    clock.now += 30
    other = Target(Guards(Breakers(database), SIMPLE, clock=clock), clock)
    with target.guards.guarded(TARGET) as passage:
        assert passage.probe
        assert (other.call(), target.call()) == ("held", "held")
        assert other.after(SIMPLE.probe + 1) == "ok", "a probe that says nothing for long is given up"
    assert target.guards.store.get(TARGET).state is State.CLOSED


def test_a_probe_that_fails_for_a_reason_of_its_own_says_nothing(target: Target, clock: Clock) -> None:
    target.up = False
    for _ in range(3):
        target.call()
    clock.now += 30
    with pytest.raises(InvalidInput), target.guards.guarded(TARGET):
        raise InvalidInput("the caller's own fault")
    assert target.guards.store.get(TARGET).state is State.OPEN
    target.up = True
    assert target.call() == "ok", "the next probe need not wait"


def test_what_was_under_way_when_it_opened_changes_nothing(target: Target) -> None:
    target.up = False
    with target.guards.guarded(TARGET) as passage:
        assert [target.call() for _ in range(4)] == ["down", "down", "down", "held"]
        opened = target.guards.store.get(TARGET)
        passage.failed()
    assert target.guards.store.get(TARGET) == opened
    target.guards.store.succeeded(TARGET, probe=False)
    assert target.guards.store.get(TARGET) == opened


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 50)), max_size=40))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_it_recovers(database: Database, clock: Clock, story: list[tuple[bool, float]]) -> None:
    """No sequence of failures and waits leaves a breaker that a working target cannot close."""
    target = Target(Guards(Breakers(database), SIMPLE, clock=clock), clock, f"t:{len(story)}:{hash(tuple(story))}")
    for up, wait in story:
        target.up = up
        target.after(wait)
    target.up = True
    assert target.after(SIMPLE.longest + 1) == "ok"
    assert target.guards.store.get(target.name).failures == 0


def test_a_model_is_guarded_by_its_name_and_an_unusable_reply_is_one(database: Database, clock: Clock) -> None:
    class Model:
        info = ModelInfo("toy", "toy-1")
        error: Exception | None = None

        def generate(self, request: GenerationRequest) -> Generation:
            if self.error is not None:
                raise self.error
            return Generation("Yes.")

    model = Model()
    generator = GuardedGenerator(model, Guards(Breakers(database), SIMPLE, clock=clock))
    request = GenerationRequest("?", (), Evidence(0, ()), ())
    other = GenerationRequest("?", (), Evidence(0, ()), (), {"model": "toy-2"})
    model.error = UnusableReply("cut short")
    for _ in range(5):
        with pytest.raises(UnusableReply):
            generator.generate(request)
    model.error = GenerationFailed("away")
    for _ in range(3):
        with pytest.raises(GenerationFailed):
            generator.generate(request)
    model.error = None
    with pytest.raises(NotNow, match=r"model:toy/toy-1 failed 3 times in a row") as raised:
        generator.generate(request)
    assert 25 < raised.value.after <= 30
    assert generator.generate(other).text == "Yes."
    assert generator.info == model.info


def test_calls_above_the_rate_wait_and_then_are_put_off(database: Database, clock: Clock) -> None:
    rates = {"model:*": RateRule(4, 8.0)}
    guards = Guards(Breakers(database), SIMPLE, rates, clock=clock, sleep=clock.sleep)
    for _ in range(4):
        with guards.guarded("model:toy/one"):
            pass
    assert clock.now == 1000, "the first come at once"
    with guards.guarded("model:toy/one", patience=2.0):
        assert clock.now == 1002, "the bucket fills by one every two seconds"
    with pytest.raises(NotNow, match="at most 4 times in 8 s") as raised, guards.guarded("model:toy/one", patience=1.0):
        pass
    assert raised.value.after == pytest.approx(2.0)
    with guards.guarded("http:free.example.org"):
        assert clock.now == 1002
    assert guards.store.get("model:toy/one").failures == 0, "being put off is not a failure"


def test_a_rate_holds_over_workers(connect: Callable[[], Database], database: Database) -> None:
    """Three workers with a limit of five in a long time: five calls in all."""
    passed: list[int] = []

    def work(one: Database) -> None:
        guards = Guards(Breakers(one), SIMPLE, {"*": RateRule(5, 3600.0)})
        for n in range(4):
            try:
                with guards.guarded("http:slow"):
                    passed.append(n)
            except NotNow:
                continue

    threads = [threading.Thread(target=work, args=(connect(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 5


def test_of_many_workers_one_makes_the_probe(connect: Callable[[], Database], database: Database) -> None:
    """All of them come at the moment at which the cool-down ends; while the one is under way all others are held."""
    rule = BreakerRule(failures=1, cool_down=0.01)
    with pytest.raises(Unavailable), Guards(Breakers(database), rule).guarded(TARGET):
        raise Unavailable("it is down")
    time.sleep(0.05)
    workers = [Guards(Breakers(connect()), rule) for _ in range(6)]
    ready, held, through = threading.Barrier(len(workers)), threading.Semaphore(0), []

    def work(guards: Guards) -> None:
        ready.wait()
        try:
            with guards.guarded(TARGET) as passage:
                through.append(passage.probe)
                for _ in workers[1:]:
                    assert held.acquire(timeout=30)
        except NotNow:
            held.release()

    threads = [threading.Thread(target=work, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert through == [True]
    assert Breakers(database).get(TARGET).state is State.CLOSED


def test_two_processes_share_a_breaker(connect: Callable[[], Database], database: Database, key_file: Path) -> None:
    """One process sees the target fail, the other is held at once; once it is up, one probe of either closes it."""

    def child(state: str, count: int) -> list[str]:
        url = database.url.render_as_string(hide_password=False)
        command = [sys.executable, str(CHILD), url, str(key_file), database.schema.removeprefix("vouch_")]
        done = subprocess.run([*command, state, str(count)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert child("down", 6) == ["failed"] * RULE.failures + ["held"] * 2
    here = Guards(Breakers(database), RULE)
    with pytest.raises(NotNow), here.guarded(TARGET):
        pass
    time.sleep(max(0.0, Breakers(database).get(TARGET).until - time.time()) + 0.01)
    assert child("up", 3) == ["reached"] * 3
    time.sleep(FRESH_SECONDS)
    with here.guarded(TARGET) as passage:
        assert not passage.probe
    assert entries(database) == [(OPENED, 0), (CLOSED, 0)]


def test_a_target_that_works_costs_next_to_nothing(database: Database) -> None:
    guards = Guards(Breakers(database))
    before = Ledger(database).size()
    with guards.guarded(TARGET):
        pass
    start = time.perf_counter()
    for _ in range(1000):
        with guards.guarded(TARGET):
            pass
    each = (time.perf_counter() - start) / 1000
    print(f"guard: {each * 1e6:.1f} us a call")
    assert each < 1e-3
    assert (Breakers(database).items(), Ledger(database).size()) == ([], before)
