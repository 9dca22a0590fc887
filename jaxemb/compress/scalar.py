"""One small integer a dimension."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8, Integer, UInt8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Compressor, Params

LOWEST, HIGHEST = -128, 127


@partial(jax.jit, static_argnames="bits")
def _grid(low: Float[Array, " d"], high: Float[Array, " d"], bits: int = 8) -> Params:
    # Divided first, for the difference of two of float32's largest would be inf.  Compiled, x / 255 - x / 255 becomes a
    # fused multiply-add that need not be 0.
    steps = (1 << bits) - 1
    step = jnp.where(high > low, high / steps - low / steps, 0)
    return {"step": step, "offset": low + (1 << bits - 1) * step}


@partial(jax.jit, static_argnames="bits")
def _nearest_level(grid: Params, vectors: Float[Array, "n d"], bits: int = 8) -> Int8[Array, "n d"]:
    step, half = grid["step"][None, :], 1 << bits - 1
    level = (vectors - grid["offset"][None, :]) / jnp.where(step > 0, step, 1)
    return jnp.clip(jnp.where(step > 0, jnp.round(level), 0), -half, half - 1).astype(jnp.int8)


@jax.jit
def _value(grid: Params, levels: Int8[Array, "n d"]) -> Float[Array, "n d"]:
    return levels.astype(jnp.float32) * grid["step"][None, :] + grid["offset"][None, :]


@jax.jit
def _inner_product(grid: Params, query: Float[Array, "b d"], levels: Int8[Array, "n d"]) -> Float[Array, "b n"]:
    products = similarity.dot(query * grid["step"][None, :], levels.astype(jnp.float32))
    return products + similarity.dot(query, grid["offset"][None, :])


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
    return _on_a_grid(8, outside)


def int6(outside: float = 0.0) -> Compressor:
    """As `int8` on a grid of 64 steps: four numbers in three bytes.  Its name is `int6`, or `int6-<outside>`."""
    return _on_a_grid(6, outside)


def int4(outside: float = 0.0) -> Compressor:
    """As `int8` on a grid of 16 steps, two numbers a byte, the first in the high half.

    At so few steps the range matters: `int4-0.01`, which leaves a hundredth of the values outside, mostly keeps more
    than `int4`.  Its name is `int4`, or `int4-<outside>`.
    """
    return _on_a_grid(4, outside)


def _on_a_grid(bits: int, outside: float) -> Compressor:
    if not 0.0 <= outside < 1.0:
        raise ValueError(f"int{bits}: wanted a share outside the range in [0, 1), got {outside}")
    return _affine(f"int{bits}-{outside!r}" if outside else f"int{bits}", bits, outside)


def _affine(name: str, bits: int, outside: float) -> Compressor:
    def fit(sample: Float[Array, "n d"]) -> Params:
        sample = check.sample(name, sample)
        if not outside:
            return _grid(sample.min(axis=0), sample.max(axis=0), bits)
        ends = jnp.quantile(sample, jnp.array([outside / 2, 1 - outside / 2], jnp.float32), axis=0)
        return _grid(ends[0], ends[1], bits)

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Integer[Array, "n c"]:
        levels = _nearest_level(state, check.vectors(name, vectors, len(state["step"])), bits)
        return levels if bits == 8 else _joined(levels, bits)

    def levels(state: Params, codes: Integer[Array, "n c"]) -> Int8[Array, "n d"]:
        dim = len(state["step"])
        stored = check.codes(name, codes, jnp.int8 if bits == 8 else jnp.uint8, packed_bytes(dim, bits))
        return stored if bits == 8 else _apart(stored, dim, bits)

    def decode(state: Params, codes: Integer[Array, "n c"]) -> Float[Array, "n d"]:
        return _value(state, levels(state, codes))

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Integer[Array, "n c"]) -> Float[Array, "b n"]:
        return _inner_product(state, check.vectors(name, query, len(state["step"])), levels(state, codes))

    def symmetric(state: Params, query: Integer[Array, "b c"], codes: Integer[Array, "n c"]) -> Float[Array, "b n"]:
        return asymmetric(state, decode(state, query), codes)

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, lambda dim: packed_bytes(dim, bits))


@partial(jax.jit, static_argnames="bits")
def _joined(levels: Int8[Array, "n d"], bits: int) -> UInt8[Array, "n c"]:
    return pack(levels.astype(jnp.int32) + (1 << bits - 1), bits)


@partial(jax.jit, static_argnames=("dim", "bits"))
def _apart(codes: UInt8[Array, "n c"], dim: int, bits: int) -> Int8[Array, "n d"]:
    return (unpack(codes, dim, bits).astype(jnp.int32) - (1 << bits - 1)).astype(jnp.int8)
