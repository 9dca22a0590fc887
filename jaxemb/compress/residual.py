"""Residual quantization: a vector as a sum of centres, one from each of several books."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.compress.kmeans import kmeans, nearest
from jaxemb.compress.least import least
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Compressor, Params

BEAM, REFITS, STEPS = 4, 2, 10
_dot = jax.jit(similarity.dot)


def rq(books: int, bits: int = 8) -> Compressor:
    """A vector as the sum of a centre from each book: the first near to it, each next near to what is left.

    Books are learnt in turn by k-means on the rest; then twice codes are chosen again and all books fitted together, by
    least squares, to what the codes add up to (additive quantization).  Codes are searched with a beam of 4.  For
    whole vectors of unequal directions it is nearer than `pq` of equal bytes, and takes longer to encode.

    Both scores are inner products of decoded vectors.  Its name is `rq-<books>x<bits>`.

    >>> rq(16).bytes_per_vector(384)
    16

    Raises: ValueError for fewer than one book, or bits other than 1 to 8.
    Source: Chen et al. 2010, doi:10.3390/s101211259; books fitted together: Babenko & Lempitsky 2014, sec. 3.2.
    """
    if books < 1 or not 1 <= bits <= 8:
        raise ValueError(f"rq: wanted 1 book or more of 1 to 8 bits, got {books} of {bits}")
    name = f"rq-{books}x{bits}"

    def fit(sample: Float[Array, "n d"]) -> Params:
        sample = check.sample(name, sample)
        largest = jnp.abs(sample).max()
        scale = jnp.where(largest > 0, largest, 1)
        return {"centres": _learnt(sample / scale, books, bits), "scale": scale}

    def apply(state: Params, vectors: Float[Array, "n d"]) -> UInt8[Array, "n c"]:
        rows = check.vectors(name, vectors, state["centres"].shape[2])
        return _packed(state["centres"], rows / state["scale"], bits)

    def decode(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n d"]:
        stored = check.codes(name, codes, jnp.uint8, packed_bytes(books, bits))
        return _decoded(state, stored, books, bits)

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _dot(check.vectors(name, query, state["centres"].shape[2]), decode(state, codes))

    def symmetric(state: Params, query: UInt8[Array, "b c"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _dot(decode(state, query), decode(state, codes))

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, lambda dim: packed_bytes(books, bits))


@partial(jax.jit, static_argnames=("books", "bits"))
def _learnt(sample: Float[Array, "n d"], books: int, bits: int) -> Float[Array, "m k d"]:
    def book(left: Float[Array, "n d"], _: None) -> tuple[Float[Array, "n d"], Float[Array, "k d"]]:
        centres = kmeans(left, 1 << bits)
        return left - centres[nearest(left, centres)], centres

    def refit(centres: Float[Array, "m k d"], _: None) -> tuple[Float[Array, "m k d"], None]:
        codes = _chosen(centres, sample)
        return least(lambda books: jnp.sum(jnp.square(sample - _sum(books, codes))), centres, STEPS), None

    centres = lax.scan(book, sample, None, books)[1]
    return lax.scan(refit, centres, None, REFITS)[0]


def _sum(centres: Float[Array, "m k d"], codes: Int[Array, "n m"] | UInt8[Array, "n m"]) -> Float[Array, "n d"]:
    def add(total: Float[Array, "n d"], book: tuple[Array, Array]) -> tuple[Float[Array, "n d"], None]:
        return total + similarity.rows_at(book[0], book[1].astype(jnp.int32)), None

    first = similarity.rows_at(centres[0], codes[:, 0].astype(jnp.int32))
    return lax.scan(add, first, (centres[1:], codes[:, 1:].T))[0]


def _chosen(centres: Float[Array, "m k d"], vectors: Float[Array, "n d"]) -> Int[Array, "n m"]:
    """Codes by a beam: after each book the few sums that are nearest to the vector, of all that go on from the last."""
    n = vectors.shape[0]
    books, count, _ = centres.shape

    def book(
        beam: tuple[Float[Array, "n w d"], Int[Array, "n w m"]], turn: tuple[Int[Array, ""], Float[Array, "k d"]]
    ) -> tuple[tuple[Float[Array, "n w d"], Int[Array, "n w m"]], None]:
        (left, codes), (at, choices) = beam, turn
        square = jnp.sum(jnp.square(left), axis=2)[:, :, None] + jnp.sum(jnp.square(choices), axis=1)[None, None, :]
        apart = square - 2 * jnp.einsum("nwd,kd->nwk", left, choices)
        width = left.shape[1]
        # Until there are as many sums as the beam is wide, its rows are all the same: the first alone goes on.
        same = (jnp.arange(width)[None, :, None] > 0) & (at == 0)
        best = lax.top_k(-jnp.where(same, jnp.inf, apart).reshape(n, width * count), width)[1]
        parent, code = jnp.divmod(best, count)
        kept = parent[:, :, None] == jnp.arange(width)[None, None, :]
        left = jnp.einsum("nvw,nwd->nvd", kept.astype(left.dtype), left) - similarity.rows_at(choices, code)
        codes = jnp.sum(jnp.where(kept[:, :, :, None], codes[:, None], 0), axis=2)
        return (left, jnp.where(jnp.arange(books)[None, None, :] == at, code[:, :, None], codes)), None

    width = min(BEAM, count)
    left = jnp.repeat(vectors[:, None, :], width, axis=1)
    codes = similarity.beside(jnp.zeros((n, width, books), jnp.int32), left)
    (left, codes), _ = lax.scan(book, (left, codes), (jnp.arange(books), centres))
    best = jnp.argmin(jnp.sum(jnp.square(left), axis=2), axis=1)
    return jnp.sum(jnp.where((best[:, None] == jnp.arange(width)[None, :])[:, :, None], codes, 0), axis=1)


@partial(jax.jit, static_argnames="bits")
def _packed(centres: Float[Array, "m k d"], vectors: Float[Array, "n d"], bits: int) -> UInt8[Array, "n c"]:
    return pack(_chosen(centres, vectors), bits)


@partial(jax.jit, static_argnames=("books", "bits"))
def _decoded(state: Params, codes: UInt8[Array, "n c"], books: int, bits: int) -> Float[Array, "n d"]:
    return state["scale"] * _sum(state["centres"], unpack(codes, books, bits))
