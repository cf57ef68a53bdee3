"""Statistics that may be looked at any time: false winners are rare, real ones are found, and intervals cover."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.experiments import CASES, GUARDED, Case, chance, first_winner, guarded, trial
from pipeline.prompts.sequential import (
    Block,
    Blocks,
    Capital,
    Comparison,
    Learned,
    confidence_interval,
    imbalance,
    notable,
    wealth,
)

differences = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


@given(differences, st.floats(-0.9, 0.9), st.booleans())
def test_the_capital_kept_up_is_the_capital_computed_at_once(found: list[float], null: float, below: bool) -> None:
    capital = Capital(null, below=below)
    for one in found:
        capital.add(one)
    assert math.log(capital.value) == pytest.approx(min(wealth(found, null, below=below)[-1], math.log(1e12)), abs=1e-6)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40), st.floats(-1, 1))
def test_no_bet_gains_on_average_where_there_is_no_difference(past: list[float], edge: float) -> None:
    """Whatever was seen, the mean of the capital after one more difference of mean 0 is the capital before."""
    before = Capital()
    for one in past:
        before.add(one)
    low, high = -abs(edge), max(abs(edge), 1e-3)
    chance = -low / (high - low)
    after = []
    for one in (low, high):
        capital = Capital()
        for seen in [*past, one]:
            capital.add(seen)
        after.append(capital.value)
    if before.value < 1e11:
        assert chance * after[1] + (1 - chance) * after[0] == pytest.approx(before.value, rel=1e-6)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=12),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from([0.0, 0.1, 0.3]),
)
def test_learned_bets_gain_nothing_where_the_second_arm_is_good_enough(
    past: list[tuple[bool, bool, bool]], means: tuple[float, float], margin: float
) -> None:
    """The expectation over the eight outcomes of the next block, under any means of the hypothesis."""
    first, second = means[0], max(means[1], means[0] - margin)
    seen = [Block((float(a), float(b)), (float(c),)) for a, b, c in past]
    expected = 0.0
    for a, b, c in itertools.product((0.0, 1.0), repeat=3):
        capital = Learned(margin)
        for block in seen:
            capital.add(block)
        before = capital.value
        capital.add(Block((a, b), (c,)))
        chance = math.prod(mean if y else 1 - mean for y, mean in ((a, first), (b, first), (c, second)))
        expected += chance * capital.value / before
    assert expected <= 1 + 1e-6


@pytest.mark.parametrize(("name", "good", "canary"), GUARDED[:4], ids=str)
def test_a_canary_that_is_good_enough_is_kept(name: str, good: float, canary: float) -> None:
    assert guarded(name, good, canary, 60, 300)["ended"] < 0.15


def test_a_broken_canary_is_found_within_fifty_requests() -> None:
    found = guarded("broken", 0.95, 0.0, 60, 200)
    assert found["ended"] == 1
    assert found["within_50"] >= 0.9


@given(differences, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_holds_zero_exactly_where_there_is_no_winner(found: list[float], alpha: float) -> None:
    low, high = confidence_interval(found, alpha)
    mean = sum(found) / len(found)
    assert -1 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    needed = math.log(2 / alpha)
    above, below = wealth(found)[-1], wealth(found, below=True)[-1]
    if abs(above - needed) > 1e-6:
        assert (low > 0) == (above >= needed)
    if abs(below - needed) > 1e-6:
        assert (high < 0) == (below >= needed)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=200), st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.95]))
def test_blocks_use_each_outcome_once_and_in_proportion(came: list[tuple[bool, float]], share: float) -> None:
    blocks = Blocks(1 - share, share)
    made = [found for second, value in came if (found := blocks.add(second, value)) is not None]
    first, second = (sum(one == which for one, _ in came) for which in (False, True))
    sizes = (max(1, round((1 - share) / share)), max(1, round(share / (1 - share))))
    assert len(made) <= min(first // sizes[0], second // sizes[1])
    assert all((len(one.first), len(one.second)) == sizes and -1 <= one.difference <= 1 for one in made)


def test_the_arms_alone_say_what_meets_in_a_block() -> None:
    """Other outcomes in the same order of arms give the same number of blocks at the same moments."""
    arms = np.random.default_rng(5).random(500) < 0.3
    one, other = Blocks(0.7, 0.3), Blocks(0.7, 0.3)
    assert all((one.add(bool(arm), 0.0) is None) == (other.add(bool(arm), 1.0) is None) for arm in arms)


@pytest.mark.parametrize("case", [one for one in CASES if one.same], ids=lambda one: one.name)
def test_peeking_after_each_answer_names_few_false_winners(case: Case) -> None:
    """60 runs of 500 answers: 10 false winners would be by chance in one of 2,000 cases where each has 5 %."""
    assert sum(first_winner(case, seed, 500) is not None for seed in range(60)) < 10


@pytest.mark.slow
@pytest.mark.parametrize("case", [one for one in CASES if one.same], ids=lambda one: one.name)
def test_a_thousand_runs_of_two_thousand_answers_name_few_false_winners(case: Case) -> None:
    assert sum(first_winner(case, seed, 2000) is not None for seed in range(1000)) <= 50


def test_a_real_difference_is_found() -> None:
    case = next(one for one in CASES if one.name == "80 % against 90 %")
    found = [first_winner(case, seed, 2000) for seed in range(20)]
    assert sum(one is not None and one[1] for one in found) >= 18


def test_counting_each_person_often_would_name_false_winners() -> None:
    """Why a user counts once: the outcomes of one person are alike, and all of them are in one arm."""
    rng = np.random.default_rng(11)
    false = {1: 0, 40: 0}
    for _ in range(40):
        arms, likes = rng.random(40) < 0.5, (rng.random(40) < 0.5).astype(float)
        for times in (1, 40):
            comparison, named = Comparison(), False
            for n in [*range(40)] * times:
                named |= comparison.add(bool(arms[n]), float(likes[n])) and comparison.winner(0.05) is not None
            false[times] += named
    assert false[1] <= 5
    assert false[40] >= 10


def test_the_interval_covers_the_true_difference_at_every_look() -> None:
    missed = 0
    for seed in range(60):
        found, _ = trial(np.random.default_rng(seed), chance(0.3), chance(0.5), 0.5, 400)
        looks = [confidence_interval(found[:n], 0.05) for n in range(20, len(found), 20)]
        missed += any(not low <= 0.2 <= high for low, high in looks)
    assert missed <= 9


def test_arms_that_are_not_spread_as_declared_show() -> None:
    """By chance rarely, at any of 2,000 looks; where four in ten of an arm are lost, soon."""
    rng = np.random.default_rng(3)

    def most(lost: float, runs: int) -> list[float]:
        found = []
        for _ in range(runs):
            arms = rng.random((2000, 2))
            second = (arms[:, 0] < 0.2).cumsum()
            first = ((arms[:, 0] >= 0.2) & (arms[:, 1] >= lost)).cumsum()
            found.append(max(imbalance((int(a), int(b)), (0.8, 0.2)) for a, b in zip(first, second, strict=True)))
        return found

    assert max(most(0.0, 30)) < 1000
    assert min(most(0.4, 5)) > 1000


def test_notable_metrics_are_those_of_e_bh() -> None:
    assert notable({}, 0.05) == set()
    assert notable({"a": 39, "b": 1, "c": 1}, 0.05) == set()
    assert notable({"a": 61, "b": 1, "c": 1}, 0.05) == {"a"}
    assert notable({"a": 31, "b": 31, "c": 1}, 0.05) == {"a", "b"}
