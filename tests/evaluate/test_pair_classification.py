import numpy as np
import pytest

from jaxemb import evaluate


def judged(scores, labels):
    given = {"given": lambda first, second: np.array(scores)}
    sides = np.ones((len(scores), 1))
    return evaluate.pair_classification(sides, sides, np.array(labels), given)["given"]


def test_by_hand():
    got = judged([0.9, 0.8, 0.7, 0.6, 0.1], [1, 0, 1, 1, 0])
    assert got.ap == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert (got.accuracy, got.accuracy_threshold) == (0.8, pytest.approx(0.35))  # all but the 0.8
    assert (got.precision, got.recall, got.f1_threshold) == (0.75, 1.0, pytest.approx(0.35))
    assert got.f1 == pytest.approx(2 * 0.75 / 1.75)
    assert got.similarities.tolist() == [0.9, 0.8, 0.7, 0.6, 0.1]


def test_accuracy_and_f1_pick_their_own_thresholds():
    got = judged([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1, 0, 0, 1, 0, 0, 0])
    assert (got.accuracy, got.accuracy_threshold) == (6 / 7, pytest.approx(0.85))
    assert (got.f1, got.f1_threshold) == (2 / 3, pytest.approx(0.85))
    got = judged([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1, 0, 0, 1, 1, 0, 0])
    assert (got.accuracy, got.accuracy_threshold) == (5 / 7, pytest.approx(0.85))
    assert (got.f1, got.f1_threshold) == (6 / 8, pytest.approx(0.45))


def test_no_threshold_parts_equal_scores():
    got = judged([0.5, 0.5, 0.5, 0.1], [1, 0, 1, 1])
    assert got.ap == pytest.approx((2 / 3 * 2 + 3 / 4) / 3)
    assert (got.accuracy, got.precision) == (0.5, pytest.approx(2 / 3))
    same = judged([0.5, 0.5], [1, 0])
    assert (same.ap, same.accuracy, same.f1) == (0.5, 0.0, 0.0)
    assert np.isnan(same.f1_threshold)


def test_the_four_similarities():
    first, second = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 4.0], [2.0, 2.0]])
    got = evaluate.pair_classification(first, second, np.array([0, 1]))
    want = {"cosine": [0, 1], "dot": [0, 4], "euclidean": [-5, -(2**0.5)], "manhattan": [-7, -2]}
    assert {name: one.similarities.tolist() for name, one in got.items()} == {
        name: pytest.approx(values) for name, values in want.items()
    }
    assert {one.ap for one in got.values()} == {1.0}


PAIRS = np.array([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("first", "second", "labels", "told"),
    [
        (PAIRS, PAIRS[:1], [0, 1], "'second': 1"),
        (PAIRS, PAIRS, [0, 1, 1], "'labels': 3"),
        (PAIRS, PAIRS[:, :1], [0, 1], "vectors of one size"),
        (PAIRS[:0], PAIRS[:0], [], "one first vector or more"),
        (PAIRS, PAIRS / np.array([[1.0], [np.nan]]), [0, 1], "second vector 1 is not finite"),
        (PAIRS, PAIRS, [1, 1], "both kinds, all 2 are 1"),
        (PAIRS, PAIRS, [1, 2], "0 or 1, got 2"),
    ],
)
def test_bad_input_is_refused(as_users_call, first, second, labels, told):
    with pytest.raises(ValueError, match=told):
        evaluate.pair_classification(first, second, np.array(labels))
