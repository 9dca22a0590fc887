"""Semantic textual similarity: do pairs that people call alike have similar vectors?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from jaxemb.evaluate.pairwise import Pairwise, cosines


class Correlation(NamedTuple):
    """How far two lists of numbers go together, from -1 to 1.

    pearson: of the numbers; 1 when they lie on a rising line.
    spearman: of their ranks; 1 when they rise together.
    """

    pearson: float
    spearman: float


def ranks_averaged(values: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks from 1, the smallest first; equal values share the mean of the ranks they take up.

    >>> print(ranks_averaged(np.array([20, 10, 20, 30])))
    [2.5 1.  2.5 4. ]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def pearson(first: Num[np.ndarray, " n"], second: Num[np.ndarray, " n"]) -> float:
    """Covariance over the product of the standard deviations.

    >>> round(pearson(np.array([1, 2, 3]), np.array([1, 2, 6])), 4)
    0.9449

    Raises: ValueError for fewer than two values, one that is not finite, or a side without variation: there it has no
      value.
    """
    _checked(first, second)
    one, other = (_centred(side.astype(np.float64)) for side in (first, second))
    return float(np.clip(one @ other / np.sqrt((one @ one) * (other @ other)), -1.0, 1.0))


def _centred(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Mean zero, the largest one: no square of what is left is too small or too large for a float."""
    apart = values - values.mean()
    return apart / np.abs(apart).max()


def spearman(first: Num[np.ndarray, " n"], second: Num[np.ndarray, " n"]) -> float:
    """`pearson` of the ranks, ties averaged.

    >>> spearman(np.array([1, 2, 3]), np.array([1, 2, 6]))
    1.0

    Raises: as `pearson` does.
    """
    _checked(first, second)
    return pearson(ranks_averaged(first), ranks_averaged(second))


def sts(
    first: Float[np.ndarray, "n d"],
    second: Float[np.ndarray, "n d"],
    scores: Num[np.ndarray, " n"],
    *,
    similarity: Pairwise = cosines,
) -> Correlation:
    """How well the similarity of vectors follows people's scores of the same pairs.

    >>> right, up = [1.0, 0.0], [0.0, 1.0]
    >>> print(sts(np.array([right, right, right]), np.array([right, [1.0, 1.0], up]), np.array([5, 3, 1])).spearman)
    1.0

    Args:
      first, second: the vectors of each pair's two texts.
      scores: larger is more alike, in any unit.
    Raises: as `pearson` does.
    """
    alike = similarity(first, second)
    return Correlation(pearson(alike, scores), spearman(alike, scores))


def _checked(first: Num[np.ndarray, " n"], second: Num[np.ndarray, " n"]) -> None:
    if first.shape != second.shape or first.size < 2:
        raise ValueError(f"a correlation is of two lists of two or more values, got {first.shape} and {second.shape}")
    for what, side in (("first", first), ("second", second)):
        bad = np.flatnonzero(~np.isfinite(side))
        if bad.size:
            raise ValueError(f"a correlation needs finite values, {what} has {side[bad[0]]} at {bad[0]}")
        if (side == side[0]).all():
            raise ValueError(f"a correlation needs values that differ, all {side.size} of the {what} are {side[0]}")
