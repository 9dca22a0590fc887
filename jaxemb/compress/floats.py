"""Compressors whose codes are float32 vectors, which any index can hold: the vector itself, or its beginning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.types import Compressor, Params

_unit, _dot = jax.jit(similarity.unit), jax.jit(similarity.dot)


def _fit(what: str) -> Callable[[Float[Array, "n d"]], Params]:
    def fit(sample: Float[Array, "n d"]) -> Params:
        # Nothing is learnt; the length is kept so that vectors of another model are refused.
        return {"dim": jnp.asarray(check.sample(what, sample).shape[1], dtype=jnp.int32)}

    return fit


def identity() -> Compressor:
    """Keep float32 vectors as they are, so that the uncompressed row of a table takes the same path as the others.

    Both scores are inner products.  Its name is `float32`.

    >>> keep = identity()
    >>> vectors = jnp.array([[0.6, 0.8], [1.0, 0.0]])
    >>> print(keep.asymmetric(keep.fit(vectors), jnp.array([[0.0, 1.0]]), vectors))
    [[0.8 0. ]]
    """

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return check.vectors("float32", vectors, state["dim"])

    def decode(state: Params, codes: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return check.vectors("float32", codes, state["dim"])

    def score(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n d"]) -> Float[Array, "b n"]:
        return _dot(apply(state, query), decode(state, codes))

    return Compressor("float32", _fit("float32"), apply, decode, score, score, lambda dim: 4 * dim)


def truncate(size: int) -> Compressor:
    """Keep the first `size` numbers, scaled to length one again.

    Right for encoders trained to be cut, as by `losses.matryoshka`; any other
    loses what its later dimensions say.  The query is cut and scaled too, so both
    scores are the cosine of the two beginnings; a beginning of zeros scores 0.
    Its name is `truncate-<size>`; decoding gives the `size` numbers that were kept.

    >>> cut = truncate(2)
    >>> print(cut.apply(cut.fit(jnp.ones((1, 3))), jnp.array([[0.3, 0.4, 0.9]])))
    [[0.6 0.8]]

    Raises: ValueError when `size` is below 1, or the vectors are shorter than it.
    Source: Kusupati et al. 2022, arXiv:2205.13147, sec. 3.
    """
    name = f"truncate-{size}"
    if size < 1:
        raise ValueError(f"truncate: wanted a size of 1 or more, got {size}")

    def fit(sample: Float[Array, "n d"]) -> Params:
        bytes_per_vector(sample.shape[-1])
        return _fit(name)(sample)

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n e"]:
        return _unit(check.vectors(name, vectors, state["dim"])[:, :size])

    def decode(state: Params, codes: Float[Array, "n e"]) -> Float[Array, "n e"]:
        return check.vectors(name, codes, size)

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n e"]) -> Float[Array, "b n"]:
        return _dot(apply(state, query), decode(state, codes))

    def symmetric(state: Params, query: Float[Array, "b e"], codes: Float[Array, "n e"]) -> Float[Array, "b n"]:
        return _dot(decode(state, query), decode(state, codes))

    def bytes_per_vector(dim: int) -> int:
        if dim < size:
            raise ValueError(f"{name}: wanted vectors of {size} dimensions or more, got {dim}")
        return 4 * size

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)
