import numpy as np
import pytest

from jaxemb import evaluate

VECTORS = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
FIRST, SECOND, SCORES = np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([9.0, 1.0, 2.0])


def test_it_is_sts_of_rows():
    got = evaluate.likeness(VECTORS, FIRST, SECOND, SCORES)
    assert got.similarities.tolist() == pytest.approx([0.8, 0.0, 0.6])
    assert (got.pearson, got.spearman) == evaluate.sts(VECTORS[FIRST], VECTORS[SECOND], SCORES)
    assert got.spearman == pytest.approx(1.0)
    far = evaluate.likeness(VECTORS, FIRST, SECOND, SCORES, similarity=evaluate.manhattans)
    assert far.similarities.tolist() == pytest.approx([-0.8, -2.0, -1.2])


def test_an_interval_of_a_correlation():
    chance = np.random.default_rng(0)
    scores = chance.normal(size=200)
    similarities = scores + chance.normal(size=200)
    low, estimate, high = evaluate.resampled_interval(
        lambda rows: evaluate.pearson(similarities[rows], scores[rows]), 200, resamples=300
    )
    assert estimate == evaluate.pearson(similarities, scores)
    by_fisher = np.tanh(np.arctanh(estimate) + np.array([-1.96, 1.96]) / 197**0.5)
    assert (low, high) == pytest.approx(tuple(by_fisher), abs=0.03)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"first": np.array([0, 0, 3])}, "first must be rows from 0 to 2, got 3"),
        ({"second": np.array([0, -1, 2])}, "second must be rows from 0 to 2, got -1"),
        ({"scores": SCORES[:2]}, "'scores': 2"),
        ({"scores": np.array([1.0, np.nan, 2.0])}, "second has nan at 1"),
        ({"scores": np.ones(3)}, "all 3 of the second are 1.0"),
        ({"vectors": VECTORS * np.nan}, "text vector 0 is not finite"),
    ],
)
def test_bad_input_is_refused(as_users_call, change, told):
    given = {"vectors": VECTORS, "first": FIRST, "second": SECOND, "scores": SCORES}
    with pytest.raises(ValueError, match=told):
        evaluate.likeness(**{**given, **change})


@pytest.mark.parametrize(
    ("change", "told"),
    [({"n": 1}, "got n 1"), ({"level": 1.0}, "level 1.0"), ({"statistic": lambda rows: np.nan}, "NaN or infinite")],
)
def test_bad_samples_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        evaluate.resampled_interval(**{"statistic": lambda rows: 1.0, "n": 5, "resamples": 3, **change})
