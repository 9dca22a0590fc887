from math import log

import numpy as np
import pytest

from jaxemb import evaluate

LINE = np.arange(6.0)[:, None] - 2.5
HALVES = np.array([0, 0, 0, 1, 1, 1])


def by_sign(vectors, *, count, batch_size, seed):
    return (vectors[:, 0] > 0).astype(int)


def test_v_measure_by_hand():
    # Labels 0011 in clusters 0001: what is known of the one by the other is log 2 - 3/4 (log 3 - 2/3 log 2).
    shared = log(2) - 0.75 * (log(3) - 2 / 3 * log(2))
    homogeneity, completeness = shared / log(2), shared / (0.25 * log(4) + 0.75 * log(4 / 3))
    want = 2 * homogeneity * completeness / (homogeneity + completeness)
    assert evaluate.v_measure(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])) == pytest.approx(want)
    assert evaluate.v_measure(np.array(["a", "b", "b"]), np.array([7, 2, 2])) == pytest.approx(1.0)
    assert evaluate.v_measure(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 0.0
    assert evaluate.v_measure(np.array([0, 1]), np.array([0, 0])) == 0.0  # one cluster is complete, and no more


def test_samples_and_levels():
    levels = np.stack([HALVES, [0, 1, -1, -1, -1, 0]], axis=1)
    sizes = []

    def watched(vectors, *, count, batch_size, seed):
        sizes.append((len(vectors), count, batch_size, seed, set(vectors[:, 0].tolist())))
        return by_sign(vectors, count=count, batch_size=batch_size, seed=seed)

    got = evaluate.clustering(LINE, levels, size=40, experiments=2, batch_size=3, clusters=watched)
    assert got.values.shape == (2, 2)
    assert got.values[0].tolist() == pytest.approx([1.0, 1.0])
    assert got.v_measure == pytest.approx(got.values.mean())
    assert got.values[1].max() < 1
    assert [one[:4] for one in sizes] == [(40, 2, 3, 42)] * 4
    assert sizes[2][4] == {-2.5, -1.5, 2.5}  # the others have no second label


def test_a_limit_takes_some_texts():
    got = []

    def watched(vectors, **_):
        got.append(set(vectors[:, 0].tolist()))
        return by_sign(vectors, count=2, batch_size=1, seed=0)

    evaluate.clustering(LINE, HALVES, limit=4, size=60, experiments=2, clusters=watched)
    assert len(got[0]) == 4
    assert got[0] == got[1]


def test_the_clusters_of_mteb():
    pytest.importorskip("sklearn", reason="pip install 'jaxemb[evaluate]'")
    far = np.concatenate([LINE[:3] - 100, LINE[3:] + 100]).astype(np.float32)
    assert evaluate.clustering(far, HALVES, size=20, experiments=1).v_measure == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": HALVES[:5]}, "got {'vectors': 6, 'labels': 5}"),
        ({"labels": np.zeros(6, int)}, "wanted 2 to 40 labels, .* got 1 at level 0"),
        ({"labels": np.arange(6), "size": 5}, "wanted 2 to 5 labels, .* got 6 at level 0"),
        ({"labels": np.stack([HALVES, HALVES - 1], axis=1)}, "got 1 at level 1"),
        ({"vectors": LINE * np.nan}, "text vector 0 is not finite"),
        ({"vectors": LINE[:0], "labels": HALVES[:0]}, "wanted one text vector or more"),
        ({"limit": 7}, "limit must be from 1 to the 6 texts, got 7"),
        ({"experiments": 0}, "got experiments 0"),
    ],
)
def test_bad_input_is_refused(as_users_call, change, told):
    given = {"vectors": LINE, "labels": HALVES, "size": 40, "clusters": by_sign}
    with pytest.raises(ValueError, match=told):
        evaluate.clustering(**{**given, **change})
