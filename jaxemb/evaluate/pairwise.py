"""Similarities of each row with the row beside it; larger is closer, so distances come with a minus."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

Pairwise = Callable[[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]], Float[np.ndarray, " n"]]
"""Rows of two matrices to one similarity a pair of rows; larger is closer."""


def unit_rows(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows of length one, in float64; a row of zeros stays one.

    >>> print(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])))
    [[0.6 0.8]
     [0.  0. ]]
    """
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths > 0, lengths, 1.0)


def cosines(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Cosine of each row with the row beside it, in float64; 0 where one of them is zero.

    >>> print(cosines(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [1.0, 1.0]])))
    [0.8 0. ]
    """
    first, second = (side.astype(np.float64) for side in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)


def dots(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Inner product of each row with the row beside it, in float64."""
    return (first.astype(np.float64) * second.astype(np.float64)).sum(axis=1)


def euclideans(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Minus the straight distance of each row from the row beside it, in float64.

    >>> print(euclideans(np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]])))
    [-5.]
    """
    return -np.linalg.norm(first.astype(np.float64) - second.astype(np.float64), axis=1)


def manhattans(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Minus the sum of differences, without sign, of each row and the row beside it, in float64.

    >>> print(manhattans(np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]])))
    [-7.]
    """
    return -np.abs(first.astype(np.float64) - second.astype(np.float64)).sum(axis=1)


PAIRWISE: Mapping[str, Pairwise] = MappingProxyType(
    {"cosine": cosines, "dot": dots, "euclidean": euclideans, "manhattan": manhattans}
)
"""The four that MTEB compares pairs by."""
