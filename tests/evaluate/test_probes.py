import numpy as np
import pytest

from jaxemb import evaluate
from jaxemb.evaluate.classification import samples
from jaxemb.evaluate.labels import by_label, weighted


def nearest(train, labels, test):
    return labels[np.abs(test[:, None, 0] - train[None, :, 0]).argmin(axis=1)]


TRAIN, LABELS = np.array([[0.0], [0.1], [1.0], [1.1], [2.0]]), np.array([0, 0, 1, 1, 2])


def test_by_label_by_hand():
    found = by_label(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 3]))
    assert found.precision.tolist() == [1, 1 / 2, 0, 0]
    assert found.recall.tolist() == [2 / 3, 1, 0, 0]
    assert found.f1.tolist() == pytest.approx([4 / 5, 2 / 3, 0, 0])
    assert weighted(found.f1, found.support) == pytest.approx((3 * 4 / 5 + 2 / 3) / 5)


def test_by_hand():
    test, true = np.array([[0.0], [0.9], [2.0], [1.6]]), np.array([0, 0, 2, 1])
    got = evaluate.classification(TRAIN, LABELS, test, true, per_label=9, experiments=2, classifier=nearest)
    # Given are 0, 1, 2, 2: of label 0 half is found, 1 is given wrongly, of the two that are given 2 one is right.
    assert got.mean.accuracy == 0.5
    assert got.mean.recall == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert got.mean.precision == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert got.mean.f1_weighted == pytest.approx((2 * 2 / 3 + 0 + 2 / 3) / 4)
    assert got.right.tolist() == [1, 0, 1, 0]
    assert got.short == 3
    assert np.isnan(got.mean.ap)


def test_samples_are_balanced_and_differ():
    labels = np.repeat(["a", "b", "c"], [5, 9, 2])
    drawn = samples(labels, per_label=3, experiments=4, seed=0)
    for rows in drawn:
        assert len(set(rows.tolist())) == len(rows)
        assert np.unique(labels[rows], return_counts=True)[1].tolist() == [3, 3, 2]
    assert len({tuple(sorted(rows.tolist())) for rows in drawn}) > 1
    again = samples(labels, per_label=3, experiments=4, seed=0)
    assert [rows.tolist() for rows in drawn] == [rows.tolist() for rows in again]


def test_average_precision_of_two_labels():
    def first_is_right(train, labels, test):
        return np.array([1, 1, 0, 0])

    got = evaluate.classification(
        TRAIN[:4], LABELS[:4], TRAIN[:4], np.array([1, 0, 1, 0]), experiments=1, classifier=first_is_right
    )
    assert got.mean.ap == 0.5  # half of those that are given 1 are right, and so it is of all
    words = evaluate.classification(
        TRAIN[:4], LABELS[:4].astype(str), TRAIN[:4], LABELS[:4].astype(str), classifier=nearest
    )
    assert np.isnan(words.mean.ap)


def test_the_probe_of_mteb():
    pytest.importorskip("sklearn", reason="pip install 'jaxemb[evaluate]'")
    vectors = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    labels = np.repeat(["owl", "kiwi"], 6)
    got = evaluate.classification(vectors, labels, vectors, labels, per_label=2, experiments=2)
    assert got.mean.accuracy == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"test_labels": np.array([0, 3, 1, 1, 2])}, "1 are not, as 3"),
        ({"train_labels": np.ones(5, int)}, "all 5 are 1"),
        ({"train_labels": np.ones(4, int)}, "got {'train': 5, 'train_labels': 4}"),
        ({"test": TRAIN[:2]}, "got {'test': 2, 'test_labels': 5}"),
        ({"test": TRAIN + np.inf}, "test vector 0 is not finite"),
        ({"test": TRAIN[:0], "test_labels": LABELS[:0]}, "wanted one test vector or more"),
        ({"per_label": 0}, "per_label 0"),
        ({"experiments": 0}, "experiments 0"),
    ],
)
def test_bad_input_is_refused(as_users_call, change, told):
    given = {"train": TRAIN, "train_labels": LABELS, "test": TRAIN, "test_labels": LABELS, "classifier": nearest}
    with pytest.raises(ValueError, match=told):
        evaluate.classification(**{**given, **change})
