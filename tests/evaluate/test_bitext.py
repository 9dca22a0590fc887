import numpy as np
import pytest

from jaxemb import evaluate

FIRST = np.array([[1.0, 0.1], [0.9, 0.3], [0.0, 1.0], [-1.0, 0.2]])
SECOND = np.array([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0], [-1.0, -3.0]])


def test_by_hand():
    got = evaluate.bitext(FIRST, SECOND, np.array([0, 0, 0, 2]))
    assert got.nearest.tolist() == [0, 0, 1, 2]  # by cosine: the length of the first does not help it
    assert got.right.tolist() == [True, True, False, True]
    assert got.accuracy == got.recall == 0.75
    assert got.precision == 1.0  # 1 is given wrongly, but is right for none
    assert got.f1 == pytest.approx((3 * 2 * 2 / (2 + 3) + 1) / 4)


def test_without_gold_a_row_answers_the_row_beside_it():
    assert evaluate.bitext(FIRST, SECOND).right.tolist() == [True, False, False, False]
    assert evaluate.bitext(FIRST, FIRST).f1 == 1.0


@pytest.mark.parametrize(
    ("first", "second", "gold", "told"),
    [
        (FIRST, SECOND[:3], None, "bitext without gold: .*'second': 3"),
        (FIRST, SECOND[:3], np.array([0, 1, 2, 3]), "gold must be rows from 0 to 2, got 3"),
        (FIRST, SECOND, np.array([0, -1, 2, 3]), "got -1"),
        (FIRST, SECOND, np.array([0]), "'gold': 1"),
        (FIRST[:0], SECOND[:0], None, "one first vector or more"),
        (FIRST, SECOND + np.inf, None, "second vector 0 is not finite"),
    ],
)
def test_bad_input_is_refused(as_users_call, first, second, gold, told):
    with pytest.raises(ValueError, match=told):
        evaluate.bitext(first, second, gold)
