"""Whitening: no mean, no correlation, a variance of one in every direction."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxemb.types import Params, VectorMap

SMALLEST = 1e-6  # of the largest variance: below it a direction is rounding


def pca_whitening() -> VectorMap:
    """Whitening along the principal components, the largest first; each has its largest loading positive.

    >>> vectors = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> print(pca_whitening().apply(pca_whitening().fit(vectors), vectors)[0].round(3))
    [1.414 0.   ]

    The state is `{"mean": [d], "matrix": [d, d]}`.

    Raises: from `fit`, ValueError for fewer rows than `d + 1`, a vector that is not finite, or a direction in which
      there is no variance, as a constant column has.
    Source: Su et al. 2021, arXiv:2103.15316 (BERT-whitening).
    """
    return VectorMap(lambda sample: _fitted("pca_whitening", sample, turned_back=False), centred_product)


def zca_whitening() -> VectorMap:
    """Whitening that leaves vectors where they are as far as it can: the principal components, turned back.

    The state is `{"mean": [d], "matrix": [d, d]}`; raises as `pca_whitening`.

    Source: Bell & Sejnowski 1997, "The 'independent components' of natural scenes are edge filters".
    """
    return VectorMap(lambda sample: _fitted("zca_whitening", sample, turned_back=True), centred_product)


def centred_product(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n c"]:
    """`(x - mean) matrix`."""
    return (vectors - state["mean"][None, :]) @ state["matrix"]


def checked(name: str, sample: Float[Array, "n d"]) -> Float[np.ndarray, "n d"]:
    """The sample in float64.  Raises: ValueError for rows that are too few or not finite, or a constant column."""
    n, d = sample.shape
    if n <= d:
        raise ValueError(f"{name}: {d} dimensions need more vectors than that, got {n}")
    rows = np.asarray(sample, np.float64)
    if not np.isfinite(rows).all():
        raise ValueError(f"{name}: {int((~np.isfinite(rows)).any(axis=1).sum())} of {n} vectors hold NaN or infinity")
    if (same := np.flatnonzero((rows == rows[:1]).all(axis=0))).size:
        raise ValueError(f"{name}: {same.size} columns are the same in all vectors, the first is {same[0]}")
    return rows


def principal(
    name: str, rows: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean, variances along the principal components, and these as columns, the largest first."""
    mean = rows.mean(axis=0)
    apart = rows - mean[None, :]
    variances, directions = np.linalg.eigh(apart.T @ apart / len(rows))
    variances, directions = variances[::-1], directions[:, ::-1]
    if variances[-1] <= SMALLEST * variances[0]:
        raise ValueError(f"{name}: no variance in one direction ({variances[-1]:g}, the largest is {variances[0]:g})")
    return mean, variances, directions * largest_positive(directions)[None, :]


def largest_positive(columns: Float[np.ndarray, "d c"]) -> Float[np.ndarray, " c"]:
    """The sign of each column's largest value: a direction has none of its own, and seeds could not be compared."""
    return np.sign(columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])])


def _fitted(name: str, sample: Float[Array, "n d"], *, turned_back: bool) -> Params:
    mean, variances, directions = principal(name, checked(name, sample))
    matrix = directions / np.sqrt(variances)[None, :]
    matrix = matrix @ directions.T if turned_back else matrix
    return {"mean": jnp.asarray(mean, jnp.float32), "matrix": jnp.asarray(matrix, jnp.float32)}
