import numpy as np
import pytest

from jaxemb import evaluate
from jaxemb.evaluate.sts import ranks_averaged

A, B = np.array([1.0, 2.0, 4.0, 4.0, 9.0]), np.array([2.0, 1.0, 3.0, 5.0, 4.0])


def test_ranks_share_the_mean_of_the_places_they_take():
    assert ranks_averaged(np.array([3, 1, 3, 3, 0])).tolist() == [4, 2, 4, 4, 1]


def test_by_hand():
    # A is 4 + (-3, -2, 0, 0, 5) and B 3 + (-1, -2, 0, 2, 1): products sum to 12, squares to 38 and 10.
    assert evaluate.pearson(A, B) == pytest.approx(12 / 380**0.5)
    # The ranks of A are 3 + (-2, -1, 0.5, 0.5, 2), B is its own: products sum to 7, squares to 9.5 and 10.
    assert evaluate.spearman(A, B) == pytest.approx(7 / 95**0.5)


def test_scipy_agrees_where_many_tie():
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(0)
    one, other = chance.integers(0, 9, 300), chance.normal(size=300)
    other = np.round(other + 0.2 * one, 1)
    assert evaluate.pearson(one, other) == pytest.approx(stats.pearsonr(one, other).statistic, abs=1e-12)
    assert evaluate.spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)


def test_ranks_do_not_see_a_rising_curve_and_neither_sees_a_scale():
    assert evaluate.spearman(np.exp(A), B) == evaluate.spearman(A, B)
    assert evaluate.pearson(100 + 3 * A, B) == pytest.approx(evaluate.pearson(A, B))
    assert evaluate.pearson(-A, B) == pytest.approx(-evaluate.pearson(A, B))
    assert evaluate.pearson(1e-200 * A, 1e200 * B) == pytest.approx(evaluate.pearson(A, B))
    assert evaluate.spearman(A, A) == evaluate.pearson(A, A) == 1.0


def test_sts_compares_similarities_with_scores():
    first = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    second = np.array([[5.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], np.float32)
    got = evaluate.sts(first, second, np.array([9, 2, 4, 1]))
    assert got.spearman == pytest.approx(evaluate.spearman(np.array([1, 0, 0.7, 0]), np.array([9, 2, 4, 1])))
    assert got.pearson == pytest.approx(evaluate.pearson(np.array([1, 0, 0.5**0.5, 0]), np.array([9, 2, 4, 1])))
    dot = evaluate.sts(first, second, np.array([9, 2, 4, 1]), similarity=lambda a, b: (a * b).sum(axis=1))
    assert dot.pearson == pytest.approx(evaluate.pearson(np.array([10, 0, 1, 0]), np.array([9, 2, 4, 1])))


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([1.0], [1.0], "two or more"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"\(2,\) and \(3,\)"),
        ([1.0, np.nan], [1.0, 2.0], "first has nan at 1"),
        ([1.0, 2.0], [3.0, np.inf], "second has inf at 1"),
        ([1.0, 2.0], [3.0, 3.0], "all 2 of the second are 3.0"),
    ],
)
def test_no_correlation(as_users_call, first, second, told):
    for correlation in (evaluate.pearson, evaluate.spearman):
        with pytest.raises(ValueError, match=told):
            correlation(np.array(first), np.array(second))
