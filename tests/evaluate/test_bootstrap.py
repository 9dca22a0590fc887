"""Intervals hold the truth as often as they say; what cannot be told apart ties."""

import numpy as np
import pytest

from jaxemb import evaluate


def test_interval_by_hand():
    # Means of 2 draws from {0, 1} are 0, 1/2, 1 with 1/4, 1/2, 1/4: nothing narrower holds 95 %.
    assert evaluate.interval(np.array([0.0, 1.0])) == (0.0, 0.5, 1.0)
    assert evaluate.interval(np.array([0.3, 0.3, 0.3])) == (0.3, 0.3, 0.3)
    low, mean, high = evaluate.interval(np.random.default_rng(0).normal(size=400))
    assert mean - low == pytest.approx(1.96 / 20, rel=0.1)
    assert high - mean == pytest.approx(1.96 / 20, rel=0.1)


def test_interval_of_skewed_values_is_longer_on_the_long_side():
    low, mean, high = evaluate.interval(np.random.default_rng(0).lognormal(sigma=1.5, size=60))
    assert high - mean > 1.2 * (mean - low)


def test_interval_holds_the_truth():
    chance = np.random.default_rng(1)
    ends = [evaluate.interval(chance.beta(0.3, 0.6, 60), resamples=800, seed=i) for i in range(500)]
    held = np.mean([low <= 1 / 3 <= high for low, _, high in ends])
    assert 0.92 <= held <= 0.975


def test_a_seed_decides():
    values = np.random.default_rng(0).normal(size=50)
    assert evaluate.interval(values, seed=3) == evaluate.interval(values, seed=3)
    assert evaluate.interval(values, seed=3) != evaluate.interval(values, seed=4)


def test_paired_difference_sees_what_two_intervals_do_not():
    chance = np.random.default_rng(0)
    hard = chance.uniform(size=300)
    a, b = hard + 0.02 + 0.02 * chance.normal(size=300), hard + 0.02 * chance.normal(size=300)
    assert evaluate.interval(a).low < evaluate.interval(b).high
    low, difference, high = evaluate.paired_difference(a, b)
    assert 0 < low < 0.02 < high
    assert difference == pytest.approx((a - b).mean())


def test_quantile_by_hand():
    # 9 of 10 values would be needed above the median's upper end at n = 5: P(all on one side) is 1/32 > 0.025.
    low, median, high = evaluate.quantile(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), 0.5)
    assert (low, median, high) == (-np.inf, 3.0, np.inf)
    assert evaluate.quantile(np.arange(6.0), 0.5) == (0.0, 2.5, 5.0)  # 1/64 is below 0.025
    assert evaluate.quantile(np.arange(367.0), 0.99).high == np.inf
    assert evaluate.quantile(np.arange(368.0), 0.99).high == 367.0


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_quantile_holds_the_truth(share):
    chance = np.random.default_rng(0)
    held = [
        low <= share <= high
        for low, _, high in (evaluate.quantile(chance.uniform(size=200), share) for _ in range(2000))
    ]
    assert 0.94 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("statistic", [evaluate.interval, lambda values: evaluate.quantile(values, 0.5)])
def test_bad_values_are_refused(statistic):
    with pytest.raises(ValueError, match="got none"):
        statistic(np.zeros(0))
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        statistic(np.array([0.0, np.nan]))


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="same queries, got 2 and 3"):
        evaluate.paired_difference(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"inside \(0, 1\), got 1"):
        evaluate.quantile(np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="NaN"):
        evaluate.ranks(np.array([[0.0, np.nan]]))
