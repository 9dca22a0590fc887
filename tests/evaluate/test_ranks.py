import time
import tracemalloc

import numpy as np
import pytest

from jaxemb import evaluate


def systems(seed, shift, queries=200, noise=0.1):
    """Values in which every query is as hard for all."""
    chance = np.random.default_rng(seed)
    return (
        chance.uniform(size=(1, queries)) + noise * chance.normal(size=(len(shift), queries)) + np.array(shift)[:, None]
    )


def test_clear_systems_rank_and_equal_ones_tie():
    values = systems(0, [0.0, 0.3, 0.6])
    got = evaluate.ranks(np.concatenate([values, values[1:2]]))
    assert (got.best.tolist(), got.worst.tolist()) == ([4, 2, 1, 2], [4, 3, 1, 3])
    assert [(int(i), int(j)) for i, j in np.argwhere(got.tied)] == [(1, 3), (3, 1)]


def test_being_tied_is_not_transitive():
    chance = np.random.default_rng(0)
    got = evaluate.ranks(
        np.array([0.0, 0.06, 0.12])[:, None] + 0.5 * chance.normal(size=(3, 400)) * [[0.7], [1.2], [0.7]]
    )
    assert (got.best.tolist(), got.worst.tolist()) == ([2, 1, 1], [3, 3, 2])


def test_order_and_seed():
    values = systems(1, [0.0, 0.02, 0.04, 0.2])
    got, again = evaluate.ranks(values), evaluate.ranks(values)
    np.testing.assert_array_equal(got.better, again.better)
    flipped = evaluate.ranks(values[::-1])
    np.testing.assert_array_equal(flipped.better[::-1, ::-1], got.better)


def test_one_system_and_one_query():
    assert evaluate.ranks(np.ones((1, 5))).best.tolist() == [1]
    got = evaluate.ranks(np.array([[0.0], [1.0]]))
    assert (got.best.tolist(), got.worst.tolist()) == ([1, 1], [2, 2])


def test_the_same_gain_on_every_query_needs_enough_queries():
    assert evaluate.ranks(np.array([[0.0] * 4, [1.0] * 4])).best.tolist() == [1, 1]
    assert evaluate.ranks(np.array([[0.0] * 8, [1.0] * 8])).best.tolist() == [2, 1]


@pytest.mark.parametrize("queries", [15, 100])
def test_no_verdict_is_wrong_more_often_than_stated(queries):
    wrong = [
        evaluate.ranks(systems(seed, [0.0] * 5, queries), resamples=500, seed=seed).better.any() for seed in range(300)
    ]
    assert np.mean(wrong) <= 0.085  # 0.05 and 2.8 standard errors


def test_all_rank_intervals_hold_at_once():
    held = []
    for seed in range(200):
        got = evaluate.ranks(systems(seed, [0.0, 0.02, 0.04, 0.06]), resamples=500, seed=seed)
        held.append(((got.best <= [4, 3, 2, 1]) & (got.worst >= [4, 3, 2, 1])).all())
    assert np.mean(held) >= 0.92


def test_a_leaderboard_takes_seconds_and_little_memory():
    values = systems(0, list(np.linspace(0, 0.3, 20)), queries=1000)
    tracemalloc.start()
    start = time.perf_counter()
    evaluate.ranks(values)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 200e6
