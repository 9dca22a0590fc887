"""Compressors that turn vectors: so that the first numbers say most, or that all say alike."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.types import Compressor, Params

ROUNDS = 4  # of the Hadamard transform
TURNS = 50  # of iterative quantization
_dot = jax.jit(similarity.dot)
Fit = Callable[[Array], Params]


def _scaled(sample: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Divided by the largest number, so that squares of 1e30 stay finite and those of 1e-30 above zero."""
    largest = jnp.abs(sample).max()
    return sample / jnp.where(largest > 0, largest, 1)


@jax.jit
def principal(sample: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """Directions as columns, those with the largest sum of squares first; each has its largest loading positive."""
    scaled = _scaled(sample)
    _, columns = jnp.linalg.eigh(jnp.einsum("nd,ne->de", scaled, scaled) / sample.shape[0])
    columns = columns[:, ::-1]
    loading = jnp.take_along_axis(columns, jnp.abs(columns).argmax(axis=0)[None, :], axis=0)
    return columns * jnp.where(loading < 0, -1.0, 1.0)  # a direction has no sign of its own


def pca(size: int) -> Compressor:
    """Keep the `size` directions that say most: of all projections to that many, the one nearest to the vectors.

        z = x W,   x' = z W^T,   <q, x'> = <q W, z>

    The columns of `W` are the leading eigenvectors of `sum_i x_i x_i^T`, the mean not taken off: inner products are to
    be kept, and those of centred vectors rank differently.  Both scores are inner products of the decoded vectors,
    which are shorter by what was left out.  Its name is `pca-<size>`.

    >>> short = pca(1)
    >>> vectors = jnp.array([[3.0, 4.0], [-6.0, -8.0]])
    >>> print(short.apply(short.fit(vectors), vectors).round(3))
    [[  5.]
     [-10.]]

    Raises: ValueError for a size below 1, or vectors shorter than it.
    Source: Eckart & Young 1936, "The approximation of one matrix by another of lower rank".
    """
    if size < 1:
        raise ValueError(f"pca: wanted a size of 1 or more, got {size}")
    name = f"pca-{size}"

    def bytes_per_vector(dim: int) -> int:
        if dim < size:
            raise ValueError(f"{name}: wanted vectors of {size} dimensions or more, got {dim}")
        return 4 * size

    def fit(sample: Float[Array, "n d"]) -> Params:
        bytes_per_vector(sample.shape[-1])
        return {"matrix": principal(check.sample(name, sample))[:, :size]}

    return _turning(name, fit, bytes_per_vector)


def itq(size: int) -> Compressor:
    """Turn vectors so that they lie near corners of a cube, for `bits` to cut: `itq-128+bits`.

    The `size` principal directions of the centred sample, then turns: the corners that the vectors are nearest to, and
    the rotation that brings the vectors nearest to these.  Its name is `itq-<size>`.

    Raises: as `pca`.
    Source: Gong et al. 2013, doi:10.1109/TPAMI.2012.193 (iterative quantization), sec. 2; 50 turns as there.
    """
    if size < 1:
        raise ValueError(f"itq: wanted a size of 1 or more, got {size}")
    name = f"itq-{size}"

    def bytes_per_vector(dim: int) -> int:
        if dim < size:
            raise ValueError(f"{name}: wanted vectors of {size} dimensions or more, got {dim}")
        return 4 * size

    def fit(sample: Float[Array, "n d"]) -> Params:
        bytes_per_vector(sample.shape[-1])
        return {"matrix": _toward_corners(check.sample(name, sample), size)}

    return _turning(name, fit, bytes_per_vector)


@partial(jax.jit, static_argnames="size")
def _toward_corners(sample: Float[Array, "n d"], size: int) -> Float[Array, "d e"]:
    centred = _scaled(sample)
    centred = centred - jnp.mean(centred, axis=0, keepdims=True)
    chosen = principal(centred)[:, :size]
    projected = centred @ chosen

    def turn(matrix: Float[Array, "e e"], _: None) -> tuple[Float[Array, "e e"], None]:
        corners = jnp.where(projected @ matrix < 0, -1.0, 1.0)
        left, _lengths, right = jnp.linalg.svd(jnp.einsum("ne,nf->ef", projected, corners))
        return left @ right, None

    return chosen @ lax.scan(turn, rotation(0, size), None, TURNS)[0]


def rotate(seed: int = 0) -> Compressor:
    """Turn vectors by a random rotation, so that every dimension says as much as any other; nothing is lost.

    What comes after it in a chain, as `rotate-0+int4`, finds all dimensions alike.  The rotation is drawn evenly from
    all; it takes `d^2` numbers and products, `hadamard` far fewer.  Its name is `rotate-<seed>`.
    """
    name = f"rotate-{check.seed('rotate', seed)}"

    def fit(sample: Float[Array, "n d"]) -> Params:
        return {"matrix": rotation(seed, check.sample(name, sample).shape[1])}

    return _turning(name, fit, lambda dim: 4 * dim)


def rotation(seed: int, dim: int) -> Float[Array, "d d"]:
    """A rotation or reflection drawn evenly from all.  Source: Stewart 1980, doi:10.1137/0717034."""
    columns, upper = jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (dim, dim)))
    return columns * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[None, :]


def hadamard(seed: int = 0) -> Compressor:
    """A random rotation of `d log d` additions: signs are flipped at random, then sums and differences taken.

    A Hadamard transform needs a power of two.  Where `d` is none, rounds go in turn over the first and the last `p`
    dimensions, `p` being the largest power of two that fits; of four rounds each has mixed the whole vector.  Less
    random than `rotate`, as good for codes.  Its name is `hadamard-<seed>`.

    Source: Ailon & Chazelle 2009, doi:10.1137/060673096; overlapping rounds as in the RaBitQ library.
    """
    name = f"hadamard-{check.seed('hadamard', seed)}"

    def fit(sample: Float[Array, "n d"]) -> Params:
        dim = check.sample(name, sample).shape[1]
        return {"flipped": flips(seed, dim)}

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return mixed(state["flipped"], check.vectors(name, vectors, state["flipped"].shape[1]))

    def decode(state: Params, codes: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return unmixed(state["flipped"], check.vectors(name, codes, state["flipped"].shape[1]))

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n d"]) -> Float[Array, "b n"]:
        return _dot(apply(state, query), check.vectors(name, codes, state["flipped"].shape[1]))

    def symmetric(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n d"]) -> Float[Array, "b n"]:
        dim = state["flipped"].shape[1]
        return _dot(check.vectors(name, query, dim), check.vectors(name, codes, dim))

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, lambda dim: 4 * dim)


def _turning(name: str, fit: Fit, bytes_per_vector: Callable[[int], int]) -> Compressor:
    """A compressor that multiplies by a matrix with orthonormal columns."""

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n e"]:
        return _product(check.vectors(name, vectors, state["matrix"].shape[0]), state["matrix"])

    def decode(state: Params, codes: Float[Array, "n e"]) -> Float[Array, "n d"]:
        return _product(check.vectors(name, codes, state["matrix"].shape[1]), state["matrix"].T)

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Float[Array, "n e"]) -> Float[Array, "b n"]:
        return _dot(apply(state, query), check.vectors(name, codes, state["matrix"].shape[1]))

    def symmetric(state: Params, query: Float[Array, "b e"], codes: Float[Array, "n e"]) -> Float[Array, "b n"]:
        size = state["matrix"].shape[1]
        return _dot(check.vectors(name, query, size), check.vectors(name, codes, size))

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)


@jax.jit
def _product(vectors: Float[Array, "n d"], matrix: Float[Array, "d e"]) -> Float[Array, "n e"]:
    return jnp.matmul(vectors, matrix, precision=lax.Precision.HIGHEST)


def flips(seed: int, dim: int) -> Bool[Array, "r d"]:
    """Which signs `mixed` turns over, round by round."""
    return jax.random.bernoulli(jax.random.key(seed), shape=(ROUNDS, dim))


@jax.jit
def mixed(flipped: Bool[Array, "r d"], vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Vectors turned as `hadamard` does."""
    for turn in range(ROUNDS):
        vectors = jnp.where(flipped[turn][None, :], -vectors, vectors)
        vectors = _mixed_part(vectors, turn)
    return vectors


@jax.jit
def unmixed(flipped: Bool[Array, "r d"], vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """What `mixed` turned, turned back."""
    for turn in reversed(range(ROUNDS)):
        vectors = _mixed_part(vectors, turn)  # which undoes itself
        vectors = jnp.where(flipped[turn][None, :], -vectors, vectors)
    return vectors


def _mixed_part(vectors: Float[Array, "n d"], turn: int) -> Float[Array, "n d"]:
    """The first `p` dimensions in even turns, the last in odd ones, transformed."""
    dim = vectors.shape[1]
    power = 1 << (dim.bit_length() - 1)
    if turn % 2 == 0:
        return jnp.concatenate([_transformed(vectors[:, :power]), vectors[:, power:]], axis=1)
    return jnp.concatenate([vectors[:, : dim - power], _transformed(vectors[:, dim - power :])], axis=1)


def _transformed(vectors: Float[Array, "n p"]) -> Float[Array, "n p"]:
    """The Hadamard transform, of length one: sums and differences of halves, of halves of halves, and so on."""
    n, p = vectors.shape
    mixed, width = vectors, 1
    while width < p:
        pairs = mixed.reshape(n, p // (2 * width), 2, width)
        mixed = jnp.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(n, p)
        width *= 2
    return mixed / math.sqrt(p)
