"""Matrices as the product of two thin ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.compress.linear import principal
from jaxemb.compress.matrix.form import FLOAT, INDEX, MatrixCompressor, made
from jaxemb.compress.matrix.magnitude import by_length, places, rows_of_groups
from jaxemb.types import Params

POWER = 0.3  # of a group's height, by which its rank falls


def svd() -> MatrixCompressor:
    """The nearest matrix of the rank that the budget holds: `X ~ A B`, `A` `[n, r]`, `B` `[r, d]`.

    `B` has the right singular vectors as rows, and `A` is `X B^T`, which is `U S`; nothing is centred.  `r` is the
    budget over `4 (n + d)`, at most `min(n, d)`.  Its name is `svd`.

    >>> low = svd()
    >>> kept = low.compress(jnp.array([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0]]), 20)
    >>> print(np.asarray(low.decompress(kept)).round(3))
    [[ 3.  4.]
     [ 6.  8.]
     [-3. -4.]]

    Raises: ValueError, in `compress`, for a budget below rank 1.
    Source: Eckart & Young 1936, "The approximation of one matrix by another of lower rank".
    """

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        return _factors(matrix, min(budget // (FLOAT * (n + d)), n, d))

    return made("svd", lambda n, d: FLOAT * (n + d), fit, _rows)


def magsvd(groups: int = 2) -> MatrixCompressor:
    """A matrix of low rank for each group of rows of like summed length; the few long rows get the higher rank.

    The rank of a group of `m` rows is proportional to `m^-0.3`, as high as the budget allows.  Every row's place in its
    group takes four bytes.  Its name is `magsvd-<groups>`.

    Raises: ValueError for less than one group; in `compress` for a budget below rank 1 in each, or fewer rows than
      groups.
    """
    if groups < 1:
        raise ValueError(f"magsvd: wanted 1 group or more, got {groups}")
    name = f"magsvd-{groups}"

    def floor(n: int, d: int) -> int:
        return n * INDEX + FLOAT * (n + groups * d)

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        rows = by_length(name, matrix, groups)
        ranks = _ranks([len(one) for one in rows], matrix.shape[1], budget - len(matrix) * INDEX)
        found = [_factors(matrix[one], rank) for one, rank in zip(rows, ranks, strict=True)]
        return {"place": places(rows)} | {str(group): kept for group, kept in enumerate(found)}

    def looked_up(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        return rows_of_groups(kept, ids, _rows, lambda group: len(group["left"]))

    return made(name, floor, fit, looked_up)


def _ranks(heights: list[int], d: int, budget: int) -> list[int]:
    """The rank of each group: the largest common factor of `heights^-0.3` that the budget holds, at least 1 each."""
    height = np.array(heights)
    share, most = height**-POWER, np.minimum(height, d)

    def ranks(factor: float) -> np.ndarray:
        return np.clip((factor * share).astype(np.int64), 1, most)

    low, high = 0.0, float((most / share).max()) + 1
    for _ in range(60):
        middle = (low + high) / 2
        fits = FLOAT * int((ranks(middle) * (height + d)).sum()) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return [int(rank) for rank in ranks(low)]


@partial(jax.jit, static_argnames="rank")
def _factors(matrix: Float[Array, "n d"], rank: int) -> Params:
    directions = principal(matrix)[:, :rank]
    return {"left": jnp.matmul(matrix, directions, precision=lax.Precision.HIGHEST), "right": directions.T}


def _rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
    return jnp.matmul(kept["left"][ids], kept["right"], precision=lax.Precision.HIGHEST)
