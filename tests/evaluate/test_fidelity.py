import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemb import evaluate

QUERY = np.array([[1.0, 0.0]], np.float32)
DOCUMENT = np.array([[0.9, 0.0], [0.5, 0.3], [0.5, -0.7], [0.8, 0.1], [0.1, 0.9]], np.float32)


def test_by_hand():
    truth = evaluate.neighbours(QUERY, DOCUMENT, 3)
    np.testing.assert_array_equal(truth.rows, [[0, 3, 1]])
    np.testing.assert_allclose(truth.scores, [[0.9, 0.8, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(evaluate.fidelity(np.array([[3, 4, 0, 1]]), truth, k=3), [2 / 3])
    np.testing.assert_allclose(evaluate.fidelity(np.array([[3, -1, -1]]), truth, k=2), [1 / 2])


def test_another_document_as_near_as_the_last_counts():
    truth = evaluate.neighbours(QUERY, DOCUMENT, 3)
    np.testing.assert_array_equal(evaluate.fidelity(np.array([[0, 3, 2]]), truth, k=3), [1.0])
    np.testing.assert_array_equal(evaluate.fidelity(np.array([[0, 1, 2]]), truth, k=2), [0.5])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), block=st.sampled_from([1, 40, 10**6]), k=st.sampled_from([1, 7, 50]))
def test_blocks_do_not_matter(seed, block, k):
    chance = np.random.default_rng(seed)
    query, document = (chance.normal(size=(n, 8)).astype(np.float32) for n in (5, 50))
    document[30:40] = document[10:20]
    truth = evaluate.neighbours(query, document, k, block=block)
    exact = query.astype(np.float64) @ document.T.astype(np.float64)
    np.testing.assert_allclose(truth.scores, -np.sort(-exact, axis=1)[:, :k], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(exact, truth.rows, 1), truth.scores, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(evaluate.fidelity(truth.rows, truth, k=k), 1.0)


def test_float32_in_another_order_of_sums_is_still_exact():
    chance = np.random.default_rng(0)
    query, document = (chance.normal(size=(n, 384)).astype(np.float32) for n in (50, 3000))
    document[1500:] = document[:1500] * (1 + 2e-7 * chance.uniform(-1, 1, size=(1500, 1)))  # near-copies, in any order
    truth = evaluate.neighbours(query, document, 9)
    backwards = query[:, ::-1].copy() @ document[:, ::-1].T.copy()
    found = np.argsort(-backwards, axis=1)[:, :9]
    assert (np.sort(found) != np.sort(truth.rows)).any()
    np.testing.assert_array_equal(evaluate.fidelity(found, truth, k=9), 1.0)


@pytest.mark.parametrize(
    ("found", "k", "message"),
    [
        ([[0, 0]], 2, "query 0 found a document twice"),
        ([[0, 5]], 2, "row 5 of 5"),
        ([[0, -2]], 2, "row -2 of 5"),
        ([[0, 1]], 4, "from 1 to the 3 neighbours known, got 4"),
    ],
)
def test_bad_answers_are_refused(found, k, message):
    with pytest.raises(ValueError, match=message):
        evaluate.fidelity(np.array(found), evaluate.neighbours(QUERY, DOCUMENT, 3), k=k)


def test_bad_vectors_are_refused():
    with pytest.raises(ValueError, match="from 1 to the 5 documents, got 6"):
        evaluate.neighbours(QUERY, DOCUMENT, 6)
    with pytest.raises(ValueError, match=r"document 1 is not finite \(1 of 2"):
        evaluate.neighbours(QUERY, np.array([[1.0, 1.0], [np.nan, 0.0]], np.float32), 1)
