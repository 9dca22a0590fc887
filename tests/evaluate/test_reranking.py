from itertools import permutations

import numpy as np
import pytest

from jaxemb import evaluate

DOCUMENT = np.array([[1.0, 0.0], [1.0, 0.2], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
QUERY = np.array([[2.0, 0.0], [0.0, 1.0]])


def test_by_hand():
    candidates = [np.array([4, 2, 0, 1]), np.array([0, 2, 3])]
    got = evaluate.reranking(QUERY, DOCUMENT, candidates, [np.array([1, 0, 0, 2]), np.array([0, 1, 0])])
    # The first finds 0 1 2 4, of which the second and the last are relevant; the second 3 2 0.
    assert got.values["map"].tolist() == pytest.approx([(1 / 2 + 2 / 4) / 2, 1 / 2])
    assert got.values["mrr"].tolist() == [1 / 2, 1 / 2]
    assert got.without_relevant == 0


def test_a_query_without_relevant_candidates_counts_with_0():
    got = evaluate.reranking(QUERY, DOCUMENT, [np.arange(2)] * 2, [np.array([0, 1]), np.array([0, 0])])
    assert got.values["map"].tolist() == [0.5, 0.0]
    assert got.without_relevant == 1


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_average_precision_is_the_mean_over_all_orders_of_ties(k):
    scores, grades = np.array([3.0, 2.0, 2.0, 2.0, 1.0, 1.0]), np.array([0, 1, 2, 0, 0, 1])
    judged = np.array([1, 2, 1, 1])  # one more than can be found

    def of(order):
        distinct = -np.arange(6.0)
        return evaluate.average_precision(evaluate.Ranking(distinct, grades[order], judged, np.arange(6)), k=k)

    orders = [np.array(order) for order in permutations(range(6)) if (np.diff(scores[list(order)]) <= 0).all()]
    ranking = evaluate.Ranking(scores, grades, judged, np.arange(6))
    assert evaluate.average_precision(ranking, k=k) == pytest.approx(np.mean([of(order) for order in orders]))


def test_average_precision_by_hand():
    ranking = evaluate.Ranking(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 3]), np.array([1, 3, 1]), np.arange(3))
    assert evaluate.average_precision(ranking, k=10) == pytest.approx((1 + 2 / 3) / 3)
    assert evaluate.average_precision(ranking, k=2) == pytest.approx(1 / 3)
    nothing = np.zeros(0, np.int64)
    assert evaluate.average_precision(evaluate.Ranking(np.zeros(0), nothing, np.array([1]), nothing), k=1) == 0.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"candidates": [np.arange(2)]}, "each of 2 queries, got 1 and 2"),
        ({"candidates": [np.arange(2), np.array([0, 5])]}, "candidates of query 1 must be rows from 0 to 4, got 5"),
        ({"candidates": [np.arange(2), np.array([3, 3])]}, r"got 2 \(1 distinct\) and 2 grades for query 1"),
        ({"candidates": [np.arange(3), np.arange(2)]}, r"got 3 \(3 distinct\) and 2 grades for query 0"),
        ({"grades": [np.zeros(2, int)] * 2}, "not one of the 2 queries has a relevant candidate"),
        ({"query": QUERY * np.nan}, "query vector 0 is not finite"),
        ({"document": DOCUMENT[:, :1]}, "vectors of one size"),
    ],
)
def test_bad_input_is_refused(as_users_call, change, told):
    given = {"query": QUERY, "document": DOCUMENT, "candidates": [np.arange(2)] * 2, "grades": [np.ones(2, int)] * 2}
    with pytest.raises(ValueError, match=told):
        evaluate.reranking(**{**given, **change})
