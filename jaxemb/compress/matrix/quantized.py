"""Numbers as small integers on one grid for the whole matrix."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.compress import check
from jaxemb.compress.matrix.form import FLOAT, MatrixCompressor, made
from jaxemb.types import Params


def quantized(bits: int = 8, seed: int = 0) -> MatrixCompressor:
    """Every number as an integer of 8 or 16 bits, rounded at random so that none is off on average.

        q = clip(floor((x - middle) / step + u)),   u in [0, 1) at random,   x' = middle + step q

    with `middle` half way between the least and the greatest number, and a step by which both are reached.  It always
    takes `n d bits / 8 + 8` bytes; a larger budget is not used.  Its name is `quantized-<bits>`, or
    `quantized-<bits>x<seed>`.

    >>> small = quantized(8)
    >>> kept = small.compress(jnp.array([[0.0, 254.0], [127.0, 3.0]]), 12)
    >>> print(small.decompress_rows(kept, jnp.array([1])))
    [[127.   3.]]

    Raises: ValueError for other bits, a negative seed, and in `compress` for a budget below that.
    Source: Gupta et al. 2015, arXiv:1502.02551, sec. 3 (stochastic rounding); the step is the matrix's own.
    """
    if bits not in (8, 16):
        raise ValueError(f"quantized: wanted 8 or 16 bits, got {bits}")
    name = f"quantized-{bits}" + (f"x{seed}" if check.seed("quantized", seed) else "")

    def rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        return kept["codes"][ids].astype(jnp.float32) * kept["step"] + kept["middle"]

    def fit(matrix: Float[Array, "n d"], _: int) -> Params:
        return _rounded(matrix, jax.random.key(seed), bits)

    return made(name, lambda n, d: n * d * bits // 8 + 2 * FLOAT, fit, rows)


@partial(jax.jit, static_argnames="bits")
def _rounded(matrix: Float[Array, "n d"], key: Array, bits: int) -> Params:
    most = (1 << bits - 1) - 1
    low, high = matrix.min(), matrix.max()
    # Halved first, for the sum of two of float32's largest would be inf.
    middle, step = low / 2 + high / 2, (high / 2 - low / 2) / most
    level = (matrix - middle) / jnp.where(step > 0, step, 1)
    # Off by 1e-4 of a step, the greatest would round up to a level that there is not.
    codes = jnp.floor(jnp.clip(level, -most, most) + jax.random.uniform(key, matrix.shape))
    codes = jnp.clip(codes, -most, most).astype(jnp.int8 if bits == 8 else jnp.int16)
    return {"codes": codes, "step": step, "middle": middle}
