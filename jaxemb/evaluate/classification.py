"""Classification by a probe: how well a linear classifier of a few texts a label reads the label off the vectors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxemb import extras
from jaxemb.evaluate.checks import finite_vectors, same_length
from jaxemb.evaluate.labels import by_label, weighted
from jaxemb.evaluate.thresholds import area, thresholds

Classifier = Callable[
    [Float[np.ndarray, "n d"], Shaped[np.ndarray, " n"], Float[np.ndarray, "m d"]], Shaped[np.ndarray, " m"]
]
"""Vectors with labels to learn from, and vectors to label, to their labels."""


class Probe(NamedTuple):
    """What one experiment measured; plain names are means over labels, `_weighted` ones count a label by its texts.

    ap: average precision of label 1 by the label that was predicted; NaN unless the test has two labels and 1 is one.
    """

    accuracy: float
    f1: float
    f1_weighted: float
    precision: float
    precision_weighted: float
    recall: float
    recall_weighted: float
    ap: float


class Classification(NamedTuple):
    """What all experiments measured.

    mean: over the experiments; MTEB's main score is mostly `mean.accuracy`.
    experiments: one a sample of the training texts.
    right: share of experiments in which a test text got its label, one a text, for `interval`.
    short: labels with fewer training texts than a sample takes; all of them are taken, as in MTEB.
    """

    mean: Probe
    experiments: tuple[Probe, ...]
    right: Float[np.ndarray, " m"]
    short: int


def logistic(
    train: Float[np.ndarray, "n d"], labels: Shaped[np.ndarray, " n"], test: Float[np.ndarray, "m d"]
) -> Shaped[np.ndarray, " m"]:
    """MTEB's classifier: scikit-learn's logistic regression, L2 with C = 1, at most 100 steps of L-BFGS.

    scikit-learn warns where 100 steps do not suffice; they are the protocol's.

    Raises: ImportError without scikit-learn (`jaxemb[evaluate]`).
    """
    linear = extras.load("sklearn.linear_model")
    return linear.LogisticRegression(max_iter=100).fit(train, labels).predict(test)


def samples(
    labels: Shaped[np.ndarray, " n"], *, per_label: int, experiments: int, seed: int
) -> list[Int[np.ndarray, " s"]]:
    """Rows of `per_label` texts of each label, one sample an experiment, the very ones that MTEB draws.

    >>> [rows.tolist() for rows in samples(np.array([0, 0, 1, 1, 1]), per_label=1, experiments=2, seed=42)]
    [[1, 4], [4, 1]]
    """
    order, drawn = np.arange(labels.size), []
    codes = np.unique(labels, return_inverse=True)[1]
    for _ in range(experiments):
        np.random.RandomState(seed).shuffle(order)  # the same seed each time, upon the last order
        sort = np.argsort(codes[order], kind="stable")
        counts = np.bincount(codes)
        earlier = np.empty_like(order)  # texts of the same label that stand ahead
        earlier[sort] = np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
        drawn.append(order[earlier < per_label])
    return drawn


def classification(
    train: Float[np.ndarray, "n d"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    per_label: int = 8,
    experiments: int = 10,
    seed: int = 42,
    classifier: Classifier = logistic,
) -> Classification:
    """Train on a few texts a label, label the whole test, and do that some times.

    >>> def nearest(train, labels, test):
    ...     return labels[(test @ train.T).argmax(axis=1)]
    >>> vectors, labels = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), np.array(["owl", "owl", "kiwi"])
    >>> found = classification(vectors, labels, vectors, labels, per_label=1, experiments=3, classifier=nearest)
    >>> found.mean.accuracy, found.short
    (1.0, 0)

    Args:
      train_labels, test_labels: whole numbers or strings.
      per_label: training texts a label; 8 unless the MTEB task says otherwise.
      classifier: `logistic` needs scikit-learn (`jaxemb[evaluate]`).
    Raises: ValueError for an empty side, vectors that are not finite, sides of different lengths, training texts of one
      label, labels of the test that are not in the training, or counts below 1.
    Source: Muennighoff et al. 2023, "MTEB", arXiv:2210.07316.
    """
    what = "classification"
    same_length(what, train=train, train_labels=train_labels)
    same_length(what, test=test, test_labels=test_labels)
    finite_vectors(what, train=train, test=test)
    if min(per_label, experiments) < 1:
        raise ValueError(f"{what}: wanted 1 or more, got per_label {per_label} and experiments {experiments}")
    names, counts = np.unique(train_labels, return_counts=True)
    if names.size < 2:
        raise ValueError(f"{what}: wanted training texts of two labels or more, all {train_labels.size} are {names[0]}")
    new = np.setdiff1d(test_labels, names)
    if new.size:
        raise ValueError(f"{what}: wanted test labels that are in the training, {new.size} are not, as {new[0]}")
    drawn = samples(train_labels, per_label=per_label, experiments=experiments, seed=seed)
    predicted = [classifier(train[rows], train_labels[rows], test) for rows in drawn]
    probes = tuple(_probe(test_labels, one) for one in predicted)
    mean = Probe(*(float(value) for value in np.mean(probes, axis=0)))
    right = np.mean([one == test_labels for one in predicted], axis=0)
    return Classification(mean, probes, right, int((counts < per_label).sum()))


def _probe(true: Shaped[np.ndarray, " m"], predicted: Shaped[np.ndarray, " m"]) -> Probe:
    found = by_label(true, predicted)
    binary = np.unique(true).size == 2 and true.dtype.kind in "iub" and bool((true == 1).any())
    return Probe(
        accuracy=float((true == predicted).mean()),
        f1=float(found.f1.mean()),
        f1_weighted=weighted(found.f1, found.support),
        precision=float(found.precision.mean()),
        precision_weighted=weighted(found.precision, found.support),
        recall=float(found.recall.mean()),
        recall_weighted=weighted(found.recall, found.support),
        ap=area(thresholds(true == 1, predicted.astype(np.int64))) if binary else np.nan,
    )
