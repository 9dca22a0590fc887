"""One small integer a dimension."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.types import Compressor, Params

LOWEST, HIGHEST = -128, 127


@jax.jit
def _grid(low: Float[Array, " d"], high: Float[Array, " d"]) -> Params:
    # Divided first, for the difference of two of float32's largest would be inf.  Compiled, x / 255 - x / 255 becomes a
    # fused multiply-add that need not be 0.
    step = jnp.where(high > low, high / 255 - low / 255, 0)
    return {"step": step, "offset": low - LOWEST * step}


@jax.jit
def _nearest_level(grid: Params, vectors: Float[Array, "n d"]) -> Int8[Array, "n d"]:
    step = grid["step"][None, :]
    level = (vectors - grid["offset"][None, :]) / jnp.where(step > 0, step, 1)
    return jnp.clip(jnp.where(step > 0, jnp.round(level), 0), LOWEST, HIGHEST).astype(jnp.int8)


@jax.jit
def _value(grid: Params, codes: Int8[Array, "n d"]) -> Float[Array, "n d"]:
    return codes.astype(jnp.float32) * grid["step"][None, :] + grid["offset"][None, :]


@jax.jit
def _inner_product(grid: Params, query: Float[Array, "b d"], codes: Int8[Array, "n d"]) -> Float[Array, "b n"]:
    levels = similarity.dot(query * grid["step"][None, :], codes.astype(jnp.float32))
    return levels + similarity.dot(query, grid["offset"][None, :])


def int8(outside: float = 0.0) -> Compressor:
    """One signed byte a dimension, on a grid of 256 equal steps that is learnt for each dimension.

    With `lo_j` and `hi_j` the least and the greatest value of dimension `j` in the sample:

        step_j = (hi_j - lo_j) / 255,   offset_j = lo_j + 128 step_j
        code_j = round((x_j - offset_j) / step_j), clipped to -128..127
        x'_j   = offset_j + step_j code_j

    so that inside the range `|x_j - x'_j| <= step_j / 2`; what lies outside is
    clipped to its end.  A dimension without a range has step 0 and decodes to its
    constant exactly.  Both scores are inner products with the decoded vectors: the
    step is folded into the query and the offset added, so no vector is decoded.

        <q, x'> = sum_j (q_j step_j) code_j + sum_j q_j offset_j

    >>> small = int8()
    >>> state = small.fit(jnp.array([[0.0, 5.0], [255.0, 5.0]]))
    >>> print(small.apply(state, jnp.array([[100.4, 5.0], [-9.0, 7.0]])))
    [[ -28    0]
     [-128    0]]

    Args:
      outside: share of the sample's values, in [0, 1), left outside the range, half at
        each end: finer steps for the many against clipping for the few.
    Its name is `int8`, or `int8-<outside>`.
    Source: sec. 2.1 of Jacob et al. 2018, arXiv:1712.05877 (affine maps), one a dimension.
    """
    if not 0.0 <= outside < 1.0:
        raise ValueError(f"int8: wanted a share outside the range in [0, 1), got {outside}")
    name = f"int8-{outside!r}" if outside else "int8"

    def fit(sample: Float[Array, "n d"]) -> Params:
        sample = check.sample(name, sample)
        if not outside:
            return _grid(sample.min(axis=0), sample.max(axis=0))
        return _grid(*jnp.quantile(sample, jnp.array([outside / 2, 1 - outside / 2], jnp.float32), axis=0))

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Int8[Array, "n d"]:
        return _nearest_level(state, check.vectors(name, vectors, len(state["step"])))

    def decode(state: Params, codes: Int8[Array, "n d"]) -> Float[Array, "n d"]:
        return _value(state, check.codes(name, codes, jnp.int8, len(state["step"])))

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Int8[Array, "n d"]) -> Float[Array, "b n"]:
        dim = len(state["step"])
        return _inner_product(state, check.vectors(name, query, dim), check.codes(name, codes, jnp.int8, dim))

    def symmetric(state: Params, query: Int8[Array, "b d"], codes: Int8[Array, "n d"]) -> Float[Array, "b n"]:
        return asymmetric(state, decode(state, query), codes)

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, lambda dim: dim)
