"""Matrices as a train of three small tensors."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.compress.linear import principal
from jaxemb.compress.matrix.form import FLOAT, MatrixCompressor, made
from jaxemb.types import Params

ROWS_AT_ONCE = 32  # a row takes r d2 r numbers while it is computed


def tt() -> MatrixCompressor:
    """Rows and columns cut in three, and the tensor of the three pairs as a train of ranks `r`.

    With `i = (i1 n2 + i2) n3 + i3` and `j = (j1 d2 + j2) d3 + j3`, filled up with zeros where they do not come out,

        X[i, j] ~ G1[i1, j1] G2[i2, j2] G3[i3, j3],   G1: (n1 d1, r), G2: (r, n2 d2, r), G3: (r, n3 d3)

    by two truncated singular value decompositions.  `r` is the largest that the budget holds.  It looks for likeness
    between rows whose numbers are alike, so it suits tables in a meaningful order, and few others.  Its name is `tt`.

    Raises: ValueError, in `compress`, for rows of less than 8 numbers, or a budget below rank 1.
    Source: Oseledets 2011, doi:10.1137/090752286, alg. 1; Yin et al. 2021, arXiv:2101.11714 (tables).
    """

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        return _train(matrix, *_ranks(n, d, budget))

    return made("tt", lambda n, d: FLOAT * _numbers(n, d, 1, 1), fit, _rows, block=ROWS_AT_ONCE)


def in_three(count: int) -> tuple[int, int, int]:
    """Three whole numbers near to the cube root whose product is `count` or more, the largest last.

    >>> in_three(1000), in_three(17), in_three(2)
    ((10, 10, 10), (2, 3, 3), (1, 1, 2))
    """
    first = next(root for root in range(1, count + 1) if root**3 >= count)
    second = next(root for root in range(1, count + 1) if root**2 * first >= count)
    return tuple(sorted((first, second, math.ceil(count / first / second))))  # type: ignore[return-value]


def _shapes(n: int, d: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    if d < 8:
        raise ValueError(f"tt: wanted rows of 8 numbers or more, to cut in three, got {d}")
    return in_three(n), in_three(d)


def _limited(n: int, d: int, rank: int) -> tuple[int, int]:
    """The two ranks where both are at most `rank`, and no larger than the matrices that they are of."""
    a, b, c = (height * width for height, width in zip(*_shapes(n, d), strict=True))
    first = min(rank, a, b * c)
    return first, min(rank, first * b, c)


def _numbers(n: int, d: int, first: int, second: int) -> int:
    a, b, c = (height * width for height, width in zip(*_shapes(n, d), strict=True))
    return a * first + first * b * second + second * c


def _ranks(n: int, d: int, budget: int) -> tuple[int, int]:
    low, high = 1, 1 + max(height * width for height, width in zip(*_shapes(n, d), strict=True))
    while high - low > 1:
        middle = (low + high) // 2
        fits = FLOAT * _numbers(n, d, *_limited(n, d, middle)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return _limited(n, d, low)


@partial(jax.jit, static_argnames=("first", "second"))
def _train(matrix: Float[Array, "n d"], first: int, second: int) -> Params:
    n, d = matrix.shape
    (n1, n2, n3), (d1, d2, d3) = _shapes(n, d)
    filled = jnp.pad(matrix, ((0, n1 * n2 * n3 - n), (0, d1 * d2 * d3 - d)))
    pairs = filled.reshape(n1, n2, n3, d1, d2, d3).transpose(0, 3, 1, 4, 2, 5)
    whole = pairs.reshape(n1 * d1, n2 * d2 * n3 * d3)
    one = _leading(whole.T, first)  # its columns span the rows of G1
    rest = _product(one.T, whole).reshape(first * n2 * d2, n3 * d3)
    three = _leading(rest, second)
    return {
        "first": one.reshape(n1, d1, first),
        "second": _product(rest, three).reshape(first, n2, d2, second).transpose(1, 0, 2, 3),
        "third": three.reshape(n3, d3, second).transpose(0, 2, 1),
    }


def _product(left: Float[Array, "n d"], right: Float[Array, "d e"]) -> Float[Array, "n e"]:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


def _leading(matrix: Float[Array, "n d"], rank: int) -> Float[Array, "d r"]:
    return principal(matrix)[:, :rank]


def _rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
    one, two, three = kept["first"], kept["second"], kept["third"]
    after, last = two.shape[0] * three.shape[0], three.shape[0]
    left, middle, right = one[ids // after], two[ids // last % two.shape[0]], three[ids % last]
    b, d1, r1 = left.shape
    d2, r2 = middle.shape[2:]
    joined = jnp.matmul(left, middle.reshape(b, r1, d2 * r2), precision=lax.Precision.HIGHEST)
    whole = jnp.matmul(joined.reshape(b, d1 * d2, r2), right, precision=lax.Precision.HIGHEST)
    return whole.reshape(b, d1 * d2 * right.shape[2])[:, : kept["shape"].shape[2]]
