"""Predicted labels against the true ones."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped


class ByLabel(NamedTuple):
    """One place for each label that is true or predicted somewhere, in sorted order; 0 stands for 0 / 0.

    precision: of the texts that were given the label, the share that has it.
    recall: of the texts that have it, the share that was given it.
    f1: their harmonic mean.
    support: how many texts have it.
    """

    precision: Float[np.ndarray, " l"]
    recall: Float[np.ndarray, " l"]
    f1: Float[np.ndarray, " l"]
    support: Int[np.ndarray, " l"]


def by_label(true: Shaped[np.ndarray, " n"], predicted: Shaped[np.ndarray, " n"]) -> ByLabel:
    """Precision, recall and F1 of each label.

    >>> found = by_label(np.array(["owl", "owl", "kiwi"]), np.array(["owl", "kiwi", "kiwi"]))
    >>> print(found.precision, found.recall, found.support)
    [0.5 1. ] [1.  0.5] [1 2]
    """
    names, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    one, other = codes[: true.size], codes[true.size :]
    support, given, right = (np.bincount(c, minlength=names.size) for c in (one, other, one[one == other]))
    return ByLabel(right / np.maximum(given, 1), right / np.maximum(support, 1), 2 * right / (given + support), support)


def weighted(values: Float[np.ndarray, " l"], support: Int[np.ndarray, " l"]) -> float:
    """Mean of the labels' values, each as often as texts have it."""
    return float(values @ support / support.sum())
