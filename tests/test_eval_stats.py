import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goalsight.eval.stats import (
    bootstrap,
    bootstrap_mean_rates,
    estimate,
    interquartile_mean,
    interval,
    mean_over_seeds,
    performance_profile,
    probability_of_improvement,
    resampled,
    wilson,
)

RATES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_worked_by_hand():
    # 8 of 10, z = 1.959964, z^2 = 3.841459: centre = (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half width = sqrt(3.841459 * (0.16 + 0.096036) / 10) / 1.384146 = sqrt(0.0983552) / 1.384146 = 0.226578.
    found = wilson(8, 10)
    assert found.rate == 0.8
    assert found.low == pytest.approx(0.490162, abs=1e-5)
    assert found.high == pytest.approx(0.943318, abs=1e-5)


def test_no_success_and_all_success():
    # At 0 of n the upper bound is z^2 / (n + z^2) = 3.841459 / 103.841459.
    none, every = wilson(0, 100), wilson(100, 100)
    assert none.low == 0
    assert none.high == pytest.approx(0.0369935, abs=1e-6)
    assert every.high == 1
    assert every.low == pytest.approx(1 - none.high)


@given(total=st.integers(1, 2000), share=st.floats(0, 1))
def test_interval_holds_the_rate_and_mirrors(total, share):
    count = round(share * total)
    found, mirrored = wilson(count, total), wilson(total - count, total)
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high)
    assert wilson(count, total, confidence=0.5).high <= found.high


@pytest.mark.parametrize(("count", "total", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_refused(count, total, confidence):
    with pytest.raises(ValueError, match="got"):
        wilson(count, total, confidence=confidence)


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 4.5),  # 3, 4, 5 and 6 are left
        ([100, 2, 0, 3, 1], 2),  # a quarter of 5 is one run: 1, 2 and 3 are left
        ([0, 5, 10], 5),  # a quarter of 3 is none
        ([7], 7),
    ],
)
def test_interquartile_means_worked_by_hand(scores, mean):
    assert interquartile_mean(scores) == pytest.approx(mean)


@given(RATES)
def test_an_interquartile_mean_forgets_order_and_lies_within(scores):
    found = interquartile_mean(scores)
    assert found == interquartile_mean(scores[::-1])
    assert min(scores) - 1e-12 <= found <= max(scores) + 1e-12


def test_an_interquartile_mean_does_not_follow_an_outlier():
    assert interquartile_mean([0.5, 0.5, 0.5, 0.5]) == interquartile_mean([0.5, 0.5, 0.5, 1e9]) == 0.5


@pytest.mark.parametrize(
    ("ours", "theirs", "probability"),
    [
        ([3, 4], [1, 3], 3.5 / 4),  # 3 > 1, 3 = 3, 4 > 1, 4 > 3
        ([1, 2, 3], [2, 2, 2], 0.5),
        ([1], [2, 3, 4], 0.0),
    ],
)
def test_probabilities_of_improvement_worked_by_hand(ours, theirs, probability):
    assert probability_of_improvement(ours, theirs) == pytest.approx(probability)


@given(RATES, RATES)
def test_a_probability_of_improvement_mirrors_and_is_a_half_for_equals(ours, theirs):
    there, back = probability_of_improvement(ours, theirs), probability_of_improvement(theirs, ours)
    assert there + back == pytest.approx(1)
    assert probability_of_improvement(ours, ours) == pytest.approx(0.5)


def test_a_profile_worked_by_hand():
    assert performance_profile([0.2, 0.6, 0.6], [0, 0.2, 0.5, 0.6]) == pytest.approx([1, 2 / 3, 2 / 3, 0])


@given(RATES)
def test_a_profile_falls_and_its_area_is_the_mean(scores):
    at = np.linspace(0, 1, 1001)
    profile = performance_profile(scores, at)
    assert (np.diff(profile) <= 0).all()
    assert profile.mean() == pytest.approx(np.mean(scores), abs=2e-3)


def test_a_bootstrap_of_two_seeds_worked_by_hand():
    # Means of two draws from {0, 1} are 0, 1/2, 1/2 and 1, so the middle 95% reaches from 0 to 1.
    found = bootstrap(lambda rows: rows.mean(axis=-1), [0.0, 1.0], rng=rng())
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    draws = resampled([0.0, 1.0], rng()).mean(axis=1)
    assert [(draws == mean).mean() for mean in (0, 0.5, 1)] == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@given(RATES, RATES)
def test_a_bootstrap_holds_its_value_and_repeats_to_the_bit(ours, theirs):
    for statistic, strata in (
        (interquartile_mean, [ours]),
        (lambda rows: rows.mean(axis=-1), [ours]),
        (probability_of_improvement, [ours, theirs]),
    ):
        found = bootstrap(statistic, *strata, rng=rng(), draws=200)
        assert found.low <= found.value <= found.high
        assert found == bootstrap(statistic, *strata, rng=rng(), draws=200)


def test_one_seed_tells_nothing_of_the_spread_of_seeds():
    found = bootstrap(interquartile_mean, [0.3], rng=rng())
    assert (found.low, found.high) == (0.3, 0.3)


def test_episodes_count_where_seeds_agree():
    # Jeffreys' posterior after 0 of 20: with p = sin^2(a) its density over the angle is that of cos(a)^40.
    angles = np.linspace(0, np.pi / 2, 100_001)
    mass = np.cumsum(np.cos(angles) ** 40)
    upper = np.sin(angles[np.searchsorted(mass / mass[-1], 0.975)]) ** 2
    draws = bootstrap_mean_rates([0], [20], rng=rng(), draws=200_000)
    assert interval(draws)[1] == pytest.approx(upper, abs=2e-3)
    found = estimate(0.0, draws)
    assert (found.value, found.low) == (0.0, 0.0)


def test_seeds_count_beside_their_episodes():
    apart = bootstrap_mean_rates([0, 1000], [1000, 1000], rng=rng())
    assert interval(apart) == pytest.approx((0, 1), abs=0.01)
    alike = bootstrap_mean_rates([500, 500], [1000, 1000], rng=rng())
    # The mean of two rates, each with a variance of 0.25 / 1000.
    half = 1.96 * np.sqrt(0.25 / 1000 / 2)
    assert interval(alike) == pytest.approx((0.5 - half, 0.5 + half), abs=2e-3)


def test_a_mean_over_seeds_worked_by_hand():
    # Of 1, 2 and 3 the deviation is 1; t with two degrees of freedom is 4.302653, over the root of 3.
    found = mean_over_seeds([1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - 2.484138, 2.0 + 2.484138), abs=1e-5)
    alone = mean_over_seeds([0.3])
    assert (alone.value, alone.low, alone.high) == (0.3, 0.3, 0.3)


@pytest.mark.parametrize("seeds", [3, 5])
def test_what_is_said_to_hold_the_mean_19_times_of_20_does(seeds):
    found = [mean_over_seeds(one) for one in rng().normal(size=(2000, seeds))]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert covered == pytest.approx(0.95, abs=0.02)
    # What the bootstrap's percentiles cover is said where they are shown.
    drawn = (
        np.quantile(resampled(one, rng(1), draws=500).mean(1), (0.025, 0.975))
        for one in rng().normal(size=(1000, seeds))
    )
    assert np.mean([low <= 0 <= high for low, high in drawn]) == pytest.approx({3: 0.75, 5: 0.84}[seeds], abs=0.04)
