"""What a compressor of finished matrices is, and what all of them refuse."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.compress import check
from jaxemb.types import Params

FLOAT, INDEX = 4, 4  # bytes of a number and of a row's place
BLOCK = 256
"""Rows that are decompressed at a time, so that a row is computed alike whichever others are asked for."""

Rows = Callable[[Params, Int[Array | np.ndarray, "*b"]], Float[Array, "*b d"]]


class MatrixCompressor(NamedTuple):
    """A finished matrix to a small pytree, any rows of which come back as they are asked for.

    name: what tables and folders call it, its settings included, as `svd` or `pq-8`.
    floor: (n, d) -> the fewest bytes that `n` rows of `d` numbers can take.
    compress: (matrix `[n, d]`, budget in bytes) -> what is kept: arrays that together take the budget or less.
    decompress: kept -> matrix `[n, d]`, float32.
    decompress_rows: (kept, ids `[*b]`) -> the same rows, `[*b, d]`; compiles inside `jax.jit` for any ids.
    """

    name: str
    floor: Callable[[int, int], int]
    compress: Callable[[Float[Array | np.ndarray, "n d"], int], Params]
    decompress: Callable[[Params], Float[Array, "n d"]]
    decompress_rows: Rows


def size(kept: Params) -> int:
    """Bytes of what is kept: those of its tensors on disk.

    >>> size({"codes": jnp.zeros((3, 2), jnp.int8), "0": {"scale": jnp.ones(1)}})
    10
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def made(
    name: str,
    floor: Callable[[int, int], int],
    fit: Callable[[Float[Array, "n d"], int], Params],
    rows: Callable[[Params, Int[Array, " b"]], Float[Array, "b d"]],
    block: int = BLOCK,
) -> MatrixCompressor:
    """A compressor of a way to fit a sound matrix into a sound budget, and one to compute rows of what is kept.

    What is kept gets a `shape`: no numbers of shape `[0, n, d]`, from which both sizes are known inside `jax.jit`.
    """

    def compress(matrix: Float[Array | np.ndarray, "n d"], budget: int) -> Params:
        matrix = check.sample(name, jnp.asarray(matrix))
        n, d = matrix.shape
        if budget < (least := floor(n, d)):
            raise ValueError(f"{name}: a matrix [{n}, {d}] takes {least} bytes or more, got a budget of {budget}")
        return fit(matrix, budget) | {"shape": jnp.zeros((0, n, d), jnp.uint8)}

    @jax.jit
    def found(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        more = -len(ids) % block
        blocks = jnp.pad(ids, (0, more)).reshape(-1, block)
        return lax.map(partial(rows, kept), blocks).reshape(-1, kept["shape"].shape[2])[: len(ids)]

    def decompress(kept: Params) -> Float[Array, "n d"]:
        return found(kept, jnp.arange(_sizes(name, kept)[0], dtype=jnp.int32))

    def decompress_rows(kept: Params, ids: Int[Array | np.ndarray, "*b"]) -> Float[Array, "*b d"]:
        n, d = _sizes(name, kept)
        ids = jnp.asarray(ids)
        _check_ids(name, ids, n)
        return found(kept, ids.reshape(math.prod(ids.shape)).astype(jnp.int32)).reshape(*ids.shape, d)

    return MatrixCompressor(name, floor, compress, decompress, decompress_rows)


def _sizes(name: str, kept: Params) -> tuple[int, int]:
    if "shape" not in kept or kept["shape"].ndim != 3:
        raise ValueError(f"{name}: wanted what `compress` gave, with a shape [0, n, d], got {sorted(kept)}")
    _, n, d = kept["shape"].shape
    return n, d


def _check_ids(name: str, ids: Array, n: int) -> None:
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"{name}: wanted whole numbers as ids, got {ids.dtype}")
    if check.concrete(ids) and ids.size:
        seen = np.asarray(ids)
        if seen.min() < 0 or seen.max() >= n:
            raise ValueError(f"{name}: wanted ids in [0, {n}), got {seen.min()} to {seen.max()}")
