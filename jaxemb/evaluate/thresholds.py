"""What every threshold of a score would let through."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Num


class Thresholds(NamedTuple):
    """One place for each distinct score, the highest first; equal scores pass a threshold together.

    score: the lowest that passes.
    taken: how many pass.
    right: how many of them are positive.
    """

    score: Num[np.ndarray, " t"]
    taken: Int[np.ndarray, " t"]
    right: Int[np.ndarray, " t"]


def thresholds(positive: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"]) -> Thresholds:
    """Count what passes.

    >>> print(thresholds(np.array([True, False, True]), np.array([0.5, 0.5, 0.9])))
    Thresholds(score=array([0.9, 0.5]), taken=array([1, 3]), right=array([1, 2]))
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return Thresholds(ranked[last], last + 1, np.cumsum(positive[order])[last])


def area(found: Thresholds) -> float:
    """Average precision: the precision at each threshold, weighed by the recall it adds; no interpolation.

    Equal scores share one precision, that of all of them together, as in scikit-learn and so in MTEB; `metrics` has
    the expected value over their orders instead.

    >>> round(area(thresholds(np.array([True, False, True]), np.array([0.9, 0.7, 0.5]))), 4)
    0.8333
    """
    added = np.diff(found.right, prepend=0) / found.right[-1]
    return float((added * found.right / found.taken).sum())
