"""RaBitQ: few bits a dimension of a vector that was turned at random, and an estimate of scores without bias."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.compress.linear import flips, mixed, unmixed
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Compressor, Params

STEPS = {1: 1.596, 2: 0.9957, 3: 0.5860, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308}
"""Of the best even quantizer of so many bits for a normal variable of variance 1 (Max 1960, table II)."""
TRIED = 24  # step sizes a vector, from 0.6 to 1.8 times that one
NUMBER_BYTES = 8


def rabitq(bits: int = 1) -> Compressor:
    """Some bits a dimension and two numbers a vector, from which inner products are estimated without bias.

    With `u` the direction of the sample's mean, `r = x - <x, u> u` what a vector says beside it, and `P` a random
    rotation (`hadamard`), the code `y` is the vector of the grid of odd halves `-(2^B - 1)/2 .. (2^B - 1)/2` that is
    nearest to `P r` in angle, and

        <q, x> ~ a <q, u> + f <P q, y> for a query without its part along u,   a = <x, u>,   f = |r|^2 / <y, P r>

    where `a` and `f` are kept with the code.  Over random rotations the estimate's mean is `<q, x>`; its error falls as
    `1 / sqrt(d)` and about halves with each further bit.  It is the inner product with what decoding gives.

    Two things differ from the papers: they take off a centre, which leaves an error along it, since a query has a part
    along the mean; and they enumerate the steps of the grid that matter, where here 24 sizes a vector are tried.
    Its name is `rabitq-<bits>`.  A code takes `ceil(d B / 8)` bytes and 8 for the numbers.

    >>> code = rabitq(2)
    >>> code.name, code.bytes_per_vector(384)
    ('rabitq-2', 104)

    Raises: ValueError for bits outside 1 to 8.
    Source: Gao & Long 2024, arXiv:2405.12497, thm. 3.2; more bits: Gao et al. 2024, arXiv:2409.09913.
    """
    if bits not in STEPS:
        raise ValueError(f"rabitq: wanted 1 to 8 bits a dimension, got {bits}")
    name = f"rabitq-{bits}"

    def fit(sample: Float[Array, "n d"]) -> Params:
        sample = check.sample(name, sample)
        largest = jnp.abs(sample).max()
        scale = jnp.where(largest > 0, largest, 1)
        along = similarity.unit(jnp.mean(sample / scale, axis=0))
        return {"along": along, "scale": scale, "flipped": flips(0, sample.shape[1])}

    def apply(state: Params, vectors: Float[Array, "n d"]) -> UInt8[Array, "n c"]:
        return _encoded(state, check.vectors(name, vectors, len(state["along"])), bits)

    def checked(state: Params, codes: UInt8[Array, "n c"]) -> UInt8[Array, "n c"]:
        return check.codes(name, codes, jnp.uint8, bytes_per_vector(len(state["along"])))

    def decode(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n d"]:
        return _decoded(state, checked(state, codes), bits)

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _estimated(state, check.vectors(name, query, len(state["along"])), checked(state, codes), bits)

    def symmetric(state: Params, query: UInt8[Array, "b c"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return asymmetric(state, decode(state, query), codes)

    def bytes_per_vector(dim: int) -> int:
        return packed_bytes(dim, bits) + NUMBER_BYTES

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)


def nearest_levels(vectors: Float[Array, "n d"], bits: int) -> Int[Array, "n d"]:
    """Levels from 0 to `2^bits - 1`, whose odd halves point most nearly where the vectors do."""
    half, top = 1 << bits - 1, (1 << bits) - 1
    if bits == 1:
        return (vectors > 0).astype(jnp.int32)
    spread = jnp.sqrt(jnp.mean(jnp.square(vectors), axis=1, keepdims=True))
    unit = vectors / jnp.where(spread > 0, spread, 1)

    def levels(step: Array) -> Array:
        return jnp.clip(jnp.floor(unit / step) + half, 0, top)

    def better(best: tuple[Array, Array], step: Array) -> tuple[tuple[Array, Array], None]:
        odd = levels(step) - top / 2
        angle = jnp.sum(odd * unit, axis=1) * lax.rsqrt(jnp.sum(jnp.square(odd), axis=1))
        closest, steps = best
        return (jnp.maximum(angle, closest), jnp.where(angle > closest, step, steps)), None

    tried = STEPS[bits] * jnp.geomspace(0.6, 1.8, TRIED, dtype=jnp.float32)
    nothing = jnp.full_like(spread[:, 0], -jnp.inf), jnp.full_like(spread[:, 0], STEPS[bits])
    (_, steps), _ = lax.scan(better, nothing, tried)
    return levels(steps[:, None]).astype(jnp.int32)


def _apart(along: Float[Array, " d"], vectors: Float[Array, "n d"]) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """How far vectors go along a direction, and what is left of them beside it."""
    far = similarity.dot(vectors, along[None, :])[:, 0]
    return far, vectors - far[:, None] * along[None, :]


@partial(jax.jit, static_argnames="bits")
def _encoded(state: Params, vectors: Float[Array, "n d"], bits: int) -> UInt8[Array, "n c"]:
    far, beside = _apart(state["along"], vectors / state["scale"])
    turned = mixed(state["flipped"], beside)
    levels = nearest_levels(turned, bits)
    product = jnp.sum(_odd(levels, bits) * turned, axis=1)
    factor = jnp.where(product > 0, jnp.sum(jnp.square(turned), axis=1) / jnp.where(product > 0, product, 1), 0)
    numbers = [lax.bitcast_convert_type(number, jnp.uint8) for number in (far, factor)]
    return jnp.concatenate([pack(levels, bits), *numbers], axis=1)


def _odd(levels: Int[Array, "n d"] | UInt8[Array, "n d"], bits: int) -> Float[Array, "n d"]:
    return levels.astype(jnp.float32) - ((1 << bits) - 1) / 2


def _parts(
    codes: UInt8[Array, "n c"], dim: int, bits: int
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, "n d"]]:
    """Both numbers of each vector, and its levels as odd halves."""
    levels, far, factor = codes[:, :-8], codes[:, -8:-4], codes[:, -4:]
    number = partial(lax.bitcast_convert_type, new_dtype=jnp.float32)
    return number(far), number(factor), _odd(unpack(levels, dim, bits), bits)


@partial(jax.jit, static_argnames="bits")
def _decoded(state: Params, codes: UInt8[Array, "n c"], bits: int) -> Float[Array, "n d"]:
    far, factor, odd = _parts(codes, len(state["along"]), bits)
    _, beside = _apart(state["along"], unmixed(state["flipped"], factor[:, None] * odd))
    return state["scale"] * (beside + far[:, None] * state["along"][None, :])


@partial(jax.jit, static_argnames="bits")
def _estimated(state: Params, query: Float[Array, "b d"], codes: UInt8[Array, "n c"], bits: int) -> Float[Array, "b n"]:
    far, factor, odd = _parts(codes, len(state["along"]), bits)
    ahead, beside = _apart(state["along"], query)
    products = similarity.dot(mixed(state["flipped"], beside), odd) * factor[None, :]
    return state["scale"] * (products + ahead[:, None] * far[None, :])
