"""Product quantization: each part of a vector by the nearest of few centres."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.compress.kmeans import kmeans, nearest
from jaxemb.compress.least import least
from jaxemb.compress.linear import principal
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Compressor, Params

TURNS, REFITS, SWEEPS = 12, 8, 3
Learn = Callable[[Float[Array, "n d"]], Params]
_dot = jax.jit(similarity.dot)


def pq(parts: int, bits: int = 8) -> Compressor:
    """A vector's parts, each as the number of the nearest of `2^bits` centres, which k-means finds in the sample.

    Both scores are inner products of decoded vectors.  Its name is `pq-<parts>x<bits>`; a code takes `parts * bits / 8`
    bytes.  Where dimensions say unequally much, `opq` shares them out first.

    >>> pq(96, 4).bytes_per_vector(384)
    48

    Raises: ValueError for bits other than 1 to 8, or vectors that cannot be cut into so many equal parts.
    Source: Jegou et al. 2011, doi:10.1109/TPAMI.2010.57.
    """
    name = _name("pq", parts, bits)

    @jax.jit
    def learn(sample: Float[Array, "n d"]) -> Params:
        return {"centres": lax.map(partial(kmeans, count=1 << bits), _cut(sample, parts))}

    return _compressor(name, parts, bits, learn, _nearest_of_each)


def opq(parts: int, bits: int = 8) -> Compressor:
    """Product quantization of vectors that were turned so that it loses least.

    It begins with principal directions dealt out so that all parts hold alike much, then takes turns: centres for the
    vectors as turned, and the rotation that brings the vectors nearest to what the codes decode to.  Its name is
    `opq-<parts>x<bits>`; it keeps a matrix `[d, d]`, too.

    Source: Ge et al. 2013, "Optimized product quantization for approximate nearest neighbor search", alg. 1 and sec. 4.
    """
    name = _name("opq", parts, bits)

    @jax.jit
    def learn(sample: Float[Array, "n d"]) -> Params:
        def turn(matrix: Float[Array, "d d"], _: None) -> tuple[Float[Array, "d d"], None]:
            cut = _cut(sample @ matrix, parts)
            centres = lax.map(partial(kmeans, count=1 << bits, steps=4), cut)
            near = _joined(centres, lax.map(lambda pair: nearest(*pair), (cut, centres)).T)
            left, _scales, right = jnp.linalg.svd(jnp.einsum("nd,ne->de", sample, near))
            return left @ right, None

        matrix = lax.scan(turn, _dealt(sample, parts), None, TURNS)[0]
        return {"matrix": matrix, "centres": lax.map(partial(kmeans, count=1 << bits), _cut(sample @ matrix, parts))}

    return _compressor(name, parts, bits, learn, _nearest_of_each)


def anisotropic(parts: int, bits: int = 4, threshold: float = 0.2) -> Compressor:
    """Product quantization that spends its errors across a vector, where they cost no high score.

    With `r = x - x'` and `h = (d - 1) t^2 / (1 - t^2)` it minimizes

        |r|^2 + (h - 1) <r, x>^2 / |x|^2

    for a query near to `x` meets the part of the error along it, and queries that score below the cosine `t` do not
    matter.  Codes are chosen part after part, some sweeps, each given the others; centres, then, all at once by
    conjugate gradients.  Its name is `aniso-<parts>x<bits>x<threshold>`.

    Raises: as `pq`, and for a threshold outside (0, 1).
    Source: Guo et al. 2020, arXiv:1908.10396, thm. 3.2 and 4.2.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"aniso: wanted a threshold between 0 and 1, got {threshold}")
    name = f"{_name('aniso', parts, bits)}x{threshold!r}"

    def weight(dim: int) -> float:
        return max((dim - 1) * threshold**2 / (1 - threshold**2) - 1, 0.0)

    def encode(centres: Float[Array, "p k s"], vectors: Float[Array, "n d"]) -> Int[Array, "n p"]:
        return _along(centres, vectors, weight(vectors.shape[1]))

    @jax.jit
    def learn(sample: Float[Array, "n d"]) -> Params:
        start = lax.map(partial(kmeans, count=1 << bits), _cut(sample, parts))
        square = jnp.sum(jnp.square(sample), axis=1)

        def turn(centres: Float[Array, "p k s"], _: None) -> tuple[Float[Array, "p k s"], None]:
            codes = encode(centres, sample)

            def lost(centres: Float[Array, "p k s"]) -> Float[Array, ""]:
                apart = sample - _joined(centres, codes)
                along = jnp.sum(apart * sample, axis=1) / jnp.sqrt(jnp.where(square > 0, square, 1))
                return jnp.sum(jnp.square(apart)) + weight(sample.shape[1]) * jnp.sum(jnp.square(along))

            return least(lost, centres, REFITS), None

        return {"centres": lax.scan(turn, start, None, TURNS)[0]}

    return _compressor(name, parts, bits, learn, encode)


def _name(kind: str, parts: int, bits: int) -> str:
    if parts < 1 or not 1 <= bits <= 8:
        raise ValueError(f"{kind}: wanted 1 part or more of 1 to 8 bits, got {parts} of {bits}")
    return f"{kind}-{parts}x{bits}"


def _cut(vectors: Float[Array, "n d"], parts: int) -> Float[Array, "p n s"]:
    n, d = vectors.shape
    return vectors.reshape(n, parts, d // parts).transpose(1, 0, 2)


def _joined(centres: Float[Array, "p k s"], codes: Int[Array, "n p"] | UInt8[Array, "n p"]) -> Float[Array, "n d"]:
    parts, count, size = centres.shape
    places = codes.astype(jnp.int32) + count * jnp.arange(parts, dtype=jnp.int32)[None, :]
    return similarity.rows_at(centres.reshape(parts * count, size), places).reshape(codes.shape[0], parts * size)


def _nearest_of_each(centres: Float[Array, "p k s"], vectors: Float[Array, "n d"]) -> Int[Array, "n p"]:
    return lax.map(lambda pair: nearest(*pair), (_cut(vectors, len(centres)), centres)).T


def _dealt(sample: Float[Array, "n d"], parts: int) -> Float[Array, "d d"]:
    """Principal directions in an order that gives every part alike much variance: there and back over the parts."""
    d = sample.shape[1]
    turn, seat = jnp.divmod(jnp.arange(d), parts)
    part = jnp.where(turn % 2 == 0, seat, parts - 1 - seat)
    return principal(sample)[:, jnp.argsort(part, stable=True)]


def _along(centres: Float[Array, "p k s"], vectors: Float[Array, "n d"], weight: float) -> Int[Array, "n p"]:
    """Codes of the least anisotropic loss: those nearest to begin with, then each part given the others."""
    parts, count, _ = centres.shape
    cut = _cut(vectors, parts)
    products = jnp.einsum("pns,pks->pnk", cut, centres)
    apart = jnp.sum(jnp.square(centres), axis=2)[:, None, :] - 2 * products
    square = jnp.sum(jnp.square(vectors), axis=1)
    scale = weight / jnp.where(square > 0, square, 1)
    codes = jnp.argmin(apart, axis=2)

    def sweep(codes: Int[Array, "p n"], part: Int[Array, ""]) -> tuple[Int[Array, "p n"], None]:
        here = jnp.arange(parts)[:, None] == part
        chosen = codes[:, :, None] == jnp.arange(count)[None, None, :]
        taken = jnp.sum(jnp.where(chosen & ~here[:, :, None], products, 0), axis=(0, 2))
        rest = square - taken  # of |x|^2, what the other parts leave to this one
        own = partial(lax.dynamic_index_in_dim, index=part, keepdims=False)
        lost = own(apart) + scale[:, None] * jnp.square(rest[:, None] - own(products))
        return jnp.where(here, jnp.argmin(lost, axis=1)[None, :], codes), None

    return lax.scan(sweep, codes, jnp.tile(jnp.arange(parts), SWEEPS))[0].T


def _compressor(
    name: str,
    parts: int,
    bits: int,
    learn: Learn,
    encode: Callable[[Float[Array, "p k s"], Float[Array, "n d"]], Int[Array, "n p"]],
) -> Compressor:
    """Of a way to learn centres (and a rotation, if wanted), and one to choose among them."""

    def turned(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return vectors @ state["matrix"] if "matrix" in state else vectors

    def dim(state: Params) -> int:
        return int(state["centres"].shape[0] * state["centres"].shape[2])

    @jax.jit
    def encoded(state: Params, vectors: Float[Array, "n d"]) -> UInt8[Array, "n c"]:
        return pack(encode(state["centres"], turned(state, vectors / state["scale"])), bits)

    @jax.jit
    def decoded(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n d"]:
        return state["scale"] * _joined(state["centres"], unpack(codes, parts, bits))

    def fit(sample: Float[Array, "n d"]) -> Params:
        bytes_per_vector(sample.shape[-1])
        sample = check.sample(name, sample)
        largest = jnp.abs(sample).max()  # squares of 1e30 are to stay finite
        scale = jnp.where(largest > 0, largest, 1)
        return learn(sample / scale) | {"scale": scale}

    def apply(state: Params, vectors: Float[Array, "n d"]) -> UInt8[Array, "n c"]:
        return encoded(state, check.vectors(name, vectors, dim(state)))

    def inside(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n d"]:
        return decoded(state, check.codes(name, codes, jnp.uint8, packed_bytes(parts, bits)))

    def decode(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n d"]:
        near = inside(state, codes)
        return near @ state["matrix"].T if "matrix" in state else near

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _dot(turned(state, check.vectors(name, query, dim(state))), inside(state, codes))

    def symmetric(state: Params, query: UInt8[Array, "b c"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _dot(inside(state, query), inside(state, codes))

    def bytes_per_vector(dim: int) -> int:
        if dim % parts:
            raise ValueError(f"{name}: wanted a dimension that {parts} parts divide, got {dim}")
        return packed_bytes(parts, bits)

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)
